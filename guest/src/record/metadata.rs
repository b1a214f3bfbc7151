//! Owns the metadata of records: what a record has alone, and what it shares with others. Leaves what they mean to those who
//! add and read them.
//!
//! All rows of an object have a dozen texts in common. Each of them would be allocated and freed for each row, in the component
//! and again in the host, which takes far longer than to read the row.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::iter::Peekable;
use std::ops::Index;
use std::slice;
use std::sync::Arc;

use serde::{Serialize, Serializer};

/// A name and its value.
type Entry = (String, String);

/// Metadata that several records have. Clones are the same texts.
#[derive(Clone)]
pub struct Common(Arc<Texts>);

struct Texts {
    /// In the order of names, each once.
    entries: Vec<Entry>,
    /// Bytes of all names and values.
    bytes: u64,
}

/// Record metadata by name, in the order of names.
#[derive(Clone, Default)]
pub struct Metadata {
    common: Option<Common>,
    /// In the order of names, each once. They hold over the common ones.
    own: Vec<Entry>,
}

impl Common {
    /// Whether both are the same texts in memory.
    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for Common {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.entries.iter().map(|(name, value)| (name, value))).finish()
    }
}

impl FromIterator<Entry> for Common {
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Self {
        Metadata::from_iter(entries).into_common()
    }
}

/// What records of a batch have in common, as it crosses to another program: by its place.
#[derive(Debug, Default)]
pub struct Places(Vec<Common>);

impl Places {
    /// Those of a batch that came.
    #[must_use]
    pub fn of(texts: Vec<Vec<(String, String)>>) -> Self {
        Self(texts.into_iter().map(Common::from_iter).collect())
    }

    /// The metadata of a record that came; `None` where it names a place that the batch lacks.
    #[must_use]
    pub fn join(&self, place: Option<u32>, own: Vec<(String, String)>) -> Option<Metadata> {
        // Whatever their order is: to insert one after the other would take time by the square.
        let own = Metadata::from_iter(own);
        let Some(place) = place else { return Some(own) };
        Some(Metadata { common: Some(self.0.get(place as usize)?.clone()), ..own })
    }

    /// The metadata of a record that goes: its own, and the place of the common ones.
    pub fn split(&mut self, metadata: Metadata) -> (Vec<(String, String)>, Option<u32>) {
        let place = metadata.common.map(|common| {
            // Records that have something in common follow each other.
            if !self.0.last().is_some_and(|last| last.is(&common)) {
                self.0.push(common);
            }
            u32::try_from(self.0.len() - 1).unwrap_or(u32::MAX)
        });
        (metadata.own, place)
    }

    /// All of it, to go with the records.
    #[must_use]
    pub fn into_texts(self) -> Vec<Vec<(String, String)>> {
        let texts = |common: Common| match Arc::try_unwrap(common.0) {
            Ok(texts) => texts.entries,
            Err(shared) => shared.entries.clone(),
        };
        self.0.into_iter().map(texts).collect()
    }
}

impl Metadata {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Those that are common, to which own ones may be added.
    #[must_use]
    pub fn with_common(common: Common) -> Self {
        Self { common: Some(common), own: Vec::new() }
    }

    /// All of it, to be shared.
    #[must_use]
    pub fn into_common(self) -> Common {
        let entries = match self.common {
            Some(_) => self.into_iter().collect(),
            None => self.own,
        };
        let bytes = bytes(&entries);
        Common(Arc::new(Texts { entries, bytes }))
    }

    /// Adds a value, in the place of one of the same name.
    pub fn insert(&mut self, name: String, value: String) {
        match find(&self.own, &name) {
            Ok(at) => self.own[at].1 = value,
            Err(at) => self.own.insert(at, (name, value)),
        }
    }

    /// The value of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&String> {
        let common = || self.common.as_ref().and_then(|common| value(&common.0.entries, name));
        value(&self.own, name).or_else(common)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.own.is_empty() && self.common.as_ref().is_none_or(|common| common.0.entries.is_empty())
    }

    /// Names and values, in the order of names.
    pub fn iter(&self) -> Iter<'_> {
        let common = self.common.as_ref().map_or(&[][..], |common| &common.0.entries);
        Iter { own: self.own.iter().peekable(), common: common.iter().peekable() }
    }

    /// Bytes of names and values: of its own and of the common ones, those of the same name too.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        bytes(&self.own) + self.common.as_ref().map_or(0, |common| common.0.bytes)
    }
}

fn find(entries: &[Entry], name: &str) -> Result<usize, usize> {
    entries.binary_search_by(|(other, _)| other.as_str().cmp(name))
}

fn value<'a>(entries: &'a [Entry], name: &str) -> Option<&'a String> {
    find(entries, name).ok().map(|at| &entries[at].1)
}

fn bytes(entries: &[Entry]) -> u64 {
    entries.iter().map(|(name, value)| (name.len() + value.len()) as u64).sum()
}

/// Names and values of [`Metadata`], in the order of names.
#[derive(Clone)]
pub struct Iter<'a> {
    own: Peekable<slice::Iter<'a, Entry>>,
    common: Peekable<slice::Iter<'a, Entry>>,
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a String, &'a String);

    fn next(&mut self) -> Option<Self::Item> {
        let order = match (self.own.peek(), self.common.peek()) {
            (Some(own), Some(common)) => own.0.cmp(&common.0),
            (Some(_), None) => Ordering::Less,
            (None, _) => Ordering::Greater,
        };
        if order == Ordering::Equal {
            self.common.next();
        }
        let next = if order == Ordering::Greater { self.common.next() } else { self.own.next() };
        next.map(|(name, value)| (name, value))
    }
}

impl<'a> IntoIterator for &'a Metadata {
    type Item = (&'a String, &'a String);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl IntoIterator for Metadata {
    type Item = (String, String);
    type IntoIter = std::vec::IntoIter<Entry>;

    /// Copies what is common.
    fn into_iter(self) -> Self::IntoIter {
        let entries = match &self.common {
            Some(_) => self.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
            None => self.own,
        };
        entries.into_iter()
    }
}

impl FromIterator<Entry> for Metadata {
    /// Of two values of the same name the later one holds.
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Self {
        let mut own: Vec<Entry> = entries.into_iter().collect();
        if !own.is_sorted_by(|(one, _), (next, _)| one < next) {
            own = BTreeMap::from_iter(own).into_iter().collect();
        }
        Self { common: None, own }
    }
}

impl<const N: usize> From<[Entry; N]> for Metadata {
    fn from(entries: [Entry; N]) -> Self {
        Self::from_iter(entries)
    }
}

impl Index<&str> for Metadata {
    type Output = String;

    /// # Panics
    ///
    /// Where there is no such name.
    fn index(&self, name: &str) -> &String {
        self.get(name).expect("there is metadata of that name")
    }
}

/// They are equal where names and values are the same, common or not.
impl PartialEq for Metadata {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other)
    }
}

impl Eq for Metadata {}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self).finish()
    }
}

impl Serialize for Metadata {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, value: &str) -> Entry {
        (name.to_owned(), value.to_owned())
    }

    fn shared() -> Metadata {
        let common: Common = [entry("b", "1"), entry("d", "2")].into_iter().collect();
        let mut metadata = Metadata::with_common(common);
        metadata.insert("c".to_owned(), "3".to_owned());
        metadata.insert("a".to_owned(), "4".to_owned());
        metadata
    }

    #[test]
    fn own_and_common_ones_are_one_in_the_order_of_names() {
        let metadata = shared();
        assert_eq!(format!("{metadata:?}"), r#"{"a": "4", "b": "1", "c": "3", "d": "2"}"#);
        assert_eq!(serde_json::json!(metadata).to_string(), r#"{"a":"4","b":"1","c":"3","d":"2"}"#);
        assert_eq!((metadata.get("b"), metadata.get("e")), (Some(&"1".to_owned()), None));
        assert_eq!(metadata["c"], "3");
        assert_eq!(metadata.bytes(), 8);
        let alone: Metadata = metadata.clone().into_iter().collect();
        assert!(alone.common.is_none());
        assert_eq!(alone, metadata, "they are the same, common or not");
        assert_eq!(alone.iter().count(), 4);
    }

    #[test]
    fn own_ones_hold_over_common_ones() {
        let mut metadata = shared();
        metadata.insert("d".to_owned(), "own".to_owned());
        metadata.insert("d".to_owned(), "last".to_owned());
        assert_eq!(metadata["d"], "last");
        assert_eq!(metadata.iter().filter(|(name, _)| *name == "d").count(), 1);
        assert_ne!(metadata, shared());
        let common = metadata.into_common();
        assert_eq!(format!("{common:?}"), r#"{"a": "4", "b": "1", "c": "3", "d": "last"}"#);
        assert_eq!(common.0.bytes, 11);
    }

    #[test]
    fn what_is_common_crosses_once() {
        let (one, other) = (shared(), Metadata::from([entry("alone", "5")]));
        let records = [one.clone(), one.clone(), other.clone(), one.clone(), shared()];
        let mut places = Places::default();
        let gone: Vec<_> = records.clone().into_iter().map(|metadata| places.split(metadata)).collect();
        let gone_places: Vec<_> = gone.iter().map(|(_, place)| *place).collect();
        assert_eq!(gone_places, [Some(0), Some(0), None, Some(0), Some(1)]);
        let texts = places.into_texts();
        assert_eq!(texts.len(), 2);
        let places = Places::of(texts);
        let come: Vec<_> = gone.into_iter().map(|(own, place)| places.join(place, own).unwrap()).collect();
        assert_eq!(come, records);
        assert!(come[0].common.as_ref().unwrap().is(come[3].common.as_ref().unwrap()));
        assert_eq!(places.join(Some(2), Vec::new()), None, "there is no such place");
        let own = vec![entry("z", "1"), entry("b", "2"), entry("z", "3")];
        let joined = places.join(Some(0), own).unwrap();
        assert_eq!(format!("{joined:?}"), r#"{"b": "2", "d": "2", "z": "3"}"#);
    }

    #[test]
    fn of_two_values_the_later_one_holds() {
        let metadata = Metadata::from([entry("b", "1"), entry("a", "2"), entry("b", "3")]);
        assert_eq!(format!("{metadata:?}"), r#"{"a": "2", "b": "3"}"#);
        assert!(!metadata.is_empty());
        assert!(Metadata::new().is_empty() && Metadata::with_common(Metadata::new().into_common()).is_empty());
    }
}
