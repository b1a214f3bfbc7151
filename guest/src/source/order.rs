//! Owns the order of storage within a page of versions: newest first within each key. Leaves what follows from it to
//! `judge`.
//!
//! AWS and MinIO list versions and delete markers of a key interleaved, in the order of storage, so that their document is
//! right as it stands. Other stores write all delete markers of a page before its versions, or after them: then only the
//! order within a kind is known. Across the kinds the latest leads, and time decides; within a second they take turns.
//! Which kind a store is, its pages show.

use std::cell::Cell;
use std::cmp::Ordering;
use std::iter::Peekable;

use crate::s3::VersionEntry;

/// Whether a store lists the kinds interleaved; `None` while no page has shown it.
pub(super) type Interleaved = Cell<Option<bool>>;

/// Brings the entries of a page into the order of keys, and of storage within each.
pub(super) fn in_order(mut page: Vec<VersionEntry>, interleaved: &Interleaved) -> Vec<VersionEntry> {
    if is_broken!(TrustTheOrderOfDocuments) {
        return page;
    }
    let is_by_key = page.is_sorted_by(|a, b| a.object.key <= b.object.key);
    let switches = page.windows(2).filter(|pair| pair[0].is_delete_marker != pair[1].is_delete_marker).count();
    if !is_by_key {
        page.sort_by(|a, b| a.object.key.cmp(&b.object.key));
    }
    if switches == 0 {
        return page;
    }
    if !is_by_key || contradicts_itself(&page) {
        interleaved.set(Some(false));
    } else if switches > 1 {
        interleaved.set(Some(true));
    }
    if interleaved.get() == Some(true) {
        return page;
    }
    let mut ordered = Vec::with_capacity(page.len());
    let mut page = page.into_iter().peekable();
    while let Some(first) = page.next() {
        let mut group = vec![first];
        while let Some(next) = page.next_if(|next| next.object.key == group[0].object.key) {
            group.push(next);
        }
        if interleaved.get() == Some(false)
            || !group.is_sorted_by(|a, b| a.object.last_modified >= b.object.last_modified)
        {
            group = merged(group);
        }
        ordered.append(&mut group);
    }
    ordered
}

/// Whether a key's entries show a latest one that is not the first.
fn contradicts_itself(page: &[VersionEntry]) -> bool {
    page.windows(2).any(|pair| pair[1].is_latest && pair[0].object.key == pair[1].object.key)
}

fn merged(group: Vec<VersionEntry>) -> Vec<VersionEntry> {
    let mut merged: Vec<VersionEntry> = Vec::with_capacity(group.len());
    let (markers, versions): (Vec<_>, Vec<_>) = group.into_iter().partition(|entry| entry.is_delete_marker);
    let (mut versions, mut markers) = (versions.into_iter().peekable(), markers.into_iter().peekable());
    while let Some(is_marker_next) = next_kind(&mut versions, &mut markers, merged.last()) {
        merged.extend(if is_marker_next { markers.next() } else { versions.next() });
    }
    merged
}

/// Whether a delete marker is next; `None` at the end.
fn next_kind(
    versions: &mut Peekable<std::vec::IntoIter<VersionEntry>>,
    markers: &mut Peekable<std::vec::IntoIter<VersionEntry>>,
    newer: Option<&VersionEntry>,
) -> Option<bool> {
    Some(match (versions.peek(), markers.peek()) {
        (None, None) => return None,
        (Some(_), None) => false,
        (None, Some(_)) => true,
        (Some(version), Some(_)) if version.is_latest => false,
        (Some(_), Some(marker)) if marker.is_latest => true,
        (Some(version), Some(marker)) => match marker.object.last_modified.cmp(&version.object.last_modified) {
            Ordering::Greater => true,
            Ordering::Less => false,
            Ordering::Equal => newer.is_none_or(|newer| !newer.is_delete_marker),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::ObjectEntry;
    use crate::time::Timestamp;

    /// Entries written as `v1@10`: a version, or a marker `m`, its name and its time; `*` marks the latest.
    fn page(key: &str, text: &str) -> Vec<VersionEntry> {
        let entry = |word: &str| {
            let (name, time) = word.trim_end_matches('*').split_once('@').expect("has a time");
            let time = Timestamp(time.parse().expect("a number"));
            VersionEntry {
                object: ObjectEntry { key: key.to_owned(), last_modified: time, ..ObjectEntry::default() },
                version_id: name.to_owned(),
                is_latest: word.ends_with('*'),
                is_delete_marker: name.starts_with('m'),
            }
        };
        text.split_whitespace().map(entry).collect()
    }

    fn names(page: &[VersionEntry]) -> String {
        page.iter().map(|entry| entry.version_id.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn an_interleaved_page_is_right_as_it_stands() {
        let interleaved = Interleaved::default();
        let listed = page("a", "v3@1* m2@9 v2@3 m1@9 v1@1");
        assert_eq!(names(&in_order(listed, &interleaved)), "v3 m2 v2 m1 v1");
        assert_eq!(interleaved.get(), Some(true));
        assert_eq!(names(&in_order(page("a", "v2@5 m1@9 v1@1"), &interleaved)), "v2 m1 v1");
    }

    #[test]
    fn kinds_that_are_listed_apart_are_merged_by_time_and_the_latest_leads() {
        let interleaved = Interleaved::default();
        assert_eq!(names(&in_order(page("a", "m2@5 m1@2 v3@5* v2@4 v1@1"), &interleaved)), "v3 m2 v2 m1 v1");
        assert_eq!(interleaved.get(), Some(false));
        assert_eq!(names(&in_order(page("a", "v3@5 v2@4 v1@1 m2@5* m1@2"), &interleaved)), "m2 v3 v2 m1 v1");
        assert_eq!(names(&in_order(page("a", "m2@5 m1@5 v2@5 v1@5"), &interleaved)), "m2 v2 m1 v1");
    }

    #[test]
    fn kinds_that_are_apart_within_each_key_are_not_interleaved() {
        let interleaved = Interleaved::default();
        let listed = [page("a", "v1@1 m1@2*"), page("b", "v1@1 m1@2*")].concat();
        assert_eq!(names(&in_order(listed, &interleaved)), "m1 v1 m1 v1");
        assert_eq!(interleaved.get(), Some(false));
    }

    #[test]
    fn keys_out_of_order_show_that_kinds_are_apart() {
        let interleaved = Interleaved::default();
        let listed = [page("b", "m1@2*"), page("a", "v1@1*"), page("b", "v1@1")].concat();
        assert_eq!(names(&in_order(listed, &interleaved)), "v1 m1 v1");
        assert_eq!(interleaved.get(), Some(false));
    }
}
