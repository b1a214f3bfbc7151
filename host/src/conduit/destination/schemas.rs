//! Owns the schemas with which other connectors have encoded keys and payloads: asked of Conduit once, and kept. Leaves decoding to
//! `avro`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use conduit_protocol::connutils::v1::GetSchemaRequest;
use conduit_protocol::connutils::v1::schema_service_client::SchemaServiceClient;
use conduit_protocol::schema::v1 as proto;
use conduit_protocol::schema::v1::schema::Type;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use super::avro::{self, Schema};
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

/// What Conduit says of a schema that it will never have. Its codes tell nothing: each error is `Unknown`, with a text.
/// <https://github.com/ConduitIO/conduit-connector-protocol/blob/main/pconnutils/errors.go>
const NEVER: [&str; 3] = ["schema subject not found", "schema version not found", "invalid schema"];

/// What Conduit says to a process that it does not know, or not any more.
const UNKNOWN_TOKEN: &str = "invalid token";

/// Decodes records with the schemas that their metadata name.
pub(super) struct Decoder {
    key: Part,
    payload: Part,
    schemas: Schemas,
}

/// A part of a record that may be encoded.
struct Part {
    is_decoded: bool,
    /// The metadata that name its schema.
    subject: &'static str,
    version: &'static str,
    /// Whether it was said that some have none.
    has_warned: bool,
}

impl Decoder {
    pub(super) fn new(engine: &Engine, parameters: DestinationParameters) -> Self {
        Self {
            key: Part {
                is_decoded: parameters.decodes_keys,
                subject: "opencdc.key.schema.subject",
                version: "opencdc.key.schema.version",
                has_warned: false,
            },
            payload: Part {
                is_decoded: parameters.decodes_payloads,
                subject: "opencdc.payload.schema.subject",
                version: "opencdc.payload.schema.version",
                has_warned: false,
            },
            schemas: Schemas {
                target: engine.utilities.clone(),
                token: engine.token.clone(),
                channel: None,
                known: HashMap::new(),
            },
        }
    }

    /// The record with its data decoded; raw data without a schema stay as they are.
    ///
    /// # Errors
    ///
    /// `Invalid` for a fault of the record alone. `Unavailable` where Conduit does not answer, and `Denied` where it never will.
    pub(super) async fn decode(&mut self, record: &mut Record) -> Result<()> {
        let Record { metadata, key, payload, .. } = record;
        self.key.decode(metadata, key, &mut self.schemas).await?;
        self.payload.decode(metadata, &mut payload.before, &mut self.schemas).await?;
        self.payload.decode(metadata, &mut payload.after, &mut self.schemas).await
    }
}

impl Part {
    async fn decode(&mut self, metadata: &Metadata, data: &mut Option<Data>, schemas: &mut Schemas) -> Result<()> {
        let Some(Data::Raw(bytes)) = &*data else { return Ok(()) };
        if !self.is_decoded || bytes.is_empty() {
            return Ok(());
        }
        let named = |name: &str| metadata.get(name).filter(|text| !text.is_empty());
        let (Some(subject), Some(version)) = (named(self.subject), named(self.version)) else {
            if !self.has_warned {
                self.has_warned = true;
                let (subject, version) = (self.subject, self.version);
                tracing::warn!(
                    "raw data have no schema, and are stored as they are; set `sdk.schema.extract.*.enabled` to false if \
                     that is meant; metadata=`{subject}`, `{version}`"
                );
            }
            return Ok(());
        };
        let number = version.parse::<i32>().map_err(|_| Error::new(ErrorKind::Invalid, "the version is no number"));
        let schema = match number {
            Ok(number) => schemas.get(subject, number).await,
            Err(error) => Err(error),
        };
        let decoded = schema.and_then(|schema| avro::decode(&schema, bytes));
        let about = || format!("data can't be decoded; {}=`{subject}`, {}=`{version}`", self.subject, self.version);
        *data = Some(Data::Structured(decoded.map_err(|error| error.context(about()))?));
        Ok(())
    }
}

/// The schemas of a Conduit.
struct Schemas {
    target: Option<String>,
    token: String,
    channel: Option<Channel>,
    /// By subject and version; with what is wrong with one that can't be read.
    known: HashMap<(String, i32), Result<Arc<Schema>>>,
}

impl Schemas {
    async fn get(&mut self, subject: &str, version: i32) -> Result<Arc<Schema>> {
        let key = (subject.to_owned(), version);
        if let Some(known) = self.known.get(&key) {
            return known.clone();
        }
        let found = self.ask(subject, version).await?;
        let schema = if found.r#type() == Type::Avro {
            avro::parse(&found.bytes).map(Arc::new)
        } else {
            Err(Error::new(ErrorKind::Invalid, format!("the schema is none of Avro; type={}", found.r#type)))
        };
        if self.known.len() >= SCHEMAS_MAX {
            self.known.clear();
        }
        self.known.insert(key, schema.clone());
        schema
    }

    async fn ask(&mut self, subject: &str, version: i32) -> Result<proto::Schema> {
        let channel = self.channel()?;
        let mut request = Request::new(GetSchemaRequest { subject: subject.to_owned(), version });
        if let Ok(token) = MetadataValue::try_from(self.token.as_str()) {
            request.metadata_mut().insert(TOKEN, token);
        }
        let answer = SchemaServiceClient::new(channel).get_schema(request).await.map_err(|status| failure(&status))?;
        answer.into_inner().schema.ok_or_else(|| unavailable("its answer is empty"))
    }

    fn channel(&mut self) -> Result<Channel> {
        if let Some(channel) = &self.channel {
            return Ok(channel.clone());
        }
        let target = self.target.as_deref().ok_or_else(|| {
            let why = "this Conduit has no schema service: set `sdk.schema.extract.key.enabled` and \
                       `sdk.schema.extract.payload.enabled` to false";
            Error::new(ErrorKind::Denied, why)
        })?;
        let endpoint = Endpoint::from_shared(format!("http://{}", reachable(target)));
        let endpoint = endpoint.map_err(|error| unavailable(&error.to_string()))?;
        Ok(self.channel.insert(endpoint.connect_timeout(TIMEOUT).timeout(TIMEOUT).connect_lazy()).clone())
    }
}

fn unavailable(why: &str) -> Error {
    Error::new(ErrorKind::Unavailable, format!("Conduit's schema service: {why}"))
}

/// What a failed question means.
fn failure(status: &Status) -> Error {
    let text = status.message();
    if NEVER.iter().any(|never| text.contains(never)) {
        return Error::new(ErrorKind::Invalid, text);
    }
    if text.contains(UNKNOWN_TOKEN) {
        // Without the text, which repeats the token.
        return Error::new(ErrorKind::Denied, "Conduit's schema service does not know this connector's token");
    }
    if status.code() == Code::Unimplemented {
        return Error::new(ErrorKind::Denied, format!("this Conduit has no schemas: {text}"));
    }
    unavailable(text)
}

/// An address to connect to: one that stands for all of a machine's is none.
fn reachable(target: &str) -> String {
    let port =
        target.strip_prefix("[::]:").or_else(|| target.strip_prefix("0.0.0.0:")).or_else(|| target.strip_prefix(':'));
    port.map_or_else(|| target.to_owned(), |port| format!("127.0.0.1:{port}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use conduit_protocol::connutils::v1::schema_service_server::{SchemaService, SchemaServiceServer};
    use conduit_protocol::connutils::v1::{CreateSchemaRequest, CreateSchemaResponse, GetSchemaResponse};
    use tokio_stream::wrappers::TcpListenerStream;
    use tonic::Response;

    use super::*;
    use crate::record::{Change, Operation};

    /// A Conduit with the schemas `rows` (version 1), `broken` and `of another kind`, which fails as often as it is told to.
    #[derive(Clone, Default)]
    struct Registry {
        asked: Arc<AtomicUsize>,
        failures: Arc<Mutex<Vec<Status>>>,
    }

    #[tonic::async_trait]
    impl SchemaService for Registry {
        async fn create_schema(
            &self,
            _: Request<CreateSchemaRequest>,
        ) -> tonic::Result<Response<CreateSchemaResponse>> {
            Err(Status::unimplemented("not here"))
        }

        async fn get_schema(&self, request: Request<GetSchemaRequest>) -> tonic::Result<Response<GetSchemaResponse>> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            if let Some(failure) = self.failures.lock().unwrap().pop() {
                return Err(failure);
            }
            if request.metadata().get(TOKEN).is_none_or(|token| token != "secret-token") {
                return Err(Status::unknown("\"secret-token\": invalid token"));
            }
            let (text, kind) = match (request.get_ref().subject.as_str(), request.get_ref().version) {
                ("rows", 1) => (r#"{"type":"record","name":"r","fields":[{"name":"id","type":"long"}]}"#, Type::Avro),
                ("broken", 1) => ("{", Type::Avro),
                ("of another kind", 1) => ("{}", Type::Unspecified),
                ("rows", _) => return Err(Status::unknown("schema version not found")),
                _ => return Err(Status::unknown("schema subject not found")),
            };
            let bytes = bytes::Bytes::from_static(text.as_bytes());
            let schema = proto::Schema { bytes, r#type: kind.into(), ..proto::Schema::default() };
            Ok(Response::new(GetSchemaResponse { schema: Some(schema) }))
        }
    }

    async fn started(registry: &Registry) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let service = SchemaServiceServer::new(registry.clone());
        let served = tonic::transport::Server::builder().add_service(service);
        tokio::spawn(served.serve_with_incoming(TcpListenerStream::new(listener)));
        address
    }

    fn decoder(target: Option<String>, token: &str) -> Decoder {
        let mut engine = Engine::from_environment(|_| None);
        (engine.utilities, engine.token) = (target, token.to_owned());
        let parameters = crate::conduit::parameters::of_destination(Default::default()).parameters;
        Decoder::new(&engine, parameters.unwrap())
    }

    fn record(subject: &str, version: &str, payload: &'static [u8]) -> Record {
        let metadata = [("opencdc.payload.schema.subject", subject), ("opencdc.payload.schema.version", version)];
        Record {
            position: "p".into(),
            operation: Operation::Create,
            metadata: metadata.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect(),
            key: Some(Data::Raw("key".into())),
            payload: Change { before: None, after: Some(Data::Raw(payload.into())) },
        }
    }

    fn is_structured(record: &Record, text: &str) -> bool {
        matches!(&record.payload.after, Some(Data::Structured(json)) if json == text)
    }

    #[tokio::test]
    async fn a_schema_is_asked_for_once() {
        let registry = Registry::default();
        let mut decoder = decoder(Some(started(&registry).await), "secret-token");
        for _ in 0..3 {
            let mut record = record("rows", "1", &[14]);
            decoder.decode(&mut record).await.unwrap();
            assert!(is_structured(&record, r#"{"id":7}"#));
            assert!(matches!(&record.key, Some(Data::Raw(bytes)) if &bytes[..] == b"key"), "a key without a schema");
        }
        assert_eq!(registry.asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn what_names_no_schema_or_is_empty_stays_as_it_is() {
        let mut decoder = decoder(None, "");
        for (subject, version, payload) in [("", "1", &[14][..]), ("rows", "", &[14]), ("rows", "1", &[])] {
            let mut record = record(subject, version, payload);
            decoder.decode(&mut record).await.unwrap();
            assert!(matches!(&record.payload.after, Some(Data::Raw(bytes)) if bytes[..] == *payload));
        }
    }

    #[tokio::test]
    async fn a_record_is_at_fault_where_its_schema_can_never_be_had() {
        let registry = Registry::default();
        let mut decoder = decoder(Some(started(&registry).await), "secret-token");
        for (subject, version, why, questions) in [
            ("none", "1", "schema subject not found", 2),
            ("rows", "2", "schema version not found", 2),
            ("rows", "one", "no number", 0),
            ("broken", "1", "can't be read", 1),
            ("of another kind", "1", "none of Avro", 1),
        ] {
            registry.asked.store(0, Ordering::SeqCst);
            for _ in 0..2 {
                let error = decoder.decode(&mut record(subject, version, &[14])).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
                assert!(error.message().contains(why) && error.message().contains(subject), "{error}");
            }
            assert_eq!(registry.asked.load(Ordering::SeqCst), questions, "{subject}");
        }
    }

    #[tokio::test]
    async fn trouble_of_the_service_is_none_of_the_record() {
        let registry = Registry::default();
        let address = started(&registry).await;
        let mut unlucky = decoder(Some(address.clone()), "secret-token");
        registry.failures.lock().unwrap().extend([Status::internal("database is closed"), Status::unknown("EOF")]);
        for _ in 0..2 {
            let error = unlucky.decode(&mut record("rows", "1", &[14])).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        }
        unlucky.decode(&mut record("rows", "1", &[14])).await.unwrap();
        let error = decoder(Some(address), "another").decode(&mut record("rows", "1", &[14])).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
        assert!(!error.message().contains("secret-token"), "{error}");
        let error = decoder(None, "").decode(&mut record("rows", "1", &[14])).await.unwrap_err();
        assert!(error.kind() == ErrorKind::Denied && error.message().contains("sdk.schema.extract"), "{error}");
    }

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
