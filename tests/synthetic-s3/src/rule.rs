//! Owns what a bucket holds: its keys, their versions, identities and times, each a function of its number. Leaves how
//! they are written to `page`.
//!
//! Keys are numbered in their order. The versions of a key are numbered from the oldest on, so that a number stays the
//! same when newer versions come.

/// Seconds before the start of the server at which the oldest versions were stored: 30 days.
const AGE_SECONDS: u64 = 30 * 86_400;

/// Seconds over which the first versions of keys are spread.
const SPREAD_SECONDS: u64 = 10 * 86_400;

/// Seconds over which the versions of a generation are spread, up to the moment that it begins.
const GENERATION_SECONDS: u64 = 240;

/// What most keys of a skewed bucket begin with.
const LONG_PREFIX: &[u8] = b"exports/production/eu-west-1/warehouse/orders/year=2026/month=11/day=27/hour=00/part";

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._";

/// What a bucket holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its keys.
    pub keys: u64,
    /// Versions per key at the start.
    pub versions: u64,
    /// How many of its first keys have nothing but delete markers.
    pub markers: u64,
    /// How many keys get a new version in each later generation.
    pub changed: u64,
    /// Whether those are neighbours, instead of scattered over all keys.
    pub clustered: bool,
    /// Changes per second once the clock of changes runs.
    pub rate: u64,
    /// Multipart uploads that were abandoned.
    pub uploads: u64,
    /// Bytes per object.
    pub bytes: u64,
    /// Whether the bucket never kept versions: it lists the latest of each key, as `null`.
    pub unversioned: bool,
    /// Whether nine keys in ten are under one long prefix, and some have letters that are not ASCII.
    pub skewed: bool,
    /// Whether the store can't list versions.
    pub current_only: bool,
    /// A number without a common divisor with `keys`, which scatters them, and its inverse.
    scatter: (u64, u64),
}

impl Rule {
    /// Reads a rule: `keys:1000000,changed:200000`. What it does not name is 0, but for one version per key.
    ///
    /// # Errors
    ///
    /// Which part is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut rule = Self {
            keys: 0,
            versions: 1,
            markers: 0,
            changed: 0,
            clustered: false,
            rate: 0,
            uploads: 0,
            bytes: 0,
            unversioned: false,
            skewed: false,
            current_only: false,
            scatter: (1, 1),
        };
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once(':').ok_or_else(|| format!("`{part}` is not NAME:NUMBER"))?;
            let value: u64 = value.parse().map_err(|_| format!("`{value}` is no number"))?;
            match name {
                "keys" => rule.keys = value,
                "versions" => rule.versions = value,
                "markers" => rule.markers = value,
                "changed" => rule.changed = value,
                "clustered" => rule.clustered = value > 0,
                "rate" => rule.rate = value,
                "uploads" => rule.uploads = value,
                "bytes" => rule.bytes = value,
                "unversioned" => rule.unversioned = value > 0,
                "skewed" => rule.skewed = value > 0,
                "current-only" => rule.current_only = value > 0,
                _ => return Err(format!("`{name}` is not part of a rule")),
            }
        }
        if rule.changed > 0 && rule.rate > 0 {
            return Err("a bucket changes by generation or by the clock, not both".to_owned());
        }
        // A store that can't list versions has none.
        rule.unversioned |= rule.current_only;
        rule.scatter = scatter(rule.keys);
        Ok(rule)
    }

    /// The key of this number, written to the end of `out`.
    pub fn write_key(&self, number: u64, out: &mut Vec<u8>) {
        if self.skewed {
            let place = number * 20 / self.keys.max(1);
            out.extend_from_slice(match place {
                0 => b"aa/",
                19 => "zürich/日本/".as_bytes(),
                _ => LONG_PREFIX,
            });
        } else {
            out.extend_from_slice(b"events/2026/");
            write_digits(number / 1000, 5, out);
        }
        out.extend_from_slice(b"/object-");
        write_digits(number, 9, out);
        out.extend_from_slice(b".json");
    }

    /// The key of this number.
    pub fn key(&self, number: u64) -> String {
        let mut key = Vec::with_capacity(40);
        self.write_key(number, &mut key);
        String::from_utf8(key).expect("keys are UTF-8")
    }

    /// The number of this key, if the bucket may have it.
    pub fn number(&self, key: &str) -> Option<u64> {
        let digits = key.strip_suffix(".json")?.rsplit_once("/object-")?.1;
        let number = digits.parse().ok().filter(|number| *number < self.keys)?;
        (self.key(number) == key).then_some(number)
    }

    /// The number of the first key that is not before this text, which need not be a key.
    pub fn first_from(&self, text: &str) -> u64 {
        partition(self.keys, |number| self.key(number).as_str() < text)
    }

    /// The numbers of the keys that begin with this text.
    pub fn with_prefix(&self, prefix: &str) -> std::ops::Range<u64> {
        let first = self.first_from(prefix);
        let end = partition(self.keys, |number| {
            let key = self.key(number);
            key.as_str() < prefix || key.starts_with(prefix)
        });
        first..end.max(first)
    }
}

/// What the clock and the bench have made of a bucket so far.
#[derive(Clone, Debug)]
pub struct Moment {
    /// The rule.
    pub rule: Rule,
    /// When the server started, in seconds since 1970.
    pub started: u64,
    /// When each generation after the first began, likewise.
    pub generations: Vec<u64>,
    /// When the clock of changes was started, in microseconds since 1970, and how many changes there were since.
    pub changes: (u64, u64),
}

/// One version of a key, or a delete marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// The key's number.
    pub key: u64,
    /// Its own number among those of its key.
    pub number: u64,
    /// When it was stored, in seconds since 1970.
    pub stored: u64,
    /// Whether it is a delete marker.
    pub is_marker: bool,
}

impl Moment {
    /// A bucket as it is at the start.
    pub fn start(rule: Rule, started: u64) -> Self {
        Self { rule, started, generations: Vec::new(), changes: (0, 0) }
    }

    /// How many versions a key has.
    pub fn count(&self, key: u64) -> u64 {
        let generations = (0..self.generations.len()).filter(|generation| self.changes_in(key, *generation)).count();
        self.rule.versions + generations as u64 + self.changes_of(key)
    }

    /// A version of a key.
    pub fn version(&self, key: u64, number: u64) -> Version {
        Version { key, number, stored: self.stored(key, number), is_marker: key < self.rule.markers }
    }

    /// The version with this ID, if the key has it.
    pub fn find(&self, key: u64, id: &str) -> Option<u64> {
        let number =
            if self.rule.unversioned && id == "null" { self.count(key).checked_sub(1)? } else { number_of(id, key)? };
        let mut written = Vec::with_capacity(32);
        self.write_id(key, number, &mut written);
        (number < self.count(key) && written == id.as_bytes()).then_some(number)
    }

    /// The ID of a version, 32 letters as AWS makes them, written to the end of `out`.
    pub fn write_id(&self, key: u64, number: u64, out: &mut Vec<u8>) {
        if self.rule.unversioned {
            out.extend_from_slice(b"null");
            return;
        }
        let hidden = mix(number ^ (key << 24));
        write_letters(hidden, 11, out);
        write_letters(mix(hidden ^ 1), 10, out);
        write_letters(mix(hidden ^ 2), 11, out);
    }

    /// The ETag of a version, 32 digits, written to the end of `out`.
    pub fn write_etag(&self, key: u64, number: u64, out: &mut Vec<u8>) {
        for salt in [3_u64, 5] {
            let mixed = mix((number ^ (key << 24)).wrapping_add(salt << 60));
            for shift in (0..16).rev() {
                out.push(b"0123456789abcdef"[(mixed >> (shift * 4)) as usize & 15]);
            }
        }
    }

    /// Whether a key has a new version in a generation; the first one after the start is 0.
    fn changes_in(&self, key: u64, generation: usize) -> bool {
        let Rule { keys, changed, clustered, scatter, .. } = self.rule;
        let shifted = (key + generation as u64 * changed) % keys;
        (if clustered { shifted } else { multiply(shifted, scatter.0, keys) }) < changed
    }

    /// How many changes by the clock a key has had.
    fn changes_of(&self, key: u64) -> u64 {
        let (keys, changes) = (self.rule.keys, self.changes.1);
        if changes == 0 {
            return 0;
        }
        changes / keys + u64::from(self.slot(key) < changes % keys)
    }

    /// The place of a key in each round of changes.
    fn slot(&self, key: u64) -> u64 {
        multiply(key, self.rule.scatter.1, self.rule.keys)
    }

    fn stored(&self, key: u64, number: u64) -> u64 {
        let Some(later) = number.checked_sub(self.rule.versions) else {
            return self.started - AGE_SECONDS + mix(key) % SPREAD_SECONDS + number;
        };
        let change = later * self.rule.keys + self.slot(key);
        if let Some(since) = (change * 1_000_000).checked_div(self.rule.rate) {
            return (self.changes.0 + since) / 1_000_000;
        }
        let mut of_key = (0..self.generations.len()).filter(|generation| self.changes_in(key, *generation));
        let generation = of_key.nth(later as usize).unwrap_or_default();
        let began = self.generations.get(generation).copied().unwrap_or(self.started);
        let before = generation.checked_sub(1).map_or(0, |before| self.generations[before]);
        began - mix(key + generation as u64) % GENERATION_SECONDS.min(began - before).max(1)
    }
}

/// The number of a version, hidden in its ID.
fn number_of(id: &str, key: u64) -> Option<u64> {
    let mut hidden = 0_u64;
    for (place, letter) in id.as_bytes().get(..11)?.iter().enumerate() {
        let digit = LETTERS.iter().position(|known| known == letter)? as u64;
        hidden |= digit.checked_shl(place as u32 * 6)?;
    }
    Some(unmix(hidden) ^ (key << 24))
}

/// The smallest number below `end` for which `is_before` no longer holds.
fn partition(end: u64, is_before: impl Fn(u64) -> bool) -> u64 {
    let (mut low, mut high) = (0, end);
    while low < high {
        let middle = u64::midpoint(low, high);
        if is_before(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

/// A bijection of numbers that look random ([MurmurHash3's](https://github.com/aappleby/smhasher) last step).
pub(crate) fn mix(mut number: u64) -> u64 {
    for factor in FACTORS {
        number = (number ^ (number >> 33)).wrapping_mul(factor);
    }
    number ^ (number >> 33)
}

fn unmix(mut number: u64) -> u64 {
    for factor in [INVERSES[1], INVERSES[0]] {
        number = (number ^ (number >> 33)).wrapping_mul(factor);
    }
    number ^ (number >> 33)
}

const FACTORS: [u64; 2] = [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53];
const INVERSES: [u64; 2] = [inverse(FACTORS[0]), inverse(FACTORS[1])];

/// The inverse of an odd number among those of 64 bits, by Newton's method.
const fn inverse(odd: u64) -> u64 {
    let (mut found, mut rounds) = (odd, 0);
    while rounds < 6 {
        found = found.wrapping_mul(2_u64.wrapping_sub(odd.wrapping_mul(found)));
        rounds += 1;
    }
    found
}

fn multiply(one: u64, other: u64, modulus: u64) -> u64 {
    (u128::from(one) * u128::from(other) % u128::from(modulus)) as u64
}

/// A factor that scatters numbers below `keys`, and its inverse.
fn scatter(keys: u64) -> (u64, u64) {
    if keys < 3 {
        return (1, 1);
    }
    let golden = (keys as f64 * 0.618) as u64;
    let factor = (golden..).find(|factor| divide(*factor, keys).0 == 1).expect("the next prime is one");
    let inverse = divide(factor, keys).1.rem_euclid(i128::from(keys));
    (factor % keys, inverse as u64)
}

/// The greatest common divisor, and how often `one` goes into it, modulo `other` (Euclid's extended algorithm).
fn divide(one: u64, other: u64) -> (u64, i128) {
    let (mut rest, mut next) = (i128::from(one), i128::from(other));
    let (mut times, mut next_times) = (1_i128, 0_i128);
    while next != 0 {
        let quotient = rest / next;
        (rest, next) = (next, rest - quotient * next);
        (times, next_times) = (next_times, times - quotient * next_times);
    }
    (rest as u64, times)
}

fn write_letters(mut number: u64, count: usize, out: &mut Vec<u8>) {
    for _ in 0..count {
        out.push(LETTERS[number as usize & 63]);
        number >>= 6;
    }
}

/// A number with leading zeros, written to the end of `out`.
pub(crate) fn write_digits(mut number: u64, count: usize, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + count, b'0');
    for digit in out[start..].iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// A time as listings have it (`2026-11-27T05:22:33.000Z`), written to the end of `out`.
pub(crate) fn write_time(seconds: u64, out: &mut Vec<u8>) {
    // Days to a date of the Gregorian calendar: http://howardhinnant.github.io/date_algorithms.html#civil_from_days
    let days = seconds / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let of_day = seconds % 86_400;
    for (number, count, after) in [
        (year, 4, b'-'),
        (month, 2, b'-'),
        (day, 2, b'T'),
        (of_day / 3600, 2, b':'),
        (of_day / 60 % 60, 2, b':'),
        (of_day % 60, 2, b'.'),
    ] {
        write_digits(number, count, out);
        out.push(after);
    }
    out.extend_from_slice(b"000Z");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(rule: &str) -> Moment {
        Moment::start(Rule::parse(rule).unwrap(), 1_795_756_953)
    }

    #[test]
    fn keys_are_in_their_order_and_found_again() {
        let rule = Rule::parse("keys:2500").unwrap();
        let keys: Vec<String> = (0..2500).map(|number| rule.key(number)).collect();
        assert!(keys.is_sorted());
        assert!((0..2500).all(|number| rule.number(&keys[number as usize]) == Some(number)));
        assert_eq!(rule.number("events/2026/00000/object-000002500.json"), None);
        assert_eq!(rule.number("events/2026/00001/object-000000001.json"), None);
        assert_eq!(rule.with_prefix("events/2026/00001/"), 1000..2000);
        assert_eq!(rule.with_prefix(""), 0..2500);
        assert!(rule.with_prefix("f").is_empty());
    }

    #[test]
    fn keys_of_a_skewed_bucket_are_in_their_order_and_found_again() {
        let rule = Rule::parse("keys:2000,skewed:1").unwrap();
        let keys: Vec<String> = (0..2000).map(|number| rule.key(number)).collect();
        assert!(keys.is_sorted());
        assert!((0..2000).all(|number| rule.number(&keys[number as usize]) == Some(number)));
        assert_eq!(rule.with_prefix("exports/production/"), 100..1900);
        assert_eq!(rule.with_prefix("zürich/"), 1900..2000);
    }

    #[test]
    fn a_generation_changes_as_many_keys_as_the_rule_says() {
        for rule in ["keys:1000,changed:200", "keys:1000,changed:200,clustered:1"] {
            let mut moment = moment(rule);
            moment.generations = vec![moment.started + 500, moment.started + 510];
            let counts: Vec<u64> = (0..1000).map(|key| moment.count(key)).collect();
            assert_eq!(counts.iter().sum::<u64>(), 1400);
            for key in 0..1000 {
                let times: Vec<u64> = (0..counts[key as usize]).map(|n| moment.version(key, n).stored).collect();
                assert!(times.is_sorted());
            }
        }
    }

    #[test]
    fn the_clock_changes_one_key_after_the_other() {
        let mut moment = moment("keys:100,rate:10");
        moment.changes = (1_000_000_000, 250);
        assert_eq!((0..100).map(|key| moment.count(key)).sum::<u64>(), 350);
        let first = (0..100).find(|key| moment.slot(*key) == 0).unwrap();
        assert_eq!((1..4).map(|n| moment.version(first, n).stored).collect::<Vec<_>>(), [1000, 1010, 1020]);
    }

    #[test]
    fn ids_are_found_again_and_differ() {
        let moment = moment("keys:3,versions:70000");
        let mut ids = std::collections::BTreeSet::new();
        for (key, number) in [(0, 0), (1, 0), (2, 69_999), (2, 1), (0, 69_999)] {
            let mut id = Vec::new();
            moment.write_id(key, number, &mut id);
            let id = String::from_utf8(id).unwrap();
            assert_eq!((id.len(), moment.find(key, &id)), (32, Some(number)));
            assert_eq!(moment.find((key + 1) % 3, &id), None);
            ids.insert(id);
        }
        assert_eq!(ids.len(), 5);
        assert_eq!(moment.find(0, "null"), None);
    }

    #[test]
    fn times_are_written_as_listings_have_them() {
        let written = |seconds| {
            let mut out = Vec::new();
            write_time(seconds, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(written(1_255_369_830), "2009-10-12T17:50:30.000Z");
        assert_eq!(written(1_709_164_800), "2024-02-29T00:00:00.000Z");
    }
}
