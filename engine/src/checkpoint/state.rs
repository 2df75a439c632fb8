//! State files: Arrow IPC streams, checked by length and CRC-32C before a row is used.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use arrow::record_batch::RecordBatch;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::operator::Extent;

/// A state file as a checkpoint lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StateFile {
    /// Its name in the checkpoint folder.
    pub(super) name: String,
    /// The number of the query whose state it holds.
    pub(super) query: usize,
    /// Whether it is a base.
    pub(super) base: bool,
    /// Rows in it.
    pub(super) rows: u64,
    /// Its length in bytes.
    pub(super) bytes: u64,
    /// The CRC-32C of its content.
    pub(super) crc32c: u32,
}

/// Writes through and keeps length and checksum.
struct Summed<W> {
    inner: W,
    bytes: u64,
    crc32c: u32,
}

impl<W: Write> Write for Summed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.crc32c = crc32c::crc32c_append(self.crc32c, &bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Writes the rows of a query to the file `path`, durably, and returns its entry; `None` when there is no row.
pub(super) fn write(
    path: &Path,
    query: usize,
    extent: Extent,
    rows: impl Iterator<Item = Result<RecordBatch>>,
) -> Result<Option<StateFile>> {
    let mut rows = rows.peekable();
    let schema = match rows.peek() {
        None => return Ok(None),
        Some(Ok(first)) => first.schema(),
        Some(Err(_)) => return Err(rows.next().and_then(Result::err).expect("an error was seen")),
    };
    let file = File::create(path).map_err(Error::io("create", path))?;
    let mut output = Summed {
        inner: BufWriter::with_capacity(1 << 18, file),
        bytes: 0,
        crc32c: 0,
    };
    let failed = |error| io_or_arrow(error, path);
    let mut count = 0;
    let mut writer = StreamWriter::try_new(&mut output, &schema).map_err(failed)?;
    for records in rows {
        let records = records?;
        count += records.num_rows() as u64;
        writer.write(&records).map_err(failed)?;
    }
    writer.finish().map_err(failed)?;
    drop(writer);
    output.flush().map_err(Error::io("write", path))?;
    output.inner.get_ref().sync_all().map_err(Error::io("sync", path))?;
    Ok(Some(StateFile {
        name: file_name(path),
        query,
        base: extent == Extent::Base,
        rows: count,
        bytes: output.bytes,
        crc32c: output.crc32c,
    }))
}

/// Returns the rows of a state file after a check of its length and checksum.
pub(super) fn read(root: &Path, entry: &StateFile) -> Result<impl Iterator<Item = Result<RecordBatch>>> {
    let path = root.join(&entry.name);
    check(&path, entry)?;
    let file = File::open(&path).map_err(Error::io("open", &path))?;
    let reader = StreamReader::try_new(BufReader::with_capacity(1 << 18, file), None);
    let reader = reader.map_err(|error| io_or_arrow(error, &path))?;
    Ok(reader.map(move |records| records.map_err(|error| io_or_arrow(error, &path))))
}

fn file_name(path: &Path) -> String {
    let name = path.file_name().expect("the store gives it a name");
    name.to_string_lossy().into_owned()
}

fn check(path: &Path, entry: &StateFile) -> Result<()> {
    let mut file = File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Error::Checkpoint {
            path: path.to_owned(),
            problem: "it is missing".to_owned(),
        },
        _ => Error::io("open", path)(error),
    })?;
    let mut block = vec![0; 1 << 18];
    let (mut bytes, mut crc32c) = (0, 0);
    loop {
        let count = file.read(&mut block).map_err(Error::io("read", path))?;
        if count == 0 {
            break;
        }
        bytes += count as u64;
        crc32c = crc32c::crc32c_append(crc32c, &block[..count]);
    }
    if (bytes, crc32c) == (entry.bytes, entry.crc32c) {
        return Ok(());
    }
    Err(Error::Checkpoint {
        path: path.to_owned(),
        problem: format!(
            "it has {bytes} bytes and CRC-32C {crc32c:08x}, expected {} and {:08x}",
            entry.bytes, entry.crc32c
        ),
    })
}

fn io_or_arrow(error: arrow::error::ArrowError, path: &Path) -> Error {
    match error {
        arrow::error::ArrowError::IoError(_, source) => Error::io("write or read", path)(source),
        other => Error::Checkpoint {
            path: path.to_owned(),
            problem: other.to_string(),
        },
    }
}
