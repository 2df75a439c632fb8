#!/usr/bin/env bash
# Lets libFuzzer look for inputs that a target does not take, for some seconds each. An input that fails is kept in
# target/fuzz/, and named; inputs that go new ways gather in target/fuzz/TARGET. With --keep the smallest set of these that
# goes all the ways is added to the corpus.
# usage: run.sh SECONDS [TARGET...]
#        run.sh --keep TARGET...
set -euo pipefail
cd "$(dirname "$0")/.."
[[ ${1:-} =~ ^[0-9]+$ || (${1:-} == --keep && $# -gt 1) ]] || { sed -n '/^# usage/,/^#  /s/^# //p' "$0" >&2; exit 2; }
order=$1
shift
if [ $# -eq 0 ]; then
    mapfile -t targets < <(ls fuzz/corpus)
    set -- "${targets[@]}"
fi

found=${CARGO_TARGET_DIR:-target}/fuzz
export RUSTC_WORKSPACE_WRAPPER=$PWD/fuzz/instrument.sh
cargo build --locked --workspace --bin fuzz --features fuzz/libfuzzer
program=${CARGO_TARGET_DIR:-target}/debug/fuzz
for target in "$@"; do
    mkdir -p "$found/$target"
    export FUZZ_TARGET=$target
    if [ "$order" = --keep ]; then
        "$program" -merge=1 -max_len=4096 "fuzz/corpus/$target" "$found/$target"
    else
        echo "fuzz: $target for $order seconds"
        "$program" -max_total_time="$order" -timeout=10 -max_len=65536 -verbosity=0 -print_final_stats=1 \
            -artifact_prefix="$found/$target-" "$found/$target" "fuzz/corpus/$target"
    fi
done
