//! The formats of payloads: lines of the input, or for Avro parts between pairs of line ends, are the payloads of a batch.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use arrow::array::{Array, BinaryArray};
use connectors::decode::registry::{ENTRIES, Entry, FormatOptions, Setting, build};
use connectors::decode::{AvroFormat, Decoded, Decoder, Framing};

/// A time to which those without a year are put nearest: batches that are read at different times must not differ.
const REFERENCE_MICROS: i64 = 1_795_501_800_000_000;

/// Payloads of a batch at most: each is read again on its own.
const PAYLOADS_MAX: usize = 64;

/// Every decoder by the name of its format, and a list of formats.
static DECODERS: LazyLock<BTreeMap<&str, Arc<dyn Decoder>>> = LazyLock::new(|| {
    let one =
        |entry: &Entry| build(&[entry.name.to_owned()], &options(entry.takes)).expect("a format with its settings");
    let mut decoders: BTreeMap<_, _> = ENTRIES.iter().map(|entry| (entry.name, one(entry))).collect();
    let list = ["json", "combined", "logfmt", "lines"].map(str::to_owned);
    let list = build(&list, &options(&[Setting::Columns])).expect("formats that go together");
    decoders.insert("list", list);
    decoders
});

/// Returns settings for a format that takes these.
fn options(takes: &[Setting]) -> FormatOptions {
    let mut options = FormatOptions::default();
    options.time.reference_micros = Some(REFERENCE_MICROS);
    let takes = |setting| takes.contains(&setting);
    if takes(Setting::Columns) && !takes(Setting::Pattern) {
        let columns = [
            "i:int",
            "f:float",
            "b:bool",
            "s:string",
            "r:bytes",
            "t:timestamp",
            "o.n:int",
        ];
        options.columns = columns.map(|column| column.parse().expect("NAME:TYPE")).into();
    }
    if takes(Setting::Patterns) {
        options.pattern =
            Some("^%{TIMESTAMP_ISO8601:time} %{LOGLEVEL:level} %{INT:n:int}? ?%{GREEDYDATA:text}$".to_owned());
    } else if takes(Setting::Pattern) {
        options.pattern = Some(r"^(?<time>\S+) \[(?<level>[A-Z]+)\] (?<text>(?:\w+ ?)*)$".to_owned());
    }
    if takes(Setting::Schema) {
        options.avro = Some(AvroFormat {
            schema: Arc::new(AVRO.parse().expect("a schema")),
            framing: Framing::Bare,
        });
    }
    options
}

/// A schema with every kind of type, and a record in itself.
const AVRO: &str = r#"{"type": "record", "name": "R", "fields": [
    {"name": "text", "type": ["null", "string"]}, {"name": "long", "type": "long"},
    {"name": "double", "type": "double"}, {"name": "flag", "type": "boolean"}, {"name": "bytes", "type": "bytes"},
    {"name": "level", "type": {"type": "enum", "name": "E", "symbols": ["A", "B"]}},
    {"name": "id", "type": {"type": "fixed", "name": "F", "size": 2}},
    {"name": "date", "type": {"type": "int", "logicalType": "date"}},
    {"name": "time", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 2}},
    {"name": "in", "type": ["null", {"type": "record", "name": "I", "fields": [{"name": "n", "type": "int"}]}]},
    {"name": "list", "type": {"type": "array", "items": ["null", "float", "string", "E"]}},
    {"name": "map", "type": {"type": "map", "values": {"type": "array", "items": "null"}}},
    {"name": "next", "type": ["null", "R"]}]}"#;

/// Decodes the payloads of `input` together and one by one, which must be the same.
///
/// # Panics
/// When it is not, or a promise of [`Decoder`] is not kept.
pub(crate) fn run(format: &str, input: &[u8]) {
    let decoder = DECODERS[format].as_ref();
    let payloads = match format {
        "avro" => parts(input, b"\n\n"),
        _ => parts(input, b"\n"),
    };
    let together = decode(decoder, &payloads);
    for (row, payload) in payloads.iter().enumerate() {
        let alone = decode(decoder, std::slice::from_ref(payload));
        let reason = together.rejects.iter().find(|reject| reject.row == row);
        assert_eq!(
            reason.map(|reject| &reject.reason),
            alone.rejects.first().map(|reject| &reject.reason),
            "a payload is good or bad whatever is beside it"
        );
        for (column, alone) in together.columns.iter().zip(&alone.columns) {
            assert_eq!(&column.slice(row, 1), alone, "a row does not depend on others");
            assert!(reason.is_none() || column.is_null(row), "a bad row is null");
        }
        assert!(
            reason.is_some() || !decoder.rules_out(payload),
            "what is ruled out at sight can't be read"
        );
    }
}

/// Returns what is between the separators.
fn parts<'a>(mut input: &'a [u8], separator: &[u8]) -> Vec<&'a [u8]> {
    let mut parts = vec![];
    while parts.len() + 1 < PAYLOADS_MAX {
        let Some(end) = input.windows(separator.len()).position(|bytes| bytes == separator) else {
            break;
        };
        parts.push(&input[..end]);
        input = &input[end + separator.len()..];
    }
    parts.push(input);
    parts
}

fn decode(decoder: &dyn Decoder, payloads: &[&[u8]]) -> Decoded {
    let array = BinaryArray::from_iter_values(payloads);
    let decoded = decoder.decode(&array).expect("bad payloads are no errors");
    let schema = decoder.schema();
    assert_eq!(schema.fields().len(), decoded.columns.len());
    for (field, column) in schema.fields().iter().zip(&decoded.columns) {
        assert_eq!(
            (field.data_type(), payloads.len()),
            (column.data_type(), column.len()),
            "{field}"
        );
        column
            .to_data()
            .validate_full()
            .expect("a column that Arrow finds right");
    }
    let rows: Vec<_> = decoded.rejects.iter().map(|reject| reject.row).collect();
    assert!(rows.is_sorted_by(|earlier, later| earlier < later), "each bad row once");
    assert!(
        decoded.rejects.iter().all(|reject| !reject.reason.contains('\n')),
        "a reason is one line"
    );
    decoded
}
