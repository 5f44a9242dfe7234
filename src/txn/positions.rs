//! Positions of consumer groups, as committed.
//!
//! Of two transactions that store the same position the one whose commit was called later wins,
//! whichever reaches its commit point first: so a replay of the decisions, in their order, ends where
//! memory did.

use super::record::{NumberedPosition, Position};
use crate::options::LogName;
use crate::types::Offset;
use std::collections::BTreeMap;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Positions {
    stored: BTreeMap<(String, LogName), Stored>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stored {
    /// A log of that name with another id is another log.
    id: [u8; 16],
    next: Offset,
    number: i64,
}

impl Positions {
    /// Stores a position of transaction `number`, unless a later one has stored it.
    pub(super) fn store(&mut self, number: i64, position: &Position) {
        let key = (position.group.clone(), position.log.clone());
        let stored = Stored { id: position.id, next: position.next, number };
        self.stored
            .entry(key)
            .and_modify(|old| {
                if old.number <= number {
                    *old = stored;
                }
            })
            .or_insert(stored);
    }

    pub(super) fn get(&self, group: &str, log: &LogName, id: [u8; 16]) -> Option<Offset> {
        let stored = self.stored.get(&(group.to_owned(), log.clone()))?;
        (stored.id == id).then_some(stored.next)
    }

    /// Everything, to be restated.
    pub(super) fn all(&self) -> impl Iterator<Item = NumberedPosition> {
        self.stored.iter().map(|((group, log), stored)| NumberedPosition {
            number: stored.number,
            position: Position {
                group: group.clone(),
                log: log.clone(),
                id: stored.id,
                next: stored.next,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_later_decision_wins_whichever_comes_first() {
        let log = LogName::new("t", 0).unwrap();
        let position = |next| Position {
            group: "g".to_owned(),
            log: log.clone(),
            id: [1; 16],
            next: Offset::new(next),
        };
        let mut positions = Positions::default();
        positions.store(2, &position(20));
        positions.store(1, &position(10));
        assert_eq!(positions.get("g", &log, [1; 16]), Some(Offset::new(20)));
        positions.store(3, &position(5));
        assert_eq!(positions.get("g", &log, [1; 16]), Some(Offset::new(5)));
        assert_eq!(positions.get("g", &log, [2; 16]), None);
        assert_eq!(positions.get("h", &log, [1; 16]), None);
        let mut restated = Positions::default();
        positions.all().for_each(|p| restated.store(p.number, &p.position));
        assert_eq!(restated, positions);
    }
}
