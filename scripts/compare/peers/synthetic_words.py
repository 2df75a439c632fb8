"""Writes a file of lines of nine words, each equally likely, the same each time.

usage: synthetic_words.py LINES DISTINCT FILE
"""

import sys

import duckdb

WORDS_A_LINE = 9

if __name__ == "__main__":
    lines, distinct, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    words = [f"'word' || (hash(line * {WORDS_A_LINE} + {place}) % {distinct})" for place in range(WORDS_A_LINE)]
    line = " || ' ' || ".join(words)
    duckdb.execute(
        f"COPY (SELECT {line} FROM range({lines}) AS lines(line)) TO '{path}' (FORMAT csv, HEADER false, QUOTE '', DELIMITER '\t')"
    )
