//! Owns multipart uploads: parts, and what becomes of them when an upload is completed. Leaves where the object goes to
//! the store.
//!
//! The rules are those of <https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html>.

use std::collections::BTreeMap;
use std::time::SystemTime;

use bytes::Bytes;

use super::bucket::Versioning;
use super::refusal::Refusal;
use super::version::{Etag, Object, ObjectHeaders, Payload, Stamp, hex};

/// The number of the last part an upload can have.
pub(crate) const PART_NUMBER_MAX: u16 = 10_000;

/// A part as it was last uploaded.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) body: Bytes,
    pub(crate) md5: [u8; 16],
    pub(crate) last_modified: SystemTime,
}

/// An upload in progress.
#[derive(Clone, Debug)]
pub(crate) struct Upload {
    pub(crate) started: Stamp,
    /// That of the bucket at the start.
    pub(crate) versioning: Versioning,
    pub(crate) headers: ObjectHeaders,
    pub(crate) parts: BTreeMap<u16, Part>,
}

impl Upload {
    pub(crate) fn new(started: Stamp, versioning: Versioning, headers: ObjectHeaders) -> Self {
        Self { started, versioning, headers, parts: BTreeMap::new() }
    }

    /// Puts the named parts together; the upload stays as it was.
    pub(crate) fn assemble(&self, named: &[(u16, String)], part_size_min: u64) -> Result<Object, Refusal> {
        if named.is_empty() {
            return Err(Refusal::malformed_xml());
        }
        if !named.is_sorted_by(|(left, _), (right, _)| left < right) {
            let message = "The list of parts was not in ascending order. The parts list must be \
                           specified in order by part number.";
            return Err(Refusal::new(400, "InvalidPartOrder", message));
        }
        let parts = named.iter().map(|(number, etag)| self.part(*number, etag));
        let parts = parts.collect::<Result<Vec<_>, _>>()?;
        let but_last = &parts[..parts.len() - 1];
        if but_last.iter().any(|part| (part.body.len() as u64) < part_size_min) {
            let message = "Your proposed upload is smaller than the minimum allowed size";
            return Err(Refusal::new(400, "EntityTooSmall", message));
        }
        let md5s: Vec<&[u8]> = parts.iter().map(|part| part.md5.as_slice()).collect();
        let payload = Payload::of_pieces(parts.iter().map(|part| part.body.clone()).collect());
        Ok(Object::new(payload, Etag::of_parts(&md5s), self.headers.clone()))
    }

    fn part(&self, number: u16, etag: &str) -> Result<&Part, Refusal> {
        let found = self.parts.get(&number).filter(|part| hex(&part.md5) == etag);
        found.ok_or_else(|| {
            let message = "One or more of the specified parts could not be found. The part may \
                           not have been uploaded, or the specified entity tag may not match the \
                           part's entity tag.";
            Refusal::new(400, "InvalidPart", message)
        })
    }
}

/// Reads a part number that came with a request.
pub(crate) fn parse_part_number(number: i32) -> Result<u16, Refusal> {
    let number = u16::try_from(number).ok().filter(|number| (1..=PART_NUMBER_MAX).contains(number));
    let message = "Part number must be an integer between 1 and 10000, inclusive";
    number.ok_or_else(|| Refusal::invalid_argument(message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::version::md5_of;

    fn upload(bodies: &[&'static str]) -> (Upload, Vec<(u16, String)>) {
        let started = Stamp { number: 1, time: SystemTime::UNIX_EPOCH };
        let mut upload = Upload::new(started, Versioning::Off, ObjectHeaders::default());
        let mut named = Vec::new();
        for (number, body) in (1..).zip(bodies) {
            let md5 = md5_of(&[body.as_bytes()]);
            let body = Bytes::from_static(body.as_bytes());
            upload.parts.insert(number, Part { body, md5, last_modified: SystemTime::UNIX_EPOCH });
            named.push((number, hex(&md5)));
        }
        (upload, named)
    }

    #[test]
    fn parts_make_one_object_in_their_order() {
        let (upload, named) = upload(&["aaa", "bb", "c"]);
        let object = upload.assemble(&named, 2).unwrap();
        assert_eq!(object.payload.bytes(), "aaabbc");
        assert_eq!(object.etag.parts_count, 3);
        assert_eq!(upload.assemble(&named[1..], 2).unwrap().payload.bytes(), "bbc");
    }

    #[test]
    fn wrong_lists_of_parts_are_refused() {
        let (upload, mut named) = upload(&["aaa", "bb", "c"]);
        let code = |named: &[(u16, String)], min| upload.assemble(named, min).unwrap_err().code;
        assert_eq!(code(&[], 0), "MalformedXML");
        assert_eq!(code(&named, 3), "EntityTooSmall");
        assert_eq!(code(&[named[0].clone(), named[0].clone()], 0), "InvalidPartOrder");
        assert_eq!(code(&[(4, named[0].1.clone())], 0), "InvalidPart");
        named[0].1 = named[1].1.clone();
        assert_eq!(code(&named, 0), "InvalidPart");
    }

    #[test]
    fn part_numbers_end_at_ten_thousand() {
        assert_eq!(parse_part_number(10_000), Ok(10_000));
        assert!(parse_part_number(0).is_err());
        assert!(parse_part_number(10_001).is_err());
    }
}
