//! One test a kind of error, with the whole text that is shown.

use proptest::prelude::*;

use super::*;
use crate::job::template::TEMPLATES;

#[test]
fn an_unknown_key_is_named_with_the_nearest_and_all_there_are() {
    check(
        &format!("[source.logs]\nkind = \"file\"\npath = \"a.log\"\npaths = \"a.log\"\n{QUERY}{SINK}"),
        r#"
job.toml:3:1: unknown key `path` in [source.logs]: did you mean `paths`?
  |
3 | path = "a.log"
  | ^^^^
  = the keys here: kind, format, columns, time_zone, time, on_bad, max_error_ratio, paths
"#,
    );
}

#[test]
fn a_key_of_another_kind_is_recognised() {
    check(
        &format!("[source.logs]\nkind = \"file\"\npaths = \"a.log\"\nbrokers = \"b:1\"\n{QUERY}{SINK}"),
        r#"
job.toml:4:1: unknown key `brokers` in [source.logs]: it goes with kind = "kafka"
  |
4 | brokers = "b:1"
  | ^^^^^^^
  = the keys here: kind, format, columns, time_zone, time, on_bad, max_error_ratio, paths
"#,
    );
}

#[test]
fn an_unknown_table_is_an_unknown_key_of_the_file() {
    check(
        &format!("{SOURCE}{QUERY}{SINK}[runn]\n"),
        r#"
job.toml:9:2: unknown key `runn` in the job file: did you mean `run`?
  |
9 | [runn]
  |  ^^^^
  = the keys here: name, source, query, sink, dead_letter, run, test
"#,
    );
}

#[test]
fn a_value_of_the_wrong_type_is_shown_with_what_was_expected() {
    check(
        &format!("{SOURCE}on_bad = true\nreaders = 0\n{QUERY}{SINK}[run]\ntrigger = 5\nqueue = -1\n"),
        r#"
job.toml:5:10: expected dead_letter, null, skip or fail, not `true`
  |
5 | on_bad = true
  |          ^^^^

job.toml:6:11: expected a whole number, 1 or more, not the number 0
  |
6 | readers = 0
  |           ^

job.toml:12:11: expected a duration such as 1s, 500ms or 5m, not the number 5
   |
12 | trigger = 5
   |           ^

job.toml:13:9: expected bytes such as 128MiB or 1GB, not the number -1
   |
13 | queue = -1
   |         ^^
"#,
    );
}

#[test]
fn a_bad_value_is_shown_with_those_there_are() {
    check(
        &format!(
            "{SOURCE}on_bad = \"dead_leter\"\nfrom = \"soon\"\n{QUERY}mode = \"apend\"\n[sink]\nkind = \"parquet\"\n\
             dir = \"out\"\ncompression = \"gzip\"\npartition_by = [\"day(time)\"]\n"
        ),
        r#"
job.toml:5:10: expected dead_letter, null, skip or fail, not `dead_leter`: did you mean `dead_letter`?
  |
5 | on_bad = "dead_leter"
  |          ^^^^^^^^^^^^

job.toml:6:8: expected earliest, latest, committed, a time such as 2026-01-31T08:00:00Z or 2026-01-31, an age such as 15m, 1h or 7d, or offsets such as 0:120,1:4000, not `soon`
  |
6 | from = "soon"
  |        ^^^^^^

job.toml:9:8: expected append, update or complete, not `apend`: did you mean `append`?
  |
9 | mode = "apend"
  |        ^^^^^^^

job.toml:13:15: expected none, snappy, lz4, zstd or zstd:1 to zstd:22, got `gzip`
   |
13 | compression = "gzip"
   |               ^^^^^^

job.toml:14:17: expected a column, or year, month, date or hour of one, as in `date(time)`, not `day(time)`
   |
14 | partition_by = ["day(time)"]
   |                 ^^^^^^^^^^^
"#,
    );
}

#[test]
fn an_unknown_kind_is_answered_with_those_there_are() {
    check(
        &format!("[source.logs]\nkind = \"kafak\"\n{QUERY}{SINK}[dead_letter]\nkind = 1\n"),
        r#"
job.toml:2:8: expected kafka, file or generate, not `kafak`: did you mean `kafka`?
  |
2 | kind = "kafak"
  |        ^^^^^^^

job.toml:8:8: expected kafka, parquet or file, not the number 1
  |
8 | kind = 1
  |        ^
"#,
    );
}

#[test]
fn what_is_missing_is_named_with_what_it_is() {
    check(
        "[source.logs]\nkind = \"kafka\"\n[query]\n[sink]\ndir = \"out\"\n",
        r#"
job.toml:1:1: missing `brokers` in [source.logs]
  |
1 | [source.logs]
  | ^^^^^^^^^^^^^
  = brokers: Brokers to connect to, as HOST:PORT[,HOST:PORT]

job.toml:3:1: missing `sql` in [query]
  |
3 | [query]
  | ^^^^^^^
  = sql: The SELECT

job.toml:4:1: missing `kind` in [sink]: expected console, parquet, kafka or file
  |
4 | [sink]
  | ^^^^^^
"#,
    );
    check(
        "",
        r#"
job.toml:1:1: missing `source` in the job file
  |
1 |
  | ^
  = source: What is read: one table a source, whose name is that of a table in SQL

job.toml:1:1: missing `query` in the job file
  |
1 |
  | ^
  = [query] says in SQL what goes to the [sink]; without one, `millstream replay` archives the records as they are, to a [sink] of kind = "parquet"
"#,
    );
    check(
        "[source]\n[query]\nsql = \"SELECT 1\"\n[sink]\nkind = \"console\"\n",
        r#"
job.toml:1:1: expected at least one [source.NAME]
  |
1 | [source]
  | ^^^^^^^^
"#,
    );
}

#[test]
fn what_is_no_toml_is_shown_where_it_stops_to_be() {
    check(
        "[source.logs\nkind = \"kafka\n",
        r#"
job.toml:1:13: this is not TOML: unclosed table, expected `]`
  |
1 | [source.logs
  |             ^
"#,
    );
    check(
        "a = 1\na = 2\n",
        r#"
job.toml:2:1: this is not TOML: duplicate key
  |
2 | a = 2
  | ^
"#,
    );
}

#[test]
fn a_topic_is_given_in_one_way() {
    check(
        &format!("{SOURCE}topics = [\"a\"]\n{QUERY}{SINK}"),
        r#"
job.toml:5:10: expected only one of `topic`, `topics` and `topic_pattern`
  |
5 | topics = ["a"]
  |          ^^^^^
"#,
    );
    check(
        &format!("[source.logs]\nkind = \"kafka\"\nbrokers = \"b\"\n{QUERY}{SINK}"),
        r#"
job.toml:1:1: missing the topics: expected `topic`, `topics` or `topic_pattern`
  |
1 | [source.logs]
  | ^^^^^^^^^^^^^
"#,
    );
    check(
        &format!("[source.logs]\nkind = \"kafka\"\nbrokers = \"b:port\"\ntopic_pattern = \"a(\"\n{QUERY}{SINK}"),
        r#"
job.toml:3:11: expected HOST:PORT[,HOST:PORT], not `b:port`
  |
3 | brokers = "b:port"
  |           ^^^^^^^^

job.toml:4:17: expected a regular expression: unclosed group
  |
4 | topic_pattern = "a("
  |                 ^^^^
"#,
    );
    check(
        &format!("[source.logs]\nkind = \"kafka\"\nbrokers = \"b\"\npattern = \"^a\"\n{QUERY}{SINK}"),
        r#"
job.toml:1:1: missing the topics: expected `topic`, `topics` or `topic_pattern`
  |
1 | [source.logs]
  | ^^^^^^^^^^^^^

job.toml:4:1: unknown key `pattern` in [source.logs]: did you mean `topic_pattern`?
  |
4 | pattern = "^a"
  | ^^^^^^^
  = the keys here: kind, format, columns, time_zone, time, on_bad, max_error_ratio, brokers, topic, topics, topic_pattern, from, to, group, on_data_loss, read_uncommitted, readers, client, properties, librdkafka
"#,
    );
}

#[test]
fn a_job_that_ends_before_it_starts_is_refused() {
    check(
        &format!("{SOURCE}from = 2026-01-31\nto = 2026-01-30T00:00:00Z\n{QUERY}{SINK}"),
        r#"
job.toml:6:6: from (2026-01-31T00:00:00Z) is after to (2026-01-30T00:00:00Z)
  |
6 | to = 2026-01-30T00:00:00Z
  |      ^^^^^^^^^^^^^^^^^^^^
"#,
    );
}

#[test]
fn a_secret_is_refused_and_never_shown() {
    let settings = "[source.logs.librdkafka]\n\"sasl.password\" = \"canary\"\n\"sasl.pasword\" = \"canary\"\n\
                    \"ssl.key.pem\" = \"\"\"\ncanary\n\"\"\"\n";
    check(
        &format!("{SOURCE}{settings}{QUERY}{SINK}"),
        r#"
job.toml:6:1: `sasl.password` is a secret: a job file may only say where it is kept
  = write "sasl.password" = { env = "NAME" } or { file = "PATH" }

job.toml:7:1: librdkafka has no setting `sasl.pasword`
  |
7 | "sasl.pasword" = ********
  | ^^^^^^^^^^^^^^

job.toml:8:1: `ssl.key.pem` is a secret: a job file may only say where it is kept
  = write "ssl.key.pem" = { env = "NAME" } or { file = "PATH" }
"#,
    );
    let inline = "librdkafka = { \"sasl.pasword\" = \"canary\", \"ssl.ca.location\" = 1, \"group.id\" = \"g\" }\n";
    for text in [
        format!("{SOURCE}{inline}{QUERY}{SINK}"),
        format!("{SOURCE}\"sasl.password\" = \"canary\"\n"),
        format!("{SOURCE}[source.logs.librdkafka]\n\"sasl.password\" = \"canary\n"),
        format!("{SOURCE}[source.logs.librdkafka]\nsasl.password = \"canary\"\n{QUERY}{SINK}"),
    ] {
        let errors = load(&text).expect_err("a secret in the file");
        assert!(!errors.to_string().contains("canary"), "{errors}");
    }
    let overrides = set(&["source.logs.librdkafka.\"sasl.password\"=canary"]);
    let errors = JobFile::from_text("job.toml", format!("{SOURCE}{QUERY}{SINK}"), &overrides).check(None);
    let errors = errors.expect_err("a secret on the command line");
    assert!(!errors.to_string().contains("canary"), "{errors}");
}

#[test]
fn a_setting_of_librdkafka_is_checked() {
    check(
        &format!(
            "{SOURCE}[source.logs.librdkafka]\n\"security.protocol\" = \"TLS\"\n\"group.id\" = \"g\"\n\
             \"enable.auto.commit\" = true\nsasl.mechanism = \"PLAIN\"\n{QUERY}{SINK}"
        ),
        r#"
job.toml:6:23: librdkafka refuses it: Invalid value "TLS" for configuration property "security.protocol"
  |
6 | "security.protocol" = "TLS"
  |                       ^^^^^

job.toml:7:1: `group.id` can't be set here: the key `group` says it
  |
7 | "group.id" = "g"
  | ^^^^^^^^^^

job.toml:8:1: enable.auto.commit can't be set here: offsets are committed when the output is durable
  |
8 | "enable.auto.commit" = ****
  | ^^^^^^^^^^^^^^^^^^^^

job.toml:9:1: expected a text, a number, true or false, { env = "NAME" } or { file = "PATH" }, not a table with `mechanism`
  |
9 | sasl.mechanism = "PLAIN"
  | ^^^^
  = the name of a setting has dots, so it needs quotes: "sasl.mechanism" = ...
"#,
    );
}

#[test]
fn what_needs_dead_letters_needs_a_place_for_them() {
    check(
        &format!("{SOURCE}on_bad = \"dead_letter\"\n{QUERY}late = \"dead_letter\"\n{SINK}"),
        r#"
job.toml:5:10: there is no [dead_letter] for them to go to
  |
5 | on_bad = "dead_letter"
  |          ^^^^^^^^^^^^^

job.toml:8:8: there is no [dead_letter] for them to go to
  |
8 | late = "dead_letter"
  |        ^^^^^^^^^^^^^
"#,
    );
}

#[test]
fn exactly_once_output_needs_a_checkpoint() {
    check(
        &format!("{SOURCE}{QUERY}[sink]\nkind = \"kafka\"\ntopic = \"out\"\n"),
        r#"
job.toml:7:1: exactly-once output needs a checkpoint: kafka localhost:9092, topic out
  |
7 | [sink]
  | ^^^^^^
  = write checkpoint = "state/..." in [run], or delivery = "at_least_once" in the sink
"#,
    );
}

#[test]
fn queries_and_sinks_go_together_by_name() {
    let queries = "[query.a]\nsql = \"SELECT 1\"\n[query.b]\nsql = \"SELECT 1\"\n";
    check(
        &format!("{SOURCE}{queries}{SINK}"),
        r#"
job.toml:9:1: which query has this [sink]? with several, write [sink.NAME] for [query.NAME]
  |
9 | [sink]
  | ^^^^^^
"#,
    );
    check(
        &format!("{SOURCE}{queries}[sink.a]\nkind = \"console\"\n[sink.bb]\nkind = \"console\"\n"),
        r#"
job.toml:7:8: the result of the query `b` goes nowhere: expected [sink.b], or a later query that reads it
  |
7 | [query.b]
  |        ^
  = for a start: sink = { kind = "console" }

job.toml:11:7: there is no query `bb`: did you mean `b`?
   |
11 | [sink.bb]
   |       ^^
"#,
    );
    check(
        &format!("{SOURCE}{QUERY}sink = {{ kind = \"console\" }}\n{SINK}"),
        r#"
job.toml:7:8: the query `query` has a sink already: [sink.query], or [sink]
  |
7 | sink = { kind = "console" }
  |        ^^^^^^^^^^^^^^^^^^^^
"#,
    );
    check(
        &format!(
            "{SOURCE}[query.logs]\nsql = \"SELECT 1\"\nsink = {{ kind = \"console\" }}\n[query.Errors]\nsql = \"SELECT 1\"\nsink = {{ kind = \"console\" }}\n"
        ),
        r#"
job.toml:5:8: `logs` is the name of a source and of a query: SQL needs two
  |
5 | [query.logs]
  |        ^^^^

job.toml:8:8: expected a name of lower-case letters, digits and `_` for a query, as SQL has them, not `Errors`
  |
8 | [query.Errors]
  |        ^^^^^^
"#,
    );
}

#[test]
fn outputs_do_not_destroy_each_other_or_feed_the_job() {
    check(
        &format!(
            "{SOURCE}[query.a]\nsql = \"SELECT 1\"\nsink = {{ kind = \"parquet\", dir = \"out\" }}\n\
             [query.b]\nsql = \"SELECT 1\"\nsink = {{ kind = \"kafka\", topic = \"nginx\" }}\n\
             [dead_letter]\nkind = \"parquet\"\ndir = \"./out/\"\n[run]\ncheckpoint = \"state\"\n"
        ),
        r#"
job.toml:10:8: the topic nginx is read by [source.logs]: the job would read what it writes
   |
10 | sink = { kind = "kafka", topic = "nginx" }
   |        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^

job.toml:11:1: out is written by two sinks
   |
11 | [dead_letter]
   | ^^^^^^^^^^^^^
"#,
    );
}

#[test]
fn a_sink_without_brokers_needs_one_cluster_to_take_them_from() {
    check(
        &format!(
            "[source.logs]\nkind = \"generate\"\n{QUERY}[sink]\nkind = \"kafka\"\ntopic = \"t\"\n\
             delivery = \"at_least_once\"\n"
        ),
        r#"
job.toml:5:1: missing `brokers`: no Kafka cluster is read from, whose brokers it could be
  |
5 | [sink]
  | ^^^^^^
"#,
    );
}

#[test]
fn a_format_is_checked_as_far_as_it_can_be_without_data() {
    check(
        &format!(
            "{SOURCE}format = [\"jsn\", \"regex\", {{ kind = \"regex\", pattern = '^(\\S+' }}, {{ kind = \"csv\", delimiter = \"::\" }}, \"parquet\"]\n{QUERY}{SINK}"
        ),
        r#"
job.toml:5:11: expected lines, raw, json, logfmt, common, combined, syslog, csv, tsv, regex, grok, avro or parquet, not `jsn`: did you mean `json`?
  |
5 | format = ["jsn", "regex", { kind = "regex", pattern = '^(\S+' }, { kind = "csv", delimiter = "::" }, "parquet"]
  |           ^^^^^

job.toml:5:18: missing `pattern` in { kind = "regex" }
  |
5 | format = ["jsn", "regex", { kind = "regex", pattern = '^(\S+' }, { kind = "csv", delimiter = "::" }, "parquet"]
  |                  ^^^^^^^
  = pattern: A regular expression with named groups: `(?<level>[A-Z]+) (?<message>.*)`

job.toml:5:55: expected a regular expression: unclosed group
  |
5 | format = ["jsn", "regex", { kind = "regex", pattern = '^(\S+' }, { kind = "csv", delimiter = "::" }, "parquet"]
  |                                                       ^^^^^^^

job.toml:5:94: expected one ASCII character, not `::`
  |
5 | format = ["jsn", "regex", { kind = "regex", pattern = '^(\S+' }, { kind = "csv", delimiter = "::" }, "parquet"]
  |                                                                                              ^^^^
"#,
    );
    check(
        &format!(
            "{SOURCE}format = \"json\"\ncolumns = {{ status = \"integer\", time = \"string\" }}\ntime = {{ column = \"time\" }}\n{QUERY}{SINK}"
        ),
        r#"
job.toml:6:22: expected string, int, float, bool, timestamp or bytes, not `integer`
  |
6 | columns = { status = "integer", time = "string" }
  |                      ^^^^^^^^^

job.toml:7:19: `time` is declared, but not as a timestamp
  |
7 | time = { column = "time" }
  |                   ^^^^^^
"#,
    );
    check(
        &format!(
            "{SOURCE}format = \"json\"\ncolumns = {{ time = \"timestamp\" }}\ntime = {{ column = \"tiem\" }}\n{QUERY}{SINK}"
        ),
        r#"
job.toml:7:19: there is no column `tiem`: did you mean `time`?
  |
7 | time = { column = "tiem" }
  |                   ^^^^^^
"#,
    );
}

#[test]
fn what_only_files_have_is_refused_of_topics() {
    check(
        &format!("{SOURCE}format = [\"json\", \"parquet\"]\ntime_zone = \"CET\"\n{QUERY}{SINK}"),
        r#"
job.toml:6:13: expected UTC, or hours and minutes as in +02:00, not `CET`
  |
6 | time_zone = "CET"
  |             ^^^^^
"#,
    );
    check(
        &format!("{SOURCE}format = [\"json\", \"parquet\"]\ntime_zone = \"-0700\"\n{QUERY}{SINK}"),
        r#"
job.toml:5:19: parquet is a format of files: it goes with kind = "file"
  |
5 | format = ["json", "parquet"]
  |                   ^^^^^^^^^
"#,
    );
}

#[test]
fn a_test_names_sources_and_queries_that_there_are() {
    check(
        &format!(
            "{SOURCE}{QUERY}{SINK}[[test]]\nname = \"t\"\ninput.log = [\"a\", 1]\ninput.lgs = []\nexpect.counts = []\nwatermark = \"noon\"\n"
        ),
        r#"
job.toml:11:19: expected a text, or a table { value, key, timestamp, topic, partition, headers }, not the number 1
   |
11 | input.log = ["a", 1]
   |                   ^

job.toml:14:13: expected a time such as 2026-01-31T12:00:00Z, not `noon`
   |
14 | watermark = "noon"
   |             ^^^^^^
"#,
    );
}

#[test]
fn a_test_can_fail_and_gives_what_its_source_can_have() {
    let file = "[source.logs]\nkind = \"file\"\npaths = \"a.log\"\n";
    check(
        &format!(
            "{file}{QUERY}{SINK}[[test]]\nname = \"t\"\ninput.logs = [{{ value = \"a\", key = \"k\" }}]\n[[test]]\nname = \"u\"\ninput = {{}}\nwatermark = 2026-01-01T00:00:00Z\ndead_letter = []\n"
        ),
        r#"
job.toml:8:1: the test expects nothing, so it could not fail
  |
8 | [[test]]
  | ^^^^^^^^
  = write expect.QUERY = [...], dead_letter = [...], late = ..., bad = ... or watermark = ...

job.toml:10:15: only records of Kafka have more than a value: write the line as a text
   |
10 | input.logs = [{ value = "a", key = "k" }]
   |               ^^^^^^^^^^^^^^^^^^^^^^^^^^

job.toml:14:13: there is no watermark: the source has no event time
   |
14 | watermark = 2026-01-01T00:00:00Z
   |             ^^^^^^^^^^^^^^^^^^^^
   = write time = { column = "...", lateness = "..." } in the source

job.toml:15:15: the job has no [dead_letter], so bad records go nowhere
   |
15 | dead_letter = []
   |               ^^
"#,
    );
    check(
        &format!(
            "{SOURCE}{QUERY}{SINK}[[test]]\nname = \"t\"\nbad = 0\ninput.logs = [{{ value = \"a\", partition = 1000 }}]\n"
        ),
        r#"
job.toml:12:42: expected a partition below 1000, not 1000
   |
12 | input.logs = [{ value = "a", partition = 1000 }]
   |                                          ^^^^
"#,
    );
}

#[test]
fn avro_is_for_records_and_its_header_has_a_number() {
    check(
        &format!(
            "[source.logs]\nkind = \"file\"\npaths = \"a\"\nformat = {{ kind = \"avro\", schema = \"a.avsc\" }}\n{QUERY}{SINK}"
        ),
        r#"
job.toml:4:10: avro is a format of records, not of lines: it goes with kind = "kafka"
  |
4 | format = { kind = "avro", schema = "a.avsc" }
  |          ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
"#,
    );
    check(
        &format!("{SOURCE}format = {{ kind = \"avro\", schema = \"a.avsc\", schema_id = 7 }}\n{QUERY}{SINK}"),
        r#"
job.toml:5:58: only Confluent's header has the number of a schema: write framing = "confluent"
  |
5 | format = { kind = "avro", schema = "a.avsc", schema_id = 7 }
  |                                                          ^
"#,
    );
}

#[test]
fn a_value_is_a_column_or_avro() {
    let job = |value: &str| {
        format!(
            "{SOURCE}{QUERY}[sink]\nkind = \"kafka\"\ntopic = \"out\"\nvalue = {value}\n[run]\ncheckpoint = \"state\"\n"
        )
    };
    check(
        &job("{ column = \"line\", avro = \"a.avsc\" }"),
        r#"
job.toml:10:9: expected either `column`, the bytes of one column, or `avro`, a file of a schema
   |
10 | value = { column = "line", avro = "a.avsc" }
   |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
"#,
    );
    check(
        &job("{ avro = \"a.avsc\", framing = \"confluent\" }"),
        r#"
job.toml:10:38: Confluent's header has the number of the schema: expected `schema_id`
   |
10 | value = { avro = "a.avsc", framing = "confluent" }
   |                                      ^^^^^^^^^^^
"#,
    );
    check(
        &job("{ column = \"line\", schema_id = 7 }"),
        r#"
job.toml:10:40: `schema_id` goes with `avro`
   |
10 | value = { column = "line", schema_id = 7 }
   |                                        ^
"#,
    );
}

#[test]
fn an_override_is_named_as_it_was_given() {
    let job = format!("{SOURCE}{QUERY}{SINK}");
    check_with(
        &job,
        &set(&[
            "run.trigger=soon",
            "run.thread=2",
            "run",
            "a b=1",
            "run.threads=none",
            "query.mode=\"apend\"",
        ]),
        r#"
--set run.trigger=soon: expected a duration such as 1s, 500ms or 5m, not `soon`

--set run.thread=2: unknown key `thread` in [run]: did you mean `threads`?
  = the keys here: trigger, checkpoint, checkpoint_interval, threads, queue, batch_rows

--set run: expected KEY=VALUE, as in --set run.threads=2

--set a b=1: expected the key's name with dots between its parts, not `a b`

--set run.threads=none: expected a whole number, 1 or more, not `none`

--set query.mode="apend": expected append, update or complete, not `apend`: did you mean `append`?
"#,
    );
    let overrides = Overrides {
        from: Some("soon".to_owned()),
        to: Some("earliest".to_owned()),
        ..Overrides::default()
    };
    check_with(
        &job,
        &overrides,
        r#"
--from soon: expected earliest, latest, committed, a time such as 2026-01-31T08:00:00Z or 2026-01-31, an age such as 15m, 1h or 7d, or offsets such as 0:120,1:4000, not `soon`

--to earliest: expected latest, a time such as 2026-01-31T08:00:00Z or 2026-01-31, an age such as 15m, 1h or 7d, or offsets such as 0:120,1:4000, not `earliest`
"#,
    );
    check_with(
        &format!("[source.logs]\nkind = \"generate\"\n{QUERY}{SINK}"),
        &overrides,
        r#"
--from soon: the job has no Kafka source to which it could apply

--to earliest: the job has no Kafka source to which it could apply
"#,
    );
}

#[test]
fn a_key_with_too_many_parts_is_refused_before_it_nests_tables() {
    let deep = |part: &str| vec![part; 40].join(".") + " = 1";
    check(
        &format!("a = 1\n{}", deep("a")),
        r#"
job.toml:2:1: a key has more than 32 parts
  |
2 | a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a = 1
  | ^
"#,
    );
    for text in [
        deep("\"\""),
        deep("'.'"),
        format!("x = {{ {} }}", deep("a")),
        format!("[{}]", vec!["a"; 40].join(" . ")),
    ] {
        let errors = load(&text).expect_err("too deep").to_string();
        assert!(errors.contains("a key has more than 32 parts"), "{errors}");
    }
    let enormous = vec!["a"; 200_000].join(".") + " = 1";
    assert_eq!(load(&enormous).expect_err("too deep").len(), 1);
    let arrays = "x = ".to_owned() + &"[".repeat(200_000);
    load(&arrays).expect_err("no TOML");
}

#[test]
fn a_file_that_can_not_be_read_is_named() {
    let errors = JobFile::load("no/such.toml".as_ref(), &Overrides::default()).expect_err("no file");
    assert_eq!(
        errors.to_string(),
        "cannot read no/such.toml: No such file or directory (os error 2)"
    );
}

/// A job file with something replaced, cut out or put in.
fn mangled() -> impl Strategy<Value = String> {
    let template = 0..TEMPLATES.len();
    let piece = prop_oneof![
        Just(String::new()),
        "[\\[\\]{}=.\"'#\n ]{1,4}",
        "\\PC{0,3}",
        Just("[query]\n".to_owned()),
        Just("kind = \"kafka\"\n".to_owned()),
    ];
    (template, any::<prop::sample::Index>(), 0..20_usize, piece).prop_map(|(template, at, cut, piece)| {
        let letters: Vec<_> = TEMPLATES[template].text.chars().collect();
        let at = at.index(letters.len());
        let rest = letters.iter().skip(at + cut);
        letters[..at]
            .iter()
            .copied()
            .chain(piece.chars())
            .chain(rest.copied())
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_text_panics(text in "\\PC{0,60}") {
        if let Err(errors) = load(&text) {
            errors.to_string();
        }
    }

    #[test]
    fn no_mangled_job_panics(text in mangled()) {
        if let Err(errors) = load(&text) {
            errors.to_string();
        }
    }

    #[test]
    fn no_override_panics(setting in "(run|source\\.logs|query)?[.\\PC]{0,12}=?\\PC{0,8}") {
        let overrides = set(&[&setting]);
        if let Err(errors) = JobFile::from_text("job.toml", TEMPLATES[0].text, &overrides).check(None) {
            errors.to_string();
        }
    }
}
