//! Owns the walk through the JSON of a row: members, elements and scalars, without a tree. Leaves what they mean to `schema`
//! and `cell`.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer as _, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::Deserializer;
use serde_json::value::RawValue;

use super::Misfit;
use crate::record::json::{push_text, text_of};

/// What a value is, by its first byte: the text was found to be JSON before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    Bool,
    Number,
    Text,
    List,
    Object,
}

impl Kind {
    pub(super) fn of(json: &str) -> Self {
        match json.as_bytes().first() {
            Some(b'{') => Self::Object,
            Some(b'[') => Self::List,
            Some(b'"') => Self::Text,
            Some(b't' | b'f') => Self::Bool,
            Some(b'n') | None => Self::Null,
            Some(_) => Self::Number,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool => "a boolean",
            Self::Number => "a number",
            Self::Text => "a text",
            Self::List => "a list",
            Self::Object => "an object",
        }
    }
}

/// Calls `each` with the members of an object in their order, up to its first error.
pub(super) fn members<'a>(
    object: &'a str,
    each: &mut dyn FnMut(Cow<'a, str>, &'a str) -> Result<(), Misfit>,
) -> Result<(), Misfit> {
    let mut misfit = None;
    let walked = Deserializer::from_str(object).deserialize_map(Members { each, misfit: &mut misfit });
    conclude(walked, misfit)
}

/// Calls `each` with the elements of a list in their order, up to its first error.
pub(super) fn elements<'a>(list: &'a str, each: &mut dyn FnMut(&'a str) -> Result<(), Misfit>) -> Result<(), Misfit> {
    let mut misfit = None;
    let walked = Deserializer::from_str(list).deserialize_seq(Elements { each, misfit: &mut misfit });
    conclude(walked, misfit)
}

/// The characters of a text.
pub(super) fn text(json: &str) -> Result<Cow<'_, str>, Misfit> {
    text_of(json).ok_or_else(|| Misfit::new(NO_TEXT))
}

/// JSON allows half of a pair of surrogates, which is no character.
const NO_TEXT: &str = "has a text that is not Unicode: half of a surrogate pair";

/// Why the names of an object can't be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoNames;

/// Calls `each` with the names of an object's members.
///
/// # Errors
///
/// Where one is not Unicode.
pub fn names(object: &str, mut each: impl FnMut(&str)) -> Result<(), NoNames> {
    let mut each = |name: Cow<'_, str>, _: &str| {
        each(&name);
        Ok(())
    };
    members(object, &mut each).map_err(|_| NoNames)
}

/// An object without the members of these names.
///
/// # Errors
///
/// Where a name is not Unicode, or one of these is there twice.
pub fn without(object: &str, left_out: &[String]) -> Result<String, Misfit> {
    let (mut rest, mut found) = ("{".to_owned(), vec![false; left_out.len()]);
    let mut each = |name: Cow<'_, str>, value: &str| {
        if let Some(place) = left_out.iter().position(|other| *other == *name) {
            let is_again = std::mem::replace(&mut found[place], true);
            return if is_again { Err(Misfit::new("is there twice").within(&name)) } else { Ok(()) };
        }
        if rest.len() > 1 {
            rest.push(',');
        }
        push_text(&name, &mut rest);
        rest.push(':');
        rest.push_str(value);
        Ok(())
    };
    members(object, &mut each)?;
    rest.push('}');
    Ok(rest)
}

fn conclude(walked: Result<(), serde_json::Error>, misfit: Option<Misfit>) -> Result<(), Misfit> {
    match (walked, misfit) {
        (_, Some(misfit)) => Err(misfit),
        (Ok(()), None) => Ok(()),
        (Err(_), None) => Err(Misfit::new("has a name that is not Unicode: half of a surrogate pair")),
    }
}

struct Members<'f, 'a> {
    each: &'f mut dyn FnMut(Cow<'a, str>, &'a str) -> Result<(), Misfit>,
    misfit: &'f mut Option<Misfit>,
}

impl<'a> Visitor<'a> for Members<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key_seed(Name)? {
            let value: &'a RawValue = map.next_value()?;
            if let Err(misfit) = (self.each)(name, value.get()) {
                *self.misfit = Some(misfit);
                return Err(A::Error::custom("stopped"));
            }
        }
        Ok(())
    }
}

struct Elements<'f, 'a> {
    each: &'f mut dyn FnMut(&'a str) -> Result<(), Misfit>,
    misfit: &'f mut Option<Misfit>,
}

impl<'a> Visitor<'a> for Elements<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(value) = list.next_element::<&'a RawValue>()? {
            if let Err(misfit) = (self.each)(value.get()) {
                *self.misfit = Some(misfit);
                return Err(A::Error::custom("stopped"));
            }
        }
        Ok(())
    }
}

/// A name, which is copied only where it has escapes.
struct Name;

impl<'a> DeserializeSeed<'a> for Name {
    type Value = Cow<'a, str>;

    fn deserialize<D: serde::Deserializer<'a>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'a> Visitor<'a> for Name {
    type Value = Cow<'a, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, name: &'a str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}
