//! Lines of a real web server's log as payloads, and the ten typed columns in them.

use std::path::Path;

use arrow::array::{ArrayRef, BinaryArray};
use connectors::decode::{DeclaredColumn, Decoder};

/// Rows of a batch, as the sources make them.
const BATCH_ROWS: usize = 8192;

/// Bytes of a text: more than the second-level cache, as a stream is.
const TEXT_BYTES: usize = 8 << 20;

const COLUMNS: [&str; 10] = [
    "time:timestamp:iso8601",
    "client:string",
    "method:string",
    "path:string",
    "query:string",
    "status:int",
    "bytes:int",
    "seconds:float",
    "referer:string",
    "agent:string",
];

/// Payloads in batches.
pub(crate) struct Payloads {
    pub(crate) batches: Vec<BinaryArray>,
    pub(crate) bytes: u64,
}

impl Payloads {
    /// Returns the lines of a log in `data/`, again and again.
    pub(crate) fn of(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(name);
        let log = std::fs::read_to_string(path).expect("the sample logs are part of the project");
        let times = TEXT_BYTES.div_ceil(log.len());
        let lines: Vec<_> = std::iter::repeat_n(log.lines(), times).flatten().collect();
        let batch = |lines: &[&str]| lines.iter().map(|line| Some(line.as_bytes())).collect();
        Self {
            batches: lines.chunks(BATCH_ROWS).map(batch).collect(),
            bytes: lines.iter().map(|line| line.len() as u64).sum(),
        }
    }

    /// Returns the columns of every batch, and counts the rejects.
    pub(crate) fn decode(&self, decoder: &dyn Decoder) -> (Vec<Vec<ArrayRef>>, usize) {
        let mut rejects = 0;
        let columns = self.batches.iter().map(|batch| {
            let decoded = decoder.decode(batch).expect("columns");
            rejects += decoded.rejects.len();
            decoded.columns
        });
        (columns.collect(), rejects)
    }
}

/// Returns the columns of the log.
pub(crate) fn declared() -> Vec<DeclaredColumn> {
    COLUMNS.iter().map(|text| text.parse().expect("NAME:TYPE")).collect()
}
