//! Owns what is new in a run: the words with which a target says how far an input came. They stand in for the coverage that
//! a stable compiler does not measure: an input that brings new ones is worth changing further.

use std::cell::RefCell;
use std::collections::BTreeSet;

/// Words that are kept; further ones are as good as known.
const KNOWN_MAX: usize = 20_000;

#[derive(Default)]
struct Known {
    words: BTreeSet<String>,
    is_new: bool,
}

thread_local! {
    static KNOWN: RefCell<Known> = RefCell::default();
}

/// Says how far an input came. Numbers and what is quoted do not count.
pub fn note(words: &str) {
    let mut is_quoted = false;
    let kept = words.chars().filter(|character| {
        is_quoted ^= *character == '`';
        !is_quoted && !character.is_ascii_digit()
    });
    let words: String = kept.take(120).collect();
    KNOWN.with_borrow_mut(|known| {
        if known.words.len() < KNOWN_MAX {
            known.is_new |= known.words.insert(words);
        }
    });
}

/// Whether anything was new since it was asked last.
pub fn is_new() -> bool {
    KNOWN.with_borrow_mut(|known| std::mem::take(&mut known.is_new))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_new_once_whatever_numbers_they_hold() {
        note("row 1 of `a` is long");
        assert!(is_new() && !is_new());
        note("row 23 of `bcd` is long");
        assert!(!is_new());
        note("another");
        assert!(is_new());
    }
}
