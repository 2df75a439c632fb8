//! Several sources in one job, as far as their keys can be wrong together.

use super::*;

/// Two sources: the second is of this kind.
fn two_sources(second: &str) -> String {
    format!("{SOURCE}[source.other]\n{second}\n{QUERY}")
}

#[test]
fn a_topic_or_a_file_is_read_by_one_source() {
    let second = "kind = \"kafka\"\nbrokers = \"elsewhere:9092\"\ntopics = [\"app\", \"nginx\"]";
    check(
        &format!("{}{SINK}", two_sources(second)),
        r#"
job.toml:5:9: the topic nginx is read by [source.logs] too: a topic or file is read by one source, which may try several formats
  |
5 | [source.other]
  |         ^^^^^
"#,
    );
}

#[test]
fn sources_whose_offsets_are_in_one_transaction_have_one_group() {
    let second = "kind = \"kafka\"\nbrokers = \"localhost:9092\"\ntopic = \"app\"\ngroup = \"apps\"";
    let sink = "[sink]\nkind = \"kafka\"\ntopic = \"copies\"\n[run]\ncheckpoint = \"state\"\n";
    check(
        &format!("{}{sink}", two_sources(second)),
        r#"
job.toml:5:9: exactly-once output to Kafka publishes the offsets of all sources in one transaction, to one group: [source.other] has `apps`, an earlier source `millstream-job`
  |
5 | [source.other]
  |         ^^^^^
"#,
    );
    plan(&format!("{}{SINK}", two_sources(second)));
    let sink = sink.replace("topic =", "brokers = \"localhost:9092\"\ntopic =");
    let elsewhere = second.replace("localhost", "elsewhere");
    plan(&format!("{}{sink}", two_sources(&elsewhere)));
}
