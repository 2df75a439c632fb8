//! A file, standard input or a pipe, and what is in it: text, gzip or zstd.

use std::fs::File;
use std::io::{self, Cursor, ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;

use engine::{Error, Result};
use flate2::read::MultiGzDecoder;
use serde::{Deserialize, Serialize};

use super::STDIN;

/// Bytes at the head of a file that tell whether it is still the same one. Log lines begin with a time, so that a block
/// of the file system is plenty.
const HEAD_BYTES: usize = 4096;

/// Bytes that tell gzip and zstd from text.
const MAGIC_BYTES: usize = 4;

/// How the text is stored, told by the first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Encoding {
    Plain,
    Gzip,
    Zstd,
}

/// An input that was looked at and can be read.
#[derive(Debug)]
pub(super) struct Input {
    name: String,
    content: Content,
}

#[derive(Debug)]
enum Content {
    /// A regular file of `size` bytes.
    File { file: File, size: u64, encoding: Encoding },
    /// Standard input, a named pipe, a device: readable once, of unknown length. Not opened before it is read, since
    /// opening a named pipe waits for its writer.
    Pipe,
}

/// What a checkpoint keeps of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    encoding: Encoding,
    size: u64,
    head_bytes: usize,
    head_crc32c: u32,
}

impl Input {
    /// Opens the file `name`, or takes note of standard input or a pipe.
    ///
    /// # Errors
    /// When it does not exist, is a folder, or can't be read.
    pub(super) fn open(name: &str) -> Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            content: Self::look_at(name).map_err(Error::io("read", name))?,
        })
    }

    fn look_at(name: &str) -> io::Result<Content> {
        if name == STDIN {
            return Ok(Content::Pipe);
        }
        let metadata = std::fs::metadata(name)?;
        if metadata.is_dir() {
            return Err(io::Error::new(
                ErrorKind::IsADirectory,
                "it is a folder: name the files in it",
            ));
        }
        if !metadata.is_file() {
            return Ok(Content::Pipe);
        }
        let file = File::open(name)?;
        let encoding = Encoding::of(&head_of(&file, MAGIC_BYTES)?);
        Ok(Content::File {
            size: metadata.len(),
            encoding,
            file,
        })
    }

    /// Returns whether the input can be read once only.
    pub(super) fn is_pipe(&self) -> bool {
        matches!(self.content, Content::Pipe)
    }

    /// Returns the size of a file of plain text.
    pub(super) fn plain_size(&self) -> Option<i64> {
        match self.content {
            Content::File {
                size,
                encoding: Encoding::Plain,
                ..
            } => i64::try_from(size).ok(),
            _ => None,
        }
    }

    /// Returns what recognises the file later; of a pipe nothing does.
    pub(super) fn identity(&self) -> Result<Identity> {
        self.identity_of(HEAD_BYTES).map_err(Error::io("read", &self.name))
    }

    /// Returns whether this may be the file that `was` describes: the head is equal, and a compressed file is as long.
    pub(super) fn is_same(&self, was: &Identity) -> Result<bool> {
        let now = self
            .identity_of(was.head_bytes)
            .map_err(Error::io("read", &self.name))?;
        let size = match was.encoding {
            // Text may be appended while the job is down; the job's end does not move.
            Encoding::Plain => was.size,
            Encoding::Gzip | Encoding::Zstd => now.size,
        };
        Ok(Identity { size, ..now } == *was)
    }

    fn identity_of(&self, head_bytes: usize) -> io::Result<Identity> {
        let (size, encoding, head) = match &self.content {
            Content::File { file, size, encoding } => (*size, *encoding, head_of(file, head_bytes)?),
            Content::Pipe => (0, Encoding::Plain, Vec::new()),
        };
        Ok(Identity {
            encoding,
            size,
            head_bytes: head.len(),
            head_crc32c: crc32c::crc32c(&head),
        })
    }

    /// Returns the text from byte `from` on, of a plain file up to byte `end`.
    ///
    /// # Errors
    /// When the file can't be read, or its text ends before `from`.
    pub(super) fn text(self, from: u64, end: Option<u64>) -> io::Result<Box<dyn Read + Send>> {
        let (mut raw, encoding): (Box<dyn Read + Send>, _) = match self.content {
            Content::File { mut file, encoding, .. } => {
                if encoding == Encoding::Plain {
                    file.seek(SeekFrom::Start(from))?;
                    let left = end.map_or(u64::MAX, |end| end.saturating_sub(from));
                    return Ok(Box::new(file.take(left)));
                }
                file.rewind()?;
                (Box::new(file), encoding)
            }
            Content::Pipe => {
                let mut pipe = open_pipe(&self.name)?;
                let head = read_head(&mut pipe, MAGIC_BYTES)?;
                let encoding = Encoding::of(&head);
                (Box::new(Cursor::new(head).chain(pipe)), encoding)
            }
        };
        raw = match encoding {
            Encoding::Plain => raw,
            Encoding::Gzip => Box::new(MultiGzDecoder::new(raw)),
            Encoding::Zstd => Box::new(zstd::Decoder::new(raw)?),
        };
        skip(&mut raw, from)?;
        Ok(raw)
    }
}

impl Encoding {
    fn of(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            _ => Self::Plain,
        }
    }
}

/// Returns whether `path` names something that can be read once only.
pub(super) fn is_pipe(path: &Path) -> bool {
    path.as_os_str() == STDIN || std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file())
}

fn open_pipe(name: &str) -> io::Result<Box<dyn Read + Send>> {
    Ok(match name {
        STDIN => Box::new(io::stdin()),
        _ => Box::new(File::open(name)?),
    })
}

/// Returns the first bytes of a file, from wherever it was read before.
fn head_of(mut file: &File, bytes: usize) -> io::Result<Vec<u8>> {
    file.rewind()?;
    read_head(&mut file, bytes)
}

/// Returns the next bytes, fewer only if there are no more.
fn read_head(input: &mut impl Read, bytes: usize) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(bytes);
    input.take(bytes as u64).read_to_end(&mut head)?;
    Ok(head)
}

fn skip(text: &mut impl Read, bytes: u64) -> io::Result<()> {
    let skipped = io::copy(&mut text.take(bytes), &mut io::sink())?;
    if skipped < bytes {
        let problem = format!("the text ends at byte {skipped}, before the position {bytes}");
        return Err(io::Error::new(ErrorKind::UnexpectedEof, problem));
    }
    Ok(())
}
