//! Scans random listings: what is due must not depend on how the catalogue, the plan or the listing is cut.

use std::collections::BTreeMap;

use super::*;
use crate::position::Phase;
use crate::s3::ObjectEntry;
use crate::source::checkpoint::{Head, Stage};
use crate::source::plan::PlanReader;
use crate::source::queue::ALL;
use crate::testing::{SplitMix64, TestPorts};

type Store = CheckpointStore<TestPorts>;

const DIGESTER: Digester = Digester { keys: (1, 2) };

fn filter(keys: &KeyFilter) -> Filter<'_> {
    Filter { prefix: "", keys, wants_previous: false }
}

fn begun(ports: &TestPorts, rule: Rule) -> Store {
    let (mut store, _) = CheckpointStore::load(ports.clone()).expect("loads");
    store.begin_run(Head::new(7, DIGESTER, rule)).expect("begins");
    store
}

/// A bucket: of each key its entries, newest first, and whether each is a delete marker.
#[derive(Default)]
struct Bucket {
    keys: BTreeMap<String, Vec<(u64, bool)>>,
    versions: u64,
}

impl Bucket {
    fn change(&mut self, random: &mut SplitMix64, changes: u64) {
        for _ in 0..changes {
            let key = format!("{}/{:02}", ["a", "b", "ä"][(random.next() % 3) as usize], random.next() % 40);
            self.versions += 1;
            match random.next() % 8 {
                0 => drop(self.keys.remove(&key)),
                1 => {
                    // Some land below what is there.
                    let entries = self.keys.entry(key).or_default();
                    entries.insert(random.next() as usize % (entries.len() + 1), (self.versions, false));
                }
                dice => self.keys.entry(key).or_default().insert(0, (self.versions, dice == 2)),
            }
        }
    }

    fn listing(&self) -> Vec<VersionEntry> {
        let mut listing = Vec::new();
        for (key, entries) in &self.keys {
            for (place, (version, is_delete_marker)) in entries.iter().enumerate() {
                let last_modified = Timestamp(1000 * version);
                let object = ObjectEntry { key: key.clone(), last_modified, ..ObjectEntry::default() };
                listing.push(VersionEntry {
                    object,
                    version_id: format!("v{version}"),
                    is_latest: place == 0,
                    is_delete_marker: *is_delete_marker,
                });
            }
        }
        listing
    }
}

/// What a saved plan tells, all of which is then acked.
fn told(store: &mut Store, plan: PlanBuilder, segments: Vec<Segment>, stage: Stage) -> Vec<String> {
    let phase = if stage == Stage::Polls { Phase::Changes } else { Phase::Snapshot };
    let plan = plan.finish(store, phase, Timestamp(1)).expect("saves");
    store.checkpoint(segments, plan.clone(), |head| head.stage = stage).expect("saves");
    let (mut told, mut reader) = (Vec::new(), plan.map(PlanReader::new));
    while let Some(reader) = &mut reader
        && let Some((number, due)) = reader.next(store).expect("reads")
    {
        store.emitted((reader.plan().id, number, ALL));
        store.acked((reader.plan().id, number, ALL));
        store.delivered(reader.plan().id);
        let gone = if due.gone.is_some() { " gone" } else { "" };
        told.push(format!("{} {} {}{gone}", due.operation.as_str(), due.key, due.version_id));
    }
    told
}

fn poll(store: &mut Store, listing: Vec<VersionEntry>, bounds: Bounds) -> Vec<String> {
    let keys = KeyFilter::default();
    let mut scan = Scan::new(store, Rule::Changes, bounds);
    scan.set_date(Timestamp(u64::MAX));
    for entry in listing {
        scan.push(store, entry, &filter(&keys)).expect("scans");
    }
    let (segments, plan) = scan.finish(store, &filter(&keys)).expect("scans");
    told(store, plan, segments, Stage::Polls)
}

/// Every so many ways to cut.
fn cuts() -> Vec<Bounds> {
    let source = Bounds::SOURCE;
    vec![
        source,
        Bounds { segment_bytes: 1, ..source },
        Bounds { segment_bytes: 100, range_entries: 3, run_bytes: 2000, chunk_bytes: 1, ..source },
        Bounds { segment_bytes: 500, range_entries: 0, run_bytes: 1, chunk_bytes: 500, ..source },
    ]
}

#[test]
fn what_is_due_does_not_depend_on_how_the_catalogue_is_cut() {
    for seed in 0..20 {
        let mut random = SplitMix64::new(seed);
        let mut bucket = Bucket::default();
        let mut stores: Vec<_> = cuts()
            .into_iter()
            .map(|bounds| {
                let ports = TestPorts::new(seed);
                (begun(&ports, Rule::Changes), ports, bounds)
            })
            .collect();
        for _ in 0..12 {
            let changes = [1, 5, 60][(random.next() % 3) as usize];
            bucket.change(&mut random, changes);
            if random.next().is_multiple_of(12) {
                bucket.keys.clear();
            }
            let mut expected = None;
            for (store, _, bounds) in &mut stores {
                let told = poll(store, bucket.listing(), *bounds);
                assert_eq!(&told, expected.get_or_insert_with(|| told.clone()), "seed {seed}, {bounds:?}");
                assert!(store.size().0 >= bucket.keys.len() as u64, "seed {seed}: some may have gone just now");
                let is_cut = |one: &Segment| one.bytes < bounds.segment_bytes as u64 + 200;
                assert!(store.segments.iter().all(is_cut), "seed {seed}: {:?}", store.segments);
                assert!(store.segments.is_sorted_by(|a, b| a.first < b.first), "seed {seed}");
            }
            // Once more: keys that are gone are known for one more poll, and then the sums alone are compared.
            for (store, ports, bounds) in &mut stores {
                assert_eq!(poll(store, bucket.listing(), *bounds), [""; 0], "seed {seed}, {bounds:?}");
                assert_eq!(store.size().0, bucket.keys.len() as u64, "seed {seed}, {bounds:?}");
                if bounds.range_entries < 100 {
                    continue;
                }
                let segments = store.segments.clone();
                ports.refuse_state(|name| panic!("`{name}` is not needed"));
                let (mut scan, keys) = (Scan::new(store, Rule::Changes, *bounds), KeyFilter::default());
                for entry in bucket.listing() {
                    scan.push(store, entry, &filter(&keys)).expect("scans");
                }
                let (after, plan) = scan.finish(store, &filter(&keys)).expect("scans");
                assert_eq!((after, plan.count()), (segments, 0), "seed {seed}, {bounds:?}");
                ports.refuse_state(|_| None);
            }
        }
    }
}

#[test]
fn deleted_keys_that_vanish_together_stay_in_segments_that_a_host_takes() {
    let ports = TestPorts::new(1);
    let mut store = begun(&ports, Rule::Changes);
    let keys = (0..60_000).map(|n| (format!("{n:030}"), vec![(n + 1, true), (n, false)]));
    let bucket = Bucket { keys: keys.collect(), versions: 0 };
    assert_eq!(poll(&mut store, bucket.listing(), Bounds::SOURCE).len(), 120_000);
    // The ports fail a value that no host takes.
    assert_eq!(poll(&mut store, Vec::new(), Bounds::SOURCE), [""; 0]);
    assert_eq!(store.size().0, 60_000);
    assert_eq!(poll(&mut store, Vec::new(), Bounds::SOURCE), [""; 0]);
    assert_eq!(store.size().0, 0);
}

#[test]
fn a_first_listing_may_be_cut_and_go_on_anywhere() {
    for seed in 0..60 {
        let mut random = SplitMix64::new(seed);
        let mut bucket = Bucket::default();
        bucket.change(&mut random, 150);
        let keys = KeyFilter::default();
        let since = Rule::Resumed { after: "a/20".to_owned(), since: Timestamp(60_000) };
        let rule = if seed % 2 == 0 { Rule::Snapshot } else { since };
        let whole = {
            let mut store = begun(&TestPorts::new(seed), rule.clone());
            let mut scan = Scan::go_on(&store, rule.clone(), Bounds::SOURCE);
            for entry in bucket.listing() {
                scan.push(&mut store, entry, &filter(&keys)).expect("scans");
            }
            let (segments, plan) = scan.finish(&mut store, &filter(&keys)).expect("scans");
            told(&mut store, plan, segments, Stage::Polls)
        };
        let bounds = cuts()[(random.next() % 4) as usize];
        let ports = TestPorts::new(seed);
        let mut store = begun(&ports, rule.clone());
        let (mut all, mut covered) = (Vec::new(), None::<String>);
        // Each round is a source that crashes; the last one comes to the end.
        for round in (0..4).rev() {
            let mut scan = Scan::go_on(&store, rule.clone(), bounds);
            for entry in bucket.listing() {
                if covered.as_ref().is_some_and(|covered| entry.object.key <= *covered) {
                    continue;
                }
                scan.push(&mut store, entry, &filter(&keys)).expect("scans");
                if random.next().is_multiple_of(20) {
                    let (segments, plan, to) = scan.cut(&mut store).expect("cuts");
                    covered = to.or(covered);
                    let stage = Stage::First { rule: rule.clone(), covered: covered.clone() };
                    all.extend(told(&mut store, plan, segments, stage));
                    if round > 0 && random.next().is_multiple_of(3) {
                        break;
                    }
                }
            }
            if round == 0 {
                let (segments, plan) = scan.finish(&mut store, &filter(&keys)).expect("scans");
                all.extend(told(&mut store, plan, segments, Stage::Polls));
            } else {
                store = CheckpointStore::load(ports.clone()).expect("loads").0;
                store.remove_orphans().expect("removes");
            }
        }
        let (mut all, mut whole) = (all, whole);
        all.sort();
        whole.sort();
        assert_eq!(all, whole, "seed {seed}");
        assert_eq!(store.size().0, bucket.keys.len() as u64, "seed {seed}");
        assert_eq!(poll(&mut store, bucket.listing(), bounds), [""; 0], "seed {seed}: the catalogue has all of it");
    }
}
