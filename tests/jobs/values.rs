//! What the values of records may hold, beside the JSON that other tests read.

use std::fs;

use crate::harness::PATIENCE;
use crate::harness::broker::Broker;
use crate::harness::process::Run;
use crate::harness::records::{Isolation, NewRecord};
use crate::harness::scratch::Scratch;

/// A schema of the rows of these jobs.
const SCHEMA: &str = r#"{"type": "record", "name": "Row", "fields": [
    {"name": "id", "type": "int"}, {"name": "name", "type": ["null", "string"]}]}"#;

/// Writes a job that makes `query` of a topic, and runs it to its end.
fn run(scratch: &Scratch, topic: &str, format: &str, query: &str) -> Run {
    fs::write(scratch.join("row.avsc"), SCHEMA).expect("the scratch folder can be written");
    let job = format!(
        "[source.rows]\nkind = \"kafka\"\nbrokers = \"{}\"\ntopic = \"{topic}\"\ngroup = \"{topic}\"\n{format}\n{query}\n\
         [run]\ncheckpoint = \"state-{topic}\"\n",
        Broker::shared().bootstrap()
    );
    fs::write(scratch.join("job.toml"), job).expect("the scratch folder can be written");
    Run::millstream(scratch, "millstream").args(["run", "job.toml", "--to", "latest"])
}

const JSON: &str = "format = \"json\"\ncolumns = { id = \"int\", name = \"string\" }";

fn values(topic: &str) -> Vec<Vec<u8>> {
    let records = Broker::shared().consume(topic, Isolation::ReadCommitted);
    records
        .into_iter()
        .map(|record| record.value.expect("a value"))
        .collect()
}

#[test]
fn rows_are_written_as_csv_tsv_and_avro_in_one_transaction_and_avro_is_read_back() {
    let (broker, scratch) = (Broker::shared(), Scratch::new("values"));
    let topics = ["rows", "csv", "tsv", "avro"].map(|name| broker.new_topic(name, 1));
    let [rows, csv, tsv, avro] = &topics;
    let lines = [r#"{"id": 1, "name": "a,b"}"#, r#"{"id": -2}"#];
    broker.produce(rows, 0, lines.map(NewRecord::of));
    let query = |name: &str, topic: &str, value: &str| {
        format!(
            "[query.{name}]\nsql = \"SELECT name, id FROM rows\"\nsink = {{ kind = \"kafka\", topic = \"{topic}\", value = {value} }}\n"
        )
    };
    let queries = [
        query("csv", csv, "\"csv\""),
        query("tsv", tsv, "\"tsv\""),
        query(
            "avro",
            avro,
            "{ avro = \"row.avsc\", framing = \"confluent\", schema_id = 258 }",
        ),
    ];
    run(&scratch, rows, JSON, &queries.concat())
        .finish(PATIENCE)
        .expect_code(0);
    assert_eq!(values(csv), [&b"\"a,b\",1"[..], b",-2"]);
    assert_eq!(values(tsv), [&b"a,b\t1"[..], b"\t-2"]);
    assert_eq!(
        values(avro),
        [
            &b"\x00\x00\x00\x01\x02\x02\x02\x06a,b"[..],
            b"\x00\x00\x00\x01\x02\x03\x00"
        ]
    );

    let format = "format = { kind = \"avro\", schema = \"row.avsc\", framing = \"confluent\", schema_id = 258 }";
    let query = "[query]\nsql = \"SELECT id, name, offset FROM rows\"\n[sink]\nkind = \"file\"\npath = \"back.jsonl\"";
    run(&scratch, avro, format, query).finish(PATIENCE).expect_code(0);
    let back = fs::read_to_string(scratch.join("back.jsonl")).expect("the job's output");
    let expected = "{\"id\":1,\"name\":\"a,b\",\"offset\":0}\n{\"id\":-2,\"name\":null,\"offset\":1}\n";
    assert_eq!(back, expected);
}

#[test]
fn a_row_that_does_not_fit_its_avro_schema_ends_the_job_with_its_column() {
    let (broker, scratch) = (Broker::shared(), Scratch::new("unfit"));
    let (rows, avro) = (broker.new_topic("rows", 1), broker.new_topic("avro", 1));
    broker.produce(&rows, 0, [r#"{"id": 1}"#, r#"{"name": "b"}"#].map(NewRecord::of));
    let query = format!(
        "[query]\nsql = \"SELECT id, name FROM rows\"\n[sink]\nkind = \"kafka\"\ntopic = \"{avro}\"\nvalue = {{ avro = \"row.avsc\" }}"
    );
    let ended = run(&scratch, &rows, JSON, &query).finish(PATIENCE).expect_code(7);
    let expected = format!(
        "cannot write to the topic `{avro}`: row 2 can't be Avro: `id` is null, which the schema does not allow"
    );
    assert!(ended.stderr.contains(&expected), "{}", ended.stderr);
    assert_eq!(values(&avro), [b""; 0], "nothing of the epoch");

    let query = query.replace("SELECT id, name", "SELECT name, offset");
    let ended = run(&scratch, &rows, JSON, &query).finish(PATIENCE).expect_code(3);
    let expected =
        format!("the topic `{avro}`: there is no column for the field `id` of the Avro schema: they are name, offset");
    assert!(ended.stderr.contains(&expected), "{}", ended.stderr);
}
