//! The word count of files through the command line against a plain loop: every way to split, every codec, several files.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use ::parquet::basic::Compression;

use crate::harness::PATIENCE;
use crate::harness::parquet;
use crate::harness::process::Run;
use crate::harness::scratch::{Scratch, root};

/// What the sample log lacks: letters beyond ASCII, in both cases, and white space and signs between them.
const LETTERS: &str = "Ärger über ÉCOLE École école\u{2003}x\u{a0}y Straße STRASSE_1 ΟΔΟΣ İstanbul 日本語,日本 a--b  c\t\td e.f \n\
                       x=1;y=2 [x] «x» don't 42 4_2 \u{3000}ende\n";

/// Writes a file of the sample log and [`LETTERS`], and returns its text.
fn write_text(path: &Path) -> String {
    let mut text = fs::read_to_string(root().join("data/access.log")).expect("the sample log");
    text.push_str(LETTERS);
    fs::write(path, &text).expect("the scratch folder can be written");
    text
}

/// Counts the words of `file` to Parquet, with these options, and returns them.
#[track_caller]
fn counted(scratch: &Scratch, files: &[&str], options: &[&str]) -> BTreeMap<String, i64> {
    let out = Scratch::new("table");
    let parquet = format!("parquet:{}", out.join("counts").display());
    let arguments = ["wordcount", "--out", &parquet]
        .into_iter()
        .chain(options.iter().copied());
    let run = Run::millstream(scratch, "wordcount").args(arguments.chain(files.iter().copied()));
    run.finish(PATIENCE).expect_code(0);
    parquet::counts(&out.join("counts"))
}

/// Checks a way to split, with and without `--lower`, against a loop over the words that `split` gives for a line.
#[track_caller]
fn check(mode: &str, split: impl Fn(&str) -> Vec<&str>) {
    let scratch = Scratch::new("split");
    let text = write_text(&scratch.join("text.log"));
    for lower in [false, true] {
        let mut expected = BTreeMap::new();
        for line in text.lines() {
            let line = if lower { line.to_lowercase() } else { line.to_owned() };
            for word in split(&line).into_iter().filter(|word| !word.is_empty()) {
                *expected.entry(word.to_owned()).or_default() += 1;
            }
        }
        let options = ["--split", mode, "--lower"];
        let found = counted(&scratch, &["text.log"], &options[..2 + usize::from(lower)]);
        let differs = |(word, count): (&String, &i64)| (found.get(word) != Some(count)).then(|| word.clone());
        let missing: Vec<_> = expected.iter().filter_map(differs).take(10).collect();
        assert!(
            found == expected,
            "--split {mode}, lower {lower}: not as expected: {missing:?}"
        );
    }
}

#[test]
fn ascii_white_space_splits_by_default() {
    check("ascii", |line| {
        line.split([' ', '\t', '\r', '\n', '\u{b}', '\u{c}']).collect()
    });
    let scratch = Scratch::new("default");
    write_text(&scratch.join("text.log"));
    assert_eq!(
        counted(&scratch, &["text.log"], &[]),
        counted(&scratch, &["text.log"], &["--split", "ascii"])
    );
}

#[test]
fn only_the_space_splits_when_asked_to() {
    check("space", |line| line.split(' ').collect());
}

#[test]
fn unicode_white_space_splits() {
    check("unicode", |line| line.split(char::is_whitespace).collect());
}

#[test]
fn letters_digits_and_underscores_make_words() {
    check("word", |line| {
        line.split(|character: char| !character.is_alphanumeric() && character != '_')
            .collect()
    });
}

#[test]
fn any_set_of_ascii_characters_splits() {
    check("bytes:,;", |line| line.split([',', ';']).collect());
    check("bytes: []\"/:.=", |line| {
        line.split([' ', '[', ']', '"', '/', ':', '.', '=']).collect()
    });
}

/// Whether a file's codec is the one asked for.
type IsCodec = fn(&Compression) -> bool;

#[test]
fn every_codec_is_written_and_holds_the_same_table() {
    let scratch = Scratch::new("codecs");
    write_text(&scratch.join("text.log"));
    let expected = counted(&scratch, &["text.log"], &[]);
    let is_zstd = |codec: &Compression| matches!(codec, Compression::ZSTD(_));
    let codecs: [(&str, IsCodec); 6] = [
        ("none", |codec| *codec == Compression::UNCOMPRESSED),
        ("snappy", |codec| *codec == Compression::SNAPPY),
        ("lz4", |codec| *codec == Compression::LZ4_RAW),
        ("zstd", is_zstd),
        ("zstd:1", is_zstd),
        ("zstd:19", is_zstd),
    ];
    for (name, is_codec) in codecs {
        let out = format!("parquet:{}", scratch.join(name).display());
        let arguments = ["wordcount", "--compression", name, "--out", &out, "text.log"];
        Run::millstream(&scratch, "codec")
            .args(arguments)
            .finish(PATIENCE)
            .expect_code(0);
        assert_eq!(parquet::counts(&scratch.join(name)), expected, "{name}");
        for file in parquet::files(&scratch.join(name)) {
            let codecs = parquet::codecs(&file);
            assert!(codecs.iter().all(is_codec), "{name}: {codecs:?}");
        }
    }
}

#[test]
fn several_files_are_one_count_whatever_each_is_packed_with() {
    let scratch = Scratch::new("several");
    let text = write_text(&scratch.join("one.log"));
    fs::write(scratch.join("two.log"), "the second file's words\nalone and lastword").expect("a scratch file");
    fs::write(scratch.join("three.log"), "firstword alone\n").expect("a scratch file");
    Run::program("gzip", &scratch, "gzip")
        .args(["-k", "one.log", "three.log"])
        .finish(PATIENCE)
        .expect_code(0);
    let all = format!("{text}the second file's words\nalone and lastword\nfirstword alone\n");
    let mut expected: BTreeMap<String, i64> = BTreeMap::new();
    for word in all.split_ascii_whitespace() {
        *expected.entry(word.to_owned()).or_default() += 1;
    }
    let files = ["one.log.gz", "two.log", "three.log.gz"];
    for threads in ["1", "2", "7"] {
        assert!(
            counted(&scratch, &files, &["--threads", threads]) == expected,
            "{threads} threads"
        );
    }
    for (_, count) in expected.iter_mut() {
        *count *= 2;
    }
    let twice = [
        "one.log.gz",
        "two.log",
        "three.log.gz",
        "one.log",
        "three.log",
        "two-again.log",
    ];
    fs::copy(scratch.join("two.log"), scratch.join("two-again.log")).expect("a scratch file");
    assert!(
        counted(&scratch, &twice, &[]) == expected,
        "each file counts for itself"
    );
}
