//! The walk over a payload's object: the values that columns want, as places in the text.

use std::borrow::Cow;

use super::escape;
use super::order::{Order, Seen};
use super::paths::{Node, Paths, Target};
use super::rest::Rest;
use super::scan::{Kind, OBJECT_GOES_ON, Scan, Scanner, Slot, Unexpected, check_depth};

/// Walks over payloads, and learns the order of their keys.
#[derive(Debug)]
pub(super) struct Walk<'p> {
    paths: &'p Paths,
    /// For each node of the paths.
    orders: Vec<Order>,
}

impl<'p> Walk<'p> {
    pub(super) fn new(paths: &'p Paths) -> Self {
        Self {
            paths,
            orders: (0..paths.len()).map(|_| Order::new()).collect(),
        }
    }

    /// Scans the payload from `start` to the end of the scanner's text: puts the values of the columns into `slots`, which
    /// are absent before, and the members that no column wants into `rest`. After an error, both hold some of the payload.
    pub(super) fn payload(
        &mut self,
        scanner: Scanner<'_>,
        start: usize,
        slots: &mut [Slot],
        rest: Option<&mut Rest>,
    ) -> Scan<()> {
        let at = scanner.skip_space(start);
        if scanner.byte(at) != b'{' {
            return Err(Unexpected {
                at,
                expected: "an object",
            });
        }
        let mut members = Members {
            walk: self,
            scanner,
            slots,
        };
        let after = members.object(at, Node::ROOT, 0, rest)?;
        let end = scanner.skip_space(after);
        if end < scanner.text.len() {
            return Err(Unexpected {
                at: end,
                expected: "the end after the object",
            });
        }
        Ok(())
    }
}

/// The members of one payload.
struct Members<'w, 'p, 's> {
    walk: &'w mut Walk<'p>,
    scanner: Scanner<'s>,
    slots: &'w mut [Slot],
}

/// A key: what its value is for, and where that is.
struct Key {
    seen: Seen,
    target: Target,
    value: usize,
}

impl Members<'_, '_, '_> {
    /// Returns the place after the object at `node` that opens at `at`, inside `depth` brackets.
    fn object(&mut self, at: usize, node: Node, depth: u32, mut rest: Option<&mut Rest>) -> Scan<usize> {
        check_depth(at, depth)?;
        let mut at = self.scanner.skip_space(at + 1);
        if self.scanner.byte(at) == b'}' {
            return Ok(at + 1);
        }
        let mut last = Seen::START;
        loop {
            let key = self.key(at, node, last)?;
            last = key.seen;
            let after = self.value(key.value, key.target, depth + 1)?;
            if let (Target::Ignored, Some(rest)) = (key.target, rest.as_deref_mut()) {
                rest.push(self.scanner, at, after);
            }
            at = self.scanner.skip_space(after);
            match self.scanner.byte(at) {
                b',' => at = self.scanner.skip_space(at + 1),
                b'}' => return Ok(at + 1),
                _ => {
                    return Err(Unexpected {
                        at,
                        expected: OBJECT_GOES_ON,
                    });
                }
            }
        }
    }

    /// Returns the key at `at`, which follows `last` in the object at `node`.
    #[inline]
    fn key(&mut self, at: usize, node: Node, last: Seen) -> Scan<Key> {
        let found = self.walk.orders[node.index()].follower(last, self.scanner.text, at);
        let Some((seen, target, after)) = found else {
            return self.unexpected_key(at, node, last);
        };
        Ok(Key {
            seen,
            target,
            value: self.scanner.skip_space(after),
        })
    }

    fn unexpected_key(&mut self, at: usize, node: Node, last: Seen) -> Scan<Key> {
        let (key, after) = self.scanner.key_text(at)?;
        let after = self.scanner.expect(after, b':', "`:` after a key")?;
        let raw = key.bytes(self.scanner.text);
        let paths = self.walk.paths;
        let (seen, target) = match text_of(raw, key.kind) {
            // A key with escapes has no label of its own.
            Cow::Owned(key) => (last, paths.target(node, &key)),
            Cow::Borrowed(key) => self.walk.orders[node.index()].learn(last, key, || paths.target(node, key)),
        };
        Ok(Key {
            seen,
            target,
            value: self.scanner.skip_space(after),
        })
    }

    /// Returns the place after the value at `at`, which goes where `target` says.
    #[inline]
    fn value(&mut self, at: usize, target: Target, depth: u32) -> Scan<usize> {
        if let Target::Inside(node) = target {
            return self.inside(at, node, depth);
        }
        let (slot, after) = self.scanner.value(at, depth)?;
        match target {
            Target::Column(column) => self.put(column, slot),
            Target::WholeName(column) => {
                self.slots[column as usize] = Slot {
                    is_whole_name: true,
                    ..slot
                };
            }
            Target::Ignored | Target::Unwanted | Target::Inside(_) => {}
        }
        Ok(after)
    }

    /// Puts a value into its column, the last of several, unless the column was named as a whole.
    #[inline]
    fn put(&mut self, column: u32, slot: Slot) {
        let before = &mut self.slots[column as usize];
        if !before.is_whole_name {
            *before = slot;
        }
    }

    /// Returns the place after the value at `at`, which has columns inside if it is an object.
    fn inside(&mut self, at: usize, node: Node, depth: u32) -> Scan<usize> {
        let paths = self.walk.paths;
        // The last of two members of one name is the only one: nothing stays of the first.
        paths
            .inside(node)
            .iter()
            .for_each(|&column| self.put(column, Slot::ABSENT));
        let (slot, after) = if self.scanner.byte(at) == b'{' {
            let after = self.object(at, node, depth, None)?;
            (Slot::new(Kind::Nested, at, after), after)
        } else {
            self.scanner.value(at, depth)?
        };
        if let Some(column) = paths.column(node) {
            self.put(column, slot);
        }
        Ok(after)
    }
}

/// Returns what a string stands for.
pub(super) fn text_of(raw: &[u8], kind: Kind) -> Cow<'_, [u8]> {
    if kind != Kind::Escaped {
        return Cow::Borrowed(raw);
    }
    let mut text = Vec::with_capacity(raw.len());
    escape::decode(raw, &mut text);
    Cow::Owned(text)
}
