//! The name that was probably meant.

/// Returns ``: did you mean `NAME`?`` for the nearest of `names`, or nothing if none is near.
pub(super) fn hint<'a>(found: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    nearest(found, names).map_or_else(String::new, |name| format!(": did you mean `{name}`?"))
}

/// Returns the name that differs in the fewest letters (swapped neighbours count once): in at most a third of them. Else
/// one that holds `found`, or is held by it, as a whole word: `pattern` for `topic_pattern`.
pub(super) fn nearest<'a>(found: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let names: Vec<_> = names.into_iter().collect();
    let plain = found.to_lowercase().replace('-', "_");
    let distance = |name: &&str| strsim::damerau_levenshtein(&plain, name);
    let near = names.iter().copied().min_by_key(distance);
    let is_near = |name: &&str| distance(name) * 3 <= plain.chars().count().max(3);
    let has_word = |text: &str, word: &str| text.split('_').any(|part| part == word);
    let holds = |name: &&str| has_word(name, &plain) || has_word(&plain, name);
    near.filter(is_near).or_else(|| names.iter().copied().find(holds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(found: &str, expected: &str) {
        let names = ["format", "from", "topic", "topic_pattern", "on_data_loss"];
        assert_eq!(hint(found, names), expected);
    }

    #[test]
    fn a_slip_of_the_keyboard_is_recognised() {
        check("formt", ": did you mean `format`?");
        check("form", ": did you mean `from`?");
        check("Topic", ": did you mean `topic`?");
        check("on-data-loss", ": did you mean `on_data_loss`?");
    }

    #[test]
    fn a_part_of_a_name_is_recognised() {
        check("pattern", ": did you mean `topic_pattern`?");
    }

    #[test]
    fn what_is_near_to_nothing_has_no_hint() {
        check("colour", "");
        check("", "");
    }
}
