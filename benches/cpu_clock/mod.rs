//! The processor time of a process: what it costs, whoever else uses the machine.

use std::time::Duration;

use nix::time::ClockId;

/// Returns the processor time that this process used so far, all threads together.
pub(crate) fn own() -> Duration {
    read(ClockId::CLOCK_PROCESS_CPUTIME_ID)
}

/// Returns the time of `clock`.
///
/// # Panics
/// When the clock is one of a process that is gone.
pub(crate) fn read(clock: ClockId) -> Duration {
    clock.now().expect("the clock of a living process").into()
}
