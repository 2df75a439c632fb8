# Sourced by the scripts that fetch what tests run: one process fetches, whoever else started at the same time waits, and a
# stamp in the folder remembers what was fetched.
# shellcheck shell=bash

# fetch_once DIR STAMP WHAT FETCH: makes the folder DIR of what `FETCH PART` puts into the folder PART, unless it has the stamp.
fetch_once() {
    local dir=$1 stamp=$2 what=$3 fetch=$4 part=$1.part attempt
    mkdir -p "$(dirname "$dir")"
    exec 9> "$dir.lock"
    flock 9
    is_fetched "$dir" "$stamp" && return 0
    echo "fetching $what into $dir" >&2
    for attempt in 1 2 3; do
        rm -rf "$part"
        if "$fetch" "$part" 9>&-; then
            echo "$stamp" > "$part/.fetched"
            rm -rf "$dir"
            mv "$part" "$dir"
            return 0
        fi
        echo "${0##*/}: attempt $attempt of 3 failed" >&2
        sleep $((attempt * 5))
    done
    echo "${0##*/}: could not fetch $what; see the messages above" >&2
    return 1
}

# is_fetched DIR STAMP: whether the folder DIR has the stamp.
is_fetched() { [ -f "$1/.fetched" ] && [ "$(< "$1/.fetched")" = "$2" ]; }

# needs COMMAND WHAT INSTALL: ends the script when there is no COMMAND, which WHAT is for.
needs() {
    command -v "$1" > /dev/null || { echo "${0##*/}: $1 is not found, and needed for $2; install it with: $3" >&2; exit 1; }
}
