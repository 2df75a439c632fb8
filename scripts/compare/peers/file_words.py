"""The word count of a text file, by an engine for queries: two threads, the file as lines, the counts as tab-separated values.

usage: file_words.py duckdb|polars|chdb|datafusion FILE OUT
"""

import sys

THREADS = 2

# Bytes that the lines do not hold: readers of CSV take each line as one field.
SEPARATOR = "\x01"
QUOTE = "\x02"


def duckdb(path, out):
    import duckdb

    database = duckdb.connect(config={"threads": THREADS})
    database.execute(
        f"""
        COPY (
            SELECT word, count(*) FROM (
                SELECT unnest(string_split(line, ' ')) AS word
                FROM read_csv('{path}', columns = {{'line': 'VARCHAR'}}, delim = '{SEPARATOR}', quote = '', escape = '',
                              header = false, auto_detect = false)
            ) GROUP BY word
        ) TO '{out}' (FORMAT csv, DELIMITER '\t', HEADER false)
        """
    )


def polars(path, out):
    import os

    os.environ["POLARS_MAX_THREADS"] = str(THREADS)
    import polars

    lines = polars.scan_csv(path, separator=SEPARATOR, has_header=False, quote_char=None, new_columns=["line"])
    words = lines.select(polars.col("line").str.split(" ").explode().alias("word"))
    counts = words.group_by("word").len().collect(engine="streaming")
    counts.write_csv(out, separator="\t", include_header=False)


def chdb(path, out):
    import chdb

    chdb.query(
        f"""
        SELECT word, count() FROM file('{path}', 'LineAsString', 'line String')
        ARRAY JOIN splitByChar(' ', line) AS word GROUP BY word
        INTO OUTFILE '{out}' TRUNCATE FORMAT TSV SETTINGS max_threads = {THREADS}
        """
    )


def datafusion(path, out):
    import datafusion
    import pyarrow
    import pyarrow.csv

    context = datafusion.SessionContext(datafusion.SessionConfig().with_target_partitions(THREADS))
    schema = pyarrow.schema([("line", pyarrow.string())])
    context.register_csv(
        "lines", path, schema=schema, has_header=False, delimiter=SEPARATOR, file_extension=path[path.rfind(".") :]
    )
    words = "SELECT unnest(string_to_array(line, ' ')) AS word FROM lines"
    counts = context.sql(f"SELECT word, count(*) FROM ({words}) GROUP BY word").to_arrow_table()
    options = pyarrow.csv.WriteOptions(include_header=False, delimiter="\t", quoting_style="none")
    pyarrow.csv.write_csv(counts, out, options)


if __name__ == "__main__":
    {"duckdb": duckdb, "polars": polars, "chdb": chdb, "datafusion": datafusion}[sys.argv[1]](*sys.argv[2:])
