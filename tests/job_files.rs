//! Job files through the command line: `check`, `schema`, `new`, and what is generated for shells and `man`.

use std::fs;

use crate::harness::PATIENCE;
use crate::harness::broker::Broker;
use crate::harness::process::{Ended, Run};
use crate::harness::scratch::{Scratch, root};

/// Runs `millstream` with arguments that are separated by spaces, to its end.
#[track_caller]
fn millstream(scratch: &Scratch, arguments: &str) -> Ended {
    let run = Run::millstream(scratch, "millstream").args(arguments.split(' '));
    run.finish(PATIENCE)
}

/// Checks a job file of this text: the exit code, and what is in the output and in the messages.
#[track_caller]
fn check(job: &str, arguments: &str, code: i32, parts: &[&str]) {
    let scratch = Scratch::new("job");
    fs::write(scratch.join("job.toml"), job).expect("the scratch folder can be written");
    let ended = millstream(&scratch, &format!("check job.toml{arguments}")).expect_code(code);
    let all = ended.stdout + &ended.stderr;
    for part in parts {
        assert!(all.contains(part), "`{part}` is in:\n{all}");
    }
}

const JOB: &str = "\
[source.logs]
kind = \"kafka\"
brokers = \"127.0.0.1:1\"
topic = \"nginx\"
librdkafka = { \"sasl.password\" = { env = \"MILLSTREAM_NO_SUCH\" } }

[query]
sql = \"SELECT line FROM logs\"

[sink]
kind = \"kafka\"
topic = \"copies\"

[run]
checkpoint = \"state\"
";

#[test]
fn check_needs_no_network_and_no_secrets() {
    let parts = [
        "job.toml: ok\n",
        "  source logs: kafka 127.0.0.1:1, topic nginx, as lines\n",
        "  query query: append -> kafka 127.0.0.1:1, topic copies\n",
        "  checkpoint: state\n",
    ];
    check(JOB, "", 0, &parts);
}

#[test]
fn check_is_quiet_when_it_is_asked_to() {
    let scratch = Scratch::new("quiet");
    fs::write(scratch.join("job.toml"), JOB).expect("the scratch folder can be written");
    let ended = millstream(&scratch, "check -q job.toml").expect_code(0);
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("", ""));
}

#[test]
fn check_lists_all_errors_with_their_lines() {
    let job = JOB
        .replace("topic = \"nginx\"", "topc = \"nginx\"")
        .replace("checkpoint", "checkpiont");
    let parts = [
        "job.toml:4:1: unknown key `topc` in [source.logs]: did you mean `topic`?\n  |\n4 | topc = \"nginx\"\n  | ^^^^\n",
        "job.toml:15:1: unknown key `checkpiont` in [run]: did you mean `checkpoint`?",
        "millstream: job.toml: 4 errors\n",
    ];
    check(&job, "", 3, &parts);
    check(
        "[source",
        "",
        3,
        &["job.toml:1:8: this is not TOML: ", "job.toml: 1 error\n"],
    );
}

#[test]
fn check_applies_overrides_and_names_them() {
    let arguments = " --set source.logs.topic=other --from 1h --to latest";
    check(JOB, arguments, 0, &["kafka 127.0.0.1:1, topic other"]);
    let parts = [
        "--set run.trigger=soon: expected a duration such as 1s, 500ms or 5m, not `soon`",
        "--to never: expected latest, a time such as",
    ];
    check(JOB, " --set run.trigger=soon --to never", 3, &parts);
}

#[test]
fn check_of_a_file_that_is_not_there_says_so() {
    let scratch = Scratch::new("none");
    let ended = millstream(&scratch, "check no-such.toml").expect_code(3);
    assert!(
        ended.stderr.starts_with("cannot read no-such.toml: No such file"),
        "{}",
        ended.stderr
    );
}

#[test]
fn check_finds_nothing_wrong_with_the_jobs_that_new_writes() {
    let scratch = Scratch::new("new");
    let folder = |name| fs::read_dir(root().join(name)).expect("a folder of jobs");
    for entry in folder("data/jobs").chain(folder("data/archives")) {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let ended = millstream(&scratch, &format!("new {name} --out {name}.toml")).expect_code(0);
        assert!(
            ended.stderr.contains(&format!("next: millstream check {name}.toml")),
            "{}",
            ended.stderr
        );
        let written = fs::read(scratch.join(format!("{name}.toml"))).expect("it was written");
        assert_eq!(written, fs::read(&path).expect("a job of data"));
        millstream(&scratch, &format!("check {name}.toml")).expect_code(0);
    }
    let printed = millstream(&scratch, "new wordcount").expect_code(0).stdout;
    assert_eq!(
        printed,
        fs::read_to_string(scratch.join("word_count.toml")).expect("it was written")
    );
}

#[test]
fn new_never_overwrites_and_knows_what_there_is() {
    let scratch = Scratch::new("keep");
    fs::write(scratch.join("mine.toml"), "mine").expect("the scratch folder can be written");
    let ended = millstream(&scratch, "new errors --out mine.toml").expect_code(3);
    assert!(
        ended.stderr.contains("mine.toml exists: give another --out"),
        "{}",
        ended.stderr
    );
    assert_eq!(
        fs::read_to_string(scratch.join("mine.toml")).expect("it is there"),
        "mine"
    );
    let ended = millstream(&scratch, "new sesions").expect_code(2);
    assert!(ended.stderr.contains("'sessions'"), "{}", ended.stderr);
    let help = millstream(&scratch, "new --help").expect_code(0).stdout;
    assert!(help.contains("Failed requests of each minute, by status"), "{help}");
}

#[test]
fn schema_of_jobs_is_json_and_its_keys_are_tables() {
    let scratch = Scratch::new("schema");
    let schema = millstream(&scratch, "schema job").expect_code(0).stdout;
    let schema: serde_json::Value = serde_json::from_str(&schema).expect("JSON");
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    let keys = millstream(&scratch, "schema job --keys").expect_code(0).stdout;
    assert!(
        keys.contains("| `trigger` | a duration such as 1s, 500ms or 5m | `1s` |"),
        "{keys}"
    );
}

#[test]
fn shells_and_man_get_what_is_generated() {
    let scratch = Scratch::new("generated");
    for (shell, part) in [
        ("bash", "_millstream"),
        ("zsh", "#compdef millstream"),
        ("fish", "complete -c millstream"),
    ] {
        let script = millstream(&scratch, &format!("completions {shell}"))
            .expect_code(0)
            .stdout;
        assert!(script.contains(part) && script.contains("wordcount"), "{shell}");
    }
    let page = millstream(&scratch, "man").expect_code(0).stdout;
    assert!(page.contains(".TH millstream 1"), "{page}");
    millstream(&scratch, "man --out .").expect_code(0);
    for name in ["millstream.1", "millstream-check.1", "millstream-wordcount.1"] {
        assert!(scratch.join(name).exists(), "{name}");
    }
    let ended = millstream(&scratch, "man --out no/such").expect_code(7);
    assert!(
        ended.stderr.contains("cannot write manual pages to no/such"),
        "{}",
        ended.stderr
    );
}

#[test]
fn every_verb_around_jobs_has_examples_in_its_help() {
    let scratch = Scratch::new("help");
    for verb in ["check", "test", "tap", "new", "schema", "completions", "man"] {
        let help = millstream(&scratch, &format!("{verb} --help")).expect_code(0).stdout;
        assert!(help.contains("Examples:\n  millstream"), "{help}");
    }
}

#[test]
fn explain_shows_the_operators_of_every_query() {
    let scratch = Scratch::new("explain");
    millstream(&scratch, "new word_count --out job.toml").expect_code(0);
    let shown = millstream(&scratch, "explain job.toml").expect_code(0).stdout;
    for expected in [
        "source lines: kafka localhost:9092",
        "tokenize line ascii",
        "aggregate count(*) AS",
        "result (word Utf8",
        "state: each group for good; in memory in 64 shards, and in the checkpoint",
        "in parallel: a batch a thread, with groups of its own",
        "native operators: aggregate, tokenize\n",
    ] {
        assert!(shown.contains(expected), "{expected} in {shown}");
    }
}

#[test]
fn check_refuses_late_rows_as_dead_letters_where_no_row_is_late() {
    let scratch = Scratch::new("refused");
    millstream(&scratch, "new errors_a_minute --out job.toml").expect_code(0);
    millstream(&scratch, "check job.toml --set query.late=dead_letter").expect_code(0);
    let complete = "check job.toml --set query.late=dead_letter --set query.mode=complete";
    let ended = millstream(&scratch, complete).expect_code(3);
    assert!(
        ended.stderr.contains("no row is late in mode complete"),
        "{}",
        ended.stderr
    );
    millstream(&scratch, "new word_count --out words.toml").expect_code(0);
    let ended = millstream(&scratch, "check words.toml --set query.late=dead_letter").expect_code(3);
    for part in [
        "no windows of the event time",
        "there is no [dead_letter] for them to go to",
    ] {
        assert!(ended.stderr.contains(part), "{}", ended.stderr);
    }
}

#[test]
fn check_reads_the_schema_of_avro_values() {
    let scratch = Scratch::new("avro");
    let schema = r#"{"type": "record", "name": "R", "fields": [{"name": "line", "type": "long"}]}"#;
    fs::write(scratch.join("line.avsc"), schema).expect("the scratch folder can be written");
    let job = JOB.replace(
        "topic = \"copies\"",
        "topic = \"copies\"\nvalue = { avro = \"line.avsc\" }",
    );
    fs::write(scratch.join("job.toml"), &job).expect("the scratch folder can be written");
    let expected =
        "the topic `copies`: the column `line` is Utf8, which the field's type in the Avro schema does not take";
    let ended = millstream(&scratch, "check job.toml").expect_code(3);
    assert!(ended.stderr.contains(expected), "{}", ended.stderr);
    fs::write(scratch.join("line.avsc"), schema.replace("long", "string")).expect("the scratch folder can be written");
    millstream(&scratch, "check job.toml").expect_code(0);
    fs::remove_file(scratch.join("line.avsc")).expect("it is there");
    let ended = millstream(&scratch, "check job.toml").expect_code(3);
    assert!(
        ended.stderr.contains("cannot read line.avsc: No such file"),
        "{}",
        ended.stderr
    );
}

#[cfg(feature = "sql")]
#[test]
fn a_query_reads_the_result_of_another() {
    use std::collections::{BTreeMap, BTreeSet};

    let scratch = Scratch::new("views");
    let job = r#"
[source.logs]
kind = "file"
paths = "access.log"
format = "combined"

[query.requests]                       # has no sink: it is part of those that read it
sql = "SELECT method, status, bytes FROM logs WHERE method IS NOT NULL"

[query.failed]
mode = "complete"
sql = "SELECT status, count(*) AS hits FROM requests WHERE status >= 400 GROUP BY status"
sink = { kind = "file", path = "failed.csv", format = "csv" }

[query.often]
mode = "complete"
sql = "SELECT status FROM failed WHERE hits > 1"
sink = { kind = "file", path = "often.csv", format = "csv" }

[run]
checkpoint = "state"
"#;
    fs::write(scratch.join("job.toml"), job).expect("the scratch folder can be written");
    let log = fs::read_to_string(root().join("data/access.log")).expect("a sample log");
    fs::write(scratch.join("access.log"), &log).expect("the scratch folder can be written");
    millstream(&scratch, "run job.toml").expect_code(0);
    let mut hits = BTreeMap::new();
    for line in log.lines() {
        let fields: Vec<_> = line.split('"').collect();
        let status = fields[2].split_whitespace().next().expect("a status");
        if fields[1].split(' ').count() == 3 && status >= "400" {
            *hits.entry(status).or_insert(0) += 1;
        }
    }
    let rows = |name: &str| {
        let text = fs::read_to_string(scratch.join(name)).expect("an output");
        text.lines().skip(1).map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let failed = hits.iter().map(|(status, hits)| format!("{status},{hits}"));
    assert_eq!(rows("failed.csv"), failed.collect());
    let often = hits.iter().filter(|(_, hits)| **hits > 1);
    assert_eq!(
        rows("often.csv"),
        often.map(|(status, _)| (*status).to_owned()).collect()
    );
}

#[test]
fn test_runs_the_tests_of_all_jobs_of_data_without_a_broker_or_a_folder() {
    let scratch = Scratch::new("tests");
    for entry in fs::read_dir(root().join("data/jobs")).expect("data/jobs") {
        let path = entry.expect("an entry").path();
        let run = Run::millstream(&scratch, "test").args(["test".as_ref(), path.as_os_str()]);
        let shown = run.finish(PATIENCE).expect_code(0).stdout;
        assert!(
            shown.contains("... ok") && shown.contains("test result: ok. "),
            "{}: {shown}",
            path.display()
        );
    }
    let made = fs::read_dir(scratch.path()).expect("the scratch folder").flatten();
    let mut made: Vec<_> = made.map(|entry| entry.file_name()).collect();
    made.sort();
    assert_eq!(
        made,
        ["test.stderr", "test.stdout"],
        "nothing but what the program said"
    );
}

#[test]
fn test_shows_rows_that_are_not_as_expected_and_exits_with_1() {
    let scratch = Scratch::new("failing");
    millstream(&scratch, "new word_count --out job.toml").expect_code(0);
    let beside =
        "[[test]]\nname = \"words differ\"\ninput.lines = [\"a\"]\nexpect.query = [{ word = \"a\", hits = 2 }]\n";
    fs::write(scratch.join("job.test.toml"), beside).expect("the scratch folder can be written");
    let shown = millstream(&scratch, "test job.toml").expect_code(1).stdout;
    let expected = "\
running 2 tests of job.toml
test words are counted over all lines ... ok
test words differ ... FAILED

job.test.toml:1:1: words differ
expect.query: 0 of 1 rows as expected, 1 missing (-), 1 not expected (+)
    word  hits
  - a     2
  + a     1

test result: FAILED. 1 passed; 1 failed; 0 filtered out
";
    assert_eq!(shown, expected);
    let shown = millstream(&scratch, "test job.toml --filter counted")
        .expect_code(0)
        .stdout;
    assert!(
        shown.ends_with("test result: ok. 1 passed; 0 failed; 1 filtered out\n"),
        "{shown}"
    );
    let ended = millstream(&scratch, "test -q job.toml --filter counted").expect_code(0);
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("", ""));
    let ended = millstream(&scratch, "test job.toml --set query.mode=apend").expect_code(3);
    assert!(ended.stderr.contains("did you mean `append`?"), "{}", ended.stderr);
}

#[test]
fn schema_infer_shows_the_columns_of_json_lines() {
    let scratch = Scratch::new("infer");
    fs::write(
        scratch.join("a.jsonl"),
        "{\"n\":1,\"at\":\"2026-01-31T12:00:00Z\"}\nnone\n{\"n\":2}\n",
    )
    .expect("a file");
    let shown = millstream(&scratch, "schema infer a.jsonl").expect_code(0).stdout;
    let expected = "# The columns of 3 lines. For query, parse and tap: -f json --columns 'n:int,at:timestamp'\n\
                    [source.NAME.columns]\nn = \"int\"\nat = \"timestamp\"\n";
    assert_eq!(shown, expected);
    let shown = millstream(&scratch, "schema infer a.jsonl --sample 1")
        .expect_code(0)
        .stdout;
    assert!(shown.starts_with("# The columns of 1 lines"), "{shown}");
    fs::write(scratch.join("b.log"), "no JSON\n").expect("a file");
    let ended = millstream(&scratch, "schema infer b.log").expect_code(3);
    assert!(
        ended.stderr.contains("b.log: none of 1 lines is a JSON object"),
        "{}",
        ended.stderr
    );
}

#[test]
fn check_connect_lists_every_server_topic_and_folder_that_stands_in_the_way() {
    let scratch = Scratch::new("connect");
    let broker = Broker::shared();
    let topic = broker.new_topic("connect", 3);
    let job = |topic: &str, dir: &str| {
        format!(
            "[source.logs]\nkind = \"kafka\"\nbrokers = \"{}\"\ntopic = \"{topic}\"\n\
             [query]\nsql = \"SELECT line FROM logs\"\n[sink]\nkind = \"parquet\"\ndir = \"{dir}\"\n\
             [dead_letter]\nkind = \"kafka\"\ntopic = \"{topic}-bad\"\n[run]\ncheckpoint = \"state\"\n",
            broker.bootstrap()
        )
    };
    broker.create_topic(&format!("{topic}-bad"), 1, &[]);
    fs::write(scratch.join("job.toml"), job(&topic, "out")).expect("the scratch folder can be written");
    let shown = millstream(&scratch, "check job.toml --connect").expect_code(0).stdout;
    for part in [
        "  source logs: ok, 3 partitions\n",
        "  sink of query query: ok, it will be made\n",
        "  dead letters: ok, 1 partition\n",
        "  checkpoint: ok, it will be made\n",
    ] {
        assert!(shown.contains(part), "`{part}` in {shown}");
    }
    fs::write(scratch.join("file"), "").expect("the scratch folder can be written");
    fs::write(scratch.join("job.toml"), job(&format!("{topic}-none"), "file/out")).expect("it can be written");
    let ended = millstream(&scratch, "check job.toml --connect").expect_code(7);
    for part in [
        "source logs: ",
        "no such topic",
        "sink of query query: cannot write to file",
        "job.toml: 3 problems",
    ] {
        assert!(ended.stderr.contains(part), "`{part}` in {}", ended.stderr);
    }
    assert!(
        !scratch.join("out").exists() && !scratch.join("state").exists(),
        "nothing was made"
    );
    let ended = millstream(
        &scratch,
        "check -q job.toml --connect --set source.logs.brokers=127.0.0.1:1",
    )
    .expect_code(4);
    assert!(
        ended.stderr.contains("source logs: ") && ended.stderr.contains("127.0.0.1:1"),
        "{}",
        ended.stderr
    );
}
