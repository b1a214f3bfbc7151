//! Owns the list of objects that a source skipped, as its component reports them. Leaves printing it to the program that
//! runs the source.
//!
//! The component reports each one as a log line of the context [`CONTEXT`]: the key, a newline, and the reason, which
//! holds no newline.

use std::collections::BTreeSet;
use std::sync::Arc;

/// The context of log lines that report a skipped object.
pub(crate) const CONTEXT: &str = "skipped";

/// Objects that are listed by name; more are only counted. A key has at most 1 KiB and a reason is cut to that length, so
/// that a list takes at most 2 MiB.
pub const OBJECTS_MAX: usize = 1024;

/// Bytes of a key or a reason that are kept: the length of S3's longest key.
const TEXT_BYTES_MAX: usize = 1024;

/// An object that a source skipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedObject {
    /// Its key.
    pub key: String,
    /// Why it was skipped, and how to fix it.
    pub reason: String,
}

/// Objects that a source skipped, in order. Clones are cheap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    objects: Arc<Vec<SkippedObject>>,
    beyond: u64,
}

impl Skipped {
    /// The listed ones: the first [`OBJECTS_MAX`].
    pub fn objects(&self) -> &[SkippedObject] {
        &self.objects
    }

    /// How many more were skipped.
    pub fn beyond(&self) -> u64 {
        self.beyond
    }

    /// Whether no object was skipped.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty() && self.beyond == 0
    }

    /// Adds the objects that a later instance of the same source skipped. Objects that are listed already are not
    /// repeated.
    pub fn absorb(&mut self, later: &Self) {
        if later.is_empty() {
            return;
        }
        let known: BTreeSet<String> = self.objects.iter().map(|o| o.key.clone()).collect();
        let new = later.objects().iter().filter(|o| !known.contains(&o.key));
        new.cloned().for_each(|object| self.push(object));
        self.beyond += later.beyond;
    }

    /// Adds the object of a log line. A message that does not have the agreed form is a reason without a key.
    pub fn tell(&mut self, message: &str) -> SkippedObject {
        let (key, reason) = message.rsplit_once('\n').unwrap_or(("", message));
        let object = SkippedObject { key: cut(key), reason: cut(reason) };
        self.push(object.clone());
        object
    }

    fn push(&mut self, object: SkippedObject) {
        if self.objects.len() < OBJECTS_MAX {
            Arc::make_mut(&mut self.objects).push(object);
        } else {
            self.beyond += 1;
        }
    }
}

fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(TEXT_BYTES_MAX)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_the_key_whatever_stands_in_it_and_the_reason() {
        let mut skipped = Skipped::default();
        assert!(skipped.is_empty());
        skipped.tell("a\nb\nit is denied");
        skipped.tell("no key at all");
        let expected = [("a\nb", "it is denied"), ("", "no key at all")];
        let expected = expected.map(|(key, reason)| SkippedObject { key: key.to_owned(), reason: reason.to_owned() });
        assert_eq!(skipped.objects(), expected);
        assert_eq!(skipped.beyond(), 0);
    }

    #[test]
    fn the_list_is_bounded_and_counts_what_is_beyond() {
        let mut skipped = Skipped::default();
        let long = "ü".repeat(TEXT_BYTES_MAX);
        for _ in 0..OBJECTS_MAX + 3 {
            skipped.tell(&format!("{long}\n{long}"));
        }
        assert_eq!(skipped.objects().len(), OBJECTS_MAX);
        assert_eq!(skipped.beyond(), 3);
        let bytes = |text: &String| text.len() <= TEXT_BYTES_MAX;
        let first = &skipped.objects()[0];
        assert!(bytes(&first.key) && bytes(&first.reason));
    }

    #[test]
    fn what_a_later_instance_met_again_is_not_repeated() {
        let (mut all, mut later) = (Skipped::default(), Skipped::default());
        all.tell("a\ndenied");
        later.tell("a\ndenied, request 2");
        later.tell("b\ndenied");
        all.absorb(&later);
        let keys: Vec<_> = all.objects().iter().map(|o| &*o.key).collect();
        assert_eq!(keys, ["a", "b"]);
    }
}
