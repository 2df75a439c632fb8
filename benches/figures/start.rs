//! The time from the start of the program to its first output, and what it uses while nothing comes in.

use std::process::Stdio;
use std::time::Duration;

use super::Size;
use super::program::{Program, wait_for_output};
use super::table::{Table, median, milliseconds};
use crate::harness::broker::Broker;
#[cfg(feature = "sql")]
use crate::harness::scratch::{Scratch, root};
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
    starts("start of the program to its first counts", table, |_| {
        first_output(&at_once)
    });
    #[cfg(feature = "sql")]
    {
        let scratch = Scratch::new("figures-start");
        let start = |number| first_output_of_job(&scratch, number, broker, &topic);
        starts("start of a job in SQL to its first counts", table, start);
    }
    idle(&count, size, table);
}

/// Adds the median and the worst of some starts.
fn starts(name: &str, table: &mut Table, start: impl Fn(usize) -> Duration) {
    let starts: Vec<_> = (0..STARTS).map(start).collect();
    let start = median(&starts);
    let figure = format!(
        "{}, at most {}",
        milliseconds(start),
        milliseconds(*starts.iter().max().expect("some"))
    );
    table.add(name, figure, "");
    table.bar("< 300 ms", start < Duration::from_millis(300));
}

/// Starts the word count of `data/jobs`, each time with a checkpoint of its own: all words come again.
#[cfg(feature = "sql")]
fn first_output_of_job(scratch: &Scratch, number: usize, broker: &Broker, topic: &Topic) -> Duration {
    let job = root().join("data/jobs/word_count.toml").display().to_string();
    let checkpoint = scratch.join(format!("start-{number}"));
    let settings = [
        format!("source.lines.brokers={}", broker.bootstrap()),
        format!("source.lines.topic={}", topic.name),
        format!("source.lines.group={}", Broker::unique("figures")),
        format!("run.checkpoint={}", checkpoint.display()),
        "run.trigger=10ms".to_owned(),
    ];
    let mut arguments = vec!["run", &job, "--quiet"];
    arguments.extend(settings.iter().flat_map(|setting| ["--set", setting]));
    first_output(&arguments)
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
