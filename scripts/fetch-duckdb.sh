#!/usr/bin/env bash
# Installs DuckDB for Python, which the tests read Parquet files back with, into DIR, once: a stamp remembers which one.
# usage: fetch-duckdb.sh [DIR]   (default: duckdb in cargo's target folder)
set -euo pipefail

# Of the long-term line, which runs on every Python from 3.9 on.
PACKAGE=duckdb==1.4.5
ROOT=$(cd "$(dirname "$0")/.." && pwd)
DIR=${1:-${CARGO_TARGET_DIR:-$ROOT/target}/duckdb}

# A compiled module serves the Python that it was fetched for.
stamp="$PACKAGE $(python3 --version 2> /dev/null || true)"
is_fetched() { [ -f "$DIR/.fetched" ] && [ "$(< "$DIR/.fetched")" = "$stamp" ]; }
is_fetched && exit 0

if ! python3 -m pip --version > /dev/null 2>&1; then
    echo "fetch-duckdb: Python 3 and pip are needed to read Parquet files back; install them with: apt-get install python3 python3-pip" >&2
    exit 1
fi

# One fetches, whoever else started at the same time waits.
mkdir -p "$(dirname "$DIR")"
exec 9> "$DIR.lock"
flock 9
is_fetched && exit 0

echo "fetching DuckDB for the tests (20 MB) into $DIR" >&2
part=$DIR.part
rm -rf "$part"
# pip tries again by itself.
if ! PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet --disable-pip-version-check --no-cache-dir \
    --only-binary :all: --target "$part" "$PACKAGE" 9>&-; then
    echo "fetch-duckdb: pip could not fetch $PACKAGE; see its messages above" >&2
    exit 1
fi
echo "$stamp" > "$part/.fetched"
rm -rf "$DIR"
mv "$part" "$DIR"
