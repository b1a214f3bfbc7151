//! Saves and loads over a world in memory. Leaves the forms of values to `saved` and how they are kept to `values`.

use super::*;
use crate::error::ErrorKind;
use crate::limits::Bounds;
use crate::ports::{State as _, StateError};
use crate::s3::{ObjectEntry, VersionEntry};
use crate::source::catalogue::{Reader, SegmentBuilder};
use crate::source::plan::{PlanBuilder, PlanReader};
use crate::testing::TestPorts;

use crate::record::Operation;

type Store = CheckpointStore<TestPorts>;

fn load(ports: &TestPorts) -> Store {
    CheckpointStore::load(ports.clone()).expect("loads").0
}

/// A store in which a run has begun.
fn begun(ports: &TestPorts) -> Store {
    let mut store = load(ports);
    store.begin_run(Head::new(7, Digester { keys: (1, 2) }, Rule::Changes)).expect("begins");
    store
}

fn entry(key: &str) -> Entry {
    let known = Known { reader: Reader::Top, listed: vec![Digest(1), Digest(2)], groups: Vec::new() };
    Entry { key: key.to_owned(), known }
}

/// Stages a segment of such keys, each of which was listed once.
fn segment(store: &mut Store, keys: &[&str]) -> Segment {
    let mut builder = SegmentBuilder::default();
    keys.iter().for_each(|key| builder.add(&entry(key), 5, 1));
    store.stage_segment(&builder).expect("stages").expect("has keys")
}

/// Stages a plan of so many changes, in several runs and chunks.
fn plan(store: &mut Store, count: u64) -> Plan {
    let bounds = Bounds { run_bytes: 1000, chunk_bytes: 500, ..Bounds::SOURCE };
    let mut builder = PlanBuilder::new(store.head.next_plan, bounds);
    for n in 0..count {
        builder.push(due(n));
        builder.spill_if_full(store).expect("stages");
    }
    builder.finish(store, Phase::Changes, Timestamp(3)).expect("stages").expect("is not empty")
}

fn due(n: u64) -> Due {
    let object = ObjectEntry { key: format!("k{n:03}"), last_modified: Timestamp(1000 - n), ..ObjectEntry::default() };
    let entry = VersionEntry { object, version_id: "v1".to_owned(), ..VersionEntry::default() };
    let order = entry.object.last_modified;
    Due::of(entry, Digest(n), None, Operation::Create, order, 1)
}

/// Saves a catalogue of three segments and a plan.
fn fill(store: &mut Store) {
    let segments = vec![segment(store, &["a", "b"]), segment(store, &["c"]), segment(store, &["d", "e"])];
    let plan = plan(store, 20);
    store.checkpoint(segments, Some(plan), |head| head.stage = Stage::Polls).expect("saves");
}

/// The names of all that a store's head leads to.
fn named(store: &Store) -> BTreeSet<String> {
    let Head { manifest: (generation, parts), plans, corrections, .. } = &store.head;
    let lists = (0..store.lists).map(|list| corrections_name(*corrections, list));
    std::iter::once("head".to_owned())
        .chain((0..*parts).map(|part| manifest_name(*generation, part)))
        .chain(store.segments.iter().map(|segment| segment_name(segment.id)))
        .chain(plans.iter().flat_map(chunk_names))
        .chain(lists)
        .collect()
}

fn names(ports: &TestPorts) -> BTreeSet<String> {
    ports.saved().into_keys().collect()
}

fn correction(key: &str, digest: u64, now: Corrected) -> Correction {
    Correction { key: key.to_owned(), digest: Digest(digest), now }
}

#[test]
fn what_is_saved_is_loaded() {
    let ports = TestPorts::new(1);
    let (_, is_there) = CheckpointStore::load(ports.clone()).expect("loads");
    assert!(!is_there);
    let mut store = begun(&ports);
    fill(&mut store);
    let (mut again, is_there) = CheckpointStore::load(ports.clone()).expect("loads");
    assert!(is_there);
    assert_eq!((&again.head, &again.segments), (&store.head, &store.segments));
    assert_eq!(names(&ports), named(&store));
    let entries = again.load_segment(&store.segments[0]).expect("loads");
    assert_eq!(entries, [entry("a"), entry("b")]);
    let plan = store.head.plans[0].clone();
    assert!(plan.runs.len() > 2 && plan.runs[0] > 1, "{plan:?}");
    // The later a key, the older.
    let mut reader = PlanReader::new(plan.clone());
    for (number, n) in (0..20).zip((0..20).rev()) {
        assert_eq!(reader.left(), 20 - number);
        assert_eq!(reader.next(&mut again), Ok(Some((number, due(n)))));
    }
    assert_eq!(reader.next(&mut again), Ok(None));
    for number in [0, 7, 19, 20, 30] {
        let mut reader = PlanReader::new(plan.clone());
        reader.skip_to(number, &mut again).expect("skips");
        let next = (number < 20).then(|| (number, due(19 - number)));
        assert_eq!(reader.next(&mut again), Ok(next));
    }
}

#[test]
fn a_new_run_removes_all_of_the_one_before_and_gives_no_name_again() {
    let ports = TestPorts::new(1);
    let mut store = begun(&ports);
    fill(&mut store);
    store.correct(correction("a", 1, Corrected::Untold { has: Has::Nothing }));
    store.save_corrections().expect("saves");
    let before = names(&ports);
    assert_eq!(before, named(&store));
    let mut store = begun(&ports);
    assert_eq!(names(&ports), ["head".to_owned()].into());
    assert!(store.surprises().is_empty() && load(&ports).surprises().is_empty());
    fill(&mut store);
    assert_eq!(names(&ports), named(&store));
    assert_eq!(names(&ports).intersection(&before).collect::<Vec<_>>(), ["head"]);
}

#[test]
fn what_a_crash_leaves_is_removed() {
    let ports = TestPorts::new(1);
    let mut store = begun(&ports);
    fill(&mut store);
    let before = names(&ports);
    let (segment, plan) = (store.head.next_segment, store.head.next_plan);
    let orphans = [
        segment_name(segment),
        segment_name(segment + 1),
        manifest_name(store.head.manifest.0 + 1, 0),
        manifest_name(store.head.manifest.0 + 1, 1),
        chunk_name(ChunkPlace { plan, run: 0, chunk: 0 }),
        chunk_name(ChunkPlace { plan, run: 0, chunk: 1 }),
        chunk_name(ChunkPlace { plan, run: 1, chunk: 0 }),
    ];
    ports.commit(orphans.iter().map(|name| Edit::save(name.clone(), "1")).collect()).expect("saves");
    let mut store = load(&ports);
    store.remove_orphans().expect("removes");
    assert_eq!(names(&ports), before);
    fill(&mut store);
    assert_eq!(names(&ports), named(&store));
}

/// A checkpoint that takes several commits, over one that it replaces.
fn replace(store: &mut Store) -> Result<()> {
    // Keys that share nothing, so that a segment is large.
    let key = |segment: u32, n: u32| format!("{:08x}{}", (segment * 100 + n).reverse_bits(), "x".repeat(1000));
    let mut segments = Vec::new();
    for number in 0..60 {
        let mut builder = SegmentBuilder::default();
        (0..90).for_each(|n| builder.add(&entry(&key(number, n)), 0, 0));
        segments.extend(store.stage_segment(&builder)?);
    }
    segments.sort_by(|a, b| a.first.cmp(&b.first));
    store.checkpoint(segments, None, |head| head.has_versions = Some(true))
}

#[test]
fn whichever_commit_of_a_checkpoint_fails_the_state_before_it_is_there() {
    for fails in 0..10 {
        let ports = TestPorts::new(1);
        let mut store = begun(&ports);
        fill(&mut store);
        let before = (store.head.clone(), store.segments.clone());
        let left = std::cell::Cell::new(fails);
        ports.refuse_commits(move |_| {
            let is_over = left.get() == 0;
            left.set(i32::checked_sub(left.get(), 1).unwrap_or(-1));
            is_over.then(|| StateError::Failed("the end".to_owned()))
        });
        let replaced = replace(&mut store);
        ports.refuse_commits(|_| None);
        let mut again = load(&ports);
        if replaced.is_ok() {
            assert!(fails > 2, "it takes several commits");
            assert_eq!((again.head, again.segments), (store.head, store.segments));
            return;
        }
        assert_eq!((again.head.clone(), again.segments.clone()), before, "{fails}");
        again.remove_orphans().expect("removes");
        assert_eq!(names(&ports), named(&again), "{fails}");
        replace(&mut again).expect("goes on");
        assert_eq!(names(&ports), named(&again), "{fails}");
    }
    panic!("it takes fewer commits");
}

#[test]
fn many_segments_have_several_manifests_and_are_removed_by_several_commits() {
    let ports = TestPorts::new(1);
    let mut store = begun(&ports);
    let count = 2 * GARBAGE_PER_COMMIT + 5000;
    let segments: Vec<_> = (0..count).map(|n| segment(&mut store, &[&format!("{n:06}")])).collect();
    store.checkpoint(segments, None, |_| ()).expect("saves");
    assert_eq!(store.head.manifest.1, 2);
    assert_eq!(load(&ports).segments, store.segments);
    let commits = std::rc::Rc::new(std::cell::Cell::new(0));
    let seen = std::rc::Rc::clone(&commits);
    // The third one fails, so that the rest waits for a restart.
    ports.refuse_commits(move |edits| {
        let removed = edits.iter().filter(|edit| edit.value.is_none()).count();
        assert!(removed <= GARBAGE_PER_COMMIT);
        seen.set(seen.get() + 1);
        (seen.get() == 3).then(|| StateError::Failed("the end".to_owned()))
    });
    store.checkpoint(Vec::new(), None, |_| ()).expect_err("the third commit fails");
    ports.refuse_commits(|_| None);
    let mut again = load(&ports);
    assert!(again.segments.is_empty());
    assert_eq!(names(&ports).len(), 1 + count + 2 - 2 * GARBAGE_PER_COMMIT);
    again.remove_orphans().expect("removes");
    assert_eq!(names(&ports), ["head".to_owned()].into());
}

#[test]
fn manifests_of_long_keys_are_values_that_a_host_takes() {
    let ports = TestPorts::new(1);
    let mut store = begun(&ports);
    let key = |n: u32| format!("{:08x}{}", n.reverse_bits(), "x".repeat(1000));
    let mut keys: Vec<_> = (0..3000).map(key).collect();
    keys.sort();
    let segments: Vec<_> = keys.iter().map(|key| segment(&mut store, &[key])).collect();
    // The ports fail a test whose values no host takes.
    store.checkpoint(segments, None, |_| ()).expect("saves");
    assert_eq!(load(&ports).segments, store.segments);
}

#[test]
fn a_plan_is_kept_until_all_of_it_is_acked() {
    let ports = TestPorts::new(1);
    let mut store = begun(&ports);
    for _ in 0..3 {
        let plan = plan(&mut store, 2);
        store.checkpoint(Vec::new(), Some(plan), |_| ()).expect("saves");
    }
    let plans = |store: &mut Store| -> Vec<u64> {
        store.tidy().expect("tidies");
        assert_eq!(names(&ports), named(store));
        assert_eq!(load(&ports).head, store.head);
        store.head.plans.iter().map(|plan| plan.id).collect()
    };
    assert_eq!(plans(&mut store), [1, 2, 3]);
    store.emitted((1, 0, ALL));
    store.emitted((1, 1, ALL));
    store.delivered(1);
    assert_eq!(plans(&mut store), [1, 2, 3], "nothing is acked");
    store.acked((1, 0, ALL));
    assert_eq!(plans(&mut store), [1, 2, 3], "the first one is");
    assert!(!store.head.has_dropped);
    store.emitted((2, 0, ALL));
    store.acked((1, 1, ALL));
    store.acked((2, 0, ALL));
    assert_eq!(plans(&mut store), [2, 3], "not all of the second one was delivered");
    assert_eq!((store.head.acked, store.head.has_dropped), (Some((2, 0)), true));
    // Nothing of it was a record but the first one.
    store.delivered(2);
    assert_eq!(plans(&mut store), [3]);
    // Neither of the third one was.
    store.delivered(3);
    assert_eq!(plans(&mut store), [0; 0]);
}

#[test]
fn a_position_acks_what_was_handed_out_up_to_it() {
    let ports = TestPorts::new(1);
    let mut store = begun(&ports);
    for _ in 0..3 {
        let plan = plan(&mut store, 2);
        store.checkpoint(Vec::new(), Some(plan), |_| ()).expect("saves");
    }
    let left = |plan, number| -> Vec<u64> {
        let mut store = load(&ports);
        store.resume_at((plan, number, ALL));
        let left = store.plans_left().iter().map(|plan| plan.id).collect();
        store.drop_acked_plans();
        assert_eq!(store.head.plans, store.plans_left(), "what is left is kept, and nothing else");
        left
    };
    assert_eq!(left(1, 0), [1, 2, 3]);
    assert_eq!(left(2, 1), [2, 3]);
    assert_eq!(left(3, 1), [3]);
    assert_eq!(left(4, 0), [0; 0], "it is removed already");
}

#[test]
fn a_plan_stays_while_chunks_of_its_last_object_are_unacked() {
    let mut store = begun(&TestPorts::new(1));
    let plan = plan(&mut store, 1);
    store.checkpoint(Vec::new(), Some(plan), |_| ()).expect("saves");
    store.emitted((1, 0, 1));
    store.acked((1, 0, 1));
    store.tidy().expect("saves");
    assert_eq!(store.head.plans.len(), 1, "others follow");
    store.emitted((1, 0, ALL));
    store.delivered(1);
    store.tidy().expect("saves");
    assert_eq!(store.head.plans.len(), 1, "the last one is unacked");
    store.acked((1, 0, ALL));
    store.tidy().expect("saves");
    assert_eq!(store.head.plans.len(), 0);
}

#[test]
fn a_plan_whose_last_object_ended_early_keeps_no_later_one() {
    let mut store = begun(&TestPorts::new(1));
    let ids = |store: &Store| -> Vec<u64> { store.head.plans.iter().map(|plan| plan.id).collect() };
    for _ in 0..3 {
        let plan = plan(&mut store, 1);
        store.checkpoint(Vec::new(), Some(plan), |_| ()).expect("saves");
    }
    store.emitted((1, 0, 1));
    store.acked((1, 0, 1));
    // The rest of it was not there any more, and nothing of the second plan was a record.
    store.delivered(2);
    store.tidy().expect("saves");
    assert_eq!(ids(&store), [1, 3], "a restart at the last ack looks for the rest");
    store.emitted((3, 0, ALL));
    store.delivered(3);
    store.acked((3, 0, ALL));
    store.tidy().expect("saves");
    assert_eq!(ids(&store), [0; 0]);
}

#[test]
fn the_feed_is_full_by_what_was_delivered_and_not_acked() {
    let mut store = begun(&TestPorts::new(1));
    let large = Plan {
        id: 1,
        phase: Phase::Changes,
        cut: Timestamp(1),
        runs: Vec::new(),
        count: 1,
        bytes: limits::PLANS_UNACKED_BYTES_MAX + 1,
    };
    store.emitted((1, 0, ALL));
    store.checkpoint(Vec::new(), Some(large), |_| ()).expect("saves");
    assert!(!store.is_full(), "one plan of any size is delivered");
    store.delivered(1);
    assert!(store.is_full());
    store.acked((1, 0, ALL));
    assert!(!store.is_full());
}

#[test]
fn each_correction_changes_what_is_known() {
    let known = |reader, listed: &[u64]| Known {
        reader,
        listed: listed.iter().copied().map(Digest).collect(),
        groups: Vec::new(),
    };
    let untold = |has| Corrected::Untold { has };
    let object = |digest| Has::Object(Digest(digest));
    let (top, nothing, doubtful) = (Reader::Top, Reader::Nothing, Reader::Doubtful);
    for (before, digest, now, after) in [
        // The top could not be read: it is due again.
        (known(top, &[2, 1]), 2, untold(object(1)), known(top, &[1])),
        (known(top, &[2, 1]), 2, untold(object(9)), known(doubtful, &[1])),
        (known(top, &[2, 1]), 2, untold(Has::Nothing), known(nothing, &[1])),
        (known(top, &[2, 1]), 2, untold(Has::Doubtful), known(doubtful, &[1])),
        (known(top, &[2]), 2, untold(Has::Nothing), known(nothing, &[])),
        // An older one could not be: something newer was told since.
        (known(top, &[2, 1]), 1, untold(Has::Nothing), known(top, &[2])),
        (known(nothing, &[3, 2, 1]), 1, untold(object(9)), known(nothing, &[3, 2])),
        // One that was told again, and isn't known one by one.
        (known(top, &[2, 1]), 7, untold(Has::Doubtful), known(doubtful, &[2, 1])),
        // It was replaced, and what replaced it was told.
        (known(top, &[2, 1]), 2, Corrected::Told(Digest(5)), known(top, &[5, 1])),
        (known(doubtful, &[2, 1]), 2, Corrected::Told(Digest(5)), known(top, &[5, 1])),
        (known(top, &[2, 1]), 1, Corrected::Told(Digest(5)), known(top, &[2, 5])),
        (known(nothing, &[3, 1]), 1, Corrected::Told(Digest(5)), known(nothing, &[3, 5])),
        (known(top, &[2, 1]), 7, Corrected::Told(Digest(5)), known(top, &[2, 1])),
        // It was gone when its plan was delivered once more.
        (known(top, &[2, 1]), 0, Corrected::Deleted, known(nothing, &[2, 1])),
        // It was listed again.
        (known(top, &[2, 1]), 0, Corrected::Kept(known(doubtful, &[9])), known(top, &[2, 1])),
    ] {
        let mut entries = vec![entry("a"), Entry { key: "k".to_owned(), known: before.clone() }, entry("z")];
        correction("k", digest, now.clone()).apply(&mut entries);
        let expected = [entry("a"), Entry { key: "k".to_owned(), known: after }, entry("z")];
        assert_eq!(entries, expected, "{before:?} {digest} {now:?}");
    }
    // Of a key with very many versions, one that isn't known one by one is among the older ones.
    let many = Known { groups: vec![5], ..known(top, &[2, 1]) };
    let mut entries = vec![Entry { key: "k".to_owned(), known: many.clone() }];
    correction("k", 7, untold(object(9))).apply(&mut entries);
    assert_eq!(entries[0].known, many);
    // Of a key that is not known only that it is there matters.
    for (now, count) in
        [(untold(Has::Nothing), 2), (Corrected::Told(Digest(1)), 2), (Corrected::Kept(known(nothing, &[9])), 3)]
    {
        let mut entries = vec![entry("a"), entry("z")];
        correction("k", 1, now).apply(&mut entries);
        assert_eq!(entries.len(), count);
        assert!(entries.is_sorted_by(|a, b| a.key < b.key));
    }
}

#[test]
fn corrections_outlive_a_restart_and_go_with_the_catalogue_that_has_them() {
    let ports = TestPorts::new(1);
    let mut store = begun(&ports);
    fill(&mut store);
    let before = store.segments.clone();
    let kept = Known { reader: Reader::Top, listed: vec![Digest(9)], groups: Vec::new() };
    store.correct(correction("b", 1, Corrected::Untold { has: Has::Object(Digest(2)) }));
    store.save_corrections().expect("saves");
    store.correct(correction("d", 1, Corrected::Told(Digest(5))));
    store.correct(correction("0", 0, Corrected::Kept(kept.clone())));
    store.save_corrections().expect("saves");
    store.save_corrections().expect("there is nothing to save");
    assert_eq!(names(&ports), named(&store));
    let surprises = [("0".to_owned(), Has::Object(Digest(0))), ("b".to_owned(), Has::Object(Digest(2)))];
    assert_eq!(store.surprises(), surprises.clone().into());
    let mut again = load(&ports);
    assert_eq!(again.surprises(), surprises.into());
    again.apply_corrections().expect("corrects");
    assert_eq!(names(&ports), named(&again));
    assert_eq!(load(&ports).segments, again.segments);
    assert!(load(&ports).surprises().is_empty());
    let [first, second, third] = &again.segments[..] else { panic!("{:?}", again.segments) };
    assert_eq!(*second, before[1], "it is not touched");
    assert!(first.is_doubtful && third.is_doubtful, "the next poll reads them");
    assert_eq!((first.sum, first.listed, &*first.first), (10, 2, "0"));
    let entries = again.load_segment(first).expect("loads");
    assert_eq!(entries[0], Entry { key: "0".to_owned(), known: kept });
    assert_eq!(entries[1], entry("a"));
    assert_eq!(entries[2].known.listed, [Digest(2)]);
    assert_eq!(again.load_segment(third).expect("loads")[0].known.listed, [Digest(5), Digest(2)]);
    again.apply_corrections().expect("there is nothing to correct");
}

#[test]
fn keys_that_a_hole_left_out_come_back_as_segments_that_a_host_takes() {
    let ports = TestPorts::new(1);
    let mut store = begun(&ports);
    let first = segment(&mut store, &["a", "z"]);
    store.checkpoint(vec![first], None, |_| ()).expect("saves");
    let key = |n: u32| format!("k{:08x}{}", n.reverse_bits(), "x".repeat(500));
    for n in 0..5000 {
        let known = entry("k").known;
        store.correct(correction(&key(n), 0, Corrected::Kept(known)));
    }
    store.apply_corrections().expect("corrects");
    let segments = load(&ports).segments;
    assert_eq!(segments, store.segments);
    assert!(segments.len() > 5, "{}", segments.len());
    assert!(segments.is_sorted_by(|a, b| a.first < b.first) && segments.iter().all(|one| one.is_doubtful));
    assert_eq!(segments.iter().map(|segment| segment.keys).sum::<u64>(), 5002);
    assert_eq!((segments[0].sum, segments[0].listed), (10, 2));
    assert_eq!(segments.iter().map(|segment| segment.listed).sum::<u64>(), 2);
}

#[test]
fn corrections_of_keys_with_many_versions_are_values_that_a_host_takes() {
    let ports = TestPorts::new(1);
    let mut store = begun(&ports);
    let known = Known { reader: Reader::Top, listed: vec![Digest(u64::MAX); 4096], groups: vec![1; 1000] };
    for n in 0..100 {
        store.correct(correction(&format!("{n:01000}"), 0, Corrected::Kept(known.clone())));
    }
    store.save_corrections().expect("the ports fail a value that is too large");
    assert_eq!(load(&ports).saved, store.saved);
}

#[test]
fn saved_state_that_is_damaged_is_corrupt_and_named() {
    let ports = TestPorts::new(1);
    let mut store = begun(&ports);
    fill(&mut store);
    store.correct(correction("a", 1, Corrected::Untold { has: Has::Nothing }));
    store.save_corrections().expect("saves");
    let read = || -> Result<()> {
        let (store, _) = CheckpointStore::load(ports.clone())?;
        store.segments.iter().try_for_each(|segment| store.load_segment(segment).map(drop))?;
        let plan = store.head.plans[0].clone();
        let mut reader = PlanReader::new(plan);
        let mut store = store;
        reader.skip_to(u64::MAX, &mut store)
    };
    read().expect("is whole");
    for (name, value) in ports.saved() {
        let newer = [&[value[0] + 1], &value[1..]].concat();
        for damaged in [&[], &value[..1], &value[..value.len() - 1], &newer] {
            ports.commit(vec![Edit::save(name.clone(), damaged)]).expect("keeps it");
            let error = read().expect_err(&name);
            assert_eq!(error.kind, ErrorKind::Corrupt, "{name}");
            assert!(error.message.contains(&format!("name=`{name}`")), "{name}: {error}");
        }
        if name != "head" && !name.starts_with("f-") {
            ports.commit(vec![Edit::remove(name.clone())]).expect("removes it");
            assert_eq!(read().expect_err(&name).kind, ErrorKind::Corrupt, "{name}");
        }
        ports.commit(vec![Edit::save(name, value)]).expect("keeps it");
    }
    read().expect("is whole again");
}

#[test]
fn what_is_named_twice_is_damage_and_no_commit_that_a_host_refuses() {
    let ports = TestPorts::new(1);
    let mut store = begun(&ports);
    fill(&mut store);
    let (generation, _) = store.head.manifest;
    let (manifest, head) = (manifest_name(generation, 0), "head".to_owned());
    let saved = ports.saved();
    let twice = [&store.segments[..], &store.segments[..1]].concat();
    let unknown = Segment { id: store.head.next_segment, ..store.segments[0].clone() };
    store.head.garbage.push(segment_name(store.segments[0].id));
    for (name, damaged) in [
        (&manifest, encode_manifest(&twice)),
        (&manifest, encode_manifest(&[unknown])),
        (&head, encode(&saved::SavedHead::from(&store.head))),
    ] {
        ports.commit(vec![Edit::save(name.clone(), damaged)]).expect("keeps it");
        let error = CheckpointStore::load(ports.clone()).err().expect(name);
        assert_eq!(error.kind, ErrorKind::Corrupt);
        assert!(error.message.contains(&format!("name=`{name}`")), "{error}");
        ports.commit(vec![Edit::save(name.clone(), saved[name].clone())]).expect("keeps it");
    }
    assert!(CheckpointStore::load(ports).is_ok(), "is whole again");
}
