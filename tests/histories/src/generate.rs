//! Owns the making of a history from a seed. Leaves what its parts mean to `history`.

use std::time::Duration;

use embedded_s3::{GoneVersion, ListingKinds, MultipartOrder, Versioning};
use s3_connector::testing::SplitMix64;

use crate::history::{Act, History, Profile, ReaderSetup, Step, StoreSetup, When};

struct Dice(SplitMix64);

impl Dice {
    /// A number below `sides`.
    fn below(&mut self, sides: u64) -> u64 {
        self.0.next() % sides
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}

/// The history of a seed: of the given kind, or of one that follows from the seed.
pub fn history(seed: u64, profile: Option<Profile>) -> History {
    let mut dice = Dice(SplitMix64::new(seed ^ 0x5eed_0f1e_5707_1e5a));
    let any = dice.of(&Profile::ALL);
    let profile = profile.unwrap_or(any);
    let mut store = store(&mut dice, profile);
    // With dice of their own, which leave the rest of the history as it is.
    let mut oddities = Dice(SplitMix64::new(seed ^ 0x0dd1_7135));
    store.gone = oddities.of(&[GoneVersion::Below, GoneVersion::KeyAnew]);
    store.promises_more = oddities.chance(50);
    store.skips = oddities.chance(25);
    let reader = ReaderSetup {
        records_max: dice.of(&[1, 2, 3, 10, 1000]),
        lag: dice.of(&[0, 0, 0, 1, 2, 5]),
        group: dice.of(&[1, 1, 2, 4, 100]),
        concurrency: dice.of(&[1, 2, 8]),
        has_state: profile != Profile::Stateless,
        cut: dice.of(&[0, 0, 0, 1, 1, 2, 2, 3]),
    };
    let mut maker = Maker { keys: keys(&mut dice), dice, profile, versioning: store.versioning };
    let count = maker.dice.below(8);
    let before = (0..count).map(|_| maker.operation()).collect();
    let count = 1 + maker.dice.below(14);
    let steps = (0..count).map(|_| maker.step()).collect();
    History { seed, profile, store, reader, before, steps }
}

/// Two to five of the known keys.
fn keys(dice: &mut Dice) -> Vec<u8> {
    let count = 2 + dice.below(4);
    (0..count).map(|_| dice.below(crate::history::KEYS.len() as u64) as u8).collect()
}

fn store(dice: &mut Dice, profile: Profile) -> StoreSetup {
    let versioning = match profile {
        Profile::Unversioned => Versioning::Off,
        Profile::Plain | Profile::Purges | Profile::Stateless => Versioning::Enabled,
        Profile::Switches | Profile::All => dice.of(&[Versioning::Off, Versioning::Enabled, Versioning::Suspended]),
        _ => dice.of(&[Versioning::Enabled, Versioning::Enabled, Versioning::Enabled, Versioning::Suspended]),
    };
    let order = match profile {
        Profile::UploadsByStart => MultipartOrder::Start,
        Profile::UploadsByCommit => MultipartOrder::Commit,
        _ => dice.of(&[MultipartOrder::Start, MultipartOrder::Commit]),
    };
    let kinds = dice.of(&[
        ListingKinds::Interleaved,
        ListingKinds::Interleaved,
        ListingKinds::Interleaved,
        ListingKinds::MarkersFirst,
        ListingKinds::VersionsFirst,
    ]);
    StoreSetup {
        versioning,
        lists_versions: profile != Profile::Unversioned || dice.chance(50),
        order,
        stamps_completion: order == MultipartOrder::Commit && dice.chance(50),
        kinds,
        gone: GoneVersion::Below,
        promises_more: false,
        skips: false,
        milliseconds: dice.chance(50),
        page: dice.of(&[1, 2, 3, 4, 5, 1000, 1000, 1000]),
        latency_ms: dice.of(&[0, 0, 20, 3000]),
    }
}

struct Maker {
    dice: Dice,
    profile: Profile,
    keys: Vec<u8>,
    versioning: Versioning,
}

impl Maker {
    fn key(&mut self) -> u8 {
        self.dice.of(&self.keys.clone())
    }

    fn step(&mut self) -> Step {
        let act = if self.dice.chance(18) { self.restart() } else { self.operation() };
        let when = match self.dice.below(20) {
            0..=9 => When::Call(self.dice.below(8) as u32),
            10..=11 => When::Call(self.dice.below(30) as u32),
            12..=14 => When::Read(self.dice.below(4) as u32),
            15..=16 if matches!(act, Act::Crash { .. }) => When::Ack(1 + self.dice.below(3) as u32),
            _ => When::Idle,
        };
        Step { when, act }
    }

    fn restart(&mut self) -> Act {
        let away = match self.dice.below(8) {
            0..=4 => Duration::ZERO,
            5 => Duration::from_secs(self.dice.below(20)),
            6 => Duration::from_secs(60 + self.dice.below(1200)),
            _ => Duration::from_secs(86_400 * (1 + self.dice.below(3))),
        };
        if self.dice.chance(25) { Act::Stop { away } } else { Act::Crash { after: self.dice.chance(50), away } }
    }

    /// Something that happens to the store.
    fn operation(&mut self) -> Act {
        let special = match self.profile {
            Profile::Plain | Profile::Unversioned | Profile::Stateless => None,
            Profile::UploadsByCommit | Profile::UploadsByStart => self.dice.chance(45).then(|| self.upload()),
            Profile::Purges => self.dice.chance(30).then(|| self.purge()),
            Profile::Switches => self.dice.chance(25).then(|| self.switch()),
            Profile::Clocks => self.dice.chance(35).then(|| self.clock()),
            Profile::All => match self.dice.below(10) {
                0..=1 => Some(self.upload()),
                2 => Some(self.purge()),
                3 => Some(self.switch()),
                4 => Some(self.clock()),
                _ => None,
            },
        };
        special.unwrap_or_else(|| self.write())
    }

    fn write(&mut self) -> Act {
        if matches!(self.profile, Profile::Purges | Profile::Unversioned | Profile::All) && self.dice.chance(6) {
            return Act::Hide(self.key());
        }
        match self.dice.below(20) {
            0..=8 => Act::Put(self.key()),
            9 => Act::PutSame(self.key()),
            10..=15 => Act::Delete(self.key()),
            16..=18 => Act::Wait(Duration::from_millis(self.dice.of(&[3, 400, 1000, 2500]))),
            _ => Act::Wait(Duration::from_secs(self.dice.of(&[10, 299, 301, 4000]))),
        }
    }

    fn upload(&mut self) -> Act {
        match self.dice.below(10) {
            0..=4 => Act::Begin(self.key()),
            5..=8 => Act::Complete(self.dice.below(4) as u8),
            _ => Act::Abort(self.dice.below(4) as u8),
        }
    }

    fn purge(&mut self) -> Act {
        Act::Purge(self.key(), self.dice.below(4) as u8)
    }

    fn switch(&mut self) -> Act {
        self.versioning = match self.versioning {
            Versioning::Enabled => Versioning::Suspended,
            Versioning::Off | Versioning::Suspended => Versioning::Enabled,
        };
        Act::Switch(self.versioning)
    }

    fn clock(&mut self) -> Act {
        const HOUR: i64 = 3_600_000;
        match self.dice.below(3) {
            0 => Act::Clock(self.dice.of(&[-1500, -30_000, -HOUR, -26 * HOUR])),
            1 => Act::Clock(self.dice.of(&[30_000, 6 * 60_000, HOUR])),
            _ => Act::Date(self.dice.of(&[0, 1000, -2000, 6 * 60_000, -6 * 60_000, HOUR, -HOUR])),
        }
    }
}
