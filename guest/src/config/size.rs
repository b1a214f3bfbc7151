//! Owns sizes in bytes with a unit: `16MiB`, `5MB`, `4096`. Leaves which setting is one to `config`.
//!
//! `KB`, `MB` and `GB` are powers of 1000; `K`, `M`, `G` and `KiB`, `MiB`, `GiB` powers of 1024. Letters may be of
//! either case.

const UNITS: [(&str, u64); 10] = [
    ("B", 1),
    ("K", 1 << 10),
    ("KB", 1000),
    ("KiB", 1 << 10),
    ("M", 1 << 20),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("G", 1 << 30),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
];

/// A regular expression that a size above 0 matches. How large it may be at most, it can't express.
pub fn pattern() -> String {
    // Not `(?i)`: it would take the sign of a Kelvin for a K.
    let either_case = |letter: char| format!("[{}{}]", letter.to_ascii_uppercase(), letter.to_ascii_lowercase());
    let units = UNITS.map(|(unit, _)| unit.chars().map(either_case).collect::<String>()).join("|");
    format!("^0*[1-9][0-9]*( *({units}))?$")
}

/// Parses a size; `None` where the text is none, or more than can be counted.
pub fn parse(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    if unit.is_empty() {
        return Some(number);
    }
    let unit = unit.trim_start_matches(' ');
    let (_, scale) = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    number.checked_mul(*scale)
}

/// A size in the largest unit that it is a whole number of.
pub fn display(bytes: u64) -> String {
    let found = UNITS.iter().rev().find(|(name, scale)| name.ends_with('B') && bytes.is_multiple_of(*scale));
    let (unit, scale) = found.unwrap_or(&UNITS[0]);
    format!("{}{unit}", bytes / scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_their_units() {
        for (text, bytes) in [("4096", 4096), ("16MiB", 16 << 20), ("5MB", 5_000_000), ("1 GiB", 1 << 30), ("2k", 2048)]
        {
            assert_eq!(parse(text), Some(bytes), "{text}");
        }
        for text in ["", "MiB", "-1", "1.5MiB", "1TiB", "99999999999999999999"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_are_shown_as_they_are_read() {
        for text in ["64MiB", "1GiB", "5MB", "1KiB", "1001B"] {
            assert_eq!(display(parse(text).expect(text)), text);
        }
    }
}
