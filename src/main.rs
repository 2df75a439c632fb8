//! The `millstream` program.

use std::process::ExitCode;

/// Serves librdkafka's C allocations too, which are most of what reading through it costs.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    millstream::pages::use_small_pages();
    millstream::cli::main()
}
