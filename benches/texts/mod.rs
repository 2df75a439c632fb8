//! Texts to tokenize and count: seeded, so that every run sees the same bytes.

use std::path::Path;

use connectors::generate::Shape;

/// Rows and bytes of a block, as the sources make their batches.
const BLOCK_ROWS: usize = 8192;
const BLOCK_BYTES: usize = 1 << 20;

/// Bytes of a text: more than the second-level cache, as a stream is.
const TEXT_BYTES: usize = 8 << 20;

const SEED: u64 = 20_260_101;

/// Lines as an Arrow string array has them: row `i` is `text[offsets[i]..offsets[i + 1]]`.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) text: Vec<u8>,
    pub(crate) offsets: Vec<i32>,
}

/// A text by its name.
#[derive(Debug)]
pub(crate) struct Text {
    pub(crate) name: &'static str,
    pub(crate) blocks: Vec<Block>,
}

impl Block {
    fn new() -> Self {
        Self {
            text: Vec::new(),
            offsets: vec![0],
        }
    }

    /// Calls `visit` with every row.
    pub(crate) fn for_each_row<'a>(&'a self, mut visit: impl FnMut(&'a str)) {
        let text = std::str::from_utf8(&self.text).expect("texts are UTF-8");
        for bounds in self.offsets.windows(2) {
            visit(&text[bounds[0] as usize..bounds[1] as usize]);
        }
    }
}

impl Text {
    /// Returns the text whose line `i` is appended by `line`.
    fn new(name: &'static str, mut line: impl FnMut(u64, &mut Vec<u8>)) -> Self {
        let mut blocks = vec![Block::new()];
        let mut bytes = 0;
        for number in 0.. {
            let block = blocks.last_mut().expect("there is always a block");
            let before = block.text.len();
            line(number, &mut block.text);
            bytes += block.text.len() - before;
            block
                .offsets
                .push(i32::try_from(block.text.len()).expect("a block is small"));
            if bytes >= TEXT_BYTES {
                break;
            }
            if block.offsets.len() > BLOCK_ROWS || block.text.len() >= BLOCK_BYTES {
                blocks.push(Block::new());
            }
        }
        Self { name, blocks }
    }

    /// Returns the number of bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.blocks.iter().map(|block| block.text.len() as u64).sum()
    }
}

/// Returns all texts.
pub(crate) fn all() -> Vec<Text> {
    vec![short_words(), web_log(), generated(), unique_ids(), utf8()]
}

/// Twelve words a line, of 10,000 distinct ones of 2 to 9 letters.
fn short_words() -> Text {
    let mut random = SEED;
    let words: Vec<Vec<u8>> = (0..10_000).map(|_| word(&mut random)).collect();
    Text::new("short_words", move |_, out| {
        for position in 0..12 {
            let separator: &[u8] = if position == 0 { b"" } else { b" " };
            out.extend_from_slice(separator);
            out.extend_from_slice(&words[(next(&mut random) % 10_000) as usize]);
        }
    })
}

fn word(random: &mut u64) -> Vec<u8> {
    let letters = 2 + next(random) % 8;
    (0..letters).map(|_| b'a' + (next(random) % 26) as u8).collect()
}

/// The lines of a real web server's log, again and again.
fn web_log() -> Text {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/access.log");
    let log = std::fs::read_to_string(path).expect("data/access.log is part of the project");
    let lines: Vec<String> = log.lines().map(str::to_owned).collect();
    let count = lines.len() as u64;
    Text::new("web_log", move |number, out| {
        out.extend_from_slice(lines[(number % count) as usize].as_bytes());
    })
}

/// What `millstream generate` makes.
fn generated() -> Text {
    Text::new("generated", |number, out| Shape::Access.line(SEED, number, out))
}

/// Six ids a line, each of 16 hexadecimal digits and nowhere else: no word comes twice.
fn unique_ids() -> Text {
    let mut random = SEED;
    Text::new("unique_ids", move |_, out| {
        for position in 0..6 {
            let separator = if position == 0 { "" } else { " " };
            out.extend_from_slice(format!("{separator}{:016x}", next(&mut random)).as_bytes());
        }
    })
}

/// Ten words a line, of 5,000 distinct ones in Latin with accents, Greek, Cyrillic and Chinese letters.
fn utf8() -> Text {
    const LETTERS: [&str; 24] = [
        "é", "ü", "ñ", "ø", "ß", "a", "e", "s", "α", "β", "λ", "ω", "д", "ж", "я", "щ", "数", "据", "流", "水", "字",
        "🦀", "n", "t",
    ];
    let mut random = SEED;
    let letter = |random: &mut u64| LETTERS[(next(random) % 24) as usize];
    let words: Vec<String> = (0..5000)
        .map(|_| (0..2 + next(&mut random) % 5).map(|_| letter(&mut random)).collect())
        .collect();
    Text::new("utf8", move |_, out| {
        for position in 0..10 {
            let separator = if position == 0 { "" } else { " " };
            out.extend_from_slice(separator.as_bytes());
            out.extend_from_slice(words[(next(&mut random) % 5000) as usize].as_bytes());
        }
    })
}

/// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
