//! Owns OpenCDC records as the connector holds them, generic over how a body's bytes are held. Leaves the text form to
//! `json`, and the content of S3's records to `source`.
//!
//! Field names and meanings are those of [OpenCDC](https://conduit.io/docs/using/opencdc-record).

pub mod json;
mod metadata;

use std::convert::Infallible;

use bytes::Bytes;

pub use metadata::{Common, Metadata, Places};

/// What happened to the thing that a record describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// It was created.
    Create,
    /// It changed.
    Update,
    /// It was deleted.
    Delete,
    /// It existed when the source began.
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
        /// Bytes in the body, where the sender declared them.
        length: Option<u64>,
        /// The handle: it can be read once.
        bytes: B,
    },
}

/// A payload before and after the operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change<B> {
    /// The payload before, where the source knows it.
    pub before: Option<Data<B>>,
    /// The payload after; `None` for a delete.
    pub after: Option<Data<B>>,
}

/// One OpenCDC record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<B> {
    /// The point that the source has reached with this record.
    pub position: Bytes,
    /// What happened.
    pub operation: Operation,
    /// Further properties.
    pub metadata: Metadata,
    /// The key of the thing that the record describes.
    pub key: Option<Data<B>>,
    /// The payload.
    pub payload: Change<B>,
}

/// The type of a body where there can't be one: all bytes are in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoBody {}

impl<B> Record<B> {
    /// The same record, with each of its data replaced: key, payload before, payload after, in this order.
    pub fn map_data<C>(self, mut map: impl FnMut(Data<B>) -> Data<C>) -> Record<C> {
        let Ok(record) = self.try_map_data(|data| Ok::<_, Infallible>(map(data)));
        record
    }

    /// As [`Self::map_data`], up to the first error.
    ///
    /// # Errors
    ///
    /// The first of `map`.
    pub fn try_map_data<C, E>(self, mut map: impl FnMut(Data<B>) -> Result<Data<C>, E>) -> Result<Record<C>, E> {
        let Self { position, operation, metadata, key, payload } = self;
        let key = key.map(&mut map).transpose()?;
        let before = payload.before.map(&mut map).transpose()?;
        let after = payload.after.map(&mut map).transpose()?;
        Ok(Record { position, operation, metadata, key, payload: Change { before, after } })
    }

    /// The same record with all bytes in memory. `read` gets the name of the field, the declared length and the handle
    /// of each body, one after the other.
    ///
    /// # Errors
    ///
    /// The first of `read`.
    pub async fn read_bodies<F, E>(self, read: impl Fn(&'static str, Option<u64>, B) -> F) -> Result<Record<NoBody>, E>
    where
        F: Future<Output = Result<Bytes, E>>,
    {
        let Self { position, operation, metadata, key, payload } = self;
        let read = async |field, data| match data {
            None => Ok(None),
            Some(Data::Raw(bytes)) => Ok(Some(Data::Raw(bytes))),
            Some(Data::Structured(text)) => Ok(Some(Data::Structured(text))),
            Some(Data::Body { length, bytes }) => read(field, length, bytes).await.map(|bytes| Some(Data::Raw(bytes))),
        };
        let key = read("key", key).await?;
        let before = read("payload.before", payload.before).await?;
        let after = read("payload.after", payload.after).await?;
        Ok(Record { position, operation, metadata, key, payload: Change { before, after } })
    }
}

impl Record<NoBody> {
    /// The same record as one that may have bodies.
    pub fn widen<B>(self) -> Record<B> {
        self.map_data(|data| match data {
            Data::Raw(bytes) => Data::Raw(bytes),
            Data::Structured(text) => Data::Structured(text),
            Data::Body { bytes, .. } => match bytes {},
        })
    }
}

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
    /// Bytes that cross with the record itself, not by handle. Common metadata count for each record.
    pub fn inline_bytes(&self) -> u64 {
        let data = [&self.key, &self.payload.before, &self.payload.after];
        let data = data.into_iter().flatten().map(|data| match data {
            Data::Raw(bytes) => bytes.len(),
            Data::Structured(text) => text.len(),
            Data::Body { .. } => 0,
        });
        (self.position.len() + data.sum::<usize>()) as u64 + self.metadata.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    fn record() -> Record<u64> {
        Record {
            position: Bytes::from_static(b"p"),
            operation: Operation::Update,
            metadata: Metadata::from([("a".to_owned(), "b".to_owned())]),
            key: Some(Data::Body { length: Some(1), bytes: 1 }),
            payload: Change {
                before: Some(Data::Structured("{}".to_owned())),
                after: Some(Data::Body { length: None, bytes: 3 }),
            },
        }
    }

    #[test]
    fn data_are_mapped_in_order_up_to_the_first_error() {
        let mut lengths = Vec::new();
        let mapped = record().map_data(|data| {
            lengths.push(data.length());
            Data::<NoBody>::Raw(Bytes::from_static(b"x"))
        });
        assert_eq!(lengths, [Some(1), Some(2), None]);
        assert_eq!(mapped.metadata, record().metadata);
        assert_eq!(mapped.payload.after, Some(Data::Raw(Bytes::from_static(b"x"))));
        let failed = record().try_map_data(|data| data.length().map(|_| data).ok_or("no length"));
        assert_eq!(failed, Err("no length"));
    }

    #[test]
    fn bodies_are_read_and_all_else_stays() {
        let read = |field, length: Option<u64>, body: u64| async move {
            if body == 4 { Err("broken") } else { Ok(Bytes::from(format!("{field} {length:?} {body}"))) }
        };
        let whole = record().read_bodies(read).now_or_never().expect("waits for nothing").expect("reads");
        let raw = |text: &'static str| Some(Data::Raw(Bytes::from_static(text.as_bytes())));
        assert_eq!(
            (whole.key.clone(), whole.payload.after.clone()),
            (raw("key Some(1) 1"), raw("payload.after None 3"))
        );
        assert_eq!(whole.payload.before, Some(Data::Structured("{}".to_owned())));
        assert_eq!(whole.clone().widen::<NoBody>(), whole);
        let broken = Record { key: Some(Data::Body { length: None, bytes: 4 }), ..record() };
        assert_eq!(broken.read_bodies(read).now_or_never(), Some(Err("broken")));
    }

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
