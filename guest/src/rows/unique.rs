//! Owns how names that are there more than once are told apart: an object has each name once. Leaves names that are empty, and
//! how many there may be, to the formats.

use std::collections::{BTreeMap, BTreeSet};

/// Names that were given out.
#[derive(Default)]
pub(super) struct Unique {
    seen: BTreeSet<String>,
    /// The number that a name had last: to count from the first one again would take time by the square.
    last: BTreeMap<String, u64>,
}

impl Unique {
    /// The name, with a number after it where it was given out before: the second `a` is `a_2`.
    pub(super) fn name(&mut self, name: &str) -> String {
        let mut unique = name.to_owned();
        while !self.seen.insert(unique.clone()) {
            let number = self.last.entry(name.to_owned()).or_insert(1);
            *number += 1;
            unique = format!("{name}_{number}");
        }
        unique
    }
}
