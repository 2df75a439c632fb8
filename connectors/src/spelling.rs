//! Names that were nearly right: what an error offers instead.

/// Returns the name of `names` that is a typing error away from `name`: at most a third of its letters differ.
pub fn nearest<'n>(name: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let distances = names
        .into_iter()
        .map(|known| (edit_distance(name.as_bytes(), known.as_bytes()), known));
    let near = distances.filter(|(distance, _)| *distance <= name.len().max(3) / 3);
    near.min().map(|(_, known)| known)
}

/// Returns the end of an error about `name`: `: did you mean X?` when one of `names` is near, nothing otherwise.
pub fn hint<'n>(name: &str, names: impl IntoIterator<Item = &'n str>) -> String {
    nearest(name, names).map_or_else(String::new, |near| format!(": did you mean {near}?"))
}

/// Returns Levenshtein's distance, ignoring ASCII case, a row of the table at a time.
pub fn edit_distance(from: &[u8], to: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(!a.eq_ignore_ascii_case(b));
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_offered_if_any_is_near() {
        let names = ["iso8601", "rfc3339", "rfc3164"];
        assert_eq!(hint("rfc3338", names), ": did you mean rfc3339?");
        assert_eq!(hint("ISO8601", names), ": did you mean iso8601?");
        assert_eq!(hint("yesterday", names), "");
    }

    #[test]
    fn the_distance_counts_insertions_deletions_and_replacements() {
        assert_eq!(edit_distance(b"kitten", b"sitting"), 3);
        assert_eq!(edit_distance(b"", b"abc"), 3);
        assert_eq!(edit_distance(b"LOG", b"log"), 0);
    }
}
