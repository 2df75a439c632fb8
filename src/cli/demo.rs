//! `millstream demo`: the word count, live, with everything it needs in this one process.

use std::io::{IsTerminal, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use clap::Args;
use connectors::console::{ConsoleOptions, ConsoleSink, Order};
use connectors::generate::{GenerateOptions, GenerateSource, Shape};
use connectors::kafka::config::Connection;
use connectors::kafka::mock::MockBroker;
use connectors::kafka::options::SourceOptions;
use connectors::kafka::sink::{Delivery, KafkaSink, SinkOptions, ValueFormat};
use connectors::kafka::source::KafkaSource;
use connectors::parquet::Compression;
use connectors::tee::Tee;
use engine::checkpoint::LocalStore;
use engine::clock::SystemClock;
use engine::metrics::Metrics;
use engine::operator::OutputMode;
use engine::pipeline::{Job, Query, Settings, Stop, Surroundings};
use engine::sink::Sink;
use engine::source::Source;
use engine::{Error, Result};

use super::Exit;
use super::launch::{self, Output};
use crate::wordcount::{Plan, Words};

const TOPIC: &str = "logs";

/// As many as a small real topic has; shows that partitions are read side by side.
const PARTITIONS: i32 = 4;

/// Lines a second: fast enough to see counts move, slow enough for the in-process broker's 5 MiB a partition.
const RATE: f64 = 5_000.0;

/// Rows of the live table.
const TOP: usize = 10;

/// See the word count live: an in-process broker, a stream of log lines, a table each second, Parquet files at the end
#[derive(Debug, Args)]
pub(super) struct Demo {
    /// How long it runs
    #[arg(long, value_name = "N", default_value_t = 15)]
    seconds: u64,
    /// Folder for the Parquet files; that of an earlier demo is replaced
    #[arg(long, value_name = "DIR", default_value = "millstream-demo")]
    out: PathBuf,
}

impl Demo {
    /// Runs the demo.
    pub(super) fn run(self, _: Output) -> Result<Exit> {
        remove_earlier_demo(&self.out)?;
        let broker = MockBroker::start()?;
        broker.create_topic(TOPIC, PARTITIONS)?;
        say(&format!(
            "An in-process broker is up at {}; {RATE} log lines a second go to the topic `{TOPIC}`.\n\
             Counting their words in micro-batches of one second:\n",
            broker.brokers()
        ))?;
        let stop = launch::stop_on_signal("stopping after this epoch")?;
        let (metrics, feeding) = (Metrics::default(), Stop::default());
        thread::scope(|scope| {
            let brokers = broker.brokers();
            let feeding = &feeding;
            let feeder = scope.spawn({
                let brokers = brokers.clone();
                move || feed(&brokers, feeding)
            });
            let timer = Arc::clone(&stop);
            let seconds = Duration::from_secs(self.seconds);
            // Nobody waits for this thread: it only raises the stop, which the end of the demo has done as well.
            thread::spawn(move || {
                thread::sleep(seconds);
                timer.raise();
            });
            let counted = count(&brokers, &self.out, &stop, &metrics);
            feeding.raise();
            let fed = feeder.join().expect("the feeder does not panic");
            counted.and(fed)
        })?;
        say(&self.what_is_left(&metrics))?;
        Ok(Exit::Done)
    }

    fn what_is_left(&self, metrics: &Metrics) -> String {
        let (lines, words, epochs) = (metrics.rows_in.get(), metrics.groups.get(), metrics.epochs.get());
        let file = |path: PathBuf| {
            let bytes = path.metadata().map_or(0, |metadata| metadata.len());
            format!("  {}  {bytes} bytes\n", path.display())
        };
        let files: String = parquet_files(&self.out).into_iter().map(file).collect();
        let out = self.out.display();
        format!(
            "{lines} lines counted: {words} distinct words, in {epochs} epochs.\n\n\
             The whole table is in Parquet, replaced atomically each second:\n{files}\n\
             Look at it with DuckDB or Python:\n  \
             duckdb -c \"SELECT * FROM '{out}/*.parquet' ORDER BY count DESC LIMIT 10\"\n  \
             python3 -c \"import pyarrow.parquet as p; print(p.read_table('{out}/table.parquet'))\"\n\n\
             The same on your own broker:\n  \
             millstream wordcount --brokers localhost:9092 --topic logs"
        )
    }
}

fn say(text: &str) -> Result<()> {
    writeln!(std::io::stdout(), "{text}").map_err(Error::io("write to", "<standard output>"))
}

/// Removes what an earlier demo left; refuses a folder that no demo made.
fn remove_earlier_demo(out: &Path) -> Result<()> {
    match out.exists() {
        true if out.join("_millstream").is_dir() => std::fs::remove_dir_all(out).map_err(Error::io("remove", out)),
        true => Err(Error::Invalid(format!(
            "{} exists and is not of an earlier demo: give another --out",
            out.display()
        ))),
        false => Ok(()),
    }
}

/// Sends generated lines to the topic until `stop`.
fn feed(brokers: &str, stop: &Stop) -> Result<()> {
    let source = GenerateSource::new(GenerateOptions {
        lines: None,
        rate: Some(RATE),
        seed: 1,
        shape: Shape::default(),
    })?;
    let sink = KafkaSink::new(SinkOptions {
        connection: Connection::new(brokers),
        topic: TOPIC.to_owned(),
        group: "millstream-demo-feed".to_owned(),
        key: vec![],
        value: ValueFormat::Column("value".to_owned()),
        delivery: Delivery::AtLeastOnce,
        source_topics: vec![],
        schema: source.schema(),
    })?;
    let job = Job::new(Box::new(source), Query::new(Box::new(sink)));
    run(
        job,
        &settings(Duration::from_millis(50)),
        None,
        stop,
        &Metrics::default(),
    )
}

fn count(brokers: &str, out: &Path, stop: &Stop, metrics: &Metrics) -> Result<()> {
    let options = SourceOptions::new(Connection::new(brokers), vec![TOPIC.to_owned()], "millstream-demo");
    let plan = Plan::new(Words::default(), Box::new(KafkaSource::new(options)?))?;
    let parquet = super::wordcount::parquet(out, plan.schema(), OutputMode::Complete, Compression::default())?;
    let terminal = std::io::stdout().is_terminal();
    let table = ConsoleSink::new(
        Box::new(std::io::stdout()),
        ConsoleOptions {
            terminal: true,
            live: terminal,
            top: TOP,
            order: Some(Order {
                column: "count".to_owned(),
                descending: true,
            }),
        },
    );
    let job = plan.into_job(
        OutputMode::Complete,
        Box::new(Tee::new(parquet, Box::new(table) as Box<dyn Sink>)),
    );
    run(
        job,
        &settings(Duration::from_secs(1)),
        Some(&launch::checkpoint_in(out)),
        stop,
        metrics,
    )
}

fn settings(every: Duration) -> Settings {
    Settings {
        trigger: Some(every),
        checkpoint_interval: Some(Duration::ZERO),
        ..Settings::bounded(NonZeroUsize::MIN)
    }
}

fn run(job: Job, settings: &Settings, checkpoint: Option<&Path>, stop: &Stop, metrics: &Metrics) -> Result<()> {
    let store = checkpoint.map(|dir| LocalStore::open(dir, job.parts())).transpose()?;
    let surroundings = Surroundings {
        store: store.map(|store| Box::new(store) as Box<_>),
        stop,
        metrics,
        clock: &SystemClock::default(),
    };
    engine::pipeline::run(job, settings, surroundings).map(|_| ())
}

fn parquet_files(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "parquet"));
    files.sort();
    files
}
