//! Owns globs over keys: how a list of them is written, and which keys it takes. Leaves which keys there are to `source`.
//!
//! A key is compared as a whole, character by character, without its prefix. Braces are expanded when the list is read.
//! What is left is matched by going on from the last `*` or `**/` alone, so that no key takes more than its length times
//! its number of segments.

use std::borrow::Cow;
use std::iter::Peekable;
use std::str::Chars;

use super::setting::Kind;

/// Pieces of globs with their braces expanded, and their alternatives: what a list may hold at most.
const PIECES_MAX: usize = 1 << 16;

/// Braces within braces.
const DEPTH_MAX: usize = 8;

/// Which keys a source reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyFilter {
    /// One of these must match, unless there are none.
    pub(super) include: Globs,
    /// None of these may match.
    pub(super) exclude: Globs,
}

impl KeyFilter {
    /// Whether it takes all keys.
    pub fn is_all(&self) -> bool {
        self.include.0.is_empty() && self.exclude.0.is_empty()
    }

    /// Whether it takes the key that has this after its prefix.
    pub fn takes(&self, key_after_prefix: &str) -> bool {
        (self.include.0.is_empty() || self.include.match_any(key_after_prefix))
            && !self.exclude.match_any(key_after_prefix)
    }

    /// What is odd about the globs, given the prefix; `None` where nothing is.
    pub fn doubt(&self, prefix: &str) -> Option<String> {
        if !prefix.is_empty() && !prefix.ends_with('/') {
            return None;
        }
        let doubt = |name: &str, globs: &Globs| {
            let begin_with = |start: &str| globs.0.iter().any(|glob| glob.begins_with(start));
            if !prefix.is_empty() && begin_with(prefix) {
                Some(format!(
                    "setting `{name}`: a glob is compared with what follows the prefix, and one begins with it"
                ))
            } else {
                begin_with("/").then(|| format!("setting `{name}`: a glob begins with a slash, as keys rarely do"))
            }
        };
        doubt("keys.include", &self.include).or_else(|| doubt("keys.exclude", &self.exclude))
    }
}

/// Several globs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Globs(Vec<Glob>);

impl Globs {
    fn match_any(&self, key: &str) -> bool {
        self.0.iter().any(|glob| glob.matches(key))
    }
}

/// A glob without braces.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Glob(Box<[Token]>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// This text.
    Text(Box<str>),
    /// `?`: one character but `/`.
    One,
    /// `[…]`: one character of a set.
    Set(Set),
    /// `*`: any text without `/`.
    Star,
    /// `**/`: any number of segments with their slashes.
    Segments,
    /// `**` at the end: all that is left.
    Rest,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Set {
    is_negated: bool,
    ranges: Box<[(char, char)]>,
}

impl Set {
    fn takes(&self, character: char) -> bool {
        let is_in = self.ranges.iter().any(|(first, last)| (*first..=*last).contains(&character));
        character != '/' && is_in != self.is_negated
    }
}

impl Token {
    /// What is left of `key` after this token, if it begins with that.
    fn strip<'a>(&self, key: &'a str) -> Option<&'a str> {
        let one = |takes: &dyn Fn(char) -> bool| {
            let mut rest = key.chars();
            rest.next().filter(|character| takes(*character)).map(|_| rest.as_str())
        };
        match self {
            Self::Text(text) => key.strip_prefix(&**text),
            Self::One => one(&|character| character != '/'),
            Self::Set(set) => one(&|character| set.takes(character)),
            Self::Star | Self::Segments => Some(key),
            Self::Rest => Some(""),
        }
    }
}

impl Glob {
    fn begins_with(&self, start: &str) -> bool {
        matches!(self.0.first(), Some(Token::Text(text)) if text.starts_with(start))
    }

    fn matches(&self, key: &str) -> bool {
        let (mut tokens, mut rest) = (&*self.0, key);
        // What follows the last `*` and the last `**/`, and where in the key these end: each may take more of it.
        let (mut star, mut segments) = (None, None);
        loop {
            match tokens.split_first() {
                None if rest.is_empty() => return true,
                Some((token, after)) if let Some(left) = token.strip(rest) => {
                    match token {
                        Token::Star => star = Some((after, left)),
                        Token::Segments => (star, segments) = (None, Some((after, left))),
                        // A star can't reach beyond its segment.
                        Token::Text(text) if text.contains('/') => star = None,
                        _ => {}
                    }
                    (tokens, rest) = (after, left);
                    continue;
                }
                _ => {}
            }
            if let Some((after, from)) = star
                && let Some(left) = Token::One.strip(from)
            {
                (tokens, rest, star) = (after, left, Some((after, left)));
            } else if let Some((after, from)) = segments
                && let Some((_, left)) = from.split_once('/')
            {
                (tokens, rest, star, segments) = (after, left, None, Some((after, left)));
            } else {
                return false;
            }
        }
    }
}

/// Globs with commas between them.
pub(super) struct GlobList;

impl Kind<Globs> for GlobList {
    fn parse(&self, text: &str) -> Result<Globs, Cow<'static, str>> {
        parse(text).map_err(|problem| format!("globs such as `2026/**, *.json`; {problem}").into())
    }

    fn keeps_blanks(&self) -> bool {
        // An escaped one at the end is part of a glob.
        true
    }
}

/// A part of a list, and the number of the character where it begins.
#[derive(Clone)]
struct Piece {
    at: usize,
    what: What,
}

#[derive(Clone)]
enum What {
    /// A character that stands for itself.
    Plain(char),
    /// A blank, which counts only between other characters.
    Blank(char),
    One,
    Star,
    Set(Set),
    Open,
    Comma,
    Close,
}

fn parse(text: &str) -> Result<Globs, String> {
    let pieces = Lexer { characters: text.chars().peekable(), at: 0 }.pieces()?;
    if pieces.iter().all(|piece| matches!(piece.what, What::Blank(_))) {
        return Ok(Globs::default());
    }
    let mut parser = Parser { pieces: pieces.into_iter().peekable(), spent: 0 };
    let (mut globs, mut start) = (Vec::new(), 1);
    loop {
        for alternative in parser.alternatives(0)? {
            globs.push(compile(trim(&alternative), start)?);
        }
        match parser.pieces.next() {
            None => return Ok(Globs(globs)),
            Some(Piece { what: What::Comma, at }) => start = at + 1,
            Some(Piece { at, .. }) => return Err(closes_nothing('}', at)),
        }
    }
}

fn closes_nothing(character: char, at: usize) -> String {
    format!("the `{character}` at character {at} closes nothing: `\\{character}` stands for itself")
}

/// Cuts a list into pieces: resolves escapes and sets.
struct Lexer<'a> {
    characters: Peekable<Chars<'a>>,
    at: usize,
}

impl Lexer<'_> {
    fn pieces(mut self) -> Result<Vec<Piece>, String> {
        let mut pieces = Vec::new();
        while let Some(character) = self.next() {
            let at = self.at;
            let what = match character {
                '\\' => What::Plain(self.escaped()?),
                '*' => What::Star,
                '?' => What::One,
                '[' => What::Set(self.set()?),
                ']' => return Err(closes_nothing(']', at)),
                '{' => What::Open,
                ',' => What::Comma,
                '}' => What::Close,
                blank if blank.is_whitespace() => What::Blank(blank),
                other => What::Plain(other),
            };
            pieces.push(Piece { at, what });
        }
        Ok(pieces)
    }

    fn next(&mut self) -> Option<char> {
        self.at += 1;
        self.characters.next()
    }

    fn escaped(&mut self) -> Result<char, String> {
        let at = self.at;
        self.next().ok_or_else(|| format!(r"the `\` at character {at} has nothing after it: `\\` stands for itself"))
    }

    /// The set whose `[` was just read. A `]` at its beginning and a `-` at either end stand for themselves.
    fn set(&mut self) -> Result<Set, String> {
        let at = self.at;
        let unclosed = || format!(r"the `[` at character {at} is never closed: `\[` stands for itself");
        let is_negated = self.characters.next_if(|c| matches!(c, '!' | '^')).is_some();
        self.at += usize::from(is_negated);
        let mut ranges = Vec::new();
        loop {
            let first = match self.next().ok_or_else(unclosed)? {
                ']' if !ranges.is_empty() => return Ok(Set { is_negated, ranges: ranges.into() }),
                '\\' => self.escaped()?,
                other => other,
            };
            let (start, mut ahead) = (self.at, self.characters.clone());
            let is_range = ahead.next() == Some('-') && ahead.next().is_some_and(|last| last != ']');
            if !is_range {
                ranges.push((first, first));
                continue;
            }
            self.next();
            let last = match self.next().ok_or_else(unclosed)? {
                '\\' => self.escaped()?,
                other => other,
            };
            if last < first {
                return Err(format!(
                    "the range `{first}-{last}` at character {start} has its ends the wrong way round"
                ));
            }
            ranges.push((first, last));
        }
    }
}

/// Expands braces.
struct Parser {
    pieces: Peekable<std::vec::IntoIter<Piece>>,
    spent: usize,
}

impl Parser {
    /// What may stand from here up to the next comma or brace that ends it.
    fn alternatives(&mut self, depth: usize) -> Result<Vec<Vec<Piece>>, String> {
        let mut all = vec![Vec::new()];
        while let Some(piece) = self.pieces.next_if(|piece| !matches!(piece.what, What::Comma | What::Close)) {
            if matches!(piece.what, What::Open) {
                let options = self.options(piece.at, depth + 1)?;
                let lengths = |all: &[Vec<Piece>]| all.iter().map(|one| one.len() + 1).sum::<usize>();
                let length = lengths(&all).saturating_mul(options.len());
                self.spend(length.saturating_add(lengths(&options).saturating_mul(all.len())), piece.at)?;
                let joined = all.iter().flat_map(|one| options.iter().map(|other| [&one[..], other].concat()));
                all = joined.collect();
            } else {
                self.spend(all.len(), piece.at)?;
                all.iter_mut().for_each(|one| one.push(piece.clone()));
            }
        }
        Ok(all)
    }

    /// What the brace that was just read stands for, all of it.
    fn options(&mut self, at: usize, depth: usize) -> Result<Vec<Vec<Piece>>, String> {
        if depth > DEPTH_MAX {
            return Err(format!("the `{{` at character {at} is nested more than {DEPTH_MAX} deep"));
        }
        let mut options = Vec::new();
        loop {
            options.append(&mut self.alternatives(depth)?);
            match self.pieces.next() {
                None => {
                    return Err(format!(r"the `{{` at character {at} is never closed: `\{{` stands for itself"));
                }
                Some(Piece { what: What::Close, .. }) => return Ok(options),
                Some(_) => {}
            }
        }
    }

    fn spend(&mut self, pieces: usize, at: usize) -> Result<(), String> {
        self.spent = self.spent.saturating_add(pieces);
        let too_many = || format!("with their braces expanded they are too long from character {at} on");
        (self.spent <= PIECES_MAX).then_some(()).ok_or_else(too_many)
    }
}

/// Without blanks at both ends.
fn trim(mut pieces: &[Piece]) -> &[Piece] {
    while let [Piece { what: What::Blank(_), .. }, rest @ ..] | [rest @ .., Piece { what: What::Blank(_), .. }] = pieces
    {
        pieces = rest;
    }
    pieces
}

/// Makes tokens of pieces without braces, of the glob that begins at that character.
fn compile(pieces: &[Piece], start: usize) -> Result<Glob, String> {
    if pieces.is_empty() {
        return Err(format!("the one at character {start} is empty"));
    }
    let (mut tokens, mut text) = (Vec::new(), String::new());
    let mut rest = pieces;
    while let [Piece { at, what }, after @ ..] = rest {
        rest = after;
        let token = match what {
            What::Plain(character) | What::Blank(character) => {
                text.push(*character);
                continue;
            }
            What::One => Token::One,
            What::Set(set) => Token::Set(set.clone()),
            What::Star if let [Piece { what: What::Star, .. }, after @ ..] = rest => {
                let is_start = if text.is_empty() {
                    tokens.is_empty() || tokens.ends_with(&[Token::Segments])
                } else {
                    text.ends_with('/')
                };
                let (token, after) = match after {
                    [] => (Token::Rest, after),
                    [Piece { what: What::Plain('/'), .. }, after @ ..] => (Token::Segments, after),
                    _ => return Err(stands_not_alone(*at)),
                };
                if !is_start {
                    return Err(stands_not_alone(*at));
                }
                rest = after;
                token
            }
            What::Star => Token::Star,
            What::Open | What::Comma | What::Close => unreachable!("braces are expanded"),
        };
        if !text.is_empty() {
            tokens.push(Token::Text(std::mem::take(&mut text).into()));
        }
        tokens.push(token);
    }
    if !text.is_empty() {
        tokens.push(Token::Text(text.into()));
    }
    Ok(Glob(tokens.into()))
}

fn stands_not_alone(at: usize) -> String {
    format!("the `**` at character {at} must stand alone between slashes, as in `a/**/b`, `**/b` or `a/**`")
}

#[cfg(test)]
mod tests;
