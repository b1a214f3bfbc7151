//! Owns the schemas with which other connectors have encoded keys and payloads: asked of Conduit once, and kept. Leaves decoding to
//! `avro`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use apache_avro::Schema;
use conduit_protocol::connutils::v1::GetSchemaRequest;
use conduit_protocol::connutils::v1::schema_service_client::SchemaServiceClient;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request};

use super::avro;
use crate::conduit::engine::Engine;
use crate::conduit::parameters::DestinationParameters;
use crate::error::{Error, ErrorKind, Result};
use crate::record::{Data, Metadata, Record};

/// The header that Conduit knows a connector by.
const TOKEN: &str = "conduit-connector-token";

/// How long one question may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Schemas that are kept. A pipeline has a few; where there are more, all are asked for again.
const SCHEMAS_MAX: usize = 1024;

/// Decodes records with the schemas that their metadata name.
pub(super) struct Decoder {
    decodes_keys: bool,
    decodes_payloads: bool,
    target: Option<String>,
    token: String,
    channel: Option<Channel>,
    /// By subject and version.
    schemas: HashMap<(String, i32), Arc<Schema>>,
}

impl Decoder {
    pub(super) fn new(engine: &Engine, parameters: DestinationParameters) -> Self {
        Self {
            decodes_keys: parameters.decodes_keys,
            decodes_payloads: parameters.decodes_payloads,
            target: engine.utilities.clone(),
            token: engine.token.clone(),
            channel: None,
            schemas: HashMap::new(),
        }
    }

    /// The record with its data decoded; raw data without a schema stay as they are.
    ///
    /// # Errors
    ///
    /// `Unavailable` where Conduit does not answer. Any other error is a fault of the record alone.
    pub(super) async fn decode(&mut self, record: &mut Record) -> Result<()> {
        if self.decodes_keys {
            self.decode_data("key", &record.metadata, &mut record.key).await?;
        }
        if self.decodes_payloads {
            self.decode_data("payload", &record.metadata, &mut record.payload.before).await?;
            self.decode_data("payload", &record.metadata, &mut record.payload.after).await?;
        }
        Ok(())
    }

    async fn decode_data(&mut self, what: &str, metadata: &Metadata, data: &mut Option<Data>) -> Result<()> {
        let Some(Data::Raw(bytes)) = &*data else { return Ok(()) };
        let named = |name: &str| metadata.get(&format!("opencdc.{what}.schema.{name}"));
        let (Some(subject), Some(version)) = (named("subject"), named("version")) else { return Ok(()) };
        let about = format!("the {what} can't be decoded; subject=`{subject}`, version=`{version}`");
        let number = version.parse::<i32>().map_err(|_| Error::new(ErrorKind::Invalid, "the version is no number"));
        let schema = match number {
            Ok(number) => self.schema(subject, number).await,
            Err(error) => Err(error),
        };
        let decoded = schema.and_then(|schema| avro::decode(&schema, bytes));
        *data = Some(Data::Structured(decoded.map_err(|error| error.context(about))?));
        Ok(())
    }

    async fn schema(&mut self, subject: &str, version: i32) -> Result<Arc<Schema>> {
        let key = (subject.to_owned(), version);
        if let Some(schema) = self.schemas.get(&key) {
            return Ok(Arc::clone(schema));
        }
        let schema = Arc::new(avro::parse(&self.ask(subject, version).await?)?);
        if self.schemas.len() >= SCHEMAS_MAX {
            self.schemas.clear();
        }
        self.schemas.insert(key, Arc::clone(&schema));
        Ok(schema)
    }

    async fn ask(&mut self, subject: &str, version: i32) -> Result<bytes::Bytes> {
        let unavailable = |why: String| Error::new(ErrorKind::Unavailable, format!("Conduit's schema service: {why}"));
        let channel = match &self.channel {
            Some(channel) => channel.clone(),
            None => {
                let target = self.target.as_deref().ok_or_else(|| {
                    Error::new(
                        ErrorKind::Invalid,
                        "this Conduit has no schema service; set `sdk.schema.extract.*.enabled` to false",
                    )
                })?;
                let endpoint = Endpoint::from_shared(format!("http://{}", reachable(target)));
                let endpoint = endpoint.map_err(|error| unavailable(error.to_string()))?;
                self.channel.insert(endpoint.connect_timeout(TIMEOUT).timeout(TIMEOUT).connect_lazy()).clone()
            }
        };
        let mut request = Request::new(GetSchemaRequest { subject: subject.to_owned(), version });
        if let Ok(token) = MetadataValue::try_from(self.token.as_str()) {
            request.metadata_mut().insert(TOKEN, token);
        }
        let answer = SchemaServiceClient::new(channel).get_schema(request).await;
        let schema = answer.map_err(|status| match status.code() {
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => unavailable(status.message().to_owned()),
            _ => Error::new(ErrorKind::Invalid, status.message()),
        })?;
        schema
            .into_inner()
            .schema
            .map(|schema| schema.bytes)
            .ok_or_else(|| unavailable("its answer is empty".to_owned()))
    }
}

/// An address to connect to: one that stands for all of a machine's is none.
fn reachable(target: &str) -> String {
    let port =
        target.strip_prefix("[::]:").or_else(|| target.strip_prefix("0.0.0.0:")).or_else(|| target.strip_prefix(':'));
    port.map_or_else(|| target.to_owned(), |port| format!("127.0.0.1:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_all_interfaces_is_reached_by_the_loopback_one() {
        for (target, reached) in [
            ("[::]:8184", "127.0.0.1:8184"),
            ("0.0.0.0:1", "127.0.0.1:1"),
            (":2", "127.0.0.1:2"),
            ("conduit:3", "conduit:3"),
        ] {
            assert_eq!(reachable(target), reached);
        }
    }
}
