//! Reading natively and with librdkafka: what one gives, the other gives, and both give what is there.

mod cluster;
mod records;

use crate::harness::PATIENCE;
use crate::harness::broker::Broker;
use crate::harness::parquet;
use crate::harness::process::Run;
use crate::harness::records::Record;
use crate::harness::scratch::Scratch;

/// Both ways of reading. Neither falls back to the other.
const CLIENTS: [&str; 2] = ["native", "librdkafka"];

/// Archives a topic up to what is there now, and returns the records of the archive.
#[track_caller]
fn replay(broker: &Broker, topic: &str, client: &str, options: &[&str]) -> Vec<Record> {
    let scratch = Scratch::new("native");
    let run = Run::millstream(&scratch, "replay").args(["replay", "-b", broker.bootstrap(), "-t", topic]);
    let run = run.args(["--out", "archive", "--client", client]).args(options);
    run.finish(PATIENCE).expect_code(0);
    parquet::records(&scratch.join("archive"))
}
