"""Prints what a folder of Parquet files, or a file of lines, holds: how many values, and a hash of them whatever their order.

usage: parquet_hash.py GLOB | parquet_hash.py lines FILE COUNT
"""

import sys

import duckdb

HASH = "SELECT count(*), sum(hash(value)), bit_xor(hash(value)) FROM"


def rows(path):
    # Whoever has offsets shows with them that no record is there twice.
    once = duckdb.sql(
        f"SELECT count(DISTINCT (\"partition\", \"offset\")) = count(*) FROM read_parquet('{path}', union_by_name = true)"
    ).fetchone()[0]
    if not once:
        return "records are there twice"
    return f"{HASH} (SELECT CAST(value AS BLOB) AS value FROM read_parquet('{path}', union_by_name = true))"


def lines(path, count):
    return f"""
        {HASH} (
            SELECT CAST(line AS BLOB) AS value
            FROM (SELECT line FROM read_csv('{path}', columns = {{'line': 'VARCHAR'}}, delim = '\x01', quote = '',
                  escape = '', header = false, auto_detect = false) LIMIT {count})
        )
        """


if __name__ == "__main__":
    duckdb.execute("SET threads = 2")
    query = lines(*sys.argv[2:]) if sys.argv[1] == "lines" else rows(sys.argv[1])
    print(query if query.startswith("records") else duckdb.sql(query).fetchone())
