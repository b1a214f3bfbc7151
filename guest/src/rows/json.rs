//! Owns rows of JSON: values that follow each other, one per line, the elements of a list, or a whole document. Leaves the
//! grammar to `serde_json`, which also keeps every number as it is written.
//!
//! A row is a JSON object. Any other value becomes one: `{"value": …}`.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use memchr::memchr;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::extent::{Edge, Extent};
use super::lines::{Found, LineFinder};
use super::text::{Framing, Step, too_long};
use super::{Broken, Content};

/// What a row is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum JsonRows {
    /// An element, if the object is a list; otherwise each of the values in it.
    #[default]
    Auto,
    /// A line.
    Lines,
    /// All of it.
    Document,
    /// An element of the list that it is.
    Array,
    /// An element of the list under these names.
    At(Vec<String>),
}

/// Finds rows of JSON.
pub(super) struct Json {
    mode: Mode,
    /// Bytes that did not hold all of a value.
    tried: usize,
    /// The element of a list that is passed over, since it can't be read.
    passing: Option<Passing>,
}

/// An element that can't be read, and whose end is looked for.
#[derive(Default)]
struct Passing {
    extent: Extent,
    why: String,
    /// Whether its beginning is gone.
    is_long: bool,
}

/// What comes next in a list.
#[derive(Clone, Copy)]
enum Item {
    /// Its beginning.
    Begin,
    /// Its first element or its end.
    First,
    /// An element: an end would come after nothing.
    Element,
    /// What stands between two elements, or the end.
    Comma,
}

enum Mode {
    /// Not known yet.
    Any,
    Values,
    Lines(LineFinder),
    /// In a list.
    Array(Item),
    /// After a list.
    Over,
    /// The elements of a document, once it was read; those that are to be passed over.
    Document {
        path: Vec<String>,
        found: Option<VecDeque<Content>>,
        passed: u64,
    },
}

impl Json {
    /// Reads rows after that many others. What is a list among them is a value: a text that is one was seen to be.
    pub(super) fn new(rows: &JsonRows, before: u64) -> Self {
        let document = |path: &[String]| Mode::Document { path: path.to_vec(), found: None, passed: before };
        let mode = match rows {
            JsonRows::Auto if before > 0 => Mode::Values,
            JsonRows::Auto => Mode::Any,
            JsonRows::Lines => Mode::Lines(LineFinder::default()),
            JsonRows::Array => Mode::Array(if before > 0 { Item::Comma } else { Item::Begin }),
            JsonRows::Document => document(&[]),
            JsonRows::At(path) => document(path),
        };
        Self { mode, tried: 0, passing: None }
    }

    /// The value that the text begins with.
    fn value(&mut self, text: &[u8], is_end: bool) -> Value {
        // Each attempt begins at the value's first byte, so the next one waits until there is twice as much.
        if !is_end && text.len() < self.tried.saturating_mul(2) {
            return Value::More;
        }
        let mut values = serde_json::Deserializer::from_slice(text).into_iter::<IgnoredAny>();
        let result = values.next();
        let end = values.byte_offset();
        let value = match result {
            // More digits may follow.
            Some(Ok(_)) if end == text.len() && !is_end && !matches!(text[end - 1], b'}' | b']' | b'"') => Value::More,
            Some(Ok(_)) => Value::Whole(end),
            Some(Err(error)) if !is_end && (error.is_eof() || ends_within_number(text)) => Value::More,
            Some(Err(error)) => Value::Bad(reason(&error)),
            None => Value::More,
        };
        self.tried = if matches!(value, Value::More) { text.len() } else { 0 };
        value
    }

    fn values(&mut self, text: &[u8], is_end: bool) -> Step {
        match self.value(text, is_end) {
            Value::More => Step::More,
            Value::Whole(used) => Step::Row { used, content: content(&text[..used]) },
            // The next line may be whole again.
            Value::Bad(why) => match memchr(b'\n', text) {
                Some(at) => Step::Row { used: at + 1, content: bad(&text[..at], why) },
                None if is_end => Step::Row { used: text.len(), content: bad(text, why) },
                None => Step::More,
            },
        }
    }

    /// The next element of a list, what stands between two, or its end.
    fn array(&mut self, text: &[u8], is_end: bool, item: Item) -> Result<Step, Broken> {
        self.mode = match (text[0], item) {
            (b'[', Item::Begin) => Mode::Array(Item::First),
            (_, Item::Begin) => return Err(Broken::new("it is no list: set `json.rows`")),
            (b',', Item::Comma) => Mode::Array(Item::Element),
            (b']', Item::First | Item::Comma) => Mode::Over,
            (_, Item::Comma) => return Err(Broken::new("its list has neither `,` nor `]` after an element")),
            (_, Item::First | Item::Element) => return self.element(text, is_end),
        };
        Ok(Step::Skip { used: 1 })
    }

    /// The next element of a list. One that can't be read costs itself alone where its end can be found.
    fn element(&mut self, text: &[u8], is_end: bool) -> Result<Step, Broken> {
        let mut passing = match self.passing.take() {
            Some(passing) => passing,
            None => match self.value(text, is_end) {
                Value::More => return Ok(Step::More),
                Value::Whole(used) => {
                    self.mode = Mode::Array(Item::Comma);
                    return Ok(Step::Row { used, content: content(&text[..used]) });
                }
                Value::Bad(why) => Passing { why, ..Passing::default() },
            },
        };
        match passing.extent.find(text) {
            Edge::At(used) => {
                self.mode = Mode::Array(Item::Comma);
                let content =
                    if passing.is_long { too_long() } else { bad(text[..used].trim_ascii_end(), passing.why) };
                Ok(Step::Row { used, content })
            }
            Edge::More if !is_end => {
                self.passing = Some(passing);
                Ok(Step::More)
            }
            // Where the next one begins, nobody knows.
            _ if passing.is_long => Err(Broken::new("an element of its list does not end")),
            _ => Err(Broken::new(format!("an element of its list can't be read: {}", passing.why))),
        }
    }

    fn lines(&mut self, text: &[u8], is_end: bool) -> Step {
        let Mode::Lines(finder) = &mut self.mode else { return Step::More };
        match finder.find(text, is_end) {
            Found::More => Step::More,
            Found::End => Step::End,
            Found::Long { used } => Step::Row { used, content: too_long() },
            Found::Line { used, line } if text[..line].trim_ascii().is_empty() => Step::Skip { used },
            Found::Line { used, line } => {
                let line = text[..line].trim_ascii();
                let content = match serde_json::from_slice::<IgnoredAny>(line) {
                    Ok(_) => content(line),
                    Err(error) => bad(line, reason(&error)),
                };
                Step::Row { used, content }
            }
        }
    }

    fn document(&mut self, text: &[u8], is_end: bool) -> Result<Step, Broken> {
        let Mode::Document { path, found, passed } = &mut self.mode else { return Ok(Step::More) };
        if found.is_none() {
            if !is_end {
                return Ok(Step::More);
            }
            let mut rows = VecDeque::from(elements(text, path)?);
            rows.drain(..usize::try_from(*passed).unwrap_or(usize::MAX).min(rows.len()));
            *found = Some(rows);
        }
        let next = found.as_mut().and_then(VecDeque::pop_front);
        // Its bytes stay until the last row: to go on after one of them is to read all of it once more.
        Ok(next.map_or(Step::End, |content| Step::Row { used: 0, content }))
    }
}

impl Framing for Json {
    fn step(&mut self, text: &[u8], is_end: bool) -> Result<Step, Broken> {
        if let Mode::Document { .. } = self.mode {
            return self.document(text, is_end);
        }
        if let Mode::Lines(_) = self.mode {
            return Ok(self.lines(text, is_end));
        }
        if self.passing.is_some() {
            return self.element(text, is_end);
        }
        let blank = text.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        if blank > 0 {
            return Ok(Step::Skip { used: blank });
        }
        let Some(first) = text.first() else {
            return match self.mode {
                Mode::Array(_) if is_end => Err(Broken::new("its list breaks off")),
                _ if is_end => Ok(Step::End),
                _ => Ok(Step::More),
            };
        };
        if let Mode::Any = self.mode {
            self.mode = if *first == b'[' { Mode::Array(Item::Begin) } else { Mode::Values };
        }
        match self.mode {
            Mode::Array(item) => self.array(text, is_end, item),
            Mode::Over => Err(Broken::new("something follows its list")),
            _ => Ok(self.values(text, is_end)),
        }
    }

    fn pass_over(&mut self, text: &[u8]) -> bool {
        match &mut self.mode {
            Mode::Lines(finder) => finder.pass_over(),
            Mode::Array(Item::First | Item::Element) => {
                let passing = self.passing.get_or_insert_default();
                passing.is_long = true;
                if !matches!(passing.extent.find(text), Edge::More) {
                    return false;
                }
                passing.extent.forget();
                self.tried = 0;
            }
            // Where a value ends is found by reading all of it.
            _ => return false,
        }
        true
    }

    fn bytes_max(&self) -> usize {
        match self.mode {
            Mode::Document { .. } => super::text::DOCUMENT_BYTES_MAX,
            _ => super::text::ROW_BYTES_MAX,
        }
    }

    fn is_whole(&self) -> bool {
        matches!(self.mode, Mode::Document { .. })
    }

    fn is_list(&self) -> Option<bool> {
        match self.mode {
            Mode::Any => None,
            Mode::Array(_) | Mode::Over => Some(true),
            _ => Some(false),
        }
    }
}

/// What a text begins with.
enum Value {
    /// A value of that many bytes.
    Whole(usize),
    /// The beginning of one.
    More,
    /// None, for this reason.
    Bad(String),
}

/// Rows of a whole document.
fn elements(text: &[u8], path: &[String]) -> Result<Vec<Content>, Broken> {
    if text.trim_ascii().is_empty() {
        return Ok(Vec::new());
    }
    let broken = |why: serde_json::Error| Broken::new(format!("it is no JSON document: {}", reason(&why)));
    let mut value: &RawValue = serde_json::from_slice(text).map_err(broken)?;
    for name in path {
        let members: BTreeMap<String, &RawValue> = serde_json::from_str(value.get())
            .map_err(|_| Broken::new(format!("what should hold `{name}` is no JSON object: set `json.path`")))?;
        value =
            members.get(name).copied().ok_or_else(|| Broken::new(format!("it has no `{name}`: set `json.path`")))?;
    }
    if path.is_empty() {
        return Ok(vec![content(value.get().as_bytes())]);
    }
    let elements: Vec<&RawValue> = serde_json::from_str(value.get())
        .map_err(|_| Broken::new(format!("`{}` is no list: set `json.path`", path.join("."))))?;
    Ok(elements.into_iter().map(|element| content(element.get().as_bytes())).collect())
}

/// A value as a row.
fn content(value: &[u8]) -> Content {
    let Ok(text) = std::str::from_utf8(value) else {
        return bad(value, "it is not UTF-8: set `encoding`".to_owned());
    };
    Content::Structured(if text.starts_with('{') { text.to_owned() } else { format!("{{\"value\":{text}}}") })
}

fn bad(bytes: &[u8], why: String) -> Content {
    Content::Bad { bytes: Bytes::copy_from_slice(bytes), why }
}

/// Whether a number may go on after a text. A reader calls one that lacks its last digit wrong, not cut.
fn ends_within_number(text: &[u8]) -> bool {
    matches!(text.last(), Some(b'-' | b'+' | b'.' | b'e' | b'E'))
}

/// What is wrong, without where: rows have places of their own.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let end = text.rfind(" at line ").unwrap_or(text.len());
    format!("it is no JSON: {}", &text[..end])
}
