//! Owns what a source and a destination have in common: an instance, the component's resource in it, and where its
//! settings lead. Leaves the calls of the contract to `source` and `destination`, and what the host adds to an error
//! to `explain`.

use std::time::Duration;

use wasmtime::Store;
use wasmtime::component::ResourceAny;

use crate::bindings::{self, types};
use crate::connector::Connector;
use crate::connector::explain::explain;
use crate::connector::instance::{Context, Instance, InstanceOptions};
use crate::connector::settings::{self, Settings, Target};
use crate::credentials::Credentials;
use crate::egress::{Moment, Traffic};
use crate::environment::InferredSetting;
use crate::error::{Error, Result};
use crate::role::Role;
use crate::skipped::Skipped;
use crate::tally::Tally;

/// A source or a destination that was configured.
pub(crate) struct Handle {
    instance: Instance,
    resource: ResourceAny,
    target: Target,
    inferred: Vec<InferredSetting>,
    origin: Origin,
    /// Requests that ended before this are no reason of later errors.
    since: Moment,
    /// When the latest call began.
    begun: Moment,
}

/// What a handle is made from; another one like it can be made from the same.
#[derive(Clone)]
pub(crate) struct Origin {
    pub(crate) connector: Connector,
    /// As they were given, secrets included. Never shown.
    pub(crate) settings: Settings,
    pub(crate) options: InstanceOptions,
    /// What all that are made from it are counted in.
    pub(crate) tally: Tally,
}

impl Handle {
    /// Fills what the environment has, makes an instance, has it check the settings, and opens its way out.
    pub(crate) async fn configure(
        origin: Origin,
        role: Role,
        configure: impl AsyncFnOnce(
            &bindings::Connector,
            &mut Store<Context>,
            &types::Settings,
        ) -> wasmtime::Result<Result<ResourceAny, types::Error>>,
    ) -> Result<Self> {
        let connector = &origin.connector;
        let (name, parameters) = match role {
            Role::Source => ("source", &connector.specification().source_parameters),
            Role::Destination => ("destination", &connector.specification().destination_parameters),
        };
        let prepared = settings::prepare(origin.settings.clone(), parameters, connector.environment()).await;
        prepared.check_profile()?;
        let options = origin.options.clone().named(name).watched(&prepared.state_place);
        let mut instance = connector.instance(options, origin.tally.clone()).await?;
        let settings = prepared.redacted();
        let resource = instance.call(async |exports, store| configure(exports, store, &settings).await).await??;
        let target = prepared.target(role, connector.upstream(), &origin.tally)?;
        instance.set_egress(target.egress.clone());
        Ok(Self {
            instance,
            resource,
            target,
            inferred: prepared.inferred,
            origin,
            since: Moment::default(),
            begun: Moment::default(),
        })
    }

    /// Makes a call of the component whose error says what only the host knows of it.
    pub(crate) async fn call<T>(
        &mut self,
        call: impl AsyncFnOnce(
            &bindings::Connector,
            &mut Store<Context>,
            ResourceAny,
        ) -> wasmtime::Result<Result<T, types::Error>>,
    ) -> Result<T> {
        let resource = self.resource;
        self.begun = self.target.egress.now();
        let outcome = self.instance.call(async |exports, store| call(exports, store, resource).await).await?;
        match outcome {
            Ok(value) => Ok(value),
            Err(error) => {
                let error = explain(error, self.since, &self.target).await;
                self.since = self.target.egress.now();
                Err(error)
            }
        }
    }

    /// Takes note that the latest call had nothing to hand out: nothing is left to be told of the requests before it.
    ///
    /// A request runs between calls too, and its failure may be reported only after records that came before it. So what
    /// ended before a call that gave records or acks may still explain the error of a later one.
    pub(crate) fn settle(&mut self) {
        self.since = self.since.max(self.begun);
    }

    /// Takes note that `open` succeeded: it reports its own requests, so they explain no later error.
    pub(crate) fn opened(&mut self) {
        self.since = self.target.egress.now();
    }

    /// Makes a call of the component that can't fail.
    pub(crate) async fn call_infallible<T>(
        &mut self,
        call: impl AsyncFnOnce(&bindings::Connector, &mut Store<Context>, ResourceAny) -> wasmtime::Result<T>,
    ) -> Result<T> {
        let resource = self.resource;
        self.instance.call(async |exports, store| call(exports, store, resource).await).await
    }

    /// Interrupts the instance in a call and returns what its memories hold.
    pub(crate) async fn dump<T>(
        self,
        call: impl AsyncFnOnce(&bindings::Connector, &mut Store<Context>, ResourceAny) -> wasmtime::Result<T>,
    ) -> Vec<u8> {
        let resource = self.resource;
        self.instance.dump(async |exports, store| call(exports, store, resource).await).await
    }

    /// Ends an instance that broke a rule of the contract.
    pub(crate) fn break_off(&mut self, why: &str) -> Error {
        self.instance.break_off(why)
    }

    /// The instance's resources.
    pub(crate) fn table(&mut self) -> &mut wasmtime::component::ResourceTable {
        self.instance.table()
    }

    /// What the component has said that it passed over.
    pub(crate) fn skipped(&self) -> Skipped {
        self.instance.skipped()
    }

    /// What this was made from.
    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Where its settings lead.
    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// Settings that were left out, and where they were found.
    pub(crate) fn inferred(&self) -> &[InferredSetting] {
        &self.inferred
    }

    /// The keys that requests are signed with.
    pub(crate) fn credentials(&self) -> &Credentials {
        &self.target.credentials
    }

    /// How long the store has given no answer that is of use; `None` where its last one was.
    pub(crate) fn failing_for(&self) -> Option<Duration> {
        self.target.egress.failing_for()
    }

    /// What is counted of it, and of those that take its place.
    pub(crate) fn tally(&self) -> Tally {
        self.origin.tally.clone()
    }

    /// What went over the wire so far.
    pub(crate) fn traffic(&self) -> Traffic {
        self.target.egress.traffic()
    }
}
