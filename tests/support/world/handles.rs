//! Owns one interface to the sources and destinations of any world, with records whose bytes are in memory. Leaves all
//! that they do to the core or the component: these are conversions.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use s3_connector::destination::Destination as CoreDestination;
use s3_connector::error::{Error as CoreError, ErrorKind as CoreKind};
use s3_connector::ports::Body as _;
use s3_connector::source::Source as CoreSource;
use s3_connector_host::{
    Ack, Destination as HostDestination, Error, ErrorKind, Progress, READ_BYTES_MAX, Result, Source as HostSource,
    record,
};

use super::Record;
use super::native::{NativeBody, NativePorts};

/// A record as the core has it.
type CoreRecord = s3_connector::record::Record<NativeBody>;

/// A source in any world.
pub enum Source {
    /// The core.
    Native(Box<CoreSource<NativePorts>>, NativePorts),
    /// The component in its host.
    Component(Box<HostSource>),
}

/// A destination in any world.
pub enum Destination {
    /// The core.
    Native(Box<CoreDestination<NativePorts>>),
    /// The component in its host.
    Component(Box<HostDestination>),
}

impl Source {
    /// The host's, for tests of what only the host shows.
    pub fn into_host(self) -> HostSource {
        match self {
            Self::Component(source) => *source,
            Self::Native(..) => panic!("a case that needs the host excepts the native world"),
        }
    }

    /// As [`HostSource::open`].
    ///
    /// # Errors
    ///
    /// The connector's.
    pub async fn open(&mut self, position: Option<&[u8]>) -> Result<()> {
        match self {
            Self::Native(source, _) => source.open(position).await.map_err(lift_error),
            Self::Component(source) => source.open(position).await,
        }
    }

    /// As [`HostSource::read`], and reads the bodies too.
    ///
    /// # Errors
    ///
    /// The connector's, or a body's that broke off.
    pub async fn read(&mut self, records_max: u32, wait: Duration) -> Result<Vec<Record>> {
        self.read_at_most(records_max, READ_BYTES_MAX, wait).await
    }

    /// As [`HostSource::read_at_most`], and reads the bodies too.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub async fn read_at_most(&mut self, records_max: u32, bytes_max: u64, wait: Duration) -> Result<Vec<Record>> {
        let mut whole = Vec::new();
        match self {
            Self::Native(source, _) => {
                let records = source.read(records_max as usize, bytes_max, wait).await.map_err(lift_error)?;
                for record in records {
                    whole.push(collect(record).await?);
                }
            }
            Self::Component(source) => {
                for record in source.read_at_most(records_max, bytes_max, wait).await? {
                    whole.push(record::collect(record).await?);
                }
            }
        }
        Ok(whole)
    }

    /// As [`HostSource::ack`].
    ///
    /// # Errors
    ///
    /// The connector's.
    pub async fn ack(&mut self, position: &[u8]) -> Result<()> {
        match self {
            Self::Native(source, _) => source.ack(position).map(drop).map_err(lift_error),
            Self::Component(source) => source.ack(position).await,
        }
    }

    /// As [`HostSource::progress`].
    ///
    /// # Errors
    ///
    /// If the instance is gone.
    pub async fn progress(&mut self) -> Result<Progress> {
        match self {
            Self::Native(source, ports) => {
                let progress = source.progress();
                Ok(Progress {
                    caught_up: progress.is_caught_up,
                    skipped: ports.skipped(),
                    counters: progress.counts.iter().map(|(name, count)| (name.to_owned(), count)).collect(),
                })
            }
            Self::Component(source) => source.progress().await,
        }
    }

    /// As [`HostSource::teardown`].
    ///
    /// # Errors
    ///
    /// If the instance is gone.
    pub async fn teardown(&mut self) -> Result<()> {
        match self {
            Self::Native(source, _) => {
                source.teardown();
                Ok(())
            }
            Self::Component(source) => source.teardown().await,
        }
    }
}

impl Destination {
    /// As [`HostDestination::open`].
    ///
    /// # Errors
    ///
    /// The connector's.
    pub async fn open(&mut self) -> Result<()> {
        match self {
            Self::Native(destination) => destination.open().await.map_err(lift_error),
            Self::Component(destination) => destination.open().await,
        }
    }

    /// As [`HostDestination::write`].
    ///
    /// # Errors
    ///
    /// The connector's.
    pub async fn write(&mut self, records: &[Record]) -> Result<Vec<Ack>> {
        let records = records.iter().cloned();
        match self {
            Self::Native(destination) => lift_acks(destination.write(records.map(Record::widen).collect()).await),
            Self::Component(destination) => destination.write(records.map(Record::widen).collect()).await,
        }
    }

    /// Writes what a source of the same world has read, bodies by handle. Returns how many records that were,
    /// and the acks that came.
    ///
    /// # Errors
    ///
    /// Either connector's.
    pub async fn write_from(&mut self, source: &mut Source, wait: Duration) -> Result<(usize, Vec<Ack>)> {
        match (self, source) {
            (Self::Native(destination), Source::Native(source, _)) => {
                let records = source.read(100, READ_BYTES_MAX, wait).await.map_err(lift_error)?;
                Ok((records.len(), lift_acks(destination.write(records).await)?))
            }
            (Self::Component(destination), Source::Component(source)) => {
                let records = source.read(100, wait).await?;
                Ok((records.len(), destination.write(records).await?))
            }
            _ => panic!("source and destination are of one world"),
        }
    }

    /// As [`HostDestination::flush`].
    ///
    /// # Errors
    ///
    /// The connector's.
    pub async fn flush(&mut self, wait: Duration) -> Result<Vec<Ack>> {
        match self {
            Self::Native(destination) => lift_acks(destination.flush(wait).await),
            Self::Component(destination) => destination.flush(wait).await,
        }
    }

    /// As [`HostDestination::teardown`].
    ///
    /// # Errors
    ///
    /// If the instance is gone.
    pub async fn teardown(&mut self) -> Result<()> {
        match self {
            Self::Native(destination) => destination.teardown().await.map_err(lift_error),
            Self::Component(destination) => destination.teardown().await,
        }
    }
}

/// The core's error as the host shows it.
pub(super) fn lift_error(error: CoreError) -> Error {
    let kind = match error.kind {
        CoreKind::Invalid => ErrorKind::Invalid,
        CoreKind::Unavailable => ErrorKind::Unavailable,
        CoreKind::Denied => ErrorKind::Denied,
        CoreKind::Corrupt => ErrorKind::Corrupt,
        CoreKind::Closed => ErrorKind::Closed,
        CoreKind::Internal => ErrorKind::Internal,
    };
    Error::new(kind, error.message)
}

fn lift_acks(acks: Result<Vec<s3_connector::destination::Ack>, CoreError>) -> Result<Vec<Ack>> {
    let lift = |ack: s3_connector::destination::Ack| Ack { position: ack.position, error: ack.error.map(lift_error) };
    acks.map(|acks| acks.into_iter().map(lift).collect()).map_err(lift_error)
}

async fn collect(record: CoreRecord) -> Result<Record> {
    record.read_bodies(|_, _, body| read_body(body)).await
}

async fn read_body(mut body: NativeBody) -> Result<Bytes> {
    let broken = |error| Error::new(ErrorKind::Unavailable, format!("a body broke off: {error}"));
    let mut whole = BytesMut::new();
    while let Some(piece) = body.read().await.map_err(broken)? {
        whole.extend_from_slice(&piece);
    }
    Ok(whole.freeze())
}

/// The positions of acks, each of which must be a good one.
pub fn acked(acks: &[Ack]) -> Vec<Bytes> {
    let position = |ack: &Ack| match &ack.error {
        None => ack.position.clone(),
        Some(error) => panic!("record {:?} was not taken: {error}", ack.position),
    };
    acks.iter().map(position).collect()
}
