//! Finds the line of a YAML file on which a field stands, for messages. The reader of YAML gives places in errors
//! alone, so this makes one fail at the right field.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// One step from a value into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// To a field.
    Field(String),
    /// To an element, from zero.
    Element(usize),
}

/// The line of the field or element at the end of `path`, from one.
pub(super) fn line(text: &str, path: &[Step]) -> Option<usize> {
    let error = FieldFinder { path }.deserialize(serde_yaml_ng::Deserializer::from_str(text)).err()?;
    error.location().map(|location| location.line())
}

/// Fails at the end of the path.
#[derive(Clone, Copy)]
struct FieldFinder<'a> {
    path: &'a [Step],
}

const FOUND: &str = "it is here";

impl<'de> DeserializeSeed<'de> for FieldFinder<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for FieldFinder<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of another kind")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((Step::Field(name), rest)) = self.path.split_first() else {
            return Err(A::Error::custom(FOUND));
        };
        while let Some(is_it) = map.next_key_seed(Key { name, is_last: rest.is_empty() })? {
            if is_it {
                map.next_value_seed(FieldFinder { path: rest })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        let Some((Step::Element(index), rest)) = self.path.split_first() else {
            return Err(A::Error::custom(FOUND));
        };
        for _ in 0..*index {
            sequence.next_element::<IgnoredAny>()?;
        }
        sequence.next_element_seed(FieldFinder { path: rest })?;
        while sequence.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

/// Tells whether a field is the one; fails at it if it is the last of the path.
struct Key<'a> {
    name: &'a str,
    is_last: bool,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's name")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<bool, E> {
        if text == self.name && self.is_last {
            return Err(E::custom(FOUND));
        }
        Ok(text == self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str) -> Step {
        Step::Field(name.to_owned())
    }

    #[test]
    fn fields_and_elements_are_found_on_their_lines() {
        let text = "version: 2.2\nlist:\n  - id: a\n    # a comment\n    odd: {x: 1}\n  - id: b\n    odd: 3\n";
        assert_eq!(line(text, &[field("version")]), Some(1));
        assert_eq!(line(text, &[field("list"), Step::Element(0), field("odd")]), Some(5));
        assert_eq!(line(text, &[field("list"), Step::Element(1), field("odd")]), Some(7));
        assert_eq!(line(text, &[field("list"), Step::Element(1)]), Some(6));
        assert_eq!(line(text, &[field("nowhere")]), None);
    }
}
