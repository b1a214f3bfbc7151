//! Owns the reading of many settings at once: every problem of all of them is named in one error. Leaves what a value may
//! be to `setting`, and what the values are for to `config`.

use std::collections::BTreeMap;

use super::Settings;
use super::setting::{Described, Setting};
use crate::error::{Error, Result};

/// Settings that are known and whose values can be parsed; defaults filled in.
pub(super) struct Values(BTreeMap<&'static str, String>);

impl Values {
    /// Reads `known` out of `settings`, which must hold no others.
    pub(super) fn of_all(settings: &Settings, known: &[&dyn Described]) -> Result<Self> {
        let names: Vec<_> = known.iter().map(|setting| setting.name()).collect();
        Self::read(settings, known, unknown_names(settings, &names))
    }

    /// Reads `known` out of `settings`, whatever else these hold.
    pub(super) fn of_some(settings: &Settings, known: &[&dyn Described]) -> Result<Self> {
        Self::read(settings, known, Vec::new())
    }

    fn read(settings: &Settings, known: &[&dyn Described], mut problems: Vec<String>) -> Result<Self> {
        let mut values = BTreeMap::new();
        for setting in known {
            match setting.check(text(settings, setting.name())) {
                Ok(text) => values.extend(text.map(|text| (setting.name(), text))),
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() { Ok(Self(values)) } else { Err(Error::invalid(problems.join("\n"))) }
    }

    /// The value of a setting that always has one.
    pub(super) fn get<T>(&self, setting: &Setting<T>) -> Result<T> {
        self.find(setting)?.ok_or_else(|| Error::invalid(format!("setting `{}` is missing", setting.name)))
    }

    /// Whether a setting has a value.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The value of a setting that may be left out.
    pub(super) fn find<T>(&self, setting: &Setting<T>) -> Result<Option<T>> {
        let Some(text) = self.0.get(setting.name) else {
            return Ok(None);
        };
        setting.parse(text).map(Some).map_err(Error::invalid)
    }
}

/// What a setting says, unread; blanks around its name don't count.
pub(super) fn text<'a>(settings: &'a Settings, name: &str) -> Option<&'a str> {
    settings.iter().find(|(set, _)| set.trim() == name).map(|(_, text)| text.as_str())
}

/// A problem for each setting whose name is not `known`.
pub(super) fn unknown_names(settings: &Settings, known: &[&'static str]) -> Vec<String> {
    let strange = settings.keys().map(|name| name.trim()).filter(|name| !known.contains(name));
    strange.map(|name| unknown(name, known)).collect()
}

fn unknown(name: &str, known: &[&'static str]) -> String {
    let distance = |known: &str| strsim::damerau_levenshtein(&known.to_lowercase(), &name.to_lowercase());
    match known.iter().map(|known| (distance(known), *known)).min() {
        Some((distance, known)) if distance <= known.len() / 2 => {
            format!("unknown setting `{name}`; did you mean `{known}`?")
        }
        _ => format!("unknown setting `{name}`; known are {}", known.join(", ")),
    }
}
