#!/usr/bin/env bash
# Compiles the project's own crates so that libFuzzer sees which ways an input takes; cargo calls it in the place of rustc
# (RUSTC_WORKSPACE_WRAPPER). The crates of others stay as the tests have built them.
set -euo pipefail
rustc=$1
shift
coverage="-sanitizer-coverage-level=4 -sanitizer-coverage-inline-8bit-counters -sanitizer-coverage-pc-table"
coverage+=" -sanitizer-coverage-trace-compares"
exec "$rustc" "$@" -Cpasses=sancov-module -Cllvm-args="$coverage" -Ccodegen-units=1
