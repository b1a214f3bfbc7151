//! Owns how inputs are changed: bits, bytes, numbers, pieces of other inputs, and words of a format. Follows from a seed.

use s3_connector::testing::SplitMix64;

/// Bytes that an input may have.
pub const BYTES_MAX: usize = 64 << 10;

/// Numbers at which programs err, in all widths.
const NUMBERS: [u64; 12] =
    [0, 1, 7, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0xffff_ffff, u64::MAX >> 1, u64::MAX];

/// Texts that most formats have a meaning for.
const WORDS: [&str; 24] = [
    "0",
    "-1",
    "9223372036854775808",
    "1e400",
    "00",
    ".",
    "..",
    "/",
    "\\",
    "%",
    "%00",
    "%2e",
    "\"",
    "'",
    "\0",
    "\n",
    "\r\n",
    "\u{feff}",
    "\u{212a}",
    "\u{1b}[2J",
    "é",
    "\u{10ffff}",
    " ",
    "_",
];

/// Makes inputs.
#[derive(Debug)]
pub struct Mutator {
    random: SplitMix64,
    words: &'static [&'static str],
}

impl Mutator {
    /// Makes inputs that follow from a seed, some with these words in them.
    pub fn new(seed: u64, words: &'static [&'static str]) -> Self {
        Self { random: SplitMix64::new(seed), words }
    }

    /// A number below `end`, and 0 where that is 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.random.next() % (end.max(1) as u64)) as usize
    }

    /// An input that is one of these with some changes.
    pub fn input(&mut self, pool: &[Vec<u8>]) -> Vec<u8> {
        let of = self.below(pool.len());
        let mut input = pool.get(of).cloned().unwrap_or_default();
        for _ in 0..1 << self.below(4) {
            self.change(&mut input, pool);
        }
        input.truncate(BYTES_MAX);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, pool: &[Vec<u8>]) {
        let at = self.below(input.len() + 1);
        let to = at + self.below((input.len() - at).min(64) + 1);
        match self.below(12) {
            0 => self.flip(input, at),
            1 => self.set(input, at),
            2 => drop(input.drain(at..to)),
            3 => drop(input.splice(at..at, input[at..to].to_vec())),
            4 | 5 => drop(input.splice(at..at, self.word())),
            6 => drop(input.splice(at..to, self.word())),
            7 => self.number(input, at),
            8 => self.digit(input, at),
            9 => input.truncate(at.max(1)),
            10 => self.splice(input, at, pool),
            _ => {
                let bytes: Vec<_> = (0..=self.below(8)).map(|_| self.random.next() as u8).collect();
                drop(input.splice(at..at, bytes));
            }
        }
    }

    fn flip(&mut self, input: &mut [u8], at: usize) {
        let bit = 1 << self.below(8);
        if let Some(byte) = input.get_mut(at) {
            *byte ^= bit;
        }
    }

    fn set(&mut self, input: &mut [u8], at: usize) {
        let value = self.random.next() as u8;
        if let Some(byte) = input.get_mut(at) {
            *byte = value;
        }
    }

    fn word(&mut self) -> Vec<u8> {
        let is_own = !self.words.is_empty() && self.below(4) > 0;
        let words = if is_own { self.words } else { &WORDS[..] };
        words[self.below(words.len())].as_bytes().to_vec()
    }

    /// Writes a number over what is there, in one of the orders of bytes.
    fn number(&mut self, input: &mut [u8], at: usize) {
        let number = NUMBERS[self.below(NUMBERS.len())];
        let width = 1 << self.below(4);
        let little = number.to_le_bytes();
        let Some(place) = input.get_mut(at..at + width) else { return };
        place.copy_from_slice(&little[..width]);
        if self.below(2) == 0 {
            place.reverse();
        }
    }

    /// Changes the next digit.
    fn digit(&mut self, input: &mut [u8], at: usize) {
        let digit = b'0' + self.below(10) as u8;
        if let Some(found) = input[at..].iter_mut().find(|byte| byte.is_ascii_digit()) {
            *found = digit;
        }
    }

    /// Goes on with a piece of another input.
    fn splice(&mut self, input: &mut Vec<u8>, at: usize, pool: &[Vec<u8>]) {
        let of = self.below(pool.len());
        let Some(other) = pool.get(of).filter(|other| !other.is_empty()) else { return };
        let from = self.below(other.len());
        let to = from + self.below(other.len() - from) + 1;
        let until = if self.below(2) == 0 { at } else { input.len() };
        drop(input.splice(at..until, other[from..to].iter().copied()));
    }
}

/// The shortest input that `fails` as this one does, as far as leaving out pieces leads.
pub fn shortened(mut input: Vec<u8>, mut tries: usize, mut fails: impl FnMut(&[u8]) -> bool) -> Vec<u8> {
    let mut piece = input.len().div_ceil(2);
    while piece > 0 && tries > 0 {
        let mut at = 0;
        while at < input.len() && tries > 0 {
            let mut less = input.clone();
            less.drain(at..(at + piece).min(input.len()));
            tries -= 1;
            if fails(&less) {
                input = less;
            } else {
                at += piece;
            }
        }
        piece /= 2;
    }
    input
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_follow_from_the_seed_and_are_bounded() {
        let pool = vec![b"a seed 1".to_vec(), vec![7; BYTES_MAX], Vec::new()];
        let inputs = |seed| {
            let mut mutator = Mutator::new(seed, &["word"]);
            (0..500).map(|_| mutator.input(&pool)).collect::<Vec<_>>()
        };
        assert_eq!(inputs(1), inputs(1));
        assert_ne!(inputs(1), inputs(2));
        assert!(inputs(3).iter().all(|input| input.len() <= BYTES_MAX));
    }

    #[test]
    fn a_failing_input_is_cut_down_to_what_fails() {
        let input = b"nothing of this matters! and of this neither".to_vec();
        assert_eq!(shortened(input, 1000, |input| input.contains(&b'!')), b"!");
    }
}
