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
        reads: "topics, from any offset or time, bounded or for ever; value, key, headers, topic, partition, offset, \
                timestamp as columns",
        writes: "a topic, exactly once (one transaction an epoch) or at least once; JSON or one raw column",
    },
    Entry {
        name: "parquet",
        reads: "",
        writes: "a folder, exactly once: records by topic and offsets, changes by epoch, or one table replaced atomically",
    },
    Entry {
        name: "file",
        reads: "text files, plain, gzip or zstd, line by line",
        writes: "",
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
