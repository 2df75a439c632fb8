//! LZ4's frame: blocks of up to 4 MiB, each by itself or with the 64 KiB before it as its dictionary.
//!
//! ```text
//! magic (4 bytes), flags, block size, [content size (8 bytes)], [dictionary's id (4 bytes)], checksum of these (1 byte)
//! { size (4 bytes), block, [checksum (4 bytes)] } ..., 0 (4 bytes), [checksum of the content (4 bytes)]
//! ```
//!
//! Numbers are little-endian (<https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md>). The frame's checksums are
//! passed over: the batch has one over all of its bytes, and some clients of old wrote a wrong one for the header
//! (KAFKA-3160).

use lz4_flex::block::{DecompressError, decompress_into, decompress_into_with_dict};

use super::{Failure, Output};

const MAGIC: [u8; 4] = 0x184d_2204_u32.to_le_bytes();

const VERSION_MASK: u8 = 0b1100_0000;
const VERSION: u8 = 0b0100_0000;
const INDEPENDENT_BLOCKS: u8 = 0b0010_0000;
const BLOCK_CHECKSUMS: u8 = 0b0001_0000;
const CONTENT_SIZE: u8 = 0b0000_1000;
const CONTENT_CHECKSUM: u8 = 0b0000_0100;
const DICTIONARY_ID: u8 = 0b0000_0001;

/// The bit of a block's size that says that the block is not compressed.
const PLAIN_BLOCK: u32 = 1 << 31;

/// How far back a block may refer.
const WINDOW_BYTES: usize = 64 << 10;

/// A byte of a block stands for 255 bytes at most: a part of a length.
const RATIO_MAX: usize = 255;

/// What the header says of the blocks.
struct Header {
    flags: u8,
    block_bytes_max: usize,
}

/// Adds what `bytes` hold, one frame or several, to `output`.
pub(super) fn decompress(mut bytes: &[u8], output: &mut Output) -> Result<(), Failure> {
    loop {
        frame(&mut bytes, output)?;
        if bytes.is_empty() {
            return Ok(());
        }
    }
}

fn frame(bytes: &mut &[u8], output: &mut Output) -> Result<(), Failure> {
    let header = header(bytes)?;
    let frame_from = output.bytes().len();
    loop {
        let size = u32::from_le_bytes(*take(bytes)?);
        if size == 0 {
            break;
        }
        let length = usize::try_from(size & !PLAIN_BLOCK).map_err(|_| cut())?;
        let (block, rest) = bytes.split_at_checked(length).ok_or_else(cut)?;
        *bytes = rest;
        match size & PLAIN_BLOCK {
            0 => compressed(block, &header, frame_from, output)?,
            _ => plain(block, &header, output)?,
        }
        if header.flags & BLOCK_CHECKSUMS != 0 {
            take::<4>(bytes)?;
        }
    }
    if header.flags & CONTENT_CHECKSUM != 0 {
        take::<4>(bytes)?;
    }
    Ok(())
}

fn header(bytes: &mut &[u8]) -> Result<Header, Failure> {
    if *take::<4>(bytes)? != MAGIC {
        return Err(corrupt("it does not start as a frame does"));
    }
    let [flags, block_size] = *take(bytes)?;
    if flags & VERSION_MASK != VERSION {
        return Err(corrupt("the frame is of another version than 1"));
    }
    if flags & DICTIONARY_ID != 0 {
        return Err(corrupt("the frame needs a dictionary, expected none"));
    }
    if flags & CONTENT_SIZE != 0 {
        take::<8>(bytes)?;
    }
    take::<1>(bytes)?;
    // 4 to 7 are 64 KiB, 256 KiB, 1 MiB, 4 MiB.
    let block_bytes_max = match block_size >> 4 & 0b111 {
        step @ 4..=7 => 1 << (8 + 2 * step),
        _ => return Err(corrupt("the frame's block size is none of 4 to 7")),
    };
    Ok(Header { flags, block_bytes_max })
}

fn compressed(block: &[u8], header: &Header, frame_from: usize, output: &mut Output) -> Result<(), Failure> {
    let wanted = header.block_bytes_max.min(block.len().saturating_mul(RATIO_MAX));
    let available = output.room(wanted)?.len().min(wanted);
    let (before, room) = output.exact_room(available)?;
    let result = match header.flags & INDEPENDENT_BLOCKS {
        0 => {
            let window_from = frame_from.max(before.len().saturating_sub(WINDOW_BYTES));
            decompress_into_with_dict(block, room, &before[window_from..])
        }
        _ => decompress_into(block, room),
    };
    match result {
        Ok(count) => output.advance(count),
        Err(DecompressError::OutputTooSmall { .. }) if available < wanted => return Err(Failure::Full),
        Err(error) => return Err(corrupt(&error.to_string())),
    }
    Ok(())
}

fn plain(block: &[u8], header: &Header, output: &mut Output) -> Result<(), Failure> {
    if block.len() > header.block_bytes_max {
        return Err(corrupt("a block is larger than the frame's block size"));
    }
    output.exact_room(block.len())?.1.copy_from_slice(block);
    output.advance(block.len());
    Ok(())
}

fn take<'a, const N: usize>(bytes: &mut &'a [u8]) -> Result<&'a [u8; N], Failure> {
    let (taken, rest) = bytes.split_first_chunk().ok_or_else(cut)?;
    *bytes = rest;
    Ok(taken)
}

fn cut() -> Failure {
    corrupt("the frame is cut off")
}

fn corrupt(reason: &str) -> Failure {
    Failure::Corrupt(reason.to_owned())
}
