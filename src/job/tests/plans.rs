//! What a job that is right becomes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use connectors::decode::Framing;
use connectors::kafka::options::{End, Start};

use super::*;
use crate::job::plan::*;
use crate::job::template::{TEMPLATES, Template};

fn template(name: &str) -> JobPlan {
    let found = TEMPLATES.iter().find(|template| template.name == name);
    plan(found.expect("a template of this name").text)
}

#[test]
fn every_template_is_right() {
    for Template { name, text } in TEMPLATES {
        let file = format!("{name}.toml");
        let checked = JobFile::from_text(&file, *text, &Overrides::default()).check(None);
        let plan = checked.unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(plan.name, *name);
    }
}

#[test]
fn every_job_of_data_is_a_template() {
    let mut names = vec![];
    for folder in ["data/jobs", "data/archives"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        for entry in std::fs::read_dir(folder).expect("a folder of jobs") {
            let path = entry.expect("an entry").path();
            names.push(path.file_stem().expect("a name").to_string_lossy().into_owned());
        }
    }
    names.sort();
    let mut known: Vec<_> = TEMPLATES.iter().map(|template| template.name).collect();
    known.sort_unstable();
    assert_eq!(names, known);
}

#[test]
fn the_issues_example_is_understood_as_it_is_meant() {
    let plan = template("errors_a_minute");
    let source = &plan.sources[0];
    let SourceKind::Kafka(kafka) = &source.kind else {
        panic!("a Kafka source: {source:?}");
    };
    assert_eq!(kafka.connection.brokers, "localhost:9092");
    assert_eq!(kafka.topics, Topics::Names(vec!["nginx".to_owned()]));
    assert_eq!((&kafka.from, &kafka.to), (&Start::Earliest, &None));
    assert_eq!(source.formats, [FormatPlan::Combined]);
    assert_eq!(source.on_bad, BadRows::DeadLetter, "there is a place for them");
    assert_eq!(source.max_error_ratio, Some(0.05));
    let time = TimePlan {
        column: "time".to_owned(),
        lateness: Duration::from_secs(30),
        idle: Some(Duration::from_secs(60)),
    };
    assert_eq!(source.time.as_ref(), Some(&time));
    let query = &plan.queries[0];
    assert_eq!(
        (query.name.as_str(), query.mode, query.late),
        ("query", Mode::Append, LateRows::Drop)
    );
    assert!(
        query.sql.starts_with("SELECT tumble(time, '1 minute')"),
        "{}",
        query.sql
    );
    assert_eq!(plan.place_of_query(query), "job.toml:17:7");
    let Some(SinkPlan::Parquet(parquet)) = &query.sink else {
        panic!("a Parquet sink: {query:?}");
    };
    let by_date = PartitionBy {
        column: "minute".to_owned(),
        part: Some(DatePart::Date),
    };
    assert_eq!(
        (parquet.partition_by.as_slice(), parquet.file_bytes),
        (&[by_date][..], 256 << 20)
    );
    let Some(SinkPlan::Kafka(dead)) = &plan.dead_letter else {
        panic!("a topic of dead letters: {plan:?}");
    };
    assert_eq!(dead.connection, kafka.connection, "the brokers are those of the source");
    assert_eq!(plan.run.checkpoint, Some(PathBuf::from("state/errors_a_minute")));
    assert_eq!(plan.run.checkpoint_interval, Duration::from_secs(10));
    let test = &plan.tests[0];
    assert_eq!((test.input[0].0.as_str(), test.input[0].1.len()), ("logs", 4));
    assert_eq!(test.watermark_micros, Some(1_795_501_890_000_000));
    assert_eq!(test.expect[0].1[0]["minute"], "2026-11-24T06:30:00Z");
    assert_eq!(test.micro_batch_rows, None);
    assert!(!plan.is_bounded());
}

#[test]
fn defaults_are_those_of_the_reference() {
    let plan = plan(&format!("{SOURCE}{QUERY}{SINK}"));
    let SourceKind::Kafka(kafka) = &plan.sources[0].kind else {
        panic!("a Kafka source");
    };
    assert_eq!(kafka.group, "millstream-job-logs");
    assert!(kafka.read_committed);
    assert_eq!(plan.sources[0].formats, [FormatPlan::Lines]);
    assert_eq!(
        plan.sources[0].on_bad,
        BadRows::Fail,
        "nothing is lost without being told to"
    );
    assert_eq!(plan.queries[0].mode, Mode::Append);
    let run = RunPlan {
        trigger: Duration::from_secs(1),
        checkpoint: None,
        checkpoint_interval: Duration::ZERO,
        threads: None,
        queue_bytes: 8 << 20,
        batch_rows: 8192.try_into().expect("not zero"),
    };
    assert_eq!(plan.run, run);
}

#[test]
fn several_kafka_sources_share_a_group_by_default() {
    let other = "[source.other]\nkind = \"kafka\"\nbrokers = \"localhost:9092\"\ntopic = \"app\"\n";
    let file = "[source.old]\nkind = \"file\"\npaths = \"old.log\"\n";
    let groups = |sources: &str| -> Vec<String> {
        let plan = plan(&format!("{SOURCE}{sources}{QUERY}{SINK}"));
        let group = |source: &SourcePlan| match &source.kind {
            SourceKind::Kafka(kafka) => Some(kafka.group.clone()),
            _ => None,
        };
        plan.sources.iter().filter_map(group).collect()
    };
    assert_eq!(groups(other), ["millstream-job"; 2]);
    assert_eq!(groups(file), ["millstream-job-logs"]);
}

#[test]
fn defaults_of_a_dead_letter_folder_are_those_of_a_sink() {
    let sink = "[sink]\nkind = \"parquet\"\ndir = \"out\"\n";
    let dead = "[dead_letter]\nkind = \"parquet\"\ndir = \"out\"\n";
    let checkpoint = "[run]\ncheckpoint = \"state\"\n";
    let with_sink = plan(&format!("{SOURCE}{QUERY}{sink}{checkpoint}"));
    let with_dead = plan(&format!("{SOURCE}{QUERY}{SINK}{dead}{checkpoint}"));
    let (Some(SinkPlan::Parquet(sink)), Some(SinkPlan::Parquet(dead))) =
        (&with_sink.queries[0].sink, &with_dead.dead_letter)
    else {
        panic!("two folders");
    };
    assert_eq!(sink, dead);
}

#[test]
fn a_parquet_folder_alone_keeps_its_own_checkpoint() {
    let plan = plan(&format!("{SOURCE}{QUERY}[sink]\nkind = \"parquet\"\ndir = \"out\"\n"));
    assert_eq!(plan.run.checkpoint, Some(PathBuf::from("out/_millstream/checkpoint")));
}

#[test]
fn several_queries_have_their_sinks_by_name_or_inside() {
    let plan = template("distinct_users");
    let names: Vec<_> = plan.queries.iter().map(|query| query.name.as_str()).collect();
    assert_eq!(names, ["exact", "about"]);
    assert!(
        plan.queries
            .iter()
            .all(|query| matches!(query.sink, Some(SinkPlan::Parquet(_))))
    );
    assert!(plan.is_bounded());
    let plan = template("merged_topics");
    assert!(matches!(plan.queries[0].sink, Some(SinkPlan::Kafka(_))));
    assert!(matches!(plan.queries[1].sink, Some(SinkPlan::Console { .. })));
}

#[test]
fn a_query_that_later_ones_read_needs_no_sink() {
    let queries = "[query.a]\nsql = \"SELECT 1\"\n[query.b]\nsql = \"SELECT 1 FROM a\"\n[sink.b]\nkind = \"console\"\n";
    assert!(plan(&format!("{SOURCE}{queries}")).queries[0].sink.is_none());
}

#[test]
fn overrides_change_and_add_keys() {
    let overrides = Overrides {
        set: [
            "run.trigger=5s",
            "run.threads=2",
            "source.logs.topics=[\"a\", \"b\"]",
            "source.logs.time={column = \"time\"}",
            "query.sql=SELECT 'a=b'",
        ]
        .map(str::to_owned)
        .to_vec(),
        from: Some("1h".to_owned()),
        to: Some("latest".to_owned()),
    };
    let source = "[source.logs]\nkind = \"kafka\"\nbrokers = \"b:1\"\nfrom = \"latest\"\ntime.column = \"t\"\n";
    let text = format!("{source}{QUERY}{SINK}");
    let checked = JobFile::from_text("job.toml", text, &overrides).check(None);
    let plan = checked.unwrap_or_else(|errors| panic!("{errors}"));
    let SourceKind::Kafka(kafka) = &plan.sources[0].kind else {
        panic!("a Kafka source");
    };
    assert_eq!(kafka.topics, Topics::Names(vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(
        (&kafka.from, &kafka.to),
        (&Start::Ago(Duration::from_secs(3600)), &Some(End::Latest))
    );
    assert_eq!(
        plan.sources[0].time.as_ref().map(|time| time.column.as_str()),
        Some("time")
    );
    assert_eq!(plan.run.trigger, Duration::from_secs(5));
    assert_eq!(plan.run.threads.map(usize::from), Some(2));
    assert_eq!(plan.queries[0].sql, "SELECT 'a=b'");
}

#[test]
fn secrets_are_named_in_the_plan_and_read_when_it_connects() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let file = folder.path().join("secret");
    std::fs::write(&file, "canary\n").expect("the scratch folder can be written");
    let settings = format!(
        "[source.logs.librdkafka]\n\"ssl.key.password\" = {{ file = \"{}\" }}\n\"sasl.username\" = \"me\"\n\
         \"sasl.password\" = {{ env = \"MILLSTREAM_NO_SUCH\" }}\n",
        file.display()
    );
    let mut plan = plan(&format!("{SOURCE}{settings}{QUERY}{SINK}"));
    let shown = format!("{plan:?}");
    assert!(
        shown.contains("env MILLSTREAM_NO_SUCH") && !shown.contains("canary"),
        "{shown}"
    );
    let SourceKind::Kafka(kafka) = &mut plan.sources[0].kind else {
        panic!("a Kafka source");
    };
    let error = kafka.connection.connect().expect_err("no such variable").to_string();
    assert_eq!(
        error,
        "sasl.password: the environment variable MILLSTREAM_NO_SUCH is not set"
    );
    kafka.connection.settings.remove("sasl.password");
    let connection = kafka.connection.connect().expect("all is there");
    assert_eq!(connection.property("ssl.key.password"), Some("canary"));
    assert_eq!(connection.property("sasl.username"), Some("me"));
}

#[test]
fn avro_is_planned_with_its_header() {
    let format = "format = { kind = \"avro\", schema = \"in.avsc\", framing = \"confluent\" }\n";
    let sink = "[sink]\nkind = \"kafka\"\ntopic = \"out\"\ndelivery = \"at_least_once\"\n\
                value = { avro = \"out.avsc\", framing = \"confluent\", schema_id = 7 }\n";
    let plan = plan(&format!("{SOURCE}{format}{QUERY}{sink}"));
    let avro = |schema: &str, framing| AvroPlan {
        schema: schema.into(),
        framing,
    };
    assert_eq!(
        plan.sources[0].formats,
        [FormatPlan::Avro(avro("in.avsc", Framing::Confluent(None)))]
    );
    let Some(SinkPlan::Kafka(kafka)) = &plan.queries[0].sink else {
        panic!("a topic: {plan:?}");
    };
    assert_eq!(
        kafka.value,
        ValuePlan::Avro(avro("out.avsc", Framing::Confluent(Some(7))))
    );
    let error = avro("no/such.avsc", Framing::Bare)
        .load()
        .expect_err("no file")
        .to_string();
    assert!(error.starts_with("cannot read no/such.avsc: No such file"), "{error}");
}
