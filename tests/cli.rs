//! The command line as a user meets it: help, mistakes, pipes, exit codes. None of it needs a broker.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use crate::harness::PATIENCE;
use crate::harness::process::{self, Ended, Run};
use crate::harness::scratch::{Scratch, root};

/// Runs `millstream` with arguments that are separated by spaces, to its end.
#[track_caller]
fn millstream(scratch: &Scratch, arguments: &str) -> Ended {
    let run = Run::millstream(scratch, "millstream").args(arguments.split(' ').filter(|word| !word.is_empty()));
    // What the environment of the tests' user says is not what is tested.
    run.env("MILLSTREAM_BROKERS", "127.0.0.1:1").finish(PATIENCE)
}

/// Runs a shell command in which `$MILLSTREAM` is the program and `$LOG` is the sample access log.
#[track_caller]
fn shell(scratch: &Scratch, script: &str) -> Ended {
    Run::program("bash", scratch, "shell")
        .args(["-c", script])
        .env("MILLSTREAM", env!("CARGO_BIN_EXE_millstream"))
        .env("LOG", access_log())
        .finish(PATIENCE)
}

/// Checks the exit code, and that the standard error holds all of `parts`.
#[track_caller]
fn check(arguments: &str, code: i32, parts: &[&str]) {
    let scratch = Scratch::new("cli");
    check_ended(millstream(&scratch, arguments), code, parts);
}

#[track_caller]
fn check_ended(ended: Ended, code: i32, parts: &[&str]) {
    let ended = ended.expect_code(code);
    for part in parts {
        assert!(
            ended.stderr.contains(part),
            "`{part}` is in the message:\n{}",
            ended.stderr
        );
    }
}

fn access_log() -> PathBuf {
    root().join("data/access.log")
}

/// Returns the lines `word TAB count` of a plain console output.
#[track_caller]
fn counts(stdout: &str) -> BTreeMap<String, i64> {
    let mut counts = BTreeMap::new();
    for line in stdout.lines() {
        let (word, count) = line.split_once('\t').expect("a word, a tab, a count");
        let earlier = counts.insert(word.to_owned(), count.parse().expect("a count"));
        assert_eq!(earlier, None, "`{word}` is there once");
    }
    counts
}

fn words(pairs: &[(&str, i64)]) -> BTreeMap<String, i64> {
    pairs.iter().map(|&(word, count)| (word.to_owned(), count)).collect()
}

/// Counts a file of this content by its name.
#[track_caller]
fn counted(name: &str, content: &[u8]) -> Ended {
    let scratch = Scratch::new("content");
    fs::write(scratch.join(name), content).expect("the scratch folder can be written");
    millstream(&scratch, &format!("wordcount {name}"))
}

/// Returns what `gzip` makes of some bytes.
#[track_caller]
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let scratch = Scratch::new("gzip");
    fs::write(scratch.join("plain"), bytes).expect("the scratch folder can be written");
    shell(&scratch, "gzip -c plain > packed").expect_code(0);
    fs::read(scratch.join("packed")).expect("the shell wrote it")
}

/// Returns a zstd frame of raw blocks (RFC 8878, 3.1.1), so that the tests need no such program.
fn zstd(bytes: &[u8]) -> Vec<u8> {
    const BLOCK_BYTES_MAX: usize = 128 << 10;
    // The magic number; a single segment whose size is given in four bytes; the size.
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0b1010_0000];
    frame.extend(u32::try_from(bytes.len()).expect("a small file").to_le_bytes());
    let count = bytes.chunks(BLOCK_BYTES_MAX).len();
    for (block, number) in bytes.chunks(BLOCK_BYTES_MAX).zip(1..) {
        let header = u32::try_from(block.len()).expect("a block") << 3 | u32::from(number == count);
        frame.extend(&header.to_le_bytes()[..3]);
        frame.extend(block);
    }
    frame
}

#[test]
fn without_arguments_the_help_is_shown() {
    check(
        "",
        2,
        &[
            "Usage: millstream",
            "wordcount",
            "replay",
            "generate",
            "demo",
            "Exit codes:",
        ],
    );
}

#[test]
fn every_verbs_help_has_examples_and_says_what_it_is_for() {
    let scratch = Scratch::new("help");
    for verb in ["wordcount", "replay", "generate"] {
        let help = millstream(&scratch, &format!("{verb} --help")).expect_code(0);
        assert!(help.stdout.contains("Examples:\n  millstream"), "{}", help.stdout);
        assert!(help.stdout.contains("--brokers"), "{}", help.stdout);
        let short = millstream(&scratch, &format!("{verb} -h")).expect_code(0);
        assert_eq!(help.stdout, short.stdout, "one help, however it is asked for");
    }
    let top = millstream(&scratch, "--help").expect_code(0);
    assert!(top.stdout.contains("75  stopped but resumable"), "{}", top.stdout);
}

#[test]
fn a_value_that_no_option_has_is_answered_with_those_it_has() {
    check(
        "wordcount --split tabs x",
        2,
        &["--split", "expected ascii, space, unicode, word or bytes:CHARACTERS"],
    );
    check("wordcount --split bytes: x", 2, &["at least one separator"]);
    check("wordcount --mode append x", 2, &["[possible values: update, complete]"]);
    check(
        "wordcount --out csv:x y",
        2,
        &["expected console, parquet:DIR or kafka:TOPIC"],
    );
    check(
        "wordcount --compression gzip x",
        2,
        &["expected none, snappy, lz4, zstd or zstd:1 to zstd:22"],
    );
    check("wordcount --compression zstd:99 x", 2, &["zstd:1 to zstd:22"]);
    check("wordcount --every 5 x", 2, &["`5` needs a unit, as in `5s` or `5ms`"]);
    check(
        "wordcount --threads 0 x",
        2,
        &["expected a whole number, 1 or more, not `0`"],
    );
    check(
        "wordcount --queue lots x",
        2,
        &["expected bytes such as 128MiB or 1GB, not `lots`"],
    );
    check(
        "wordcount --delivery once x",
        2,
        &["[possible values: exactly-once, at-least-once]"],
    );
    check(
        "wordcount -t t --from soon",
        2,
        &["--from", "expected earliest, latest, committed, a time such as"],
    );
    check(
        "wordcount -t t --to earliest",
        2,
        &["--to", "expected latest, a time such as"],
    );
    check(
        "wordcount -t t --on-data-loss ignore",
        2,
        &["expected fail, skip or reset, not `ignore`"],
    );
    check(
        "replay -t t --out x --client kafka",
        2,
        &["expected auto, native or librdkafka, not `kafka`"],
    );
    check(
        "generate --rate -5",
        2,
        &["expected lines a second, more than 0, not `-5`"],
    );
    check(
        "generate --lines many",
        2,
        &["expected a whole number such as 1000000, not `many`"],
    );
}

#[test]
fn a_misspelt_option_or_verb_is_answered_with_the_nearest() {
    check("wordcont x", 2, &["a similar subcommand exists: 'wordcount'"]);
    check(
        "wordcount --frm earliest -t t",
        2,
        &["a similar argument exists: '--from'"],
    );
}

#[test]
fn what_goes_only_with_topics_is_refused_with_files() {
    for option in [
        "--from latest",
        "--to latest",
        "--on-data-loss skip",
        "--client native",
        "--read-uncommitted",
        "--topic t",
    ] {
        check(&format!("wordcount {option} x.log"), 2, &["cannot be used with"]);
    }
}

#[test]
fn what_is_missing_is_named_with_both_ways_to_say_it() {
    check("wordcount", 2, &["<FILE>...", "--brokers <BROKERS> --topic <TOPIC>"]);
    check("generate", 2, &["<--lines <N>|--rate <R>>"]);
    check("replay -t t", 2, &["--out <PLACE>"]);
    let scratch = Scratch::new("brokers");
    let files = ["wordcount", "--out", "kafka:t", "--delivery", "at-least-once", "x.log"];
    fs::write(scratch.join("x.log"), "a\n").expect("the scratch folder can be written");
    let run = Run::millstream(&scratch, "no-brokers").args(files).finish(PATIENCE);
    check_ended(run, 3, &["output to Kafka needs --brokers HOST:PORT"]);
    let run = Run::millstream(&scratch, "no-brokers")
        .args(["wordcount", "-t", "t"])
        .finish(PATIENCE);
    check_ended(run, 2, &["--brokers <BROKERS>"]);
}

#[test]
fn exactly_once_to_kafka_asks_for_a_checkpoint() {
    check(
        "wordcount -t t --out kafka:u",
        3,
        &["--checkpoint DIR", "--delivery at-least-once"],
    );
}

#[test]
fn a_file_that_can_not_be_read_is_named_before_anything_is_counted() {
    let log = access_log().display().to_string();
    check(
        "wordcount no-such.log",
        7,
        &["millstream: cannot read no-such.log: No such file"],
    );
    check(
        "wordcount .",
        7,
        &["cannot read .: it is a folder: name the files in it"],
    );
    let scratch = Scratch::new("two");
    let ended = millstream(&scratch, &format!("wordcount {log} no-such.log"));
    assert_eq!(ended.stdout, "");
    check_ended(ended, 7, &["cannot read no-such.log"]);
}

#[test]
fn a_packed_file_that_is_corrupt_or_cut_off_is_named() {
    let log = fs::read(access_log()).expect("the sample log");
    let (gzip, zstd) = (gzip(&log), zstd(&log));
    let half = |bytes: &[u8]| bytes[..bytes.len() / 2].to_vec();
    let mut flipped = gzip.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0x55;
    for (name, content) in [
        ("cut.gz", half(&gzip)),
        ("cut.zst", half(&zstd)),
        ("flipped.gz", flipped),
        ("noise.gz", b"\x1f\x8b\x08\x00nothing that deflate would write".to_vec()),
    ] {
        let ended = counted(name, &content);
        assert_eq!(ended.stdout, "", "{name}: no counts of half a file");
        check_ended(ended, 7, &[&format!("cannot read {name} from byte")]);
    }
}

#[test]
fn a_packed_file_counts_as_its_text_whatever_its_name() {
    let log = fs::read(access_log()).expect("the sample log");
    let expected = counts(&counted("access.log", &log).expect_code(0).stdout);
    let (gzip, zstd) = (gzip(&log), zstd(&log));
    for (name, content) in [
        ("a.gz", &gzip),
        ("a.zst", &zstd),
        ("no-ending", &gzip),
        ("neither", &zstd),
    ] {
        assert_eq!(
            counts(&counted(name, content).expect_code(0).stdout),
            expected,
            "{name}"
        );
    }
}

#[test]
fn gzip_members_and_zstd_frames_one_after_the_other_are_one_text() {
    let expected = words(&[("a", 1), ("b", 2), ("c", 1)]);
    let (gzip, zstd) = (
        [gzip(b"a b\n"), gzip(b"b c\n")].concat(),
        [zstd(b"a b\n"), zstd(b"b c\n")].concat(),
    );
    for (name, content) in [("members.gz", gzip), ("frames.zst", zstd)] {
        assert_eq!(
            counts(&counted(name, &content).expect_code(0).stdout),
            expected,
            "{name}"
        );
    }
}

#[test]
fn line_ends_and_a_last_line_without_one_change_nothing() {
    let expected = words(&[("a", 2), ("b", 1), ("c", 1)]);
    for content in [
        "a b\na c\n",
        "a b\na c",
        "a b\r\na c\r\n",
        "a b\r\na c",
        "\n\na b\n\n  a c  \n\n",
    ] {
        let ended = counted("lines.log", content.as_bytes()).expect_code(0);
        assert_eq!(counts(&ended.stdout), expected, "{content:?}");
    }
}

#[test]
fn an_empty_file_has_no_words_and_is_no_failure() {
    for content in ["", "\n", " \r\n\t\n"] {
        let ended = counted("empty.log", content.as_bytes()).expect_code(0);
        assert_eq!(ended.stdout, "", "{content:?}");
    }
}

#[test]
fn bytes_that_are_not_utf8_become_the_replacement_character_and_are_reported() {
    let ended = counted("bad.log", b"ok \xff\xfe bad\xc3\nfine\nb\x80\n").expect_code(0);
    let expected = words(&[
        ("ok", 1),
        ("\u{fffd}\u{fffd}", 1),
        ("bad\u{fffd}", 1),
        ("fine", 1),
        ("b\u{fffd}", 1),
    ]);
    assert_eq!(counts(&ended.stdout), expected);
    assert!(
        ended
            .stderr
            .contains("2 rows were not UTF-8 and were repaired with U+FFFD"),
        "{}",
        ended.stderr
    );
}

#[test]
fn the_standard_input_is_read_and_quiet_says_nothing() {
    let scratch = Scratch::new("stdin");
    let ended = shell(&scratch, "printf 'x y\\nx' | $MILLSTREAM wordcount -q -").expect_code(0);
    assert_eq!(counts(&ended.stdout), words(&[("x", 2), ("y", 1)]));
    assert_eq!(ended.stderr, "");
}

#[test]
fn a_reader_that_has_seen_enough_ends_the_program_quietly() {
    let scratch = Scratch::new("head");
    // More words than a pipe holds, so that the writer is still at it when `head` goes.
    let script = "seq 1 200000 > many.log; $MILLSTREAM wordcount many.log | head -n 1; echo ${PIPESTATUS[0]}; \
                  $MILLSTREAM generate --lines 200000 | head -n 1 > first; echo ${PIPESTATUS[0]}";
    let ended = shell(&scratch, script).expect_code(0);
    let lines: Vec<_> = ended.stdout.lines().collect();
    assert_eq!((lines.len(), &lines[1..]), (3, &["0", "0"][..]), "{}", ended.stdout);
    assert_eq!(ended.stderr, "");
}

#[test]
fn a_full_disk_behind_the_standard_output_is_a_failure() {
    let scratch = Scratch::new("full");
    for verb in ["wordcount $LOG", "generate --lines 10"] {
        let ended = shell(&scratch, &format!("$MILLSTREAM {verb} > /dev/full"));
        check_ended(
            ended,
            7,
            &["millstream: cannot write to <standard output>: No space left on device"],
        );
    }
}

#[test]
fn generated_lines_are_the_same_for_the_same_seed() {
    let scratch = Scratch::new("seed");
    let lines = |arguments: &str| millstream(&scratch, arguments).expect_code(0).stdout;
    let first = lines("generate --lines 1000");
    assert_eq!(first.lines().count(), 1000);
    assert_eq!(lines("generate --lines 1000 --seed 1"), first);
    assert_ne!(lines("generate --lines 1000 --seed 2"), first);
    let ended = millstream(&scratch, "generate --lines 1000 --file made.log").expect_code(0);
    assert_eq!(ended.stdout, "");
    assert_eq!(
        fs::read_to_string(scratch.join("made.log")).expect("it was made"),
        first
    );
    check_ended(
        millstream(&scratch, "generate -n 1 --file no/such/folder.log"),
        7,
        &["cannot create no/such/folder.log: No such file"],
    );
}

#[test]
fn an_unwritable_output_folder_is_named() {
    let scratch = Scratch::new("folder");
    let log = access_log().display().to_string();
    fs::write(scratch.join("file"), "").expect("the scratch folder can be written");
    for out in ["/proc/no-such", "file/below"] {
        let ended = millstream(&scratch, &format!("wordcount --out parquet:{out} {log}"));
        check_ended(ended, 7, &["cannot create", out]);
    }
}

#[test]
fn a_demo_keeps_its_hands_off_a_folder_that_is_not_its_own() {
    let scratch = Scratch::new("demo");
    fs::create_dir(scratch.join("mine")).expect("the scratch folder can be written");
    fs::write(scratch.join("mine/letter.txt"), "dear").expect("the scratch folder can be written");
    let ended = millstream(&scratch, "demo --out mine");
    check_ended(
        ended,
        3,
        &["mine exists and is not of an earlier demo: give another --out"],
    );
    assert!(scratch.join("mine/letter.txt").exists());
}

/// Returns what a terminal gets from a shell command.
#[track_caller]
fn on_terminal(scratch: &Scratch, command: &str) -> String {
    let script = format!("TERM=xterm script -qec \"{command}\" typescript > /dev/null < /dev/null && cat typescript");
    shell(scratch, &script).expect_code(0).stdout
}

#[test]
fn a_terminal_gets_a_progress_bar_that_is_gone_at_the_end() {
    let scratch = Scratch::new("bar");
    // Half a second's work, since the bar comes after a fifth of one.
    let seen = on_terminal(
        &scratch,
        "$MILLSTREAM generate --lines 5000 --rate 10000 --file made.log",
    );
    assert!(seen.contains("generate [") && seen.contains("% "), "a bar: {seen:?}");
    assert!(
        seen.contains(" rows/s  ") && seen.contains(" left"),
        "speed and time left: {seen:?}"
    );
    let (_, last) = seen.rsplit_once("\u{1b}[2K").expect("the bar is wiped away");
    let is_total = last.contains("generate: 5,000 rows, ") && !last.contains("[=");
    assert!(is_total, "the totals stand where the bar was: {last:?}");
}

#[test]
fn work_without_an_end_shows_numbers_and_no_bar() {
    let scratch = Scratch::new("numbers");
    let command = "echo $$ > pid; exec $MILLSTREAM generate --rate 1000 --file made.log";
    let mut running = Run::program("script", &scratch, "script")
        .args(["-qefc", command, "typescript"])
        .env("MILLSTREAM", env!("CARGO_BIN_EXE_millstream"))
        .env("TERM", "xterm")
        .start();
    let seen = || fs::read_to_string(scratch.join("typescript")).unwrap_or_default();
    running.wait_until(PATIENCE, "numbers are shown", |_| {
        seen().contains(" rows/s  ").then_some(())
    });
    let pid = fs::read_to_string(scratch.join("pid")).expect("the shell wrote it");
    process::signal(pid.trim().parse().expect("a process id"), "INT");
    running.wait(PATIENCE).expect_code(0);
    let seen = seen();
    assert!(
        !seen.contains('%') && !seen.contains("=]"),
        "no share of what has no end: {seen:?}"
    );
    let line = "\u{1b}[2Kmillstream: stopping after this epoch; once more to stop at once\r\n";
    assert!(seen.contains(line), "a message stands on a line of its own: {seen:?}");
}

#[test]
fn a_terminal_gets_the_most_frequent_words_as_a_table_and_a_pipe_gets_all() {
    let scratch = Scratch::new("table");
    fs::write(
        scratch.join("many.log"),
        (0..30)
            .map(|word| format!("w{word} ").repeat(word + 1))
            .collect::<String>(),
    )
    .expect("the scratch folder can be written");
    let seen = on_terminal(&scratch, "$MILLSTREAM wordcount many.log");
    let rows: Vec<_> = seen
        .lines()
        .filter(|line| line.starts_with('|'))
        .map(str::trim)
        .collect();
    let mut expected = vec!["|word|count|".to_owned()];
    expected.extend((10..30).rev().map(|word| format!("| w{word}|   {}|", word + 1)));
    assert_eq!(rows, expected);
    assert!(
        seen.contains("only showing top 20 rows") && seen.contains("wordcount: 1 row, "),
        "{seen}"
    );
    let piped = shell(&scratch, "$MILLSTREAM wordcount many.log").expect_code(0);
    assert_eq!(counts(&piped.stdout).len(), 30);
}

#[test]
fn lines_are_parsed_into_a_table() {
    let scratch = Scratch::new("parse_table");
    let script = "head -n 2 $LOG > a.log; echo nonsense >> a.log; gzip a.log; \
                  $MILLSTREAM parse -f combined --only host,time,status,path a.log.gz";
    let ended = shell(&scratch, script).expect_code(0);
    let rows: Vec<Vec<_>> = ended
        .stdout
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    let expected = [
        ["host", "time", "path", "status"],
        ["127.0.0.1", "2026-11-24T06:30:16.000000Z", "/login", "200"],
        ["127.2.6.178", "2026-11-24T06:30:16.000000Z", "/admin/", "403"],
    ];
    assert_eq!(rows, expected);
    let reasons = "millstream: line 3: expected a host and a space from byte 0 on\n\
                   millstream: 1 of 3 lines are not combined\n";
    assert_eq!(ended.stderr, reasons);
}

#[test]
fn lines_are_parsed_into_json_with_the_reason_of_bad_ones() {
    let scratch = Scratch::new("parse_json");
    let script = "printf 'status=200 a=b\\nstatus=x\\nhello\\n' | \
                  $MILLSTREAM parse -q -f logfmt,lines --columns status:int --format json";
    let ended = shell(&scratch, script).expect_code(0);
    let expected = concat!(
        r#"{"status":200,"_extra":"{\"a\":\"b\"}","line":null,"_format":"logfmt","_error":null}"#,
        "\n",
        r#"{"status":null,"_extra":null,"line":"status=x","_format":"lines","_error":null}"#,
        "\n",
        r#"{"status":null,"_extra":null,"line":"hello","_format":"lines","_error":null}"#,
        "\n",
    );
    assert_eq!(ended.stdout, expected);
    let script = "printf 'status=x\\n' | $MILLSTREAM parse -f logfmt --columns status:int --format json";
    let ended = shell(&scratch, script).expect_code(5);
    let expected = r#"{"status":null,"_extra":null,"_error":"status: `x` is no int"}"#;
    assert_eq!(ended.stdout.trim_end(), expected);
}

#[test]
fn a_mistake_in_what_to_parse_is_answered_with_the_nearest_name() {
    check("parse -f combind a.log", 3, &["not `combind`: did you mean combined?"]);
    check(
        "parse -f combined --only sttus a.log",
        3,
        &["no column `sttus`", "did you mean status?"],
    );
    check(
        "parse -f logfmt --columns n:integr a.log",
        2,
        &["expected a column type", "not `integr`"],
    );
    check(
        "parse -f combined --columns n:int a.log",
        3,
        &["format combined takes no declared columns"],
    );
    check(
        "parse -f combined --zone Berlin a.log",
        2,
        &["expected a zone such as UTC"],
    );
    check("parse -f combined missing.log", 7, &["missing.log"]);
}
