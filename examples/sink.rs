//! A sink of one's own, exactly once: a CSV file for each epoch. `prepare` writes it under a hidden name and `commit` renames
//! it, so an epoch is there whole or not at all; after a crash `recover` finishes the commit that the checkpoint speaks of.
//!
//! `cargo run --example sink -- DIR`

use std::fs::{self, File};
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use arrow::datatypes::Schema;
use millstream::connectors::decode::Dialect;
use millstream::connectors::encode::DelimitedEncoder;
use millstream::connectors::file::{FileOptions, FileSource};
use millstream::engine::checkpoint::LocalStore;
use millstream::engine::clock::SystemClock;
use millstream::engine::metrics::Metrics;
use millstream::engine::operator::OutputMode;
use millstream::engine::pipeline::{Settings, Stop, Surroundings, run};
use millstream::engine::sink::{Barrier, Guarantee, Recovery, Sink, Token};
use millstream::engine::{Batch, Epoch, Error, Result};
use millstream::wordcount;

struct CsvFiles {
    dir: PathBuf,
    encoder: DelimitedEncoder,
    /// The records of the epoch under way.
    records: Vec<u8>,
}

impl CsvFiles {
    fn new(dir: &Path, schema: &Schema) -> Result<Self> {
        fs::create_dir_all(dir).map_err(|source| failed("create", dir, source))?;
        Ok(Self {
            dir: dir.to_owned(),
            encoder: DelimitedEncoder::new(Dialect::CSV, schema)?,
            records: vec![],
        })
    }

    fn hidden(&self, epoch: Epoch) -> PathBuf {
        self.dir.join(format!(".epoch-{epoch}.csv"))
    }

    fn visible(&self, epoch: Epoch) -> PathBuf {
        self.dir.join(format!("epoch-{epoch}.csv"))
    }
}

fn failed(act: &'static str, path: &Path, source: io::Error) -> Error {
    Error::Io {
        act,
        path: path.to_owned(),
        source,
    }
}

impl Sink for CsvFiles {
    fn describe(&self) -> String {
        format!("csv files in {}", self.dir.display())
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::ExactlyOnce
    }

    /// The truth is the token of the newest checkpoint: its commit is finished, whatever came of it before.
    fn recover(&mut self, recovery: &Recovery<'_>) -> Result<Option<Epoch>> {
        let Some(newest) = recovery.candidates.first() else {
            return Ok(None);
        };
        self.commit(&newest.token)?;
        Ok(Some(newest.epoch))
    }

    fn write(&mut self, batch: &Batch) -> Result<()> {
        let rows = self.encoder.encode(&batch.to_records()?)?;
        self.records.extend_from_slice(rows.bytes());
        Ok(())
    }

    fn prepare(&mut self, barrier: &Barrier<'_>) -> Result<Token> {
        if self.records.is_empty() {
            return Ok(Token::default());
        }
        let path = self.hidden(barrier.epoch);
        let written = File::create(&path).and_then(|mut file| {
            let header = [self.encoder.header().as_slice(), b"\n"].concat();
            file.write_all(&header)?;
            file.write_all(&self.records)?;
            file.sync_all()
        });
        written.map_err(|source| failed("write", &path, source))?;
        self.records.clear();
        Ok(Token(serde_json::json!({ "epoch": barrier.epoch })))
    }

    fn commit(&mut self, token: &Token) -> Result<()> {
        let Some(epoch) = token.0.get("epoch") else {
            return Ok(());
        };
        let epoch: Epoch = serde_json::from_value(epoch.clone())
            .map_err(|error| Error::Invalid(format!("expected an epoch in the token: {error}")))?;
        let (hidden, visible) = (self.hidden(epoch), self.visible(epoch));
        match fs::rename(&hidden, &visible) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && visible.exists() => Ok(()),
            renamed => renamed.map_err(|source| failed("rename", &hidden, source)),
        }
    }

    fn abort(&mut self) {
        self.records.clear();
    }
}

fn main() -> Result<()> {
    let dir = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "target/example-sink".to_owned());
    let dir = Path::new(&dir);
    let source = FileSource::new(FileOptions::new(vec!["data/dpkg.log".into()]))?;
    let plan = wordcount::Plan::new(wordcount::Words::default(), Box::new(source))?;
    let sink = CsvFiles::new(&dir.join("counts"), &plan.schema())?;
    let job = plan.into_job(OutputMode::Complete, Box::new(sink));
    let store = LocalStore::open(&dir.join("checkpoint"), job.parts())?;
    let surroundings = Surroundings {
        store: Some(Box::new(store)),
        stop: &Stop::default(),
        metrics: &Metrics::default(),
        clock: &SystemClock::default(),
    };
    run(job, &Settings::bounded(NonZeroUsize::MIN), surroundings)?;
    Ok(())
}
