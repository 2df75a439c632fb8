//! The connectors by name: one line each. The documentation's table derives from it.

/// What a connector can do.
#[derive(Debug)]
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    /// What it reads; empty when it does not.
    pub reads: &'static str,
    /// What it writes, and what a reader of that may rely on; empty when it does not.
    pub writes: &'static str,
}

/// Every connector.
pub const ENTRIES: &[Entry] = &[
    Entry {
        name: "kafka",
        reads: "topics by name or pattern, from any offset or time, bounded or for ever; value, key, headers, topic, \
                partition, offset, timestamp as columns",
        writes: "a topic, exactly once (one transaction an epoch) or at least once; JSON, CSV, TSV, Avro or one raw column",
    },
    Entry {
        name: "parquet",
        reads: "files, the wanted columns of them, row groups skipped up to where a run goes on",
        writes: "a folder, exactly once: records by topic and offsets, rows or changes by epoch, in folders by columns and \
                 dates, or one table replaced atomically",
    },
    Entry {
        name: "file",
        reads: "text files, plain, gzip or zstd, line by line",
        writes: "a file of JSON lines, CSV or TSV, exactly once; standard output and pipes, at least once",
    },
    Entry {
        name: "generate",
        reads: "seeded log lines, at a rate or as fast as possible",
        writes: "",
    },
    Entry {
        name: "console",
        reads: "",
        writes: "a table on a terminal, tab-separated lines elsewhere; at least once",
    },
];
