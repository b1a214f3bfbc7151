//! Attacks on what the host holds, writes and waits for. How far each goes is in the setting `count` or `bytes`.

use ::wasi::http::outgoing_handler;
use ::wasi::http::types::{Fields, Method, OutgoingRequest, Scheme};
use ::wasi::io::streams::InputStream;

use crate::attacks::{Loot, error, record, text};
use crate::component::Settings;
use crate::component::bindings::opencdc::connector::log as logging;
use crate::component::bindings::opencdc::connector::state;
use crate::component::bindings::opencdc::connector::types::{Batch, Body, Data, Error, ErrorKind, Record};
use crate::request;
use ::wasi::clocks::monotonic_clock;
use ::wasi::io::poll::poll;
use ::wasi::random::random::get_random_bytes;

/// A number of the settings; 0 where it is not set.
pub(crate) fn number(settings: &Settings, name: &str) -> usize {
    text(settings, name).parse().unwrap_or_default()
}

fn told(text: impl Into<String>) -> Result<Loot, Error> {
    Ok(Loot::Text(text.into()))
}

/// Takes `bytes` of memory at once.
pub(crate) fn grow(settings: &Settings) -> Result<Loot, Error> {
    let bytes = number(settings, "bytes");
    let taken: Vec<u8> = Vec::with_capacity(bytes);
    told(format!("{} bytes", std::hint::black_box(taken).capacity()))
}

/// Holds `count` handles.
pub(crate) fn handles(settings: &Settings) -> Result<Loot, Error> {
    let count = number(settings, "count");
    let held: Vec<Fields> = (0..count).map(|_| Fields::new()).collect();
    told(format!("{} handles", held.len()))
}

/// Puts a value of `bytes` bytes into a header field.
pub(crate) fn fields(settings: &Settings) -> Result<Loot, Error> {
    let fields = Fields::new();
    let value = vec![b'x'; number(settings, "bytes")];
    match fields.append("x-amz-meta-large", &value) {
        Ok(()) => told("it fits"),
        Err(why) => told(format!("{why:?}")),
    }
}

/// Gives a request a method and an authority of `bytes` bytes.
pub(crate) fn texts(settings: &Settings) -> Result<Loot, Error> {
    let long = "A".repeat(number(settings, "bytes"));
    let request = OutgoingRequest::new(Fields::new());
    let method = request.set_method(&Method::Other(long.clone()));
    let authority = request.set_authority(Some(&long));
    told(format!("{method:?} {authority:?}"))
}

/// Writes as much of a body as it may without ever sending it.
pub(crate) fn unsent(_settings: &Settings) -> Result<Loot, Error> {
    let request = OutgoingRequest::new(Fields::new());
    let _ = request.set_method(&Method::Put);
    let unmade = |()| error(ErrorKind::Invalid, "a body is not possible".to_owned());
    let body = request.body().map_err(unmade)?;
    let stream = body.write().map_err(unmade)?;
    let mut bytes = 0;
    while let Ok(permitted) = stream.check_write()
        && permitted > 0
    {
        let piece = vec![0; permitted as usize];
        if stream.write(&piece).is_err() {
            break;
        }
        bytes += permitted;
    }
    told(format!("{bytes}"))
}

/// Logs `count` lines of `bytes` bytes at the level that `level` names.
pub(crate) fn flood(settings: &Settings) -> Result<Loot, Error> {
    let level = match text(settings, "level").as_str() {
        "warn" => logging::Level::Warn,
        _ => logging::Level::Error,
    };
    let line = "x".repeat(number(settings, "bytes"));
    for number in 0..number(settings, "count") {
        logging::log(level, "", &format!("line {number}\n{line}"));
    }
    Ok(Loot::Records(Vec::new()))
}

/// Asks `count` times for what `request.path` spells.
pub(crate) fn ask(settings: &Settings) -> Result<Loot, Error> {
    for _ in 0..number(settings, "count") {
        let _ = request::send(settings)?;
    }
    Ok(Loot::Records(Vec::new()))
}

/// Fails with a message of `bytes` bytes.
pub(crate) fn fail_long(settings: &Settings) -> Result<Loot, Error> {
    let message = "x".repeat(number(settings, "bytes"));
    Err(error(ErrorKind::Invalid, message))
}

/// Saves `count` values of `bytes` bytes, and returns what the host answers to the last.
pub(crate) fn hoard(settings: &Settings) -> Result<Loot, Error> {
    let value = vec![7; number(settings, "bytes")];
    let mut said = String::new();
    for number in 0..number(settings, "count") {
        said = match state::commit(&[state::Edit { name: format!("value-{number}"), value: Some(value.clone()) }]) {
            Ok(()) => "saved".to_owned(),
            Err(error) => format!("{:?}: {}", error.kind, error.message),
        };
    }
    told(said)
}

/// Hands out `count` records, however many were asked for; each has a position of `bytes` bytes.
pub(crate) fn records(settings: &Settings) -> Result<Loot, Error> {
    let position = vec![b'p'; number(settings, "bytes").max(1)];
    let record = || record(&position, Data::Raw(b"x".to_vec()));
    let count = number(settings, "count");
    Ok(Loot::Records((0..count).map(|_| record()).collect()))
}

/// Records as they are handed out, of which each has metadata in common with others where the settings say so: the place
/// `common.place` of `common.count`, with `common.bytes` bytes each.
pub(crate) fn batch(settings: &Settings, mut records: Vec<Record>) -> Batch {
    let text = "c".repeat(number(settings, "common.bytes"));
    let metadata = || vec![("common".to_owned(), text.clone())];
    if settings.contains_key("common.place") {
        let place = number(settings, "common.place") as u32;
        records.iter_mut().for_each(|record| record.common = Some(place));
    }
    Batch { records, common: (0..number(settings, "common.count")).map(|_| metadata()).collect() }
}

/// Hands out a record whose payload is `text`, as structured data.
pub(crate) fn structured(settings: &Settings) -> Result<Loot, Error> {
    let payload = Data::Structured(text(settings, "text"));
    Ok(Loot::Records(vec![record(b"1", payload)]))
}

/// Hands out a record whose payload is the object at `request.path`, and says that it has `bytes` bytes.
pub(crate) fn body(settings: &Settings) -> Result<Loot, Error> {
    let length = settings.contains_key("bytes").then(|| number(settings, "bytes") as u64);
    let bytes = stream(settings)?;
    let payload = Data::Body(Body { length, bytes });
    Ok(Loot::Records(vec![record(b"1", payload)]))
}

/// The body of the object at `request.path`.
fn stream(settings: &Settings) -> Result<InputStream, Error> {
    let unmade = || error(ErrorKind::Invalid, "the request is not possible".to_owned());
    let request = OutgoingRequest::new(Fields::new());
    let endpoint = text(settings, "aws.endpoint");
    let authority = endpoint.strip_prefix("http://").unwrap_or(&endpoint);
    request
        .set_scheme(Some(&Scheme::Http))
        .and_then(|()| request.set_authority(Some(authority)))
        .and_then(|()| request.set_path_with_query(Some(&text(settings, "request.path"))))
        .map_err(|()| unmade())?;
    let future = outgoing_handler::handle(request, None).map_err(|_| unmade())?;
    future.subscribe().block();
    let response = future.get().and_then(Result::ok).and_then(Result::ok);
    let body = response.and_then(|response| response.consume().ok());
    let body = body.ok_or_else(unmade)?;
    let stream = body.stream().map_err(|()| unmade())?;
    // The stream is a part of it, and is gone before it.
    std::mem::forget(body);
    Ok(stream)
}

/// Never returns, and does nothing.
pub(crate) fn hang(_settings: &Settings) -> Result<Loot, Error> {
    logging::log(logging::Level::Error, "", "it hangs");
    loop {
        monotonic_clock::subscribe_duration(u64::MAX / 4).block();
    }
}

/// Never returns, and computes.
pub(crate) fn spin(_settings: &Settings) -> Result<Loot, Error> {
    logging::log(logging::Level::Error, "", "it computes");
    loop {
        std::hint::black_box(0);
    }
}

/// Never returns, and works through memory by single instructions.
pub(crate) fn fill(_settings: &Settings) -> Result<Loot, Error> {
    logging::log(logging::Level::Error, "", "it computes");
    let mut memory = vec![0_u8; 64 << 20];
    loop {
        std::hint::black_box(&mut memory).fill(1);
    }
}

/// Draws `bytes` random bytes at a time, `count` times; without end where that is not set.
pub(crate) fn draw(settings: &Settings) -> Result<Loot, Error> {
    let bytes = text(settings, "bytes").parse().unwrap_or(0_u64);
    again(settings, || drop(std::hint::black_box(get_random_bytes(bytes))))
}

/// The same with lines of `bytes` bytes that nobody wants to see.
pub(crate) fn mumble(settings: &Settings) -> Result<Loot, Error> {
    let line = "x".repeat(number(settings, "bytes"));
    again(settings, || logging::log(logging::Level::Trace, "", &line))
}

/// The same with waiting for something that is over, `bytes` times in one call.
pub(crate) fn wait(settings: &Settings) -> Result<Loot, Error> {
    let over = monotonic_clock::subscribe_duration(0);
    let all = vec![&over; number(settings, "bytes")];
    again(settings, || drop(std::hint::black_box(poll(&all))))
}

/// The same with header fields without names, `bytes` in one call.
pub(crate) fn list(settings: &Settings) -> Result<Loot, Error> {
    let fields = vec![(String::new(), Vec::new()); number(settings, "bytes")];
    again(settings, || drop(std::hint::black_box(Fields::from_list(&fields))))
}

/// The same with writing `bytes` zeroes into a body that is never sent.
pub(crate) fn pad(settings: &Settings) -> Result<Loot, Error> {
    let bytes = text(settings, "bytes").parse().unwrap_or(0_u64);
    let request = OutgoingRequest::new(Fields::new());
    let _ = request.set_method(&Method::Put);
    let unmade = |()| error(ErrorKind::Invalid, "a body is not possible".to_owned());
    let body = request.body().map_err(unmade)?;
    let stream = body.write().map_err(unmade)?;
    again(settings, || drop(std::hint::black_box(stream.write_zeroes(bytes))))
}

/// Reads the object at `request.path` with all that can be asked for in each call, and tells the largest piece.
pub(crate) fn gulp(settings: &Settings) -> Result<Loot, Error> {
    let stream = stream(settings)?;
    let mut largest = 0;
    while let Ok(piece) = stream.blocking_read(u64::MAX) {
        largest = largest.max(piece.len());
    }
    told(format!("{largest}"))
}

fn again(settings: &Settings, call: impl Fn()) -> Result<Loot, Error> {
    logging::log(logging::Level::Error, "", "it computes");
    let count = match number(settings, "count") {
        0 => usize::MAX,
        count => count,
    };
    for _ in 0..count {
        call();
    }
    told(format!("{count} calls"))
}

/// Sleeps `count` times for 11 ms.
pub(crate) fn nap(settings: &Settings) -> Result<Loot, Error> {
    let count = number(settings, "count");
    for _ in 0..count {
        monotonic_clock::subscribe_duration(11_000_000).block();
    }
    told(format!("{count} naps"))
}
