//! Snappy, as one block or in the frame of xerial's library for Java, which Kafka's Java clients write.
//!
//! ```text
//! 0x82 "SNAPPY" 0, version (4 bytes), oldest version that can read it (4 bytes), { length (4 bytes), block } ...
//! ```

use snap::raw::{Decoder, decompress_len};

use super::{Failure, Output};

const XERIAL_MAGIC: [u8; 8] = *b"\x82SNAPPY\0";

/// Bytes of the versions after the magic bytes. They were always 1, and a new frame would have other magic bytes.
const VERSION_BYTES: usize = 8;

/// A copy of 64 bytes is 3 bytes of a block, and nothing is denser (the format's description, section 2.2).
const RATIO_MAX: usize = 22;

/// Adds what `bytes` hold to `output`.
pub(super) fn decompress(decoder: &mut Decoder, bytes: &[u8], output: &mut Output) -> Result<(), Failure> {
    let Some(frame) = bytes.strip_prefix(&XERIAL_MAGIC) else {
        return block(decoder, bytes, output);
    };
    let cut = || Failure::Corrupt("the frame is cut off".to_owned());
    let mut rest = frame.get(VERSION_BYTES..).ok_or_else(cut)?;
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk().ok_or_else(cut)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| cut())?;
        let (data, after) = after.split_at_checked(length).ok_or_else(cut)?;
        block(decoder, data, output)?;
        rest = after;
    }
    Ok(())
}

fn block(decoder: &mut Decoder, bytes: &[u8], output: &mut Output) -> Result<(), Failure> {
    let corrupt = |error: snap::Error| Failure::Corrupt(error.to_string());
    let length = decompress_len(bytes).map_err(corrupt)?;
    if length > bytes.len().saturating_mul(RATIO_MAX) {
        let text = format!("{} bytes can't become the {length} that they claim", bytes.len());
        return Err(Failure::Corrupt(text));
    }
    let (_, room) = output.exact_room(length)?;
    let count = decoder.decompress(bytes, room).map_err(corrupt)?;
    output.advance(count);
    Ok(())
}
