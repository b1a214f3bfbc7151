//! Owns the search for secrets in answers: what signed a request must not come back to the component in the answer to
//! it. Leaves the choice of answers to `egress`.
//!
//! S3's refusals repeat what they were sent: `InvalidToken` the token (`Token-0`), `SignatureDoesNotMatch` the key's
//! id, the signature and the canonical request, as text and as hexadecimal bytes
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>). A match is written over byte by byte, so
//! that lengths stay what they were announced to be.

use aws_credential_types::Credentials as Keys;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderValue};

/// What stands in the place of each byte.
const BLANK: u8 = b'*';

/// The id of a key may be a word, on stores that let people choose it; a shorter one than AWS's is only searched for
/// as a word of its own, or `minio` would blank half of each document of MinIO's.
const WORD_BYTES_MAX: usize = 15;

/// What an answer is searched for: all that signed the request.
#[derive(Clone)]
pub(super) struct Secrets(Vec<Needle>);

#[derive(Clone, PartialEq, Eq)]
struct Needle {
    bytes: Vec<u8>,
    /// Whether it only counts where no letter or digit is beside it.
    is_word: bool,
}

impl Secrets {
    /// The keys that a request was signed with, and the signature in its `authorization`; of an unsigned one, nothing.
    pub(super) fn of(keys: Option<&Keys>, authorization: Option<&HeaderValue>) -> Self {
        let mut needles = Vec::new();
        let of_keys =
            keys.map(|keys| [Some(keys.access_key_id()), Some(keys.secret_access_key()), keys.session_token()]);
        let texts = of_keys.into_iter().flatten().chain([authorization.and_then(signature)]);
        for text in texts.flatten().filter(|text| !text.is_empty()) {
            let is_word = text.len() <= WORD_BYTES_MAX;
            needles.push(Needle { bytes: text.as_bytes().to_vec(), is_word });
            if !is_word {
                needles.extend(in_base64(text.as_bytes()));
            }
        }
        Self(needles)
    }

    /// Writes over every secret in a document.
    pub(super) fn blank(&self, document: &mut [u8]) {
        for needle in &self.0 {
            let mut at = 0;
            while at < document.len() {
                let length = needle.length_at(document, at);
                document[at..at + length].fill(BLANK);
                at += length.max(1);
            }
        }
    }

    /// Writes over every secret in headers.
    pub(super) fn blank_headers(&self, headers: &mut HeaderMap) {
        for value in headers.values_mut() {
            let mut bytes = value.as_bytes().to_vec();
            self.blank(&mut bytes);
            if bytes != value.as_bytes() {
                *value = HeaderValue::from_bytes(&bytes)
                    .expect("stars in the place of other bytes are valid where those were");
            }
        }
    }
}

/// The signature in the value of `authorization`.
fn signature(authorization: &HeaderValue) -> Option<&str> {
    let (_, signature) = authorization.to_str().ok()?.split_once("Signature=")?;
    Some(signature)
}

/// What base64 makes of a text wherever it stands in what is encoded: three forms, without the characters at both
/// ends that depend on what is beside it.
fn in_base64(text: &[u8]) -> Vec<Needle> {
    let mut needles: Vec<Needle> = Vec::new();
    for before in 0..3 {
        let mut bytes = vec![0; before];
        bytes.extend_from_slice(text);
        for encoded in [STANDARD_NO_PAD.encode(&bytes), URL_SAFE_NO_PAD.encode(&bytes)] {
            let first = (before * 8).div_ceil(6);
            let end = encoded.len() - usize::from(bytes.len() % 3 != 0);
            let needle = Needle { bytes: encoded.as_bytes()[first..end].to_vec(), is_word: false };
            if !needles.contains(&needle) {
                needles.push(needle);
            }
        }
    }
    needles
}

impl Needle {
    /// Bytes of the document that are this needle from `at` on; 0 where it isn't there.
    fn length_at(&self, document: &[u8], at: usize) -> usize {
        let rest = &document[at..];
        let length =
            match_by(rest, &self.bytes, text_byte).or_else(|| match_by(rest, &self.bytes, hex_byte)).unwrap_or(0);
        if length == 0 || !self.is_word {
            return length;
        }
        let is_letter = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        let before = at.checked_sub(1).and_then(|before| document.get(before));
        let (last, after) = (document.get(at + length - 1), document.get(at + length));
        if is_letter(before) || (is_letter(last) && is_letter(after)) { 0 } else { length }
    }
}

/// Bytes of the text that spell the needle; `None` if it begins with something else.
fn match_by(text: &[u8], needle: &[u8], read: impl Fn(&[u8]) -> Option<(u8, usize)>) -> Option<usize> {
    let mut at = 0;
    for wanted in needle {
        let (byte, length) = read(&text[at..])?;
        if byte != *wanted {
            return None;
        }
        at += length;
    }
    Some(at)
}

/// The next byte of a text, and how many bytes spell it: itself, `%2B`, `&#43;`, `&#x2B;`, `&amp;`, `\u002b`, `\/`.
fn text_byte(text: &[u8]) -> Option<(u8, usize)> {
    let first = *text.first()?;
    let escaped = match first {
        b'%' => hex(text.get(1..3)?).map(|byte| (byte, 3)),
        b'&' => entity(text),
        b'\\' => match text.get(1)? {
            b'u' => hex(text.get(4..6)?).filter(|_| text[2..4] == *b"00").map(|byte| (byte, 6)),
            b'/' => Some((b'/', 2)),
            _ => None,
        },
        _ => None,
    };
    Some(escaped.unwrap_or((first, 1)))
}

/// A character reference of XML.
fn entity(text: &[u8]) -> Option<(u8, usize)> {
    /// `&#x0000002B;` and less.
    const BYTES_MAX: usize = 12;
    let end = text.iter().take(BYTES_MAX).position(|byte| *byte == b';')?;
    let name = std::str::from_utf8(&text[1..end]).ok()?;
    let byte = match name {
        "amp" => b'&',
        "lt" => b'<',
        "gt" => b'>',
        "quot" => b'"',
        "apos" => b'\'',
        _ => {
            let number = name.strip_prefix('#')?;
            match number.strip_prefix(['x', 'X']) {
                Some(digits) => u8::from_str_radix(digits, 16).ok()?,
                None => number.parse().ok()?,
            }
        }
    };
    Some((byte, end + 1))
}

/// The next byte in hexadecimal, with the blank after it where there is one: `41 57 53`, `41:57:53` or `415753`.
fn hex_byte(text: &[u8]) -> Option<(u8, usize)> {
    let byte = hex(text.get(..2)?)?;
    let has_blank = matches!(text.get(2), Some(b' ' | b':' | b'\n'));
    Some((byte, 2 + usize::from(has_blank)))
}

fn hex(digits: &[u8]) -> Option<u8> {
    let [high, low] = digits else { return None };
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY_ID: &str = "AKIAIOSFODNN7EXAMPLE";
    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
    const TOKEN: &str = "FwoGZXIvYXdzEPT+/==&x";
    const SIGNATURE: &str = "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41";

    fn secrets_of(key_id: &str) -> Secrets {
        let keys = Keys::new(key_id, SECRET, Some(TOKEN.to_owned()), None, "test");
        let authorization = format!("AWS4-HMAC-SHA256 Credential=x, SignedHeaders=host, Signature={SIGNATURE}");
        Secrets::of(Some(&keys), Some(&authorization.parse().unwrap()))
    }

    fn blanked(text: &str) -> String {
        let mut bytes = text.as_bytes().to_vec();
        secrets_of(KEY_ID).blank(&mut bytes);
        assert_eq!(bytes.len(), text.len(), "lengths are announced before");
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn all_that_signed_a_request_is_blanked_and_nothing_else() {
        for secret in [KEY_ID, SECRET, TOKEN, SIGNATURE] {
            let found = blanked(&format!("<A>{secret}</A><B>{secret}</B>"));
            let stars = "*".repeat(secret.len());
            assert_eq!(found, format!("<A>{stars}</A><B>{stars}</B>"));
        }
        let document = "<Error><Code>SignatureDoesNotMatch</Code><Message>We calculated</Message>";
        assert_eq!(blanked(document), document);
    }

    #[test]
    fn a_secret_is_found_however_it_is_spelt() {
        let each = |write: &dyn Fn(u8) -> String| TOKEN.bytes().map(write).collect::<String>();
        let spaced = |text: &str| {
            let pairs: Vec<_> = text.bytes().map(|byte| format!("{byte:02x}")).collect();
            pairs.join(" ")
        };
        let spellings = [
            TOKEN.replace('&', "&amp;"),
            each(&|byte| format!("%{byte:02X}")),
            each(&|byte| format!("%{byte:02x}")),
            TOKEN.replace('+', "%2B").replace('/', "%2f"),
            each(&|byte| format!("&#{byte};")),
            each(&|byte| format!("&#x{byte:X};")),
            each(&|byte| format!("\\u00{byte:02x}")),
            TOKEN.replace('/', "\\/"),
            each(&|byte| format!("{byte:02x}")),
            each(&|byte| format!("{byte:02X}")),
            // As the canonical request stands in `SignatureDoesNotMatch`.
            spaced(TOKEN),
            spaced(TOKEN).to_uppercase(),
        ];
        for spelling in spellings {
            let found = blanked(&format!("<A>{spelling}</A>"));
            let left = found.trim_matches(|c| "<A>/".contains(c));
            assert_eq!(left.trim_matches('*'), "", "{spelling}: {found}");
        }
    }

    #[test]
    fn a_secret_is_found_in_base64_wherever_it_stands() {
        for before in ["", "1", "12", "123"] {
            let encoded = STANDARD_NO_PAD.encode(format!("{before}{SECRET}after"));
            let found = blanked(&encoded);
            let stars = found.matches('*').count();
            // All but the characters that its neighbours share.
            assert!(stars >= SECRET.len() * 4 / 3 - 3, "{found}");
        }
    }

    #[test]
    fn a_short_id_is_a_word_or_nothing() {
        let secrets = secrets_of("minio");
        let mut bytes = b"<Code>minioAlone</Code> x-minio-y minio, \"minio\" minio2".to_vec();
        secrets.blank(&mut bytes);
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(text, "<Code>minioAlone</Code> x-*****-y *****, \"*****\" minio2");
    }

    #[test]
    fn headers_are_searched_too() {
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-echo", format!("a {TOKEN} b").parse().unwrap());
        headers.insert("etag", HeaderValue::from_static("\"e\""));
        secrets_of(KEY_ID).blank_headers(&mut headers);
        let stars = "*".repeat(TOKEN.len());
        assert_eq!(headers["x-amz-echo"], format!("a {stars} b"));
        assert_eq!(headers["etag"], "\"e\"");
    }
}
