//! Owns digests, by which registries name what they hold. SHA-256 alone: every registry has it, and what is named by another one is refused.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

use crate::error::{Error, ErrorKind};

/// What the text of a digest begins with.
const ALGORITHM: &str = "sha256:";

/// The SHA-256 of some bytes. Its text is `sha256:` and 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Its 64 hexadecimal digits.
    #[must_use]
    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{ALGORITHM}{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for Digest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let parse = || {
            let hex = text.strip_prefix(ALGORITHM)?;
            let is_hex = hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            let mut bytes = [0; 32];
            for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
                *byte = u8::from_str_radix(hex.get(at..at + 2).filter(|_| is_hex)?, 16).ok()?;
            }
            Some(Self(bytes))
        };
        parse().ok_or_else(|| {
            let message = format!("a digest is `{ALGORITHM}` and 64 digits of 0-9 and a-f; digest=`{text}`");
            Error::new(ErrorKind::Invalid, message)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_read_as_it_is_written_and_nothing_else_is() {
        let digest = Digest::of(b"component");
        assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").to_string(), empty);
        let hex = digest.hex();
        let longer = format!("sha256:{hex}0");
        let upper = format!("sha256:{}", hex.to_uppercase());
        let signed = format!("sha256:+f{}", &hex[2..]);
        let other = format!("sha512:{hex}");
        for wrong in ["", "sha256:", &hex, &longer, &upper, &signed, &other, "sha256:éé"] {
            assert!(wrong.parse::<Digest>().is_err(), "{wrong}");
        }
    }
}
