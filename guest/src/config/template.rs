//! Owns templates of paths as they are written: text, and in braces what a record or a clock fills in. Leaves filling them in to
//! `destination`.

use std::borrow::Cow;

use super::setting::Kind;

/// What paths are made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// In their order; neighbours are never both text.
    pub parts: Vec<Part>,
}

/// A piece of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Text as it is.
    Text(String),
    /// The time of writing.
    Now(Vec<TimePart>),
    /// The time of the record.
    RecordTime(Vec<TimePart>),
    /// Metadata of this name.
    Meta(String),
    /// A field of the payload, by the names that lead to it.
    Field(Vec<String>),
}

/// A piece of a time, in UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimePart {
    /// Text as it is.
    Text(String),
    /// The year, in four digits.
    Year,
    /// The month, from 01.
    Month,
    /// The day of the month, from 01.
    Day,
    /// The day of the year, from 001.
    DayOfYear,
    /// The hour, from 00 to 23.
    Hour,
    /// The minute, from 00.
    Minute,
    /// The second, from 00.
    Second,
}

impl TimePart {
    /// The fewest bytes that it becomes.
    fn bytes_min(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Year => 4,
            Self::DayOfYear => 3,
            _ => 2,
        }
    }
}

impl Part {
    /// The fewest bytes that it becomes. A time that a record lacks may be shorter than its form.
    fn bytes_min(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Now(format) => format.iter().map(TimePart::bytes_min).sum(),
            Self::RecordTime(_) | Self::Meta(_) | Self::Field(_) => 1,
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let (name, format) = match text.split_once(':') {
            Some((name, format)) => (name, Some(format)),
            None => (text, None),
        };
        match (name, format) {
            ("now" | "record.time", None | Some("")) => {
                Err(format!("with a form of time in `{{{name}}}`, such as `{{{name}:%Y-%m-%d}}`"))
            }
            ("now", Some(format)) => parse_format(format).map(Self::Now),
            ("record.time", Some(format)) => parse_format(format).map(Self::RecordTime),
            // Names of metadata may have colons.
            (name, _) if name.starts_with("meta.") => match &text["meta.".len()..] {
                "" => Err("with the name of metadata after `meta.`".to_owned()),
                name => Ok(Self::Meta(name.to_owned())),
            },
            (name, None) if name.starts_with("field.") => {
                let names: Vec<_> = name["field.".len()..].split('.').map(str::to_owned).collect();
                match names.iter().any(String::is_empty) {
                    true => Err(format!("with names around each dot of `{{{name}}}`")),
                    false => Ok(Self::Field(names)),
                }
            }
            (name, Some(_)) if name.starts_with("field.") => {
                Err(format!("without a form of time in `{{{text}}}`: only `now` and `record.time` are times"))
            }
            _ => Err(format!(
                "without `{{{text}}}`: it knows `now:…`, `record.time:…`, `meta.NAME` and `field.NAME`, and `{{{{` is a brace"
            )),
        }
    }
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    ///
    /// What it must be instead, to follow "must be a template".
    fn parse(text: &str) -> Result<Self, String> {
        let (mut parts, mut literal, mut rest) = (Vec::new(), String::new(), text);
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from) = rest.split_at(at);
            literal.push_str(before);
            if let Some(after) = from.strip_prefix("{{") {
                literal.push('{');
                rest = after;
            } else if let Some(after) = from.strip_prefix("}}") {
                literal.push('}');
                rest = after;
            } else if let Some((inside, after)) = from.strip_prefix('{').and_then(|inside| inside.split_once('}')) {
                if !literal.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut literal)));
                }
                parts.push(Part::parse(inside)?);
                rest = after;
            } else {
                return Err("with each brace closed; `{{` and `}}` stand for braces themselves".to_owned());
            }
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        check_slashes(&parts)?;
        Ok(Self { parts })
    }

    /// The fewest bytes of a path, with the slash that ends it.
    pub fn bytes_min(&self) -> usize {
        self.parts.iter().map(Part::bytes_min).sum::<usize>() + 1
    }

    /// Whether the same record may have another path when it is written again.
    pub fn has_times(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Now(_) | Part::RecordTime(_)))
    }
}

/// Checks the folders, with a letter in the place of each value, none of which is ever empty.
fn check_slashes(parts: &[Part]) -> Result<(), String> {
    let mut shape = String::new();
    for part in parts {
        match part {
            Part::Text(text) => shape.push_str(text),
            Part::Now(format) | Part::RecordTime(format) => shape.extend(format.iter().map(|part| match part {
                TimePart::Text(text) => text.as_str(),
                _ => "x",
            })),
            Part::Meta(_) | Part::Field(_) => shape.push('x'),
        }
    }
    if shape.starts_with('/') || shape.ends_with('/') {
        return Err("without a slash at either end: the one before the object's name comes by itself".to_owned());
    }
    if shape.split('/').any(|folder| matches!(folder, "" | "." | "..")) {
        return Err("of folders that have names other than `.` and `..`".to_owned());
    }
    Ok(())
}

/// Reads a form of time: a part of `strftime`'s.
fn parse_format(format: &str) -> Result<Vec<TimePart>, String> {
    let (mut parts, mut literal) = (Vec::new(), String::new());
    let mut characters = format.chars();
    while let Some(character) = characters.next() {
        if character != '%' {
            literal.push(character);
            continue;
        }
        let directive = characters.next();
        if directive == Some('%') {
            literal.push('%');
            continue;
        }
        if !literal.is_empty() {
            parts.push(TimePart::Text(std::mem::take(&mut literal)));
        }
        let dash = || TimePart::Text("-".to_owned());
        match directive {
            Some('Y') => parts.push(TimePart::Year),
            Some('m') => parts.push(TimePart::Month),
            Some('d') => parts.push(TimePart::Day),
            Some('j') => parts.push(TimePart::DayOfYear),
            Some('H') => parts.push(TimePart::Hour),
            Some('M') => parts.push(TimePart::Minute),
            Some('S') => parts.push(TimePart::Second),
            Some('F') => parts.extend([TimePart::Year, dash(), TimePart::Month, dash(), TimePart::Day]),
            other => {
                let other = other.map(String::from).unwrap_or_default();
                return Err(format!(
                    "without `%{other}`: a form of time knows `%Y`, `%m`, `%d`, `%F` (the three with dashes), `%j`, `%H`, `%M`, `%S` \
                     and `%%`"
                ));
            }
        }
    }
    if !literal.is_empty() {
        parts.push(TimePart::Text(literal));
    }
    Ok(parts)
}

/// A template.
pub(super) struct TemplateText;

impl Kind<Template> for TemplateText {
    fn parse(&self, text: &str) -> Result<Template, Cow<'static, str>> {
        Template::parse(text).map_err(|expected| format!("a template {expected}").into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Part {
        Part::Text(text.to_owned())
    }

    #[test]
    fn a_template_is_text_and_what_is_filled_in() {
        let template = Template::parse("a={{x}}/{now:%Y/%m}-{record.time:at %F%%}/{meta.a:b.c}{field.one.two}/z");
        let dash = || TimePart::Text("-".to_owned());
        let expected = vec![
            text("a={x}/"),
            Part::Now(vec![TimePart::Year, TimePart::Text("/".to_owned()), TimePart::Month]),
            text("-"),
            Part::RecordTime(vec![
                TimePart::Text("at ".to_owned()),
                TimePart::Year,
                dash(),
                TimePart::Month,
                dash(),
                TimePart::Day,
                TimePart::Text("%".to_owned()),
            ]),
            text("/"),
            Part::Meta("a:b.c".to_owned()),
            Part::Field(vec!["one".to_owned(), "two".to_owned()]),
            text("/z"),
        ];
        let template = template.expect("is one");
        assert_eq!(template, Template { parts: expected });
        assert_eq!(template.bytes_min(), "a={x}/YYYY/mm-t/mf/z/".len());
        assert!(template.has_times() && !Template::parse("{meta.a}").expect("is one").has_times());
    }

    #[test]
    fn what_is_no_template_says_what_one_is() {
        for (text, words) in [
            ("{", "each brace closed"),
            ("}", "each brace closed"),
            ("a{now:%Y", "each brace closed"),
            ("{}", "without `{}`"),
            ("{tomorrow:%Y}", "it knows `now:…`"),
            ("{now}", "a form of time in `{now}`"),
            ("{record.time:}", "a form of time in `{record.time}`"),
            ("{now:%Y-%q}", "without `%q`"),
            ("{now:%}", "without `%`:"),
            ("{field.a:%Y}", "without a form of time in `{field.a:%Y}`"),
            ("{field.}", "around each dot"),
            ("{field.a..b}", "around each dot"),
            ("{meta.}", "the name of metadata"),
            ("/a", "without a slash at either end"),
            ("a/", "without a slash at either end"),
            ("{now:%Y/}", "without a slash at either end"),
            ("a//{meta.b}", "folders that have names"),
            ("a/../b", "folders that have names"),
            ("./{now:%Y}", "folders that have names"),
        ] {
            let error = Template::parse(text).expect_err(text);
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
