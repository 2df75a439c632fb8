//! Kafka's own Java programs: the jars, and how to run a class of them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::scratch::{root, target};

const NEEDED: &str = "the tests need a Java 17 runtime and Maven: apt-get install openjdk-17-jre-headless maven";

static JARS: OnceLock<Result<PathBuf, String>> = OnceLock::new();

/// Returns a command that runs the Java class `class` of Kafka with `options` for the virtual machine.
///
/// The jars are fetched if they are not there yet.
///
/// # Panics
/// When Java or Maven is missing, or the jars can't be fetched; the message says what to install.
pub(crate) fn java(options: &[&str], class: &str) -> Command {
    let jars = JARS
        .get_or_init(fetch)
        .as_ref()
        .unwrap_or_else(|problem| panic!("{problem}"));
    let mut command = Command::new("java");
    command.args(options);
    command.args(["-XX:+UseSerialGC", "-Djava.net.preferIPv4Stack=true"]);
    let logging = root().join("tests/broker/log4j2.xml");
    command.arg(format!("-Dlog4j2.configurationFile={}", logging.display()));
    command.arg("-cp").arg(jars.join("*")).arg(class);
    command.stdin(Stdio::null());
    command
}

/// Runs one of Kafka's command-line tools to its end and returns what it printed.
///
/// # Panics
/// When it fails; the message shows its output.
#[track_caller]
pub(crate) fn run_tool(class: &str, arguments: &[&str]) -> String {
    let mut command = java(&["-Xmx128m", "-XX:TieredStopAtLevel=1", "-Dkafka.loglevel=WARN"], class);
    let output = command
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{NEEDED} ({error})"));
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        output.status.success(),
        "{class} {arguments:?} failed:\n{stdout}\n{stderr}"
    );
    stdout.into_owned()
}

fn fetch() -> Result<PathBuf, String> {
    let found = Command::new("java").arg("-version").output();
    if !found.is_ok_and(|output| output.status.success()) {
        return Err(NEEDED.to_owned());
    }
    let jars = target().join("kafka-jars");
    let script: &Path = &root().join("scripts/fetch-kafka.sh");
    let output = Command::new(script)
        .arg(&jars)
        .output()
        .map_err(|error| format!("cannot run {}: {error}", script.display()))?;
    if output.status.success() {
        return Ok(jars);
    }
    Err(format!("{NEEDED}\n{}", String::from_utf8_lossy(&output.stderr)))
}
