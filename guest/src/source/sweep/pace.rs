//! Owns the guess of a key that lies some pages ahead, from the keys of the pages so far. Leaves what is listed from there
//! to `sweep`, which relies on nothing but that a guess lies between the two keys that it was made for.
//!
//! Keys are read as numbers: each place has the letters that keys have there, and those of the same kind. What the latest
//! pages spanned, added to the last key, is a key ahead. Where keys are unevenly spread, spans of one page and of several
//! differ; the farthest guess counts that is not beyond the bound, since one beyond all keys of a directory costs a request
//! and shows the next one.

use std::collections::{BTreeSet, VecDeque};

use crate::limits;

/// Letters before the first one by which two keys differ that are part of the number.
const CARRY: usize = 6;

/// Letters from that one on that are.
const DIGITS: usize = 9;

/// Keys that are looked at per page.
const SAMPLES: usize = 4;

/// Keys that are looked at in all.
const SAMPLES_MAX: usize = 24;

/// Ends of pages that are remembered.
const MARKS_MAX: usize = 9;

/// Spans that a range inherits.
const SPANS_MAX: usize = 8;

/// Two keys, and how many pages lie between them.
#[derive(Clone, Debug)]
struct Span {
    low: String,
    high: String,
    pages: u32,
}

/// Keys as they came, page by page.
#[derive(Clone, Debug, Default)]
pub(in crate::source) struct Pace {
    /// The first key, then the last one of each of the latest pages.
    marks: VecDeque<String>,
    samples: VecDeque<String>,
    /// What the range spanned from which this one was split off, and where.
    inherited: Vec<Span>,
    base: Option<String>,
    /// Where the range had come from which this one was split off, and how many pages were to lie between.
    origin: Option<(String, u32)>,
}

impl Pace {
    /// Of what follows a key.
    pub(in crate::source) fn inherit(&self, base: String, pages: u32) -> Self {
        let mut inherited = self.spans();
        if !self.knows_itself() {
            inherited.extend_from_slice(&self.inherited);
        }
        inherited.truncate(SPANS_MAX);
        let origin = self.marks.back().map(|last| (last.clone(), pages));
        Self { marks: VecDeque::new(), samples: self.samples.clone(), inherited, base: Some(base), origin }
    }

    /// Takes note of a page's keys, which are in order.
    pub(in crate::source) fn note(&mut self, keys: &[&str]) {
        let (Some(first), Some(last)) = (keys.first(), keys.last()) else { return };
        self.samples.extend(keys.iter().step_by((keys.len() / SAMPLES).max(1)).map(|key| (*key).to_owned()));
        // Over the end of a directory this is farther than it was to be.
        if let Some((low, pages)) = self.origin.take() {
            self.inherited.insert(0, Span { low, high: (*first).to_owned(), pages });
        }
        if self.marks.is_empty() {
            self.marks.push_back((*first).to_owned());
        }
        if self.marks.back().is_some_and(|mark| mark.as_str() < *last) {
            self.marks.push_back((*last).to_owned());
        }
        self.samples.drain(..self.samples.len().saturating_sub(SAMPLES_MAX));
        self.marks.drain(..self.marks.len().saturating_sub(MARKS_MAX));
    }

    /// The last key so far, or the one after which nothing has come yet.
    pub(in crate::source) fn last(&self) -> Option<&str> {
        self.marks.back().or(self.base.as_ref()).map(String::as_str)
    }

    /// Whether its own pages tell more than those of the range from which it was split off: the latter may have spanned
    /// the way to another directory, far away.
    fn knows_itself(&self) -> bool {
        self.marks.len() > 2
    }

    fn spans(&self) -> Vec<Span> {
        let ends = [1, 2, 4, 8].into_iter().map_while(|pages| {
            let low = self.marks.len().checked_sub(pages + 1)?;
            Some((low, pages))
        });
        let high = self.marks.back();
        let span = |(low, pages): (usize, usize)| {
            Some(Span { low: self.marks[low].clone(), high: high?.clone(), pages: pages as u32 })
        };
        ends.filter_map(span).collect()
    }

    /// A key some pages after the last one, if there is one such that as many pages may follow before the bound. It is
    /// greater than the last key and less than the bound, and begins with the prefix.
    pub(in crate::source) fn guess(&self, pages: u32, upper: Option<&str>, prefix: &str) -> Option<String> {
        let last = self.last()?;
        let mut best: Option<String> = None;
        let inherited = if self.knows_itself() { &[] } else { self.inherited.as_slice() };
        for span in self.spans().iter().chain(inherited) {
            let Some(guess) = self.ahead(last, span, pages, upper) else { continue };
            let is_between = guess.as_str() > last && upper.is_none_or(|upper| guess.as_str() < upper);
            if is_between
                && guess.starts_with(prefix)
                && guess.len() <= limits::KEY_BYTES_MAX
                && best.as_ref().is_none_or(|best| *best < guess)
            {
                best = Some(guess);
            }
        }
        best
    }

    fn ahead(&self, last: &str, span: &Span, pages: u32, upper: Option<&str>) -> Option<String> {
        let (low, high): (Vec<char>, Vec<char>) = (span.low.chars().collect(), span.high.chars().collect());
        let last: Vec<char> = last.chars().collect();
        let common = low.iter().zip(&high).take_while(|(low, high)| low == high).count();
        let from = common.saturating_sub(CARRY).min(last.len());
        let samples: Vec<Vec<char>> = self.samples.iter().map(|key| key.chars().collect()).collect();
        let known: Vec<&[char]> = [&low, &high, &last].into_iter().chain(&samples).map(Vec::as_slice).collect();
        let scale = Scale::new(from, common + DIGITS, &known);
        let width = scale.number(&high).checked_sub(scale.number(&low)).filter(|width| *width > 0)?;
        // An eighth of a page less, so that the page which ends at the bound has keys beyond it: one that ended right before
        // it would cost another, with nothing up to the bound.
        let step = |pages: u32| Some(width.checked_mul(u128::from(pages) * 8 - 1)? / (u128::from(span.pages) * 8));
        let guess = scale.number(&last).checked_add(step(pages)?)?;
        if let Some(upper) = upper {
            let upper: Vec<char> = upper.chars().collect();
            let is_near = upper.get(..from) == Some(&last[..from]);
            if is_near && scale.number(&upper) <= guess.saturating_add(step(pages)? / 2) {
                return None;
            }
        }
        let digits = scale.letters(guess)?;
        Some(last[..from].iter().copied().chain(digits).collect())
    }
}

/// How letters from one place on are read as a number, in the order of keys.
struct Scale {
    from: usize,
    /// Per place, the letters that keys may have there; `None` first, where a key may have ended.
    places: Vec<Vec<Option<char>>>,
}

impl Scale {
    fn new(from: usize, to: usize, known: &[&[char]]) -> Self {
        let of_places = (from..to).map(|place| {
            let mut letters = BTreeSet::new();
            for key in known {
                match key.get(place) {
                    Some(letter) => letters.extend(kin(*letter).map(Some)),
                    None => _ = letters.insert(None),
                }
            }
            letters
        });
        let mut of_places: Vec<BTreeSet<Option<char>>> = of_places.collect();
        // Where digits and other letters share a place, as in hexadecimal numbers, they may do so in each.
        let is_mixed = |letters: &&BTreeSet<Option<char>>| {
            let has = |is: fn(&char) -> bool| letters.iter().flatten().any(is);
            has(char::is_ascii_digit) && has(char::is_ascii_alphabetic)
        };
        let mixed: BTreeSet<Option<char>> = of_places.iter().filter(is_mixed).flatten().copied().collect();
        for letters in of_places.iter_mut().filter(|letters| letters.iter().flatten().any(char::is_ascii_digit)) {
            letters.extend(mixed.iter().filter(|letter| letter.is_some()));
        }
        let mut room = u128::MAX >> 16;
        let mut places = Vec::new();
        for letters in of_places {
            room /= letters.len() as u128;
            if room == 0 {
                break;
            }
            places.push(letters.into_iter().collect());
        }
        Self { from, places }
    }

    fn number(&self, key: &[char]) -> u128 {
        let (mut number, mut rest) = (0, None);
        for (place, letters) in self.places.iter().enumerate() {
            let (least, most) = (0, letters.len() - 1);
            let found = letters.binary_search(&key.get(self.from + place).copied());
            // A letter that keys don't have there counts as the one below it, with the greatest that may follow.
            let digit = match (rest, found) {
                (Some(is_most), _) => {
                    if is_most {
                        most
                    } else {
                        least
                    }
                }
                (None, Ok(digit)) => digit,
                (None, Err(above)) => {
                    rest = Some(above > 0);
                    above.saturating_sub(1)
                }
            };
            number = number * letters.len() as u128 + digit as u128;
        }
        number
    }

    /// The letters of a number, if it is not too great.
    fn letters(&self, mut number: u128) -> Option<Vec<char>> {
        let mut found = Vec::new();
        for letters in self.places.iter().rev() {
            found.push(letters[(number % letters.len() as u128) as usize]);
            number /= letters.len() as u128;
        }
        (number == 0).then(|| found.into_iter().rev().map_while(|letter| letter).collect())
    }
}

/// The letters of the same kind.
fn kin(letter: char) -> Box<dyn Iterator<Item = char>> {
    match letter {
        '0'..='9' => Box::new('0'..='9'),
        'a'..='f' => Box::new('a'..='f'),
        'g'..='z' => Box::new('a'..='z'),
        'A'..='F' => Box::new('A'..='F'),
        'G'..='Z' => Box::new('A'..='Z'),
        _ if letter.is_ascii() => Box::new(std::iter::once(letter)),
        _ => {
            // All that have the same first bytes in UTF-8.
            let first = u32::from(letter) & !63;
            Box::new((first..first + 64).filter_map(char::from_u32))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(pages: &[&[String]]) -> Pace {
        let mut pace = Pace::default();
        for page in pages {
            pace.note(&page.iter().map(String::as_str).collect::<Vec<_>>());
        }
        pace
    }

    fn numbered(range: std::ops::Range<u32>, name: impl Fn(u32) -> String) -> Vec<String> {
        range.map(name).collect()
    }

    #[test]
    fn evenly_numbered_keys_are_guessed() {
        let name = |number: u32| format!("events/2026/{:05}/object-{number:09}.json", number / 1000);
        let pages: Vec<_> = (0..4).map(|page| numbered(page * 1000..(page + 1) * 1000, name)).collect();
        let pace = pace(&pages.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let guess = pace.guess(10, None, "events/").expect("there is one");
        assert!(guess.as_str() > "events/2026/00012" && guess.as_str() < "events/2026/00015", "{guess}");
        assert_eq!(pace.guess(10, None, "events/2026/00003"), None, "it has the prefix, or there is none");
        let near = pace.guess(10, Some("events/2026/00013/object-000013500.json"), "");
        assert!(near.is_none_or(|near| near.starts_with("events/2026/00003/")), "only within the directory");
        let of_next = Pace {
            marks: ["events/2026/00040/object-000040000.json".to_owned()].into(),
            ..pace.inherit(String::new(), 10)
        };
        let guess = of_next.guess(10, None, "").expect("there is one");
        assert!(guess.as_str() > "events/2026/00048" && guess.as_str() < "events/2026/00052", "{guess}");
    }

    #[test]
    fn keys_of_random_letters_are_guessed() {
        let mut seed = crate::testing::SplitMix64::new(7);
        let mut keys: Vec<_> = (0..100_000).map(|_| format!("{:016x}", seed.next())).collect();
        keys.sort();
        let pace = pace(&[&keys[..1000], &keys[1000..2000]]);
        let guess = pace.guess(10, None, "").expect("there is one");
        let place = keys.partition_point(|key| *key <= guess);
        assert!((9000..15_000).contains(&place), "{guess} at {place}");
    }

    #[test]
    fn a_guess_lies_between_its_keys_whatever_they_are() {
        let long = "x".repeat(1023);
        let odd = [
            "",
            "\u{1}",
            "a",
            "a/",
            "a/1",
            "a/10",
            "a/1\u{7f}",
            "a/1\u{80}",
            "a/1ü",
            "a/1\u{7ff}",
            "a/1\u{800}",
            "a/1\u{d7ff}",
            "a/1\u{e000}",
            "a/1\u{ffff}",
            "a/1\u{10000}",
            "a/1\u{10ffff}",
            "a0",
            "b +&%",
            "z",
            "zz",
            &long,
            &format!("{long}y"),
            "ü",
            "日本",
            "日本/語",
            "\u{10ffff}",
        ];
        let mut keys: Vec<String> = odd.iter().map(|key| (*key).to_owned()).collect();
        keys.sort();
        let mut seed = crate::testing::SplitMix64::new(3);
        let mut count = 0;
        for _ in 0..20_000 {
            let mut places: Vec<_> = (0..4).map(|_| (seed.next() % keys.len() as u64) as usize).collect();
            places.sort_unstable();
            let pace = pace(&[&keys[places[0]..=places[1]], &keys[places[1]..=places[2]]]);
            let upper = keys.get(places[3] + (seed.next() % 2) as usize).map(String::as_str);
            let pages = 1 + (seed.next() % 20) as u32;
            if let Some(guess) = pace.guess(pages, upper, "") {
                count += 1;
                assert!(guess.as_str() > pace.last().unwrap() && upper.is_none_or(|upper| guess.as_str() < upper));
                assert!(guess.len() <= limits::KEY_BYTES_MAX);
            }
        }
        assert!(count > 1000, "{count}");
    }

    #[test]
    fn numbers_keep_the_order_of_keys() {
        let keys =
            ["a/1", "a/10", "a/1\u{7f}", "a/1\u{80}", "a/1ü", "a/1\u{7ff}", "a/1\u{ffff}", "a/1\u{10ffff}", "a/2"];
        let letters: Vec<Vec<char>> = keys.iter().map(|key| key.chars().collect()).collect();
        let known: Vec<&[char]> = letters.iter().map(Vec::as_slice).collect();
        let scale = Scale::new(0, 6, &known);
        for (key, letters) in keys.iter().zip(&letters) {
            let back: String =
                scale.letters(scale.number(letters)).expect("a number of this scale").into_iter().collect();
            assert_eq!(back, *key);
        }
        assert!(letters.is_sorted_by_key(|letters| scale.number(letters)));
        // A key of letters that no place has is not before what lies below it.
        let between: Vec<char> = "a/1\u{90}x".chars().collect();
        assert!(
            scale.number(&between) > scale.number(&letters[3]) && scale.number(&between) < scale.number(&letters[5])
        );
    }
}
