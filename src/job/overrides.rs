//! What the command line changes of a job file: `--set run.threads=2`, `--from 1h`, `--to latest`.

use super::error::{Report, may_hold_secret};
use super::node::{self, Entry, Node, TableNode};
use super::place::{At, Place, Texts};

/// Changes of a job file, applied before it is checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `KEY=VALUE`: the key with dots, the value as the file would have it, or a text without quotes.
    pub set: Vec<String>,
    /// Where every Kafka source starts.
    pub from: Option<String>,
    /// Where every Kafka source ends.
    pub to: Option<String>,
}

impl Overrides {
    pub(super) fn apply(&self, job: &mut TableNode, texts: &mut Texts, report: &mut Report) {
        for setting in &self.set {
            // A secret on the command line is a mistake, but it is not made worse.
            let shown = match setting.split_once('=') {
                Some((key, _)) if may_hold_secret(setting) => key,
                _ => setting,
            };
            let start = texts.add_option(format!("--set {shown}"), setting.clone());
            if let Some(table) = read_setting(setting, start, report) {
                job.merge(table);
            }
        }
        for (key, value) in [("from", &self.from), ("to", &self.to)] {
            if let Some(value) = value {
                let start = texts.add_option(format!("--{key} {value}"), value.clone());
                set_in_sources(job, key, At::new(value.as_str(), whole(value, start)), report);
            }
        }
    }
}

/// Reads `KEY=VALUE` as TOML, or else its value as a text.
fn read_setting(setting: &str, start: usize, report: &mut Report) -> Option<TableNode> {
    let place = whole(setting, start);
    let Some((key, value)) = setting.split_once('=') else {
        report.error(place, "expected KEY=VALUE, as in --set run.threads=2");
        return None;
    };
    let is_one_line = !setting.contains('\n');
    let mut attempt = Report::default();
    let table = node::parse(setting, start, &mut attempt).value;
    if attempt.is_empty() && is_one_line {
        return Some(table);
    }
    let mut attempt = Report::default();
    let mut table = node::parse(&format!("{key}=''"), start, &mut attempt).value;
    if !attempt.is_empty() || key.contains(['\n', '#']) {
        report.error(
            place,
            format!("expected the key's name with dots between its parts, not `{key}`"),
        );
        return None;
    }
    let place = Place {
        start: start + key.len() + 1,
        end: start + setting.len(),
    };
    *innermost(&mut table)? = At::new(Node::Text(value.to_owned()), place);
    Some(table)
}

/// Returns the value of a table that a single dotted key made.
fn innermost(table: &mut TableNode) -> Option<&mut At<Node>> {
    let value = &mut table.entries.first_mut()?.value;
    match value.value {
        Node::Table(_) => match &mut value.value {
            Node::Table(inner) => innermost(inner),
            _ => None,
        },
        _ => Some(value),
    }
}

fn set_in_sources(job: &mut TableNode, key: &str, value: At<&str>, report: &mut Report) {
    let mut is_set = false;
    let sources = job.entries.iter_mut().filter(|entry| entry.key.value == "source");
    for sources in sources {
        let Node::Table(sources) = &mut sources.value.value else {
            continue;
        };
        for source in &mut sources.entries {
            let Node::Table(source) = &mut source.value.value else {
                continue;
            };
            let kind = source.get("kind").map(|kind| &kind.value);
            if kind == Some(&Node::Text("kafka".to_owned())) {
                is_set = true;
                source.merge(TableNode {
                    path: String::new(),
                    entries: vec![Entry {
                        key: At::new(key.to_owned(), value.place),
                        value: At::new(Node::Text(value.value.to_owned()), value.place),
                    }],
                });
            }
        }
    }
    if !is_set {
        report.error(value.place, "the job has no Kafka source to which it could apply");
    }
}

fn whole(text: &str, start: usize) -> Place {
    Place {
        start,
        end: start + text.len(),
    }
}
