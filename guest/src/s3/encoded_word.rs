//! Owns encoded words of [RFC 2047](https://www.rfc-editor.org/rfc/rfc2047): `=?UTF-8?Q?caf=C3=A9?=`, as S3 sends
//! metadata that is not ASCII. Leaves other text, and words of character sets other than UTF-8, ASCII and ISO 8859-1,
//! as it is.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The text with its encoded words decoded.
pub(super) fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains("=?") {
        return Cow::Borrowed(text);
    }
    let mut decoded = String::with_capacity(text.len());
    let mut run = Run::default();
    let mut rest = text;
    while let Some(start) = rest.find("=?") {
        let (before, from) = rest.split_at(start);
        let Some((word, after)) = Word::read(from) else {
            // No word begins here: the characters are literal.
            run.end(&mut decoded);
            decoded.push_str(before);
            decoded.push_str("=?");
            rest = &from[2..];
            continue;
        };
        // Blanks between two words are dropped (section 6.2): they only keep lines short.
        if run.is_empty() || !before.trim().is_empty() {
            run.end(&mut decoded);
            decoded.push_str(before);
        }
        run.push(word, &mut decoded);
        rest = after;
    }
    run.end(&mut decoded);
    decoded.push_str(rest);
    Cow::Owned(decoded)
}

/// Bytes of text in one word: a word has at most 75 letters (section 2), 12 of which are not text.
const WORD_BYTES_MAX: usize = 45;

/// The text as a header can hold it: as it is where it is printable ASCII, otherwise in encoded words. [`decode`] gives it
/// back as it was.
pub(super) fn encode(text: &str) -> Cow<'_, str> {
    if is_plain(text) && decode(text) == text {
        return Cow::Borrowed(text);
    }
    let mut encoded = String::with_capacity(text.len() * 2);
    let mut rest = text;
    while !rest.is_empty() {
        let (word, after) = rest.split_at(rest.floor_char_boundary(WORD_BYTES_MAX));
        if !encoded.is_empty() {
            encoded.push(' ');
        }
        encoded.push_str("=?UTF-8?B?");
        STANDARD.encode_string(word, &mut encoded);
        encoded.push_str("?=");
        rest = after;
    }
    Cow::Owned(encoded)
}

/// Whether all servers read a header's value in the same way: others trim blanks, or take other bytes apart differently.
pub(super) fn is_plain(text: &str) -> bool {
    let is_printable = text.bytes().all(|byte| (0x20..=0x7e).contains(&byte));
    is_printable && !text.starts_with(' ') && !text.ends_with(' ') && !text.contains("  ")
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Charset {
    Utf8,
    Latin1,
}

struct Word<'a> {
    charset: Charset,
    bytes: Vec<u8>,
    /// The word as it was written.
    text: &'a str,
}

impl<'a> Word<'a> {
    /// The word at the beginning of `text`, and what follows it.
    fn read(text: &'a str) -> Option<(Self, &'a str)> {
        let mut parts = text.strip_prefix("=?")?.splitn(3, '?');
        let (charset, encoding, rest) = (parts.next()?, parts.next()?, parts.next()?);
        let (encoded, after) = rest.split_once("?=")?;
        // A language may follow the name (RFC 2231, section 5).
        let charset = charset.split('*').next()?;
        let charset = match charset.to_ascii_lowercase().as_str() {
            "utf-8" | "us-ascii" => Charset::Utf8,
            "iso-8859-1" => Charset::Latin1,
            _ => return None,
        };
        let bytes = match encoding {
            "Q" | "q" => quoted(encoded)?,
            "B" | "b" => STANDARD.decode(encoded).ok()?,
            _ => return None,
        };
        let text = &text[..text.len() - after.len()];
        Some((Self { charset, bytes, text }, after))
    }
}

fn quoted(encoded: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'_' => b' ',
            b'=' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            b' ' | b'?' => return None,
            other => other,
        });
    }
    Some(bytes)
}

/// Words that follow each other: some writers cut a character in two.
#[derive(Default)]
struct Run<'a> {
    words: Vec<Word<'a>>,
}

impl<'a> Run<'a> {
    fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    fn push(&mut self, word: Word<'a>, decoded: &mut String) {
        if self.words.last().is_some_and(|l| l.charset != word.charset) {
            self.end(decoded);
        }
        self.words.push(word);
    }

    fn end(&mut self, decoded: &mut String) {
        let words = std::mem::take(&mut self.words);
        let Some(first) = words.first() else { return };
        let charset = first.charset;
        let bytes: Vec<u8> = words.iter().flat_map(|w| w.bytes.iter().copied()).collect();
        match (charset, String::from_utf8(bytes)) {
            (Charset::Latin1, Ok(text)) if text.is_ascii() => decoded.push_str(&text),
            (Charset::Latin1, Ok(text)) => decoded.extend(text.bytes().map(char::from)),
            (Charset::Latin1, Err(error)) => {
                decoded.extend(error.as_bytes().iter().map(|byte| char::from(*byte)));
            }
            (Charset::Utf8, Ok(text)) => decoded.push_str(&text),
            (Charset::Utf8, Err(_)) => words.iter().for_each(|w| decoded.push_str(w.text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_either_encoding_are_decoded() {
        for (text, expected) in [
            ("plain", "plain"),
            ("", ""),
            ("=?UTF-8?Q?caf=C3=A9_noir?=", "café noir"),
            ("=?utf-8?b?w6k=?=", "é"),
            ("=?UTF-8?B?w6k=?= and =?ISO-8859-1?Q?=E9?=", "é and é"),
            ("=?iso-8859-1*fr?q?=E9t=E9?=", "été"),
            ("=?us-ascii?Q?a?=", "a"),
            // The two halves of a character, and a blank that only folds.
            ("=?UTF-8?Q?=C3?= =?UTF-8?Q?=A9?=", "é"),
            ("x =?UTF-8?Q?a?= =?ISO-8859-1?Q?=E9?= y", "x aé y"),
            ("raw é =?UTF-8?Q?=C3=A9?=", "raw é é"),
        ] {
            assert_eq!(decode(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_word_stays_as_it_is() {
        for text in [
            "=?",
            "=?UTF-8",
            "a=?b",
            "=?UTF-8?X?a?=",
            "=?KOI8-R?Q?=C1?=",
            "=?UTF-8?Q?=C3?=",
            "=?UTF-8?Q?=ZZ?=",
            "=?UTF-8?Q?=C?=",
            "=?UTF-8?Q?a b?=",
            "=?UTF-8?B?!?=",
            "q=?UTF-8?Q?a",
            "=?=?=?",
        ] {
            assert_eq!(decode(text), text);
        }
    }

    #[test]
    fn what_is_encoded_is_decoded_to_what_it_was() {
        let long = "naïve café ".repeat(20);
        for text in ["", "plain text", "two  blanks", " ends ", "zoë", "\u{1}", "=?UTF-8?Q?a?=", "=? no word", &*long]
        {
            let encoded = encode(text);
            assert!(is_plain(&encoded), "{encoded}");
            assert!(encoded.split(' ').all(|word| !word.starts_with("=?U") || word.len() <= 75), "{encoded}");
            assert_eq!(decode(&encoded), text);
        }
        assert_eq!(encode("as it is"), "as it is");
        assert_eq!(encode("zoë"), "=?UTF-8?B?em/Dqw==?=");
    }
}
