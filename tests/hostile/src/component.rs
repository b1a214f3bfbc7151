//! What the world exports: resources that do nothing of their own, and strike in the call that the settings name.
//!
//! What an attack does is in `attacks`, what the component says of itself in `specification`.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};

use ::wasi::clocks::monotonic_clock;

use self::bindings::exports::opencdc::connector::{destination, source, specifier};
use self::bindings::opencdc::connector::types::{self, Batch, Error, ErrorKind, Record};
use crate::attacks::{self, Loot};
use crate::bounds;
use crate::specification;

#[expect(unsafe_code, reason = "generated: the canonical ABI hands memory over by address")]
pub(crate) mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "connector",
        with: {
            "wasi:clocks/monotonic-clock@0.2.12": ::wasi::clocks::monotonic_clock,
            "wasi:clocks/wall-clock@0.2.12": ::wasi::clocks::wall_clock,
            "wasi:http/outgoing-handler@0.2.12": ::wasi::http::outgoing_handler,
            "wasi:http/types@0.2.12": ::wasi::http::types,
            "wasi:io/error@0.2.12": ::wasi::io::error,
            "wasi:io/poll@0.2.12": ::wasi::io::poll,
            "wasi:io/streams@0.2.12": ::wasi::io::streams,
            "wasi:random/random@0.2.12": ::wasi::random::random,
        },
        generate_all,
    });
    use super::Component;
    export!(Component);
}

/// Settings as they came.
pub(crate) type Settings = BTreeMap<String, String>;

struct Component;

impl specifier::Guest for Component {
    fn specify() -> specifier::Specification {
        specification::specify()
    }
}

/// Runs the attack if this is the call for it; gives what it got.
fn strike(settings: &Settings, call: &str) -> Result<Option<Loot>, Error> {
    let at = settings.get("at").map_or("open", String::as_str);
    let name = settings.get("attack").filter(|_| at == call);
    let Some(name) = name.or_else(|| settings.get(&format!("attack.{call}"))) else {
        return Ok(None);
    };
    match attacks::ATTACKS.iter().find(|(known, _)| known == name) {
        Some((_, attack)) => attack(settings).map(Some),
        None => Err(Error {
            kind: ErrorKind::Invalid,
            message: format!("there is no attack `{name}`"),
            retry_after_ms: None,
        }),
    }
}

/// A source whose records are what its attacks got.
struct SourceResource {
    settings: Settings,
    records: RefCell<VecDeque<Record>>,
}

impl SourceResource {
    fn strike(&self, call: &str) -> Result<(), Error> {
        let loot = strike(&self.settings, call)?;
        self.records.borrow_mut().extend(loot.into_iter().flat_map(Loot::into_records));
        Ok(())
    }
}

impl source::Guest for Component {
    type Source = SourceResource;
}

impl source::GuestSource for SourceResource {
    fn configure(settings: types::Settings) -> Result<source::Source, Error> {
        let this = Self { settings: settings.into_iter().collect(), records: RefCell::default() };
        this.strike("configure")?;
        Ok(source::Source::new(this))
    }

    fn open(&self, _position: Option<types::Position>) -> Result<(), Error> {
        self.strike("open")
    }

    fn read(&self, records_max: u32, _bytes_max: u64, wait_ms: u64) -> Result<Batch, Error> {
        self.strike("read")?;
        let mut records = self.records.borrow_mut();
        if records.is_empty() {
            // As an honest source would: otherwise a pipeline asks without a pause.
            monotonic_clock::subscribe_duration(wait_ms.min(100) * 1_000_000).block();
        }
        // One attack hands out more than it was asked for.
        let is_greedy = self.settings.contains_key("greedy");
        let count = match is_greedy {
            true => records.len(),
            false => records.len().min(records_max as usize),
        };
        Ok(bounds::batch(&self.settings, records.drain(..count).collect()))
    }

    fn ack(&self, _position: types::Position) -> Result<(), Error> {
        self.strike("ack")
    }

    fn progress(&self) -> source::Progress {
        // It can't fail: what the attack says is lost, what it does is not.
        let _ = self.strike("progress");
        source::Progress {
            caught_up: self.records.borrow().is_empty(),
            counters: (0..bounds::number(&self.settings, "counters"))
                .map(|number| {
                    let name_bytes = bounds::number(&self.settings, "counter-name-bytes");
                    (format!("{number:0>name_bytes$}"), 1)
                })
                .collect(),
        }
    }

    fn teardown(&self) -> Result<(), Error> {
        self.strike("teardown")
    }
}

/// A destination that stores nothing, and tells in an ack what its attack got.
struct DestinationResource {
    settings: Settings,
    acks: RefCell<Vec<destination::Ack>>,
}

impl destination::Guest for Component {
    type Destination = DestinationResource;
}

impl destination::GuestDestination for DestinationResource {
    fn configure(settings: types::Settings) -> Result<destination::Destination, Error> {
        let settings = settings.into_iter().collect();
        strike(&settings, "configure")?;
        Ok(destination::Destination::new(Self { settings, acks: RefCell::default() }))
    }

    fn open(&self) -> Result<(), Error> {
        strike(&self.settings, "open").map(drop)
    }

    fn write(&self, batch: Batch) -> Result<Vec<destination::Ack>, Error> {
        for record in batch.records {
            let loot = strike(&self.settings, "write")?;
            let told = |loot: Loot| Error { kind: ErrorKind::Invalid, message: loot.into_text(), retry_after_ms: None };
            self.acks.borrow_mut().push(destination::Ack { position: record.position, error: loot.map(told) });
        }
        Ok(self.acks.take())
    }

    fn flush(&self, _wait_ms: u64) -> Result<Vec<destination::Ack>, Error> {
        strike(&self.settings, "flush")?;
        Ok(self.acks.take())
    }

    fn teardown(&self) -> Result<(), Error> {
        strike(&self.settings, "teardown").map(drop)
    }
}
