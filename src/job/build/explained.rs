//! How a query runs, for `explain`.

use std::collections::BTreeSet;

use engine::operator::OutputMode;

use crate::sql::Planned;

/// The operators whose expressions are DataFusion's.
const WITH_EXPRESSIONS: [&str; 2] = ["filter", "project"];

/// Returns lines about what a query keeps, which threads work on it, and what of it is the engine's own.
pub(super) fn how(planned: &Planned, mode: OutputMode) -> Vec<String> {
    let mut lines = vec![state(planned, mode), threads(planned)];
    lines.extend(native(planned));
    lines
}

fn state(planned: &Planned, mode: OutputMode) -> String {
    let Some(aggregate) = &planned.aggregate else {
        return "state: none; a batch is worked on by itself".to_owned();
    };
    let kept = match aggregate.is_windowed() && mode != OutputMode::Complete {
        true => "each group until the watermark has passed its window",
        false => "each group for good",
    };
    format!(
        "state: {kept}; in memory in {} shards, and in the checkpoint",
        engine::operator::SHARDS
    )
}

fn threads(planned: &Planned) -> String {
    let text = match planned.aggregate {
        None => "a batch a thread; rows are written in the order in which they came",
        Some(_) => "a batch a thread, with groups of its own; these are merged shard by shard, on all threads",
    };
    format!("in parallel: {text}")
}

/// Returns which operators are native, and which evaluate expressions of DataFusion.
fn native(planned: &Planned) -> Option<String> {
    let inputs = planned.inputs.iter().flat_map(|input| &input.operators);
    let operators = inputs.chain(&planned.finish).map(|operator| operator.describe());
    let aggregate = planned.aggregate.iter().map(|aggregate| aggregate.describe());
    let names = operators.chain(aggregate).map(|step| first_word(&step).to_owned());
    let (planner, own): (BTreeSet<_>, BTreeSet<_>) = names.partition(|name| WITH_EXPRESSIONS.contains(&name.as_str()));
    let listed = |names: BTreeSet<String>, what: &str| {
        let names: Vec<_> = names.into_iter().collect();
        (!names.is_empty()).then(|| format!("{}{what}", names.join(", ")))
    };
    let parts = [listed(own, ""), listed(planner, " (with DataFusion's expressions)")];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| format!("native operators: {}", parts.join(", ")))
}

fn first_word(step: &str) -> &str {
    step.split(' ').next().unwrap_or(step)
}
