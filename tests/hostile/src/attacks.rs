//! What the component does to its host, one function per attack.
//!
//! An attack gets the settings and gives what it got, or an error. In which call it runs is `component`'s.

use crate::bounds;
use crate::component::Settings;
use crate::component::bindings::opencdc::connector::log as logging;
use crate::component::bindings::opencdc::connector::state;
use crate::component::bindings::opencdc::connector::types::{Change, Data, Error, ErrorKind, Operation, Record};
use crate::request;
use crate::specification::ESCAPES;

/// What an attack got.
pub(crate) enum Loot {
    /// Text, which a source hands out as a record and a destination tells in an ack.
    Text(String),
    /// Records, for a source to hand out.
    Records(Vec<Record>),
}

impl Loot {
    /// As records of a source.
    pub(crate) fn into_records(self) -> Vec<Record> {
        match self {
            Self::Text(text) => vec![record(b"loot", Data::Raw(text.into_bytes()))],
            Self::Records(records) => records,
        }
    }

    /// As text.
    pub(crate) fn into_text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Records(records) => format!("{} records", records.len()),
        }
    }
}

/// An attack.
pub(crate) type Attack = fn(&Settings) -> Result<Loot, Error>;

/// All attacks by name.
pub(crate) const ATTACKS: &[(&str, Attack)] = &[
    ("ask", bounds::ask),
    ("body", bounds::body),
    ("draw", bounds::draw),
    ("fail", fail),
    ("fail-long", bounds::fail_long),
    ("fields", bounds::fields),
    ("fill", bounds::fill),
    ("flood", bounds::flood),
    ("grow", bounds::grow),
    ("gulp", bounds::gulp),
    ("handles", bounds::handles),
    ("hang", bounds::hang),
    ("hoard", bounds::hoard),
    ("list", bounds::list),
    ("log", log),
    ("mumble", bounds::mumble),
    ("nap", bounds::nap),
    ("pad", bounds::pad),
    ("panic", panic),
    ("positions", positions),
    ("records", bounds::records),
    ("request", request::request),
    ("request-and-fail", request_and_fail),
    ("save", save),
    ("spin", bounds::spin),
    ("structured", bounds::structured),
    ("texts", bounds::texts),
    ("unsent", bounds::unsent),
    ("settings", settings),
    ("settings-in-error", settings_in_error),
    ("settings-in-object", settings_in_object),
    ("trap", trap),
    ("wait", bounds::wait),
];

/// A record with this payload.
pub(crate) fn record(position: &[u8], payload: Data) -> Record {
    Record {
        position: position.to_vec(),
        operation: Operation::Create,
        metadata: Vec::new(),
        common: None,
        key: Some(Data::Raw(b"hostile".to_vec())),
        payload: Change { before: None, after: Some(payload) },
    }
}

/// The setting of that name; nothing where it is not set. `ESCAPES` stands for what a terminal would obey, since no
/// argument of a command can hold all of it.
pub(crate) fn text(settings: &Settings, name: &str) -> String {
    let text = settings.get(name).cloned().unwrap_or_default();
    text.replace("ESCAPES", ESCAPES)
}

/// An error of this kind.
pub(crate) fn error(kind: ErrorKind, message: String) -> Error {
    Error { kind, message, retry_after_ms: None }
}

/// Tells all settings.
fn settings(settings: &Settings) -> Result<Loot, Error> {
    let line = |(name, value): (&String, &String)| format!("{name}={value}\n");
    Ok(Loot::Text(settings.iter().map(line).collect()))
}

/// Tells all settings in an error.
fn settings_in_error(given: &Settings) -> Result<Loot, Error> {
    Err(error(ErrorKind::Invalid, settings(given)?.into_text()))
}

/// Stores all settings where `request.path` says.
fn settings_in_object(given: &Settings) -> Result<Loot, Error> {
    let mut request = given.clone();
    request.insert("request.method".to_owned(), "PUT".to_owned());
    request.insert("request.body".to_owned(), settings(given)?.into_text());
    request::request(&request)
}

/// Fails with `text`, as `kind` says.
fn fail(settings: &Settings) -> Result<Loot, Error> {
    let kind = match text(settings, "kind").as_str() {
        "unavailable" => ErrorKind::Unavailable,
        "denied" => ErrorKind::Denied,
        "corrupt" => ErrorKind::Corrupt,
        "closed" => ErrorKind::Closed,
        "internal" => ErrorKind::Internal,
        _ => ErrorKind::Invalid,
    };
    let retry_after_ms = text(settings, "retry-after-ms").parse().ok();
    Err(Error { retry_after_ms, ..error(kind, text(settings, "text")) })
}

/// Sends a request, whatever comes of it, and fails.
fn request_and_fail(settings: &Settings) -> Result<Loot, Error> {
    let _ = request::send(settings)?;
    fail(settings)
}

/// Logs `text` as an error.
fn log(settings: &Settings) -> Result<Loot, Error> {
    logging::log(logging::Level::Error, "", &text(settings, "text"));
    Ok(Loot::Records(Vec::new()))
}

/// Panics with `text`; with `hook`, as the shipped component does, which has no stderr.
fn panic(settings: &Settings) -> Result<Loot, Error> {
    if settings.contains_key("hook") {
        let said =
            |panic: &std::panic::PanicHookInfo<'_>| logging::log(logging::Level::Error, "panic", &panic.to_string());
        std::panic::set_hook(Box::new(said));
    }
    panic!("{}", text(settings, "text"))
}

/// Traps without a word.
fn trap(_settings: &Settings) -> Result<Loot, Error> {
    core::arch::wasm32::unreachable()
}

/// Hands out a record whose position, key and metadata are `text`.
fn positions(settings: &Settings) -> Result<Loot, Error> {
    let text = text(settings, "text");
    let mut record = record(text.as_bytes(), Data::Raw(Vec::new()));
    record.key = Some(Data::Raw(text.clone().into_bytes()));
    record.metadata.push((text.clone(), text));
    Ok(Loot::Records(vec![record]))
}

/// Saves a value under the name `text`, and tells what the host says.
fn save(settings: &Settings) -> Result<Loot, Error> {
    Ok(Loot::Text(
        match state::commit(&[state::Edit { name: text(settings, "text"), value: Some(b"value".to_vec()) }]) {
            Ok(()) => "saved".to_owned(),
            Err(error) => format!("{:?}: {}", error.kind, error.message),
        },
    ))
}
