//! OpenCDC records as the connector holds them, generic over how a body's bytes are held.
//!
//! The text form is in `json`; what goes into a record of S3 is the source's business.
//! Field names and meanings are those of [OpenCDC](https://conduit.io/docs/using/opencdc-record).

pub mod json;

use std::collections::BTreeMap;

use bytes::Bytes;

/// Record metadata by name, in the order of names.
pub type Metadata = BTreeMap<String, String>;

/// What happened to the thing that a record describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// It came to be.
    Create,
    /// It changed.
    Update,
    /// It is gone.
    Delete,
    /// It was there when the source first looked.
    Snapshot,
}

impl Operation {
    /// The name that OpenCDC gives the operation.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Snapshot => "snapshot",
        }
    }

    /// The operation of that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Create, Self::Update, Self::Delete, Self::Snapshot].into_iter().find(|o| o.as_str() == name)
    }
}

/// A key or a payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data<B> {
    /// Bytes in memory.
    Raw(Bytes),
    /// The text of a JSON object.
    Structured(String),
    /// Bytes by handle.
    Body {
        /// Bytes in the body, where the sender said so.
        length: Option<u64>,
        /// Whoever holds this may read it, once.
        bytes: B,
    },
}

/// A payload before and after the operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change<B> {
    /// The payload before, where the source knows it.
    pub before: Option<Data<B>>,
    /// The payload after; none for a delete.
    pub after: Option<Data<B>>,
}

/// One OpenCDC record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<B> {
    /// Where the source stands after this record.
    pub position: Bytes,
    /// What happened.
    pub operation: Operation,
    /// What else is known.
    pub metadata: Metadata,
    /// What the record is about.
    pub key: Option<Data<B>>,
    /// The payload.
    pub payload: Change<B>,
}

/// The type of a body where there can't be one: all bytes are in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoBody {}

impl<B> Data<B> {
    /// Bytes of the data, where they are known without reading.
    pub fn length(&self) -> Option<u64> {
        match self {
            Self::Raw(bytes) => Some(bytes.len() as u64),
            Self::Structured(text) => Some(text.len() as u64),
            Self::Body { length, .. } => *length,
        }
    }
}

impl<B> Record<B> {
    /// Bytes that cross with the record itself, not by handle.
    pub fn inline_bytes(&self) -> u64 {
        let data = [&self.key, &self.payload.before, &self.payload.after];
        let data = data.into_iter().flatten().map(|data| match data {
            Data::Raw(bytes) => bytes.len(),
            Data::Structured(text) => text.len(),
            Data::Body { .. } => 0,
        });
        let metadata = self.metadata.iter().map(|(name, value)| name.len() + value.len());
        (self.position.len() + metadata.sum::<usize>() + data.sum::<usize>()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_by_handle_are_not_in_the_record() {
        let record = Record {
            position: Bytes::from_static(b"12"),
            operation: Operation::Update,
            metadata: [("345".to_owned(), "6789".to_owned())].into(),
            key: Some(Data::Structured("01".to_owned())),
            payload: Change {
                before: Some(Data::Raw(Bytes::from_static(b"234"))),
                after: Some(Data::Body { length: Some(1000), bytes: () }),
            },
        };
        assert_eq!(record.inline_bytes(), 14);
    }

    #[test]
    fn a_length_is_known_where_nothing_must_be_read_for_it() {
        let bytes = Data::<()>::Raw(Bytes::from_static(b"\xff\0"));
        assert_eq!(bytes.length(), Some(2));
        assert_eq!(Data::<()>::Structured("{\"ü\":1}".to_owned()).length(), Some(8));
        for length in [None, Some(u64::MAX)] {
            assert_eq!(Data::Body { length, bytes: () }.length(), length);
        }
    }
}
