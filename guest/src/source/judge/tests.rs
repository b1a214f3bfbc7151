//! The rule by example: what a key's listings show one after the other, and what is due of each.

use super::*;
use crate::s3::ObjectEntry;
use crate::testing::SplitMix64;

/// `v2@7` is a version with digest 2 that was stored at time 7, `-m3` a delete marker with digest 1003, `x5` something
/// else with digest 5005; `*` marks the latest.
fn entry(word: &str) -> (VersionEntry, Digest) {
    let (word, is_latest) = word.strip_suffix('*').map_or((word, false), |word| (word, true));
    let (name, time) = word.split_once('@').unwrap_or((word, "1"));
    let (name, is_delete_marker) = name.strip_prefix('-').map_or((name, false), |name| (name, true));
    let base = match &name[..1] {
        "v" => 0,
        "m" => 1000,
        "x" => 5000,
        _ => panic!("{word}"),
    };
    let digest = Digest(base + name[1..].parse::<u64>().expect("a number"));
    let last_modified = Timestamp(time.parse().expect("a time"));
    let object = ObjectEntry { key: "k".to_owned(), last_modified, etag: name.to_owned(), size: 1 };
    (VersionEntry { object, version_id: name.to_owned(), is_latest, is_delete_marker }, digest)
}

/// A key over several listings.
struct Key {
    rule: Rule,
    known: Option<Known>,
    bounds: Bounds,
}

impl Key {
    fn new(rule: Rule) -> Self {
        Self { rule, known: None, bounds: Bounds::SOURCE }
    }

    /// Known as it was left by something else.
    fn known(reader: Reader, words: &str) -> Self {
        let listed = words.split_whitespace().map(|word| entry(word).1).collect();
        let known = Known { reader, listed, groups: Vec::new() };
        Self { known: Some(known), ..Self::new(Rule::Changes) }
    }

    fn judge(&mut self, listing: &[String]) -> (Vec<Due>, Judged) {
        let mut due = Vec::new();
        let mut judge = KeyJudge::new("k".to_owned(), &self.rule, self.known.take(), self.bounds, true);
        for word in listing {
            let (entry, digest) = entry(word);
            judge.push(entry, digest, &mut |one| due.push(one));
        }
        let judged = judge.finish(&mut |one| due.push(one));
        self.known = Some(judged.entry.known.clone());
        due.sort();
        (due, judged)
    }

    /// What is due, in the order in which it is told.
    fn told(&mut self, listing: &[String]) -> Vec<String> {
        let (due, _) = self.judge(listing);
        due.iter().map(|due| format!("{} {}", due.operation.as_str(), due.version_id)).collect()
    }
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// Compares `listing => what is told, what is told`, one after the other.
fn follow(mut key: Key, story: &[&str]) {
    for line in story {
        let (listing, told) = line.split_once("=>").expect("an arrow");
        let expected: Vec<_> = told.split(',').map(str::trim).filter(|one| !one.is_empty()).collect();
        assert_eq!(key.told(&words(listing)), expected, "{line} of {story:?}");
        let again = key.told(&words(listing));
        let is_shown = listing.contains('*');
        assert!(again.is_empty() || !is_shown, "{line} of {story:?}: told again {again:?}");
    }
}

#[test]
fn a_first_listing_means_what_the_rule_says() {
    let since = |time| Rule::Since(Timestamp(time));
    let resumed = |after: &str| Rule::Resumed { after: after.to_owned(), since: Timestamp(5) };
    for (rule, story) in [
        (Rule::Changes, "v3* -m1 v2 v1 => create v1, update v2, delete m1, create v3"),
        (Rule::Changes, "-m1* v1 => create v1, delete m1"),
        (Rule::Changes, "-m1* => "),
        (Rule::Snapshot, "v3* -m1 v2 v1 => snapshot v3"),
        (Rule::Snapshot, "-m1* v1 => "),
        (Rule::Now, "v3* -m1 v2 v1 => "),
        (since(5), "v3@6* v2@5 v1@4 => update v2, update v3"),
        (since(5), "v3@6* v2@5 -m1@4 v1@3 => create v2, update v3"),
        (since(5), "-m1@5* v1@4 => delete m1"),
        (since(5), "-m2@6* -m1@4 v1@4 => "),
        (since(5), "v1@4* => "),
        // An upload began before and landed since, or the other way round.
        (since(5), "v2@4* v1@6 => update v1, update v2"),
        (since(5), "v3@4* v2@6 v1@3 => update v2, update v3"),
        // `k` was told before the snapshot was interrupted, or not.
        (resumed("k"), "v3@6* v2@5 v1@4 => update v2, update v3"),
        (resumed("j"), "v3@6* v2@5 v1@4 => snapshot v3"),
        (resumed("j"), "-m1@6* v1@4 => "),
    ] {
        follow(Key::new(rule), &[story]);
    }
}

#[test]
fn what_a_first_listing_leaves_out_is_history_from_then_on() {
    let stories: [&[&str]; 4] = [
        &["v2* v1 => snapshot v2", "v3* v2 v1 => update v3", "-m1* v3 v2 v1 => delete m1"],
        &["-m1* v1 => ", "v2* -m1 v1 => create v2"],
        // Of what was never told, the top is told once it is on top.
        &["v2* v1 => snapshot v2", "v1* => update v1", "-m1* v1 => delete m1", "v1* => create v1"],
        &["-m1* v1 => ", "v1* => create v1"],
    ];
    stories.into_iter().for_each(|story| follow(Key::new(Rule::Snapshot), story));
    follow(Key::new(Rule::Now), &["v2* v1 => ", "v3* v2 v1 => update v3", "-m1* v3 v2 v1 => delete m1"]);
    follow(Key::new(Rule::Now), &["-m1* v1 => ", "v2* -m1 v1 => create v2"]);
}

#[test]
fn what_is_listed_and_not_known_is_told_once_wherever_it_lands() {
    let stories: [&[&str]; 8] = [
        &["v1* => create v1", "v3* v2 v1 => update v2, update v3", "v3* v2 v1 => "],
        // Below the top, and below everything.
        &["v2* v1 => create v1, update v2", "v2* x1 v1 => update x1, update v2"],
        &["v2* v1 => create v1, update v2", "v2* v1 x1 => update x1, update v2"],
        &["v1* => create v1", "v2* v1 x1 => update x1, update v2"],
        // Below a delete marker: the reader has nothing before it, and nothing after it.
        &["-m1* v1 => create v1, delete m1", "-m1* x1 v1 => create x1, delete m1"],
        &["-m1* v1 => create v1, delete m1", "v2* -m1 x1 v1 => create x1, update v2"],
        // A marker that lands late below the top, over something and over nothing.
        &["v2* v1 => create v1, update v2", "v2* -m1 v1 => delete m1, create v2"],
        &["v1* => create v1", "v2* v1 -m1 => delete m1, create v2"],
    ];
    stories.into_iter().for_each(|story| follow(Key::new(Rule::Changes), story));
}

#[test]
fn a_top_that_is_purged_leaves_what_lies_below_it() {
    let stories: [&[&str]; 6] = [
        &["v2* v1 => create v1, update v2", "v1* => update v1"],
        &["v2* -m1 v1 => create v1, delete m1, create v2", "-m1* v1 => delete m1"],
        &["-m1* v1 => create v1, delete m1", "v1* => create v1"],
        &["v3* v2 v1 => create v1, update v2, update v3", "v3* v1 => ", "v3* => "],
        // While it is purged, another one lands.
        &["v2* v1 => create v1, update v2", "v3* v1 => update v3"],
        &["-m1* v1 => create v1, delete m1", "-m2* v1 => "],
    ];
    stories.into_iter().for_each(|story| follow(Key::new(Rule::Changes), story));
}

#[test]
fn a_marker_over_nothing_changes_nothing() {
    let stories: [&[&str]; 4] = [
        &["-m1* => ", "-m2* -m1 => ", "v1* -m2 -m1 => create v1", "-m3* v1 -m2 -m1 => delete m3"],
        &["-m2* -m1 v1 => create v1, delete m1"],
        &["v1* => create v1", "-m2* -m1 v1 => delete m1", "-m3* -m2 -m1 v1 => "],
        &["-m1* v1 => create v1, delete m1", "-m1* => ", "-m2* -m1 => "],
    ];
    stories.into_iter().for_each(|story| follow(Key::new(Rule::Changes), story));
}

#[test]
fn a_null_version_that_becomes_what_it_was_is_told_each_time() {
    let story = ["x1* => create x1", "x2* => update x2", "x1* => update x1", "-m1* => delete m1", "x1* => create x1"];
    follow(Key::new(Rule::Changes), &story);
    // It took the place of what lay below others.
    let story = ["v1* x1 => create x1, update v1", "v1* x2 => update x2, update v1", "x3* v1 => update x3"];
    follow(Key::new(Rule::Changes), &story);
}

#[test]
fn a_reader_in_doubt_is_told_the_top() {
    for (reader, words, story) in [
        (Reader::Doubtful, "v1", "v1* => update v1"),
        (Reader::Doubtful, "m1 v1", "-m1* v1 => delete m1"),
        (Reader::Doubtful, "v1", "v2* v1 => update v2"),
        (Reader::Doubtful, "v1", "-m1* v1 => delete m1"),
        (Reader::Doubtful, "", "v1* => update v1"),
        (Reader::Doubtful, "v2 v1", "v2* x1 v1 => update x1, update v2"),
        (Reader::Nothing, "v1", "v1* => create v1"),
        (Reader::Nothing, "v1", "-m1* v1 => "),
        (Reader::Nothing, "", "v1* => create v1"),
        // Which version it has, is not known.
        (Reader::Top, "", "v1* => update v1"),
        (Reader::Top, "v1", "v1* => "),
    ] {
        follow(Key::known(reader, words), &[story]);
    }
}

#[test]
fn without_a_latest_version_the_next_poll_says_what_is_on_top() {
    let stories: [&[&str]; 3] = [
        // What is new is told at once.
        &["v1* => create v1", "v2 v1 => update v2", "v2* v1 => "],
        // That the top is gone is not: this listing may lack what lies above.
        &["v2* v1 => create v1, update v2", "v1 => ", "v1* => update v1"],
        &["v2* v1 => create v1, update v2", "v1 => ", "v3* v1 => update v3"],
    ];
    stories.into_iter().for_each(|story| follow(Key::new(Rule::Changes), story));
    let mut key = Key::known(Reader::Top, "v2 v1");
    let (due, judged) = key.judge(&words("v1"));
    assert!(due.is_empty());
    assert_eq!(judged.entry.known.reader, Reader::Doubtful, "so that the next poll reads the key again");
}

#[test]
fn what_the_reader_has_is_remembered() {
    for (rule, listing, reader) in [
        (Rule::Changes, "v2* v1", Reader::Top),
        (Rule::Changes, "-m1* v1", Reader::Nothing),
        (Rule::Changes, "-m1*", Reader::Nothing),
        (Rule::Snapshot, "v2* v1", Reader::Top),
        (Rule::Snapshot, "-m1* v1", Reader::Nothing),
        (Rule::Now, "v2* v1", Reader::Top),
        (Rule::Now, "-m1* v1", Reader::Nothing),
        (Rule::Since(Timestamp(9)), "v2* v1", Reader::Top),
    ] {
        let (_, judged) = Key::new(rule.clone()).judge(&words(listing));
        assert_eq!(judged.entry.known.reader, reader, "{rule:?} {listing}");
        assert_eq!(judged.entry.known.listed.len(), listing.split(' ').count());
    }
}

#[test]
fn a_change_says_what_the_reader_had_and_what_lies_below_it() {
    let (due, _) = Key::new(Rule::Changes).judge(&words("v4* v3 -m1 v2 v1"));
    let had: Vec<_> = due.iter().map(|due| due.had).collect();
    let [v1, v2, v3] = [1, 2, 3].map(|n| Has::Object(Digest(n)));
    assert_eq!(had, [Has::Nothing, v1, v2, Has::Nothing, v3]);
    let previous = |due: &[Due]| -> Vec<Option<String>> {
        due.iter().map(|due| due.previous.as_ref().map(|previous| previous.version_id.clone())).collect()
    };
    let some = |name: &str| Some(name.to_owned());
    assert_eq!(previous(&due), [None, some("v1"), some("v2"), None, some("v3")]);
    // Told once more, the top lies on what it lay on.
    let (due, _) = Key::known(Reader::Doubtful, "v2 v1").judge(&words("v2* v1"));
    assert_eq!(previous(&due), [some("v1")]);
    let (due, _) = Key::known(Reader::Top, "v2").judge(&words("v3* v2 v1 x1"));
    assert_eq!(previous(&due), [None, some("x1"), some("v2")]);
}

#[test]
fn no_change_of_a_key_is_ordered_before_an_older_one() {
    let (due, _) = Key::new(Rule::Changes).judge(&words("v4@7* v3@5 v2@9 v1@6"));
    let order: Vec<_> = due.iter().map(|due| (due.version_id.as_str(), due.order.0)).collect();
    assert_eq!(order, [("v1", 5), ("v2", 5), ("v3", 5), ("v4", 7)]);
    assert!(due.is_sorted_by(|a, b| a.age < b.age || a.order < b.order));
    // The top comes once more, and last, at the time of the late one.
    let (due, _) = Key::known(Reader::Top, "v2 v1").judge(&words("v2@3* x1@9 v1@1"));
    let order: Vec<_> = due.iter().map(|due| (due.version_id.as_str(), due.order.0)).collect();
    assert_eq!(order, [("x1", 9), ("v2", 9)]);
    // A snapshot goes by keys.
    let (due, _) = Key::new(Rule::Snapshot).judge(&words("v2@3*"));
    assert_eq!(due[0].order, Timestamp::default());
}

#[test]
fn entries_that_a_listing_repeats_count_once() {
    let mut key = Key::new(Rule::Changes);
    assert_eq!(key.told(&words("v2* v1 v2* v1 v0")), ["create v0", "update v1", "update v2"]);
    let (_, once) = Key::new(Rule::Changes).judge(&words("v2* v1 v0"));
    let (_, twice) = Key::new(Rule::Changes).judge(&words("v2* v1 v2* v1 v0"));
    assert_eq!((once.sum, once.listed), (twice.sum, twice.listed));
    assert_eq!(once.entry, twice.entry);
    // So do those of a key with many.
    let many = many(1, 40);
    let mut repeated = many[..30].to_vec();
    repeated.extend(many.clone());
    for bounds in [Bounds::SOURCE, SMALL] {
        let mut key = Key { bounds, ..Key::new(Rule::Changes) };
        // Beyond those that are known exactly, a store that repeats is told twice at most; none does.
        let told = key.told(if bounds == SMALL { &many } else { &repeated });
        assert_eq!(told.len(), 40);
    }
}

#[test]
fn a_marker_that_a_listing_shows_in_another_place_is_told_by_the_next_one() {
    let mut key = Key::new(Rule::Changes);
    assert_eq!(key.told(&words("-m1* v1")), ["create v1", "delete m1"]);
    // Between two pages `m2` was put over `v2`, and the listing went through the key once more.
    assert_eq!(key.told(&words("v2* -m2 v2 -m1 v1")), ["create v2"]);
    assert_eq!(key.told(&words("v3* -m2 v2 -m1 v1")), ["delete m2", "create v3"]);
}

#[test]
fn the_sum_shows_what_is_the_latest() {
    let (_, one) = Key::new(Rule::Now).judge(&words("v2* v1"));
    let (_, other) = Key::new(Rule::Now).judge(&words("v2 v1*"));
    assert_eq!(one.listed, other.listed);
    assert_ne!(one.sum, other.sum);
}

const SMALL: Bounds = Bounds { listed_exactly: 4, group: 4, ..Bounds::SOURCE };

/// Versions, newest first, the newest of which is the latest.
fn many(oldest: u64, newest: u64) -> Vec<String> {
    let mut many: Vec<_> = (oldest..=newest).rev().map(|n| format!("v{n}")).collect();
    many[0].push('*');
    many
}

/// A key of very many versions that are all told.
fn with_many(bounds: Bounds) -> Key {
    let mut key = Key { bounds, ..Key::new(Rule::Changes) };
    let told = key.told(&many(1, 40));
    let expected = (1..=40).map(|n| format!("{} v{n}", if n == 1 { "create" } else { "update" }));
    assert_eq!(told, expected.collect::<Vec<_>>());
    key
}

#[test]
fn of_very_many_versions_what_is_unchanged_is_not_due() {
    for bounds in [SMALL, Bounds { listed_exactly: 0, group: 1, ..SMALL }, Bounds::SOURCE] {
        let mut key = with_many(bounds);
        for (oldest, newest, told) in [
            (1, 40, &[][..]),
            (1, 41, &["update v41"]),
            (1, 44, &["update v42", "update v43", "update v44"]),
            // The oldest ones expire, also in the middle of a group.
            (2, 44, &[]),
            (3, 44, &[]),
            (6, 45, &["update v45"]),
            (13, 45, &[]),
            (44, 45, &[]),
            (45, 45, &[]),
        ] {
            assert_eq!(key.told(&many(oldest, newest)), told, "{oldest}..={newest} {bounds:?}");
        }
    }
}

#[test]
fn few_of_very_many_versions_are_known_one_by_one() {
    let known = with_many(SMALL).known.expect("it was judged");
    // 40 to 36, which ends a group; then groups that end at 32, 28 and so on, and 3 to 1.
    assert_eq!(known.listed.len(), 5);
    assert_eq!(known.groups.len(), 9);
    assert_eq!(known.groups[0], 35 + 34 + 33 + 32);
    assert_eq!(known.groups[8], 3 + 2 + 1);
}

#[test]
fn of_very_many_versions_the_group_is_told_again_into_which_one_was_inserted() {
    let mut key = with_many(SMALL);
    let mut listing = many(1, 40);
    listing.insert(7, "x1".to_owned());
    assert_eq!(listing[6..9], ["v34", "x1", "v33"]);
    let told = key.told(&listing);
    assert_eq!(told, ["update v32", "update v33", "update x1", "update v34", "update v35", "update v40"]);
    assert_eq!(key.told(&listing), [""; 0], "and once");
    // Among those that are known one by one it alone is told.
    listing.insert(2, "x2".to_owned());
    assert_eq!(key.told(&listing), ["update x2", "update v40"]);
    // One that ends a group cuts it in two.
    let mut key = with_many(SMALL);
    let mut listing = many(1, 40);
    listing.insert(7, "x4".to_owned());
    let told = key.told(&listing);
    assert!(told.contains(&"update x4".to_owned()) && told.last().is_some_and(|last| last == "update v40"), "{told:?}");
    assert!(told.len() <= 6, "{told:?}");
}

#[test]
fn of_very_many_versions_one_that_is_purged_hides_nothing() {
    for purged in 1..=40_u64 {
        let mut key = with_many(SMALL);
        let mut listing = many(1, 40);
        listing.remove(40 - purged as usize);
        let top = listing.remove(0);
        listing.insert(0, format!("{}*", top.trim_end_matches('*')));
        key.told(&listing);
        listing[0] = listing[0].trim_end_matches('*').to_owned();
        listing.insert(0, "v50*".to_owned());
        assert_eq!(key.told(&listing), ["update v50"], "after v{purged} was purged");
    }
}

#[test]
fn where_all_of_very_many_versions_are_purged_new_ones_are_all_told() {
    let mut key = with_many(Bounds { group: 1000, ..SMALL });
    assert_eq!(key.told(&["x3*", "x2", "x1"].map(str::to_owned)), ["update x1", "update x2", "update x3"]);
}

#[test]
fn random_histories_of_many_versions_end_with_the_top() {
    let mut random = SplitMix64::new(7);
    for round in 0..200 {
        let (listed_exactly, group) = (1 + (random.next() % 8) as usize, 1 + random.next() % 6);
        let mut key = Key { bounds: Bounds { listed_exactly, group, ..SMALL }, ..Key::new(Rule::Changes) };
        let (mut listing, mut reader, mut next) = (Vec::<String>::new(), String::new(), 0);
        for _ in 0..30 {
            for _ in 0..random.next() % 5 {
                next += 1;
                // Most land on top.
                let place = random.next().is_multiple_of(8).then(|| random.next() as usize % (listing.len() + 1));
                let kind = if random.next().is_multiple_of(4) { "-m" } else { "v" };
                listing.insert(place.unwrap_or(0), format!("{kind}{next}"));
            }
            if !listing.is_empty() && random.next().is_multiple_of(6) {
                listing.remove(random.next() as usize % listing.len());
            }
            if listing.is_empty() {
                continue;
            }
            let mut shown = listing.clone();
            shown[0].push('*');
            for told in key.told(&shown) {
                let (operation, version) = told.split_once(' ').expect("two words");
                let had = !reader.is_empty();
                assert_eq!(had, operation != "create", "{told} after `{reader}` in round {round}");
                reader = if operation == "delete" { String::new() } else { version.to_owned() };
            }
            let top = if listing[0].starts_with('-') { "" } else { &listing[0] };
            assert_eq!(reader, top, "round {round}: {shown:?}");
            assert_eq!(key.told(&shown), [""; 0], "round {round}");
        }
    }
}
