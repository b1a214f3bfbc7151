//! What a listing by ranges costs, and that it shows what a serial one shows, in virtual time.

use std::cell::RefCell;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::*;
use crate::config::BucketConfig;
use crate::ports::{Clock as _, Request};
use crate::testing::{Reply, SplitMix64, TestPorts};

const PAGE_TIME: Duration = Duration::from_millis(80);

/// A store of keys, of one version each, and how it misbehaves.
#[derive(Clone, Default)]
struct Store {
    keys: Rc<RefCell<Vec<String>>>,
    page: usize,
    /// Whether it has no versions.
    is_plain: bool,
    /// Whether it leaves out the first key after a marker that is none of its keys.
    skips: bool,
    /// Whether it begins at the first key where a marker is none of its keys.
    begins_anew: bool,
    /// Whether a marker is listed itself.
    is_inclusive: bool,
    /// Whether it refuses a marker that is none of its keys.
    refuses: bool,
}

impl Store {
    fn of(keys: Vec<String>, page: usize) -> Self {
        Self { keys: Rc::new(RefCell::new(keys)), page, ..Self::default() }
    }

    fn answer(&self, request: &Request) -> Reply {
        let query = request.path_with_query.split_once('?').expect("has a query").1;
        let value = |name: &str| {
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            let value = pairs.find(|(found, _)| *found == name)?.1;
            Some(percent_decode_str(value).decode_utf8().expect("is UTF-8").into_owned())
        };
        if self.is_plain && query.starts_with("versions") {
            return Reply::error(501, "NotImplemented", "No versions.");
        }
        let token = value("version-id-marker").or_else(|| value("continuation-token"));
        let after = value("key-marker").or_else(|| value("start-after")).or_else(|| value("continuation-token"));
        let keys = self.keys.borrow();
        let mut from = 0;
        if let Some(after) = &after {
            let is_odd = token.is_none() && keys.binary_search(after).is_err();
            if self.refuses && is_odd {
                return Reply::error(400, "InvalidArgument", "No such marker.");
            }
            from = keys.partition_point(|key| key <= after);
            from += usize::from(self.skips && is_odd);
            from -= usize::from(self.is_inclusive && token.is_none() && !is_odd);
            from = if self.begins_anew && is_odd { 0 } else { from };
        }
        let page = keys.get(from..).unwrap_or_default();
        let (page, is_more) = (&page[..page.len().min(self.page)], page.len() > self.page);
        let encoded = |key: &str| utf8_percent_encode(key, NON_ALPHANUMERIC).to_string();
        let last = page.last().filter(|_| is_more);
        let last = last.map(|key| if self.is_plain { key.clone() } else { encoded(key) });
        let (root, element, next) = match self.is_plain {
            true => ("ListBucketResult", "Contents", ["NextContinuationToken"].as_slice()),
            false => ("ListVersionsResult", "Version", ["NextKeyMarker", "NextVersionIdMarker"].as_slice()),
        };
        let mut text = format!("<{root}><EncodingType>url</EncodingType><IsTruncated>{is_more}</IsTruncated>");
        for name in next {
            text += &last.as_ref().map_or(String::new(), |last| format!("<{name}>{last}</{name}>"));
        }
        for key in page {
            text += &format!(
                "<{element}><Key>{}</Key><ETag>1</ETag><LastModified>2026-11-27T00:00:00Z</LastModified><Size>0</Size>\
                 <VersionId>v</VersionId><IsLatest>true</IsLatest></{element}>",
                encoded(key)
            );
        }
        Reply::status(200).body(&[(text + &format!("</{root}>")).as_bytes()]).after(PAGE_TIME)
    }
}

/// What a listing came to.
#[derive(Debug, PartialEq)]
struct Outcome {
    keys: Vec<String>,
    requests: usize,
    pages: u128,
    held_most: usize,
    is_serial: bool,
}

/// Lists a store; `meanwhile` may change it between pages.
fn list(store: &Store, hints: &[&str], concurrency: usize, bounds: Bounds, meanwhile: impl Fn(usize)) -> Outcome {
    let ports = TestPorts::new(1);
    let server = store.clone();
    ports.serve(move |request| server.answer(request));
    let settings = [("aws.bucket", "b1x"), ("aws.region", "us-east-1"), ("aws.endpoint", "http://store:9000")];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let client = Client::new(ports.clone(), BucketConfig::parse(&settings).expect("good settings"));
    let hints = hints.iter().map(|hint| (*hint).to_owned()).collect();
    let (oddities, versions) = (Rc::new(Oddities::default()), Some(!store.is_plain));
    let mut sweep = Sweep::new(ports.clone(), client, Rc::clone(&oddities), versions, hints, concurrency, bounds);
    let (mut keys, mut held_most) = (Vec::new(), 0);
    while let Some(page) = ports.block_on(sweep.page()).expect("nothing fails") {
        keys.extend(page.entries.into_iter().map(|entry| entry.object.key));
        held_most = held_most.max(sweep.held_bytes);
        meanwhile(keys.len());
    }
    assert_eq!(sweep.held_bytes, 0, "all of it was handed out or dropped");
    let pages = ports.elapsed().as_millis() / PAGE_TIME.as_millis();
    let requests = ports.requests().len();
    Outcome { keys, requests, pages, held_most, is_serial: oddities.lists_serially.get() }
}

fn even(count: u32) -> Vec<String> {
    (0..count).map(|number| format!("events/2026/{:05}/object-{number:09}.json", number / 1000)).collect()
}

fn skewed(count: u32) -> Vec<String> {
    let name = |number: u32| {
        let directory = match number * 20 / count {
            0 => "aa/",
            19 => "zürich/日本/",
            _ => "exports/production/eu-west-1/warehouse/orders/year=2026/month=11/day=27/hour=00/part",
        };
        format!("{directory}/object-{number:09}.json")
    };
    (0..count).map(name).collect()
}

fn random(count: u32) -> Vec<String> {
    let mut seed = SplitMix64::new(9);
    let mut keys: Vec<_> = (0..count).map(|_| format!("objects/{:016x}", seed.next())).collect();
    keys.sort();
    keys
}

/// Directories of very different sizes.
fn uneven(count: u32) -> Vec<String> {
    let mut seed = SplitMix64::new(4);
    let mut keys = Vec::new();
    while keys.len() < count as usize {
        let name = seed.next() % 1_000_000;
        let size = (1 << (seed.next() % 15)).min(count as usize - keys.len());
        keys.extend((0..size).map(|number| format!("tenants/{name:x}/{number}")));
    }
    keys.sort();
    keys.dedup();
    keys
}

/// What a listing may take: requests in hundredths of a serial one's, and the time of so many pages.
fn check(name: &str, store: &Store, hints: &[&str], pages_most: u128) {
    let serial = store.keys.borrow().len().div_ceil(store.page);
    let listed = list(store, hints, 16, Bounds::SOURCE, |_| {});
    assert!(listed.keys == *store.keys.borrow(), "{name}");
    let Outcome { requests, pages, held_most, .. } = listed;
    println!("{name}: {requests} requests of {serial}, the time of {pages}, {held_most} bytes");
    assert!(requests <= serial * 110 / 100 + 1, "{name}: {requests} requests of {serial}");
    assert!(pages <= pages_most, "{name}: the time of {pages}");
}

#[test]
fn many_keys_are_listed_by_ranges_without_many_more_requests() {
    for (name, keys, page, guessed, hinted) in [
        ("even", even(100_000), 100, 190, 80),
        // A directory per page.
        ("even", even(300_000), 1000, 40, 32),
        ("skewed", skewed(100_000), 100, 120, 80),
        ("random", random(100_000), 100, 100, 80),
        ("uneven", uneven(100_000), 100, 120, 80),
    ] {
        let store = Store::of(keys.clone(), page);
        check(name, &store, &[], guessed);
        let bounds: Vec<_> = keys.iter().step_by(page * 137 / 10).skip(1).map(String::as_str).collect();
        check(name, &store, &bounds, hinted);
    }
}

#[test]
fn a_small_bucket_costs_no_further_request() {
    for count in [0, 1, 999, 1000] {
        let listed = list(&Store::of(even(count), 1000), &[], 16, Bounds::SOURCE, |_| {});
        assert_eq!((listed.requests, listed.keys.len()), (1, count as usize));
    }
}

#[test]
fn what_waits_is_bounded() {
    let bounds = Bounds { list_held_bytes: 200_000, ..Bounds::SOURCE };
    let keys = even(50_000);
    let listed = list(&Store::of(keys.clone(), 100), &[], 16, bounds, |_| {});
    assert!(listed.keys == keys);
    // What was on its way when the bound was reached comes on top.
    assert!(listed.held_most < 200_000 + 20 * 100 * 250, "{}", listed.held_most);
}

#[test]
fn a_store_that_misbehaves_is_listed_serially_and_nothing_is_lost() {
    let (keys, page) = (skewed(20_000), 50);
    let store = Store::of(keys.clone(), page);
    for (store, is_distrusted) in [
        (Store { skips: true, ..store.clone() }, true),
        (Store { begins_anew: true, ..store.clone() }, true),
        (Store { is_inclusive: true, ..store.clone() }, false),
        (Store { refuses: true, ..store.clone() }, false),
        (Store { is_plain: true, ..store.clone() }, false),
    ] {
        for hints in [vec![], vec!["b", "exports/production/x", keys[5000].as_str(), "zzz"]] {
            let listed = list(&store, &hints, 16, Bounds::SOURCE, |_| {});
            assert!(listed.keys == keys);
            assert!(!listed.is_serial || is_distrusted);
            let most = keys.len() / page * 2;
            assert!(listed.requests < most, "{} of {most}", listed.requests);
        }
    }
}

#[test]
fn keys_that_stay_are_listed_once_whatever_comes_and_goes() {
    let small = Bounds { list_pages: 1, list_entries: 1, list_held_bytes: 3000, list_guesses: 100, ..Bounds::SOURCE };
    for seed in 0..100 {
        let mut dice = SplitMix64::new(seed);
        let mut below = |most: u64| dice.next() % most;
        let keys = match seed % 3 {
            0 => even(300),
            1 => skewed(300),
            _ => random(300),
        };
        let (mut kept, mut stays) = (keys.clone(), keys.clone());
        kept.retain(|_| below(8) > 0);
        stays.retain(|key| kept.contains(key));
        let goes: Vec<_> = keys.iter().filter(|key| !stays.contains(key)).cloned().collect();
        let store = Store {
            page: 1 + below(7) as usize,
            is_plain: below(3) == 0,
            is_inclusive: below(4) == 0,
            skips: below(4) == 0,
            ..Store::of(keys.clone(), 0)
        };
        let hints: Vec<_> = keys.iter().filter(|_| below(20) == 0).map(String::as_str).collect();
        let (now, dice) = (Rc::clone(&store.keys), RefCell::new(SplitMix64::new(seed)));
        let listed = list(&store, &hints, 1 + below(16) as usize, small, |_| {
            let key = &goes[(dice.borrow_mut().next() % goes.len() as u64) as usize];
            let now = &mut *now.borrow_mut();
            match now.binary_search(key) {
                Ok(at) => drop(now.remove(at)),
                Err(at) => now.insert(at, key.clone()),
            }
        });
        assert!(listed.keys.is_sorted_by(|a, b| a < b), "seed {seed}");
        let missing = stays.iter().find(|key| listed.keys.binary_search(key).is_err());
        assert_eq!(missing, None, "seed {seed}");
    }
}
