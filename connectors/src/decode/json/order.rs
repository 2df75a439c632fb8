//! The order of keys, learned from the payloads before: after a key, the one that followed it last time is tried first.
//!
//! Programs write their keys in one order, the ones that no column wants too. So a key is known by comparing one label,
//! `"status":` with its quotes and its colon, and is looked up only where the order changes. Each key remembers two
//! followers, for members that are sometimes left out.

use std::collections::HashMap;

use super::paths::Target;

/// Keys that are remembered for an object; others are looked up each time.
const KEYS_MAX: usize = 1024;

/// Bytes of a key that is remembered.
const KEY_BYTES_MAX: usize = 120;

/// Bytes of a label that are compared at once.
const HEAD_BYTES: usize = 16;

/// A key that was seen; the place before the first key is one too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen(u32);

impl Seen {
    /// Before the first key of an object.
    pub(super) const START: Self = Self(0);
}

/// The keys that were seen in the objects at one place.
#[derive(Debug)]
pub(super) struct Order {
    labels: Vec<Label>,
    by_key: HashMap<Box<[u8]>, Seen>,
}

#[derive(Debug)]
struct Label {
    /// The key with its quotes and its colon.
    text: Box<[u8]>,
    head: u128,
    /// Has the bits set that `head` has bytes for.
    mask: u128,
    target: Target,
    /// The keys that followed, the one that was learned last first; [`Seen::START`] where there is none.
    followers: [Seen; 2],
}

impl Label {
    fn new(text: Vec<u8>, target: Target) -> Self {
        let mut head = [0; HEAD_BYTES];
        let mut mask = [0; HEAD_BYTES];
        for (at, &byte) in text.iter().take(HEAD_BYTES).enumerate() {
            (head[at], mask[at]) = (byte, u8::MAX);
        }
        Self {
            text: text.into(),
            head: u128::from_le_bytes(head),
            mask: u128::from_le_bytes(mask),
            target,
            followers: [Seen::START; 2],
        }
    }

    /// Returns whether `text` has the label at `at`.
    #[inline]
    fn is_at(&self, text: &[u8], at: usize) -> bool {
        let Some(head) = text.get(at..).and_then(<[u8]>::first_chunk::<HEAD_BYTES>) else {
            return text.get(at..).is_some_and(|rest| rest.starts_with(&self.text));
        };
        if (u128::from_le_bytes(*head) ^ self.head) & self.mask != 0 {
            return false;
        }
        self.text.len() <= HEAD_BYTES || text[at + HEAD_BYTES..].starts_with(&self.text[HEAD_BYTES..])
    }
}

impl Order {
    pub(super) fn new() -> Self {
        Self {
            labels: vec![Label::new(Vec::new(), Target::Ignored)],
            by_key: HashMap::new(),
        }
    }

    /// Returns the key at `at` if it is one of those that followed `last` before, with its target and the place after
    /// its colon.
    #[inline]
    pub(super) fn follower(&self, last: Seen, text: &[u8], at: usize) -> Option<(Seen, Target, usize)> {
        let followers = self.labels[last.0 as usize].followers;
        followers.into_iter().find_map(|follower| {
            let label = &self.labels[follower.0 as usize];
            let found = (follower, label.target, at + label.text.len());
            (follower != Seen::START && label.is_at(text, at)).then_some(found)
        })
    }

    /// Returns the target of the raw `key` that followed `last`, which is learned; `target` says what it is if it was
    /// never seen.
    pub(super) fn learn(&mut self, last: Seen, key: &[u8], target: impl FnOnce() -> Target) -> (Seen, Target) {
        let seen = match self.by_key.get(key) {
            Some(&seen) => seen,
            None if self.labels.len() > KEYS_MAX || key.len() > KEY_BYTES_MAX => return (last, target()),
            None => self.add(key, target()),
        };
        let followers = &mut self.labels[last.0 as usize].followers;
        if followers[0] != seen {
            *followers = [seen, followers[0]];
        }
        (seen, self.labels[seen.0 as usize].target)
    }

    fn add(&mut self, key: &[u8], target: Target) -> Seen {
        let seen = Seen(self.labels.len() as u32);
        let text = [b"\"", key, b"\":"].concat();
        self.labels.push(Label::new(text, target));
        self.by_key.insert(key.into(), seen);
        seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_expected_after_the_one_that_it_followed() {
        let mut order = Order::new();
        let (a, _) = order.learn(Seen::START, b"a", || Target::Column(0));
        let (long, _) = order.learn(a, b"a_key_of_more_than_16_bytes", || Target::Ignored);
        assert_eq!(
            order.follower(Seen::START, br#"{"a":1}"#, 1),
            Some((a, Target::Column(0), 5))
        );
        let text = br#"{"a":1,"a_key_of_more_than_16_bytes":2}"#;
        assert_eq!(order.follower(a, text, 7), Some((long, Target::Ignored, 37)));
        assert_eq!(
            order.follower(a, br#"{"a":1,"a_key_of_more_than_17_bytes":2}"#, 7),
            None
        );
        assert_eq!(order.follower(a, br#"{"a":1,"a_key"#, 7), None);
    }

    #[test]
    fn two_followers_are_remembered() {
        let mut order = Order::new();
        let (a, _) = order.learn(Seen::START, b"a", || Target::Ignored);
        let (b, _) = order.learn(Seen::START, b"b", || Target::Ignored);
        for (key, seen) in [(br#""a":"#, a), (br#""b":"#, b)] {
            assert_eq!(order.follower(Seen::START, key, 0).map(|found| found.0), Some(seen));
        }
        order.learn(Seen::START, b"c", || Target::Ignored);
        assert_eq!(order.follower(Seen::START, br#""a":"#, 0), None);
    }

    #[test]
    fn no_more_keys_are_learned_than_there_is_room_for() {
        let mut order = Order::new();
        for number in 0..2 * KEYS_MAX {
            let key = number.to_string();
            let (_, target) = order.learn(Seen::START, key.as_bytes(), || Target::Column(number as u32));
            assert_eq!(target, Target::Column(number as u32));
        }
        assert_eq!(order.labels.len(), KEYS_MAX + 1);
        let long = vec![b'x'; KEY_BYTES_MAX + 1];
        assert_eq!(order.learn(Seen::START, &long, || Target::Ignored).0, Seen::START);
    }
}
