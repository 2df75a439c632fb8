//! Jobs without a query: archives.

use super::*;
use crate::job::plan::{ArchiveLayout, FormatPlan};

const FOLDER: &str = "[sink]\nkind = \"parquet\"\ndir = \"out\"\n";

#[test]
fn a_job_without_a_query_is_an_archive_of_records_as_they_are() {
    let plan = plan(&format!("{SOURCE}{FOLDER}file_rows = 7\nbloom_filter = [\"key\"]\n"));
    let archive = plan.archive.as_ref().expect("an archive");
    assert_eq!(archive.layout, ArchiveLayout::Envelope);
    assert_eq!(archive.file_rows.map(u64::from), Some(7));
    assert_eq!(archive.segment_offsets.get(), 1_000_000);
    assert_eq!(plan.sources[0].formats, [FormatPlan::Raw]);
    assert_eq!(plan.run.checkpoint, None, "the archive itself is one");
    assert_eq!(archive.to_string(), "parquet out, layout envelope");
}

#[test]
fn an_archive_of_what_values_say_has_the_format_of_its_source() {
    let plan = plan(&format!(
        "{SOURCE}format = \"combined\"\non_bad = \"null\"\n{FOLDER}layout = \"both\"\n"
    ));
    assert_eq!(plan.archive.expect("an archive").layout, ArchiveLayout::Both);
    assert_eq!(plan.sources[0].formats, [FormatPlan::Combined]);
}

#[test]
fn a_job_with_another_sink_and_no_query_lacks_a_query() {
    check(
        &format!("{SOURCE}{SINK}"),
        r#"
job.toml:1:1: missing `query` in the job file
  |
1 | [source.logs]
  | ^
  = [query] says in SQL what goes to the [sink]; without one, `millstream replay` archives the records as they are, to a [sink] of kind = "parquet"
"#,
    );
}

#[test]
fn what_an_archive_can_not_have_is_refused_at_its_place() {
    check(
        &format!(
            "{SOURCE}group = \"g\"\nreaders = 1\non_data_loss = \"reset\"\nformat = \"json\"\nmax_error_ratio = 0.1\n\
             {FOLDER}file_age = \"1m\"\nrow_group_rows = 5\n\
             [dead_letter]\nkind = \"file\"\npath = \"bad\"\n[run]\nthreads = 2\ncheckpoint = \"state\"\n"
        ),
        r#"
job.toml:5:9: a replay joins no group: `group` goes with from = "committed", to start where that group is
  |
5 | group = "g"
  |         ^^^

job.toml:6:11: a replay reads with all its threads: write threads = ... in [run]
  |
6 | readers = 1
  |           ^

job.toml:7:16: an archive can't begin again: expected fail or skip
  |
7 | on_data_loss = "reset"
  |                ^^^^^^^

job.toml:8:10: an archive keeps records as they are: for `format` write layout = "parsed" or "both" in [sink]
  |
8 | format = "json"
  |          ^^^^^^

job.toml:9:19: a replay has no `max_error_ratio`: on_bad = "fail" stops it at the first bad record
  |
9 | max_error_ratio = 0.1
  |                   ^^^

job.toml:13:12: `file_age` is a key of jobs with a query: files of an archive end by `file_rows`, `file_bytes`, `file_span` and `segment`
   |
13 | file_age = "1m"
   |            ^^^^

job.toml:14:18: `row_group_rows` is a key of jobs with a query: files of an archive end by `file_rows`, `file_bytes`, `file_span` and `segment`
   |
14 | row_group_rows = 5
   |                  ^

job.toml:15:1: a replay has no dead letters: write on_bad = "fail", "skip" or "null" in the source
   |
15 | [dead_letter]
   | ^^^^^^^^^^^^^

job.toml:20:14: `checkpoint` is a key of jobs with a query: an archive, which knows itself how far it is, has `threads` only
   |
20 | checkpoint = "state"
   |              ^^^^^^^
"#,
    );
}

#[test]
fn a_layout_of_values_needs_a_format_and_an_archive_one_source_of_kafka() {
    check(
        &format!("{SOURCE}from = \"committed\"\n[source.more]\nkind = \"generate\"\n{FOLDER}layout = \"parsed\"\n"),
        r#"
job.toml:1:1: layout = "parsed" needs a `format` with columns, such as json: "envelope" keeps records as they are
  |
1 | [source.logs]
  | ^^^^^^^^^^^^^

job.toml:5:8: whose offsets? `committed` needs `group`
  |
5 | from = "committed"
  |        ^^^^^^^^^^^

job.toml:6:9: an archive has one source: `topics` or `topic_pattern` in it stand for several topics
  |
6 | [source.more]
  |         ^^^^

job.toml:6:9: an archive is of Kafka topics: expected kind = "kafka", or a [query] for another source
  |
6 | [source.more]
  |         ^^^^
"#,
    );
}

#[test]
fn keys_of_an_archive_are_refused_beside_a_query() {
    check(
        &format!("{SOURCE}{QUERY}{FOLDER}layout = \"both\"\n"),
        r#"
job.toml:10:10: `layout` is a key of an archive, which has no query
   |
10 | layout = "both"
   |          ^^^^^^
"#,
    );
}

#[test]
fn a_replay_of_a_job_with_a_query_is_refused_at_its_statement() {
    let errors = plan(&format!("{SOURCE}{QUERY}{SINK}")).not_an_archive();
    let expected = r#"
job.toml:6:7: a replay keeps records as they are, and has no query
  |
6 | sql = "SELECT 1"
  |       ^^^^^^^^^^
  = write no [query], and one [sink] of kind = "parquet"; or give the job to `millstream run`
"#;
    assert_eq!(errors.expect("a query").to_string(), expected.trim_matches('\n'));
}

#[test]
fn an_archive_may_be_in_a_bucket_and_nothing_else_may() {
    let bucket = "[sink]\nkind = \"parquet\"\ndir = \"s3://logs/a\"\n";
    let archive = plan(&format!("{SOURCE}{bucket}")).archive.expect("an archive");
    assert_eq!(archive.to_string(), "parquet s3://logs/a, layout envelope");
    check(
        &format!("{SOURCE}{}", bucket.replace("s3:", "http:")),
        r#"
job.toml:7:7: `http://` is no place of an archive: expected a folder, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX
  |
7 | dir = "http://logs/a"
  |       ^^^^^^^^^^^^^^^
"#,
    );
    check(
        &format!("{SOURCE}{QUERY}{bucket}"),
        r#"
job.toml:9:7: rows of a query can't be in an object store, only an archive of `replay` can: expected a folder, not s3://logs/a
  |
9 | dir = "s3://logs/a"
  |       ^^^^^^^^^^^^^
"#,
    );
}
