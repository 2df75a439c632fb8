//! Decompression of whole batches, into memory that is used again.
//!
//! No number of the data is believed: memory grows with what really comes out, up to a limit.

mod lz4;
mod output;
mod snappy;

use std::fmt;
use std::io::Read;

use flate2::bufread::MultiGzDecoder;
use zstd::zstd_safe::{self, DCtx, zstd_sys::ZSTD_ErrorCode};

use super::batch::Problem;
use output::{Full, Output};

/// How records are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codec {
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

/// Decompresses batches, one after the other.
pub(super) struct Decompressor {
    output: Output,
    zstd: DCtx<'static>,
    snappy: snap::raw::Decoder,
}

/// Why data can't be decompressed.
#[derive(Debug)]
enum Failure {
    /// More comes out than may.
    Full,
    /// What is wrong with the data.
    Corrupt(String),
}

impl From<Full> for Failure {
    fn from(Full: Full) -> Self {
        Self::Full
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        })
    }
}

impl Decompressor {
    /// Returns a decompressor that refuses what has more than `bytes_max` bytes.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            output: Output::new(bytes_max),
            zstd: DCtx::create(),
            snappy: snap::raw::Decoder::new(),
        }
    }

    /// Returns what `bytes` hold, until the next call.
    ///
    /// # Errors
    /// [`Problem::Corrupt`], or [`Problem::Inflated`] when it is more than the limit.
    pub(super) fn decompress(&mut self, codec: Codec, bytes: &[u8]) -> Result<&[u8], Problem> {
        self.output.start();
        let result = match codec {
            Codec::Gzip => gzip(bytes, &mut self.output),
            Codec::Snappy => snappy::decompress(&mut self.snappy, bytes, &mut self.output),
            Codec::Lz4 => lz4::decompress(bytes, &mut self.output),
            Codec::Zstd => zstd(&mut self.zstd, bytes, &mut self.output),
        };
        match result {
            Ok(()) => Ok(self.output.bytes()),
            Err(Failure::Full) => Err(Problem::Inflated { max: self.output.max() }),
            Err(Failure::Corrupt(reason)) => Err(Problem::Corrupt { codec, reason }),
        }
    }
}

fn gzip(bytes: &[u8], output: &mut Output) -> Result<(), Failure> {
    let mut decoder = MultiGzDecoder::new(bytes);
    let mut read = |room: &mut [u8]| decoder.read(room).map_err(|error| Failure::Corrupt(error.to_string()));
    // Text shrinks to a fourth: most batches are done in one turn, and the next one sees the end.
    while let Ok(room) = output.room(bytes.len().saturating_mul(4)) {
        match read(room)? {
            0 => return Ok(()),
            count => output.advance(count),
        }
    }
    match read(&mut [0])? {
        0 => Ok(()),
        _ => Err(Failure::Full),
    }
}

fn zstd(context: &mut DCtx<'_>, bytes: &[u8], output: &mut Output) -> Result<(), Failure> {
    const TOO_SMALL: usize = (ZSTD_ErrorCode::ZSTD_error_dstSize_tooSmall as usize).wrapping_neg();
    let mut wanted = bytes.len().saturating_mul(4);
    loop {
        // Streams of unknown length are the rule, and a whole frame at once is faster than a stream. The memory stays for
        // the next batch, so that a second turn is an exception.
        let room = output.room(wanted)?;
        let length = room.len();
        match context.decompress(room, bytes) {
            Ok(count) => {
                output.advance(count);
                return Ok(());
            }
            Err(TOO_SMALL) if length < wanted => return Err(Failure::Full),
            Err(TOO_SMALL) => wanted = length + 1,
            Err(code) => return Err(Failure::Corrupt(zstd_safe::get_error_name(code).to_owned())),
        }
    }
}
