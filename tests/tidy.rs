//! Rules of the source tree that no compiler checks.

use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::scratch::root;

/// The folders at the root that hold Rust code.
const SOURCES: &[&str] = &[
    "src",
    "engine",
    "connectors",
    "benches",
    "tests",
    "examples",
    "fuzz/src",
];

const FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 100;

/// The engine's modules, each with the modules it may use beside those of [`ENGINE_LEAVES`]: from the hot loops up to
/// the driver.
const ENGINE_LAYERS: &[(&str, &[&str])] = &[
    ("kernel", &[]),
    ("group", &["kernel"]),
    ("aggregate", &["kernel", "group"]),
    ("operator", &["kernel", "group", "aggregate"]),
    ("checkpoint", &["kernel", "group", "aggregate", "operator"]),
    ("pipeline", &["kernel", "group", "aggregate", "operator", "checkpoint"]),
];

/// The words that everything else in the engine is said in. They use only each other.
const ENGINE_LEAVES: &[&str] = &[
    "batch", "clock", "error", "fault", "memory", "metrics", "position", "queue", "recycled", "sink", "source",
];

/// What lets the engine be used without the outside world.
const NOT_IN_ENGINE: &[&str] = &[
    "clap",
    "connectors",
    "datafusion",
    "millstream",
    "parquet",
    "rdkafka",
    "sqlparser",
];

const TRANSPORTS: &[&str] = &["console", "file", "generate", "kafka", "parquet"];
const FORMATS: &[&str] = &["decode", "encode"];

/// Where `unsafe` may be.
const UNSAFE_PATHS: &[&str] = &[
    "engine/src/kernel/",
    "connectors/src/kafka/ffi.rs",
    "connectors/src/kafka/ffi/",
    "benches/bare_loop/",
];

/// Left-overs of work that is not done. Split, so that this file holds none.
const LEFT_OVERS: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("dbg", "!("),
    concat!("to", "do!("),
    concat!("unimple", "mented!("),
];

/// A Rust file.
struct Source {
    /// Its path from the root, with `/`.
    path: String,
    text: String,
    /// The text with comments and the contents of literals blanked out, line by line.
    code: String,
}

#[test]
fn no_file_and_no_function_is_too_long() {
    let mut problems = Vec::new();
    for source in sources() {
        let lines = source.text.lines().count();
        if lines > FILE_LINES_MAX {
            problems.push(format!("{}: {lines} lines, at most {FILE_LINES_MAX}", source.path));
        }
        for (name, line, lines) in functions(&source.code) {
            if lines > FUNCTION_LINES_MAX {
                problems.push(format!(
                    "{}:{line}: {name} has {lines} lines, at most {FUNCTION_LINES_MAX}",
                    source.path
                ));
            }
        }
    }
    expect_none(&problems);
}

#[test]
fn unsafe_is_where_it_may_be() {
    let mut problems = Vec::new();
    for source in sources() {
        let is_allowed = UNSAFE_PATHS.iter().any(|allowed| source.path.starts_with(allowed));
        let lines = source
            .code
            .lines()
            .zip(1..)
            .filter(|(line, _)| !is_allowed && has_word(line, "unsafe"));
        problems.extend(lines.map(|(_, number)| format!("{}:{number}: unsafe", source.path)));
    }
    expect_none(&problems);
}

#[test]
fn nothing_is_left_to_be_done_later() {
    let mut problems = Vec::new();
    for source in sources() {
        for (line, number) in source.text.lines().zip(1..) {
            let found = LEFT_OVERS.iter().filter(|mark| line.contains(**mark));
            problems.extend(found.map(|mark| format!("{}:{number}: {mark}", source.path)));
        }
    }
    expect_none(&problems);
}

#[test]
fn the_engines_modules_use_only_what_is_below_them() {
    let mut problems = Vec::new();
    for source in sources() {
        let Some(module) = module_of(&source.path, "engine/src/") else {
            continue;
        };
        if module == "lib" {
            continue;
        }
        let layer = ENGINE_LAYERS.iter().find(|(name, _)| *name == module);
        if layer.is_none() && !ENGINE_LEAVES.contains(&module) {
            problems.push(format!(
                "{}: give the module {module} its place in tests/tidy.rs",
                source.path
            ));
        }
        let below = layer.map_or(&[][..], |(_, below)| below);
        for (used, line) in crate_modules(&source.code) {
            let is_module = ENGINE_LAYERS.iter().any(|(name, _)| *name == used) || ENGINE_LEAVES.contains(&used);
            let may_use = used == module || ENGINE_LEAVES.contains(&used) || below.contains(&used);
            if is_module && !may_use {
                problems.push(format!("{}:{line}: {module} may not use {used}", source.path));
            }
        }
    }
    expect_none(&problems);
}

#[test]
fn transports_and_formats_do_not_know_each_other() {
    let mut problems = Vec::new();
    for source in sources() {
        let Some(module) = module_of(&source.path, "connectors/src/") else {
            continue;
        };
        if !TRANSPORTS.contains(&module) && !FORMATS.contains(&module) {
            continue;
        }
        for (used, line) in crate_modules(&source.code) {
            if used != module && TRANSPORTS.contains(&used) {
                problems.push(format!("{}:{line}: {module} may not use {used}", source.path));
            }
        }
    }
    expect_none(&problems);
}

#[test]
fn the_engine_depends_on_nothing_of_the_outside_world() {
    let named = dependencies("engine/Cargo.toml");
    let is_outside = |name: &str| NOT_IN_ENGINE.iter().any(|outside| name.starts_with(outside));
    let problems: Vec<_> = named
        .iter()
        .filter(|(name, _)| is_outside(name))
        .map(|(name, _)| name.clone())
        .collect();
    expect_none(&problems);
    let millstream = dependencies("connectors/Cargo.toml");
    assert!(
        millstream.iter().all(|(name, _)| name != "millstream"),
        "connectors are below the product"
    );
}

#[test]
fn versions_are_stated_once_in_the_root_manifest() {
    let mut problems = Vec::new();
    for manifest in [
        "Cargo.toml",
        "engine/Cargo.toml",
        "connectors/Cargo.toml",
        "fuzz/Cargo.toml",
    ] {
        for (name, value) in dependencies(manifest) {
            if !value.contains("workspace = true") {
                problems.push(format!(
                    "{manifest}: {name} = {value}, expected `{name}.workspace = true`"
                ));
            }
        }
    }
    expect_none(&problems);
}

#[track_caller]
fn expect_none(problems: &[String]) {
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

fn sources() -> Vec<Source> {
    let mut paths = Vec::new();
    for folder in SOURCES {
        collect(&root().join(folder), &mut paths);
    }
    assert!(!paths.is_empty(), "the source tree is at {}", root().display());
    paths.iter().map(|path| Source::read(path)).collect()
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

impl Source {
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
        let path = path
            .strip_prefix(root())
            .expect("a path below the root")
            .to_string_lossy()
            .into_owned();
        let code = blank_out(&text);
        Self { path, text, code }
    }
}

/// Replaces comments and what literals hold by spaces; line ends stay, so that lines keep their numbers.
fn blank_out(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let after_word = code
            .chars()
            .next_back()
            .is_some_and(|before| before.is_alphanumeric() || before == '_');
        match blank_length(rest, after_word) {
            Some(length) => {
                code.extend(
                    rest[..length]
                        .chars()
                        .map(|hidden| if hidden == '\n' { '\n' } else { ' ' }),
                );
                rest = &rest[length..];
            }
            None => {
                code.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    code
}

/// Returns the length of the comment or literal that `rest` starts with, if it does.
fn blank_length(rest: &str, after_word: bool) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(rest.find("*/").map_or(rest.len(), |end| end + 2));
    }
    if rest.starts_with('"') {
        return Some(quoted_length(rest, '"'));
    }
    if let Some(inner) = rest.strip_prefix('\'') {
        // A character, or else a lifetime.
        let mut inner = inner.chars();
        let is_character = inner.next() == Some('\\') || inner.next() == Some('\'');
        return is_character.then(|| quoted_length(rest, '\''));
    }
    if after_word {
        return None;
    }
    let raw = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'))?;
    let hashes = raw.len() - raw.trim_start_matches('#').len();
    let body = raw[hashes..].strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    let end = body.find(&close)?;
    Some(rest.len() - body.len() + end + close.len())
}

/// Returns the length of a literal with its two quotes; a backslash hides what follows it.
fn quoted_length(rest: &str, quote: char) -> usize {
    let mut is_hidden = false;
    for (at, found) in rest.char_indices().skip(1) {
        match found {
            _ if is_hidden => is_hidden = false,
            '\\' => is_hidden = true,
            _ if found == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// Returns the name, first line and number of lines of every function: from `fn` to the bracket that closes its body.
fn functions(code: &str) -> Vec<(String, usize, usize)> {
    let lines: Vec<_> = code.lines().collect();
    let mut functions = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let Some((before, after)) = line.split_once("fn ") else {
            continue;
        };
        let is_declaration = before.is_empty() || before.ends_with([' ', '\t']);
        let name: String = after
            .chars()
            .take_while(|letter| letter.is_alphanumeric() || *letter == '_')
            .collect();
        if is_declaration && !name.is_empty() {
            functions.push((name, start + 1, body_lines(&lines[start..])));
        }
    }
    functions
}

/// Returns the lines up to the end of the body that starts in `lines`, or to the `;` of a function without one.
fn body_lines(lines: &[&str]) -> usize {
    let (mut braces, mut brackets) = (0_usize, 0_usize);
    for (index, line) in lines.iter().enumerate() {
        for letter in line.chars() {
            match letter {
                '(' | '[' => brackets += 1,
                ')' | ']' => brackets = brackets.saturating_sub(1),
                '{' => braces += 1,
                '}' => braces = braces.saturating_sub(1),
                ';' if braces == 0 && brackets == 0 => return index + 1,
                _ => continue,
            }
            if letter == '}' && braces == 0 {
                return index + 1;
            }
        }
    }
    lines.len()
}

fn has_word(line: &str, word: &str) -> bool {
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
    line.split(|letter| !is_part(letter)).any(|found| found == word)
}

/// Returns the first part of a path below `folder`, without `.rs`: the module of its crate that a file belongs to.
fn module_of<'a>(path: &'a str, folder: &str) -> Option<&'a str> {
    let inner = path.strip_prefix(folder)?;
    let first = inner.split('/').next()?;
    Some(first.strip_suffix(".rs").unwrap_or(first))
}

/// Returns the modules named by `crate::MODULE` and `crate::{MODULE, …}`, each with its line.
fn crate_modules(code: &str) -> Vec<(&str, usize)> {
    let mut modules = Vec::new();
    for (at, found) in code.match_indices("crate::") {
        let line = code[..at].matches('\n').count() + 1;
        let rest = &code[at + found.len()..];
        let list = match rest.strip_prefix('{') {
            Some(group) => top_level(group),
            None => vec![rest],
        };
        modules.extend(list.into_iter().map(|item| (first_word(item), line)));
    }
    modules
}

/// Splits `a::{b, c}, d}…` at the commas of the outer braces, up to the one that closes them.
fn top_level(group: &str) -> Vec<&str> {
    let (mut items, mut depth, mut start) = (Vec::new(), 0_usize, 0);
    for (at, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => {
                items.push(&group[start..at]);
                return items;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(&group[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    items
}

fn first_word(text: &str) -> &str {
    let text = text.trim_start();
    let end = text
        .find(|letter: char| !(letter.is_alphanumeric() || letter == '_'))
        .unwrap_or(text.len());
    &text[..end]
}

/// Returns the entries `NAME = VALUE` of a manifest's dependency tables; of `NAME.workspace = true` the dot is undone.
fn dependencies(manifest: &str) -> Vec<(String, String)> {
    let text = fs::read_to_string(root().join(manifest)).expect("a member's manifest");
    let mut is_inside = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if let Some(table) = line.strip_prefix('[') {
            is_inside = table.ends_with("dependencies]") && !table.starts_with("workspace");
        } else if let Some((name, value)) = line.split_once('=').filter(|_| is_inside) {
            let (name, value) = match name.trim().split_once('.') {
                Some((name, key)) => (name, format!("{{ {key} ={value} }}")),
                None => (name.trim(), value.trim().to_owned()),
            };
            found.push((name.to_owned(), value));
        }
    }
    found
}

#[test]
fn the_rules_see_through_comments_and_literals() {
    let text = concat!(
        "fn short() { let x = \"unsafe }\"; } // unsafe {\n",
        "fn long<'a>(x: &'a str) -> [u8; 2] {\n    let y = '}';\n    r#\"un\"safe\"#;\n}\n",
        "use crate::{kernel::{hash, scan}, Batch};\nuse crate::pipeline::Queue;\n",
    );
    let code = blank_out(text);
    assert!(!has_word(&code, "unsafe"), "{code}");
    let expected = [("short".to_owned(), 1, 1), ("long".to_owned(), 2, 4)];
    assert_eq!(functions(&code), expected);
    let modules: Vec<_> = crate_modules(&code).into_iter().map(|(module, _)| module).collect();
    assert_eq!(modules, ["kernel", "Batch", "pipeline"]);
}
