//! Owns what each test works with: a store with a bucket and temporary keys, and the component that attacks.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use embedded_s3::AccessKey;
use s3_connector::record::{Change, Operation};
use s3_connector_host::record::{Data, Record};
use s3_connector_host::state::StateStore;
use s3_connector_host::{Connector, Destination, InstanceOptions, Result, Source};
use s3_connector_tests::hostile;
use s3_connector_tests::world::{Bucket, Conditions, Env};

/// The id of the key.
pub const KEY_ID: &str = "AKIAHOSTILE5E3F1A9B";
/// The secret.
pub const SECRET: &str = "kept-secret-5e3f1a9b7c";
/// The token.
pub const TOKEN: &str = "kept-token-77d0c2e4aa+/=77d0c2e4aa";

/// Settings by name.
pub type Settings<'s> = &'s [(&'s str, &'s str)];

/// A store and an attacker.
pub struct Siege {
    pub bucket: Bucket,
    pub hostile: Connector,
}

impl Siege {
    /// The component in this variant, at a store of its own.
    pub async fn of(variant: &str) -> Self {
        let keys = vec![AccessKey::new(KEY_ID, SECRET).session_token(TOKEN)];
        let bucket = Env::component().bucket(Conditions::default().on(|store| store.keys = keys)).await;
        let hostile = hostile::connector(variant).await.expect("it loads");
        Self { bucket, hostile }
    }

    /// The settings that reach the bucket, keys among them.
    pub fn settings(&self, more: Settings<'_>) -> s3_connector_host::Settings {
        let keys = [("aws.accessKeyId", KEY_ID), ("aws.secretAccessKey", SECRET), ("aws.sessionToken", TOKEN)];
        self.bucket.settings(&[&keys, more].concat())
    }

    /// A source that is not open yet.
    pub async fn source(&self, settings: Settings<'_>) -> Result<Source> {
        let settings = self.settings(settings);
        self.hostile.source(settings, InstanceOptions::default()).await
    }

    /// A destination that is not open yet.
    pub async fn destination(&self, settings: Settings<'_>) -> Result<Destination> {
        let settings = self.settings(settings);
        self.hostile.destination(settings, InstanceOptions::default()).await
    }

    /// What an attack of a source got, in the call that `settings` name.
    pub async fn loot_of_source(&self, settings: Settings<'_>) -> Result<String> {
        loot_of(self.source(settings).await?).await
    }

    /// The same, with state that is kept there.
    pub async fn loot_of_source_with(&self, settings: Settings<'_>, state: Arc<dyn StateStore>) -> Result<String> {
        let options = InstanceOptions { state: Some(state), ..InstanceOptions::default() };
        let settings = self.settings(settings);
        loot_of(self.hostile.source(settings, options).await?).await
    }

    /// What an attack of a destination's `write` got.
    pub async fn loot_of_destination(&self, settings: Settings<'_>) -> Result<String> {
        let at_write = [&[("at", "write")], settings].concat();
        let mut destination = self.destination(&at_write).await?;
        destination.open().await?;
        let ack = destination.write(vec![record()]).await?.remove(0);
        Ok(ack.error.expect("loot stands in it").message().to_owned())
    }
}

/// What the first record of a source holds.
async fn loot_of(mut source: Source) -> Result<String> {
    source.open(None).await?;
    let record = source.read(1, Duration::from_millis(1)).await?.remove(0);
    match record.payload.after {
        Some(Data::Raw(bytes)) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        other => panic!("loot is text, not {other:?}"),
    }
}

/// A record for a destination.
fn record() -> Record {
    Record {
        position: Bytes::from_static(b"1"),
        operation: Operation::Create,
        metadata: [].into(),
        key: None,
        payload: Change { before: None, after: Some(Data::Raw(Bytes::from_static(b"bait"))) },
    }
}
