//! Owns what a setting is, and the kinds of values: a kind alone yields parser, exported checks and texts. Leaves the
//! list of settings to `config`, and the reading of many at once to `values`.

use std::borrow::Cow;
use std::time::Duration;

use super::{duration, size};

/// How a setting's text is read, in the contract's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParameterType {
    /// Any text.
    String,
    /// A whole number.
    Int,
    /// `true` or `false`, as Go's `ParseBool` reads them.
    Bool,
    /// Go's duration syntax.
    Duration,
}

/// A condition that an engine can check before it hands a setting over. All conditions of a setting must hold.
#[derive(Clone, Debug, PartialEq)]
pub enum Validation {
    /// The setting must be set.
    Required,
    /// The number must be greater.
    GreaterThan(f64),
    /// The number must be less.
    LessThan(f64),
    /// The text must be one of these.
    Inclusion(Vec<&'static str>),
    /// The text must match, by RE2's rules.
    Regex(String),
}

/// A setting as the specification describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// What it does, for people.
    pub description: String,
    /// How it is read.
    pub kind: ParameterType,
    /// The value where it is not set.
    pub default: Option<&'static str>,
    /// Whether the host must keep the value to itself.
    pub secret: bool,
    /// What a value must satisfy.
    pub validations: Vec<Validation>,
    /// What a host does with the value, as names and values.
    pub labels: &'static [(&'static str, &'static str)],
}

/// A kind of values.
pub trait Kind<T> {
    /// Parses a value.
    ///
    /// # Errors
    ///
    /// What is expected instead, to follow "must be".
    fn parse(&self, text: &str) -> Result<T, Cow<'static, str>>;

    /// The type in the contract's words.
    fn parameter_type(&self) -> ParameterType {
        ParameterType::String
    }

    /// The conditions that [`parse`](Self::parse) stands for, as far as the contract can express them.
    fn validations(&self) -> Vec<Validation> {
        Vec::new()
    }

    /// A sentence about the values, which ends a description.
    fn note(&self) -> Option<String> {
        None
    }

    /// Whether blanks around a value belong to it.
    fn keeps_blanks(&self) -> bool {
        false
    }

    /// The part of a refused value that may be shown.
    fn shown<'a>(&self, text: &'a str) -> &'a str {
        text
    }
}

/// One setting, whose value is a `T`.
pub struct Setting<T: 'static> {
    /// Its name.
    pub name: &'static str,
    /// What it does, in full sentences.
    pub doc: &'static str,
    /// What values it takes.
    pub kind: &'static dyn Kind<T>,
    /// The value where it is not set.
    pub default: Option<&'static str>,
    /// Whether it must be set.
    pub required: bool,
    /// How to set it, where it is required and missing.
    pub hint: Option<&'static str>,
    /// Whether the host must keep the value to itself.
    pub secret: bool,
    /// What a host does with the value, as names and values.
    pub labels: &'static [(&'static str, &'static str)],
}

impl<T> Setting<T> {
    /// A setting that may be left out.
    pub(super) const fn optional(name: &'static str, kind: &'static dyn Kind<T>, doc: &'static str) -> Self {
        Self { name, doc, kind, default: None, required: false, hint: None, secret: false, labels: &[] }
    }

    /// A setting that must be set.
    pub(super) const fn required(name: &'static str, kind: &'static dyn Kind<T>, doc: &'static str) -> Self {
        Self { required: true, ..Self::optional(name, kind, doc) }
    }

    /// A setting that has a value in any case.
    pub(super) const fn with_default(
        name: &'static str,
        kind: &'static dyn Kind<T>,
        default: &'static str,
        doc: &'static str,
    ) -> Self {
        Self { default: Some(default), ..Self::optional(name, kind, doc) }
    }

    /// Parses a value.
    ///
    /// # Errors
    ///
    /// The setting, its value unless that is secret, and what is expected instead.
    pub(super) fn parse(&self, text: &str) -> Result<T, String> {
        self.kind.parse(text).map_err(|expected| match self.secret {
            true => format!("setting `{}` must be {expected}", self.name),
            false => format!("setting `{}` is `{}`, but must be {expected}", self.name, self.kind.shown(text)),
        })
    }
}

/// A setting of any type, as the list of settings holds it.
pub trait Described {
    /// The setting's name.
    fn name(&self) -> &'static str;

    /// The setting as the specification describes it.
    fn parameter(&self) -> Parameter;

    /// The value's text, if the setting has one: as it was set, or by default.
    ///
    /// # Errors
    ///
    /// What is wrong with it, or that it is missing.
    fn check(&self, set: Option<&str>) -> Result<Option<String>, String>;
}

impl<T> Described for Setting<T> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn parameter(&self) -> Parameter {
        let mut description = self.doc.to_owned();
        if let Some(note) = self.kind.note() {
            description.push(' ');
            description.push_str(&note);
        }
        let mut validations = self.kind.validations();
        if self.required {
            validations.insert(0, Validation::Required);
        }
        Parameter {
            name: self.name,
            description,
            kind: self.kind.parameter_type(),
            default: self.default,
            secret: self.secret,
            validations,
            labels: self.labels,
        }
    }

    fn check(&self, set: Option<&str>) -> Result<Option<String>, String> {
        let set = set.map(|text| if self.kind.keeps_blanks() { text } else { text.trim() });
        // An empty value means that the setting is not set.
        match set.filter(|text| !text.is_empty()).or(self.default) {
            Some(text) => self.parse(text).map(|_| Some(text.to_owned())),
            None if self.required => Err(self.missing()),
            None => Ok(None),
        }
    }
}

impl<T> Setting<T> {
    fn missing(&self) -> String {
        let choices = self.kind.validations().into_iter().find_map(|validation| match validation {
            Validation::Inclusion(choices) => Some(format!("; it is one of {}", choices.join(", "))),
            _ => None,
        });
        let hint = self.hint.map(|hint| format!("; {hint}")).or(choices).unwrap_or_default();
        format!("setting `{}` is required{hint}", self.name)
    }
}

/// Any text, without the blanks around it.
pub struct Text;

impl Kind<String> for Text {
    fn parse(&self, text: &str) -> Result<String, Cow<'static, str>> {
        Ok(text.to_owned())
    }
}

/// Any text as it is, blanks included.
pub struct Verbatim;

impl Kind<String> for Verbatim {
    fn parse(&self, text: &str) -> Result<String, Cow<'static, str>> {
        Ok(text.to_owned())
    }

    fn keeps_blanks(&self) -> bool {
        true
    }
}

/// A text that a function checks and a regular expression describes.
pub struct Pattern {
    /// Fails with what is expected instead, to follow "must be".
    pub check: fn(&str) -> Result<(), &'static str>,
    /// Match, all of them, what `check` takes.
    pub patterns: &'static [&'static str],
}

impl Kind<String> for Pattern {
    fn parse(&self, text: &str) -> Result<String, Cow<'static, str>> {
        (self.check)(text).map_err(Cow::Borrowed)?;
        Ok(text.to_owned())
    }

    fn validations(&self) -> Vec<Validation> {
        self.patterns.iter().map(|pattern| Validation::Regex((*pattern).to_owned())).collect()
    }
}

/// A whole number from `min` to `max`.
pub struct Int {
    /// The smallest.
    pub min: u32,
    /// The largest.
    pub max: u32,
}

impl Kind<usize> for Int {
    fn parse(&self, text: &str) -> Result<usize, Cow<'static, str>> {
        let number = text.parse::<i64>().map_err(|_| "a whole number")?;
        let number = u32::try_from(number).ok().filter(|number| (self.min..=self.max).contains(number));
        let number = number.ok_or_else(|| format!("a whole number from {} to {}", self.min, self.max))?;
        Ok(number as usize)
    }

    fn parameter_type(&self) -> ParameterType {
        ParameterType::Int
    }

    fn validations(&self) -> Vec<Validation> {
        vec![Validation::GreaterThan(f64::from(self.min) - 1.0), Validation::LessThan(f64::from(self.max) + 1.0)]
    }
}

/// `true` or `false`, in the spellings of Go's `ParseBool`.
pub struct Bool;

/// The spellings of `true` and of `false`.
pub(super) const BOOLS: [(bool, [&str; 6]); 2] =
    [(true, ["1", "t", "T", "true", "TRUE", "True"]), (false, ["0", "f", "F", "false", "FALSE", "False"])];

impl Kind<bool> for Bool {
    fn parse(&self, text: &str) -> Result<bool, Cow<'static, str>> {
        let found = BOOLS.iter().find(|(_, spellings)| spellings.contains(&text));
        found.map(|(value, _)| *value).ok_or(Cow::Borrowed("true or false"))
    }

    fn parameter_type(&self) -> ParameterType {
        ParameterType::Bool
    }
}

/// A positive duration in Go's syntax.
pub struct GoDuration;

impl Kind<Duration> for GoDuration {
    fn parse(&self, text: &str) -> Result<Duration, Cow<'static, str>> {
        duration::parse(text).map_err(Cow::Borrowed)
    }

    fn parameter_type(&self) -> ParameterType {
        ParameterType::Duration
    }

    fn validations(&self) -> Vec<Validation> {
        duration::patterns().map(Validation::Regex).into()
    }

    fn note(&self) -> Option<String> {
        Some("A duration such as `500ms` or `1m30s`.".to_owned())
    }
}

/// A size in bytes, with or without a unit.
pub struct Size {
    /// The largest.
    pub max: u64,
}

impl Kind<u64> for Size {
    fn parse(&self, text: &str) -> Result<u64, Cow<'static, str>> {
        let bytes = size::parse(text).filter(|bytes| (1..=self.max).contains(bytes));
        bytes.ok_or_else(|| match self.max {
            u64::MAX => Cow::Borrowed("a size such as 64MiB"),
            max => format!("a size from 1B to {}, such as 16MiB", size::display(max)).into(),
        })
    }

    fn validations(&self) -> Vec<Validation> {
        vec![Validation::Regex(size::pattern())]
    }

    fn note(&self) -> Option<String> {
        Some(match self.max {
            u64::MAX => "A size such as `64MiB`.".to_owned(),
            max => format!("A size such as `16MiB`, at most `{}`.", size::display(max)),
        })
    }
}

/// One of a few words.
pub struct Choice<T: 'static>(pub &'static [(&'static str, T)]);

impl<T: Copy> Choice<T> {
    fn names(&self) -> Vec<&'static str> {
        self.0.iter().map(|(name, _)| *name).collect()
    }
}

impl<T: Copy> Kind<T> for Choice<T> {
    fn parse(&self, text: &str) -> Result<T, Cow<'static, str>> {
        let found = self.0.iter().find(|(name, _)| *name == text);
        found.map(|(_, value)| *value).ok_or_else(|| format!("one of {}", self.names().join(", ")).into())
    }

    fn validations(&self) -> Vec<Validation> {
        vec![Validation::Inclusion(self.names())]
    }
}
