# `make` lists what there is to do. Every target sees to its own set-up.

export CARGO_TERM_COLOR ?= auto
TARGET := $(or $(CARGO_TARGET_DIR),target)

.DEFAULT_GOAL := help
.PHONY: help demo build test lint bench bench-quick compare compare-page fuzz clean setup setup-test setup-compare

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# The demo needs no SQL, whose planner is the larger half of the build, and no object stores.
demo: setup ## count words of a log in an in-process broker, live, for 15 seconds
	@cargo build --release --locked --bin millstream --no-default-features
	@$(TARGET)/release/millstream demo

build: setup ## build the program: target/release/millstream
	@cargo build --release --locked --bin millstream

test: setup-test ## run all tests against a real Kafka broker, which is fetched and started by itself
	@scripts/fetch-kafka.sh
	@scripts/fetch-duckdb.sh
	@scripts/fetch-s3.sh
	@scripts/compare/test_compare.py
	@cargo test --workspace --locked

lint: setup ## check the format, clippy's lints and the documentation
	@cargo fmt --all --check
	@cargo clippy --workspace --all-targets --locked -- -D warnings
	@RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

bench: setup-test ## run the benchmarks, in processor time; the table at the end is the README's
	@scripts/fetch-kafka.sh
	@cargo bench --locked --bench kernel --bench pipeline --bench parquet --bench fetch --bench kafka
	@cargo bench --locked --bench figures

bench-quick: setup-test ## run the benchmarks with less input and few samples
	@scripts/fetch-kafka.sh
	@cargo bench --locked --bench kernel --bench pipeline --bench parquet --bench fetch --bench kafka -- --quick
	@cargo bench --locked --bench figures -- --quick

compare: setup-compare ## measure the same jobs beside Spark, Flink and others, an hour; COMPARE="--quick" is shorter
	@cargo build --release --locked --bin millstream
	@scripts/compare/main.py $(COMPARE)

compare-page: ## write BENCHMARKS.md again from what was measured last
	@scripts/compare/main.py --page

fuzz: setup ## let libFuzzer look for input that breaks a reader, 20 seconds for each
	@fuzz/run.sh 20

clean: ## remove all that was built, fetched and written by tests
	@cargo clean

setup:
	@scripts/setup.sh build

setup-test:
	@scripts/setup.sh test

setup-compare:
	@scripts/setup.sh compare
