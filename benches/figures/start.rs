//! The time from the start of the program to its first output, and what it uses while nothing comes in.

use std::process::Stdio;
use std::time::Duration;

use super::Size;
use super::program::{Program, wait_for_output};
use super::table::{Table, median, milliseconds};
use crate::harness::broker::Broker;
use crate::topic::Topic;

/// Messages of the topic: a batch or two.
const MESSAGES: u64 = 1000;

const STARTS: usize = 11;

pub(crate) fn measure(size: Size, table: &mut Table) {
    let broker = Broker::shared();
    let topic = Topic::new(broker, MESSAGES, "uncompressed");
    let count = [
        "wordcount",
        "--quiet",
        "--brokers",
        broker.bootstrap(),
        "--topic",
        &topic.name,
    ];
    // A first micro-batch of 10 ms instead of 250, so that the trigger does not hide the start.
    let at_once: Vec<_> = count.iter().copied().chain(["--every", "10ms"]).collect();
    let starts: Vec<_> = (0..STARTS).map(|_| first_output(&at_once)).collect();
    let start = median(&starts);
    let figure = format!(
        "{}, at most {}",
        milliseconds(start),
        milliseconds(*starts.iter().max().expect("some"))
    );
    table.add("start of the program to its first counts", figure, "");
    table.bar("< 300 ms", start < Duration::from_millis(300));
    idle(&count, size, table);
}

fn first_output(arguments: &[&str]) -> Duration {
    let mut program = Program::start(arguments, Stdio::piped());
    wait_for_output(&mut program.take_stdout());
    program.age()
}

fn idle(arguments: &[&str], size: Size, table: &mut Table) {
    let mut program = Program::start(arguments, Stdio::piped());
    let mut stdout = program.take_stdout();
    wait_for_output(&mut stdout);
    let drain = std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
    program.wait_until_quiet();
    let (before, at) = (program.cpu(), program.age());
    std::thread::sleep(Duration::from_secs(size.idle_seconds));
    let (used, watched) = (program.cpu() - before, program.age() - at);
    drop(program);
    drain
        .join()
        .expect("copying does not panic")
        .expect("the pipe ends with the program");
    let share = 100.0 * used.as_secs_f64() / watched.as_secs_f64();
    table.add(
        "idle word count, every second",
        format!("{share:.2} % of a core, {:.0} s", watched.as_secs_f64()),
        "",
    );
    table.bar("< 1 %", share < 1.0);
}
