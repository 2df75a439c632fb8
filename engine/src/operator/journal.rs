//! Which groups changed: one list serves both the `update` output and the checkpoint's delta.
//!
//! A group is listed once for each emit in which it changed. An emit takes the end of the list that the last one has
//! not taken; a snapshot takes all of it, each group once, and starts a new one.

use crate::memory;

/// The ids of changed groups.
#[derive(Debug, Default)]
pub(super) struct Journal {
    ids: Vec<u32>,
    emitted: usize,
    /// By id: whether the group is listed since the last emit.
    listed: Vec<bool>,
}

impl Journal {
    /// Returns the bytes of memory that the lists hold, used or not.
    pub(super) fn memory(&self) -> usize {
        memory::of(&self.ids) + memory::of(&self.listed)
    }

    /// Lists the groups as changed.
    pub(super) fn mark(&mut self, ids: &[u32], total: usize) {
        self.listed.resize(total, false);
        for &id in ids {
            if !std::mem::replace(&mut self.listed[id as usize], true) {
                self.ids.push(id);
            }
        }
    }

    /// Returns the groups changed since the last emit.
    pub(super) fn changed(&self) -> &[u32] {
        &self.ids[self.emitted..]
    }

    /// Notes that the changed groups were emitted.
    pub(super) fn emitted(&mut self) {
        for &id in &self.ids[self.emitted..] {
            self.listed[id as usize] = false;
        }
        // Many emits between two snapshots may list the same groups again and again.
        if self.ids.len() > 2 * self.listed.len() {
            self.ids.sort_unstable();
            self.ids.dedup();
        }
        self.emitted = self.ids.len();
    }

    /// Keeps the groups `kept` alone, under new ids: their places in that rising list.
    ///
    /// # Panics
    /// When groups have changed since the last emit.
    pub(super) fn keep(&mut self, kept: &[u32]) {
        assert_eq!(self.emitted, self.ids.len(), "groups go after an emit");
        self.ids.sort_unstable();
        self.ids.dedup();
        let mut changed = self.ids.iter().copied().peekable();
        let mut ids = vec![];
        for (new, &old) in (0..).zip(kept) {
            while changed.next_if(|&id| id < old).is_some() {}
            ids.extend(changed.next_if_eq(&old).map(|_| new));
        }
        self.emitted = ids.len();
        self.ids = ids;
        self.listed.clear();
        self.listed.resize(kept.len(), false);
    }

    /// Returns the groups changed since the last snapshot, each once, in the order of ids, and forgets them.
    ///
    /// # Panics
    /// When groups have changed since the last emit.
    pub(super) fn take(&mut self) -> Vec<u32> {
        assert_eq!(self.emitted, self.ids.len(), "a snapshot follows an emit");
        self.emitted = 0;
        let mut ids = std::mem::take(&mut self.ids);
        ids.sort_unstable();
        ids.dedup();
        ids
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emit_sees_its_own_changes_and_a_snapshot_all_of_them_once() {
        let mut journal = Journal::default();
        journal.mark(&[3, 1, 3], 5);
        assert_eq!(journal.changed(), [3, 1]);
        journal.emitted();
        journal.mark(&[1, 6], 7);
        assert_eq!(journal.changed(), [1, 6]);
        journal.emitted();
        assert_eq!(journal.take(), [1, 3, 6]);
        assert_eq!(journal.changed(), [0_u32; 0]);
        journal.mark(&[3], 7);
        journal.emitted();
        assert_eq!(journal.take(), [3]);
    }

    #[test]
    fn groups_that_are_kept_are_listed_under_their_new_ids() {
        let mut journal = Journal::default();
        journal.mark(&[4, 1, 2], 6);
        journal.emitted();
        journal.mark(&[4], 6);
        journal.emitted();
        journal.keep(&[0, 2, 4, 5]);
        assert_eq!(journal.changed(), [0_u32; 0]);
        journal.mark(&[3, 1], 4);
        assert_eq!(journal.changed(), [3, 1]);
        journal.emitted();
        assert_eq!(journal.take(), [1, 2, 3]);
    }

    #[test]
    fn a_list_without_snapshots_stays_bounded() {
        let mut journal = Journal::default();
        for _ in 0..1000 {
            journal.mark(&[0, 1, 2], 3);
            assert_eq!(journal.changed(), [0, 1, 2]);
            journal.emitted();
            assert!(journal.ids.len() <= 9);
        }
    }
}
