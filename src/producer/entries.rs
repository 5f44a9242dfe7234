//! All entries of a table: found by producer id, evicted by disuse, each in constant time.
//!
//! Entries live in a slab and never move; a hash map (seeded, so that chosen ids cannot flood it)
//! gives the slot of an id. Slots of *idle* producers, those without an open transaction, form a
//! doubly linked list through the slab, longest unused first. A producer leaves the list while its
//! transaction is open, so finding a victim never means walking past entries that must stay.

use super::entry::ProducerEntry;
use crate::types::ProducerId;
use std::collections::HashMap;

/// No slot; the slab cannot grow that far.
const NIL: u32 = u32::MAX;

// What EngineOptions::producers_max promises about memory.
const _: () = assert!(size_of::<Slot>() <= 224);

#[derive(Debug)]
struct Slot {
    entry: ProducerEntry,
    links: Option<Links>,
}

/// Neighbours in the idle list; absent while the producer is not in it.
#[derive(Clone, Copy, Debug)]
struct Links {
    prev: u32,
    next: u32,
}

#[derive(Debug)]
pub(super) struct Entries {
    slots: Vec<Slot>,
    slot_of: HashMap<ProducerId, u32>,
    /// Slots of forgotten producers, for reuse.
    free: Vec<u32>,
    longest_unused: u32,
    last_used: u32,
}

impl Default for Entries {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            slot_of: HashMap::new(),
            free: Vec::new(),
            longest_unused: NIL,
            last_used: NIL,
        }
    }
}

impl Entries {
    pub(super) fn len(&self) -> usize {
        self.slot_of.len()
    }

    pub(super) fn get(&self, id: ProducerId) -> Option<&ProducerEntry> {
        let slot = *self.slot_of.get(&id)?;
        Some(&self.slot(slot).entry)
    }

    /// Idle producers, longest unused first.
    pub(super) fn idle(&self) -> impl Iterator<Item = &ProducerEntry> {
        let mut at = self.longest_unused;
        std::iter::from_fn(move || {
            let slot = (at != NIL).then(|| self.slot(at))?;
            at = slot.links.map_or(NIL, |links| links.next);
            Some(&slot.entry)
        })
    }

    pub(super) fn longest_unused(&self) -> Option<&ProducerEntry> {
        (self.longest_unused != NIL).then(|| &self.slot(self.longest_unused).entry)
    }

    /// Changes the entry of `id`, which becomes the most recently used one. A new one is made if
    /// there is none, at the expense of the longest unused if there are `max` already.
    pub(super) fn update(
        &mut self,
        id: ProducerId,
        max: usize,
        change: impl FnOnce(&mut ProducerEntry),
    ) {
        let at = match self.slot_of.get(&id) {
            Some(&at) => {
                self.unlink(at);
                at
            }
            None => {
                if self.len() >= max {
                    self.evict_longest_unused();
                }
                self.insert(id)
            }
        };
        let entry = &mut self.slot_mut(at).entry;
        change(entry);
        if entry.txn.is_none() {
            self.link_last(at);
        }
    }

    /// Forgets the longest unused idle producer, if there is one.
    pub(super) fn evict_longest_unused(&mut self) {
        let at = self.longest_unused;
        if at == NIL {
            return;
        }
        self.unlink(at);
        let id = self.slot(at).entry.producer_id;
        self.slot_of.remove(&id);
        self.free.push(at);
    }

    fn insert(&mut self, id: ProducerId) -> u32 {
        let slot = Slot { entry: ProducerEntry::new(id), links: None };
        let at = match self.free.pop() {
            Some(at) => {
                *self.slot_mut(at) = slot;
                at
            }
            None => {
                let at = u32::try_from(self.slots.len()).expect("memory ends before slots do");
                self.slots.push(slot);
                at
            }
        };
        self.slot_of.insert(id, at);
        at
    }

    fn link_last(&mut self, at: u32) {
        let prev = self.last_used;
        self.slot_mut(at).links = Some(Links { prev, next: NIL });
        self.set_next(prev, at);
        self.last_used = at;
    }

    fn unlink(&mut self, at: u32) {
        if let Some(Links { prev, next }) = self.slot_mut(at).links.take() {
            self.set_next(prev, next);
            self.set_prev(next, prev);
        }
    }

    fn set_next(&mut self, at: u32, next: u32) {
        match self.links_mut(at) {
            Some(links) => links.next = next,
            None => self.longest_unused = next,
        }
    }

    fn set_prev(&mut self, at: u32, prev: u32) {
        match self.links_mut(at) {
            Some(links) => links.prev = prev,
            None => self.last_used = prev,
        }
    }

    /// The links of a neighbour; none beyond either end of the list.
    fn links_mut(&mut self, at: u32) -> Option<&mut Links> {
        if at == NIL {
            return None;
        }
        Some(self.slot_mut(at).links.as_mut().expect("a neighbour is linked"))
    }

    fn slot(&self, at: u32) -> &Slot {
        &self.slots[at as usize]
    }

    fn slot_mut(&mut self, at: u32) -> &mut Slot {
        &mut self.slots[at as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::producer::entry::TxnStart;
    use crate::types::Offset;

    fn idle_ids(entries: &Entries) -> Vec<i64> {
        entries.idle().map(|entry| entry.producer_id.get()).collect()
    }

    #[test]
    fn newcomers_take_the_slots_of_the_forgotten() {
        let mut entries = Entries::default();
        for id in 0..100 {
            entries.update(ProducerId::new(id), 4, |_| {});
        }
        assert_eq!((entries.len(), entries.slots.len()), (4, 4));
        assert_eq!(idle_ids(&entries), [96, 97, 98, 99]);
    }

    #[test]
    fn the_list_follows_use_and_leaves_out_open_transactions() {
        let mut entries = Entries::default();
        let open = TxnStart { first_offset: Offset::ZERO, started_ms: 0 };
        for id in 0..4 {
            entries.update(ProducerId::new(id), 9, |_| {});
        }
        entries.update(ProducerId::new(1), 9, |entry| entry.txn = Some(open));
        entries.update(ProducerId::new(3), 9, |entry| entry.txn = Some(open));
        entries.update(ProducerId::new(0), 9, |_| {});
        assert_eq!(idle_ids(&entries), [2, 0]);
        entries.update(ProducerId::new(1), 9, |entry| entry.txn = None);
        assert_eq!(idle_ids(&entries), [2, 0, 1]);
        for _ in 0..9 {
            entries.evict_longest_unused();
        }
        assert_eq!((idle_ids(&entries), entries.len()), (vec![], 1));
        assert!(entries.get(ProducerId::new(3)).is_some());
    }
}
