//! Owns the preflight check of a pipeline, step by step: settings, network, credentials, bucket, each permission, and
//! what the store supports. Reports for each step what was tried, what came back and what to do. Leaves showing a report
//! to the caller.
//!
//! Requests leave through the egress of the side that is checked, under its policy; only the object that the check itself
//! stored is removed through another one, which can do nothing else.

pub(crate) mod listing;
mod network;
mod permissions;
mod probe;
mod report;
mod requests;

use std::time::Duration;

use s3_connector::s3::{self, ObjectEntry, Patience};
use tokio::time::{Instant, timeout};

use crate::connector::Connector;
use crate::connector::destination::Destination;
use crate::connector::instance::InstanceOptions;
use crate::connector::settings::{Settings, Target};
use crate::connector::source::Source;
use crate::credentials::{self, Credentials, Loaded};
use crate::environment::InferredSetting;
use crate::error::{Error, ErrorKind, Result, with_causes};
use crate::role::Role;

pub use report::{Report, Status, Step, StepEvent, StepName};

pub(crate) use probe::NAME as OBJECT_NAME;
use probe::Probe;
use requests::{Client, Ports};

/// How long a step may take: a person waits for it, and no pipeline should run on a store that needs longer for one
/// small answer.
pub const STEP_MAX: Duration = Duration::from_secs(10);

/// A second for retries, within which a hiccup passes; a store that does not answer gets one request.
const PATIENCE: Patience = Patience { retries: Duration::from_secs(1), whole: Some(STEP_MAX) };

/// A clock that is off by more is wrong. S3 stops taking signatures at 15 minutes.
const SKEW_MAX_SECONDS: u64 = 60;

/// How a check goes about it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Whether nothing may be stored: steps that need a write are then skipped.
    pub read_only: bool,
}

impl Connector {
    /// Checks what a source or destination of these settings needs. `watch` sees each step when it begins and when it
    /// is done. A step takes [`STEP_MAX`] at most. One that fails does not end the check, unless those after it would
    /// only fail for the same reason.
    ///
    /// A destination's check stores one small object under the prefix and removes it, unless it is
    /// [`read_only`](Options::read_only). The future holds the component's client, hence is not `Send`.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(connector: s3_connector_host::Connector) {
    /// use s3_connector_host::{Role, Settings, check};
    ///
    /// let settings = Settings::from([("aws.bucket".to_owned(), "photos".to_owned())]);
    /// let report = connector.check(Role::Source, settings, check::Options::default(), |_| {}).await;
    /// for step in &report.steps {
    ///     println!("{step:?}");
    /// }
    /// assert!(report.can_run());
    /// # }
    /// ```
    pub async fn check(
        &self,
        role: Role,
        settings: Settings,
        options: Options,
        watch: impl FnMut(StepEvent<'_>),
    ) -> Report {
        let mut check = Check { report: Report::default(), role, watch, options };
        check.begin_next();
        if check.run(self, settings).await.is_none() {
            check.skip_rest();
        }
        check.report
    }
}

/// The side that is checked.
enum Side {
    Source(Source),
    Destination(Destination),
}

impl Side {
    async fn configure(connector: &Connector, role: Role, settings: Settings) -> Result<Self> {
        match role {
            Role::Source => connector.source(settings, InstanceOptions::default()).await.map(Self::Source),
            Role::Destination => {
                connector.destination(settings, InstanceOptions::default()).await.map(Self::Destination)
            }
        }
    }

    fn target(&self) -> &Target {
        match self {
            Self::Source(source) => source.target(),
            Self::Destination(destination) => destination.target(),
        }
    }

    fn inferred(&self) -> &[InferredSetting] {
        match self {
            Self::Source(source) => source.inferred(),
            Self::Destination(destination) => destination.inferred(),
        }
    }
}

/// A check under way.
struct Check<W> {
    report: Report,
    role: Role,
    watch: W,
    options: Options,
}

impl<W: FnMut(StepEvent<'_>)> Check<W> {
    fn note(&mut self, step: Step) {
        (self.watch)(StepEvent::Done(&step));
        self.report.steps.push(step);
        self.begin_next();
    }

    fn begin_next(&mut self) {
        if let Some(name) = self.remaining().next() {
            (self.watch)(StepEvent::Begun(name));
        }
    }

    /// The steps that were not tried yet.
    fn remaining(&self) -> impl Iterator<Item = StepName> + use<W> {
        StepName::after(self.report.steps.last().map(|step| step.name), self.role)
    }

    /// Notes a step without which those after it need not be tried; `None` if it failed.
    fn pass(&mut self, step: Step) -> Option<()> {
        let goes_on = step.status != Status::Failed;
        self.note(step);
        goes_on.then_some(())
    }

    /// Notes that the steps after a failure were not reached.
    fn skip_rest(&mut self) {
        for name in self.remaining() {
            self.note(Step::new(name, "").skipped("after the failure above"));
        }
    }

    /// Goes through the steps; `None` if it stopped at a failure.
    async fn run(&mut self, connector: &Connector, settings: Settings) -> Option<()> {
        let mut side = self.configure(connector, settings).await?;
        let target = side.target();
        self.go_there(connector, target).await?;
        self.pass(load(&target.credentials).await)?;
        let ports = Ports::new(target.egress.for_host());
        let client = s3::Client::new(ports.clone(), target.bucket.clone());
        let client = client.with_patience(PATIENCE);
        let (step, reached) = permissions::bucket(&client).await;
        let is_there = self.pass(step);
        // A clock that is wrong may be why it was refused.
        self.note(clock(&ports));
        is_there?;
        self.pass(permissions::region(&target.bucket, &reached))?;
        let (step, first) = permissions::list(&client, self.role).await;
        self.note(step);
        let step = match &mut side {
            Side::Source(source) => {
                self.look(&client, first.as_ref()).await;
                read(source, connector).await
            }
            Side::Destination(destination) => {
                self.write(&client, destination.target()).await;
                open(destination, connector).await
            }
        };
        self.note(step);
        Some(())
    }

    async fn configure(&mut self, connector: &Connector, settings: Settings) -> Option<Side> {
        let step = Step::new(StepName::Settings, "read the settings");
        match Side::configure(connector, self.role, settings).await {
            Ok(side) => {
                self.note(step.passed(found(side.target(), side.inferred())));
                Some(side)
            }
            Err(error) => {
                let advice = match error.kind() {
                    ErrorKind::Trap | ErrorKind::Internal => connector.blame(),
                    _ => SETTINGS_ADVICE.to_owned(),
                };
                self.report.refuses_settings = error.kind() == ErrorKind::Invalid;
                self.note(step.failed(error.message(), advice));
                None
            }
        }
    }

    /// The way to the endpoint.
    async fn go_there(&mut self, connector: &Connector, target: &Target) -> Option<()> {
        let endpoint = &target.bucket.endpoint;
        self.pass(network::name(connector.upstream().as_ref(), endpoint).await)?;
        let skipped = |name| Step::new(name, "").skipped("requests do not go over the network");
        let connected = network::connect(connector.upstream().as_ref(), endpoint).await;
        let (connection, tls) = connected.unwrap_or_else(|| (skipped(StepName::Connection), skipped(StepName::Tls)));
        let connected = self.pass(connection);
        self.pass(tls).and(connected)
    }

    /// What a source needs.
    async fn look(&mut self, client: &Client, first: Option<&ObjectEntry>) {
        let (step, listed) = permissions::versions(client).await;
        self.note(step);
        self.note(permissions::versioning(client, &listed).await);
        self.note(permissions::get(client, first).await);
        self.note(permissions::get_version(client, &listed).await);
    }

    /// What a destination needs, which only a write can tell.
    async fn write(&mut self, client: &Client, target: &Target) {
        if self.options.read_only {
            for name in self.remaining().take_while(|name| *name < StepName::Open) {
                self.note(Step::new(name, "").skipped("nothing may be written"));
            }
            return;
        }
        let cleaner = Ports::new(target.egress.for_cleanup(&probe::key(&target.bucket)));
        let cleaner = s3::Client::new(cleaner, target.bucket.clone());
        let cleaner = cleaner.with_patience(PATIENCE);
        let mut probe = Probe::new(client, &cleaner, target.writes);
        self.note(probe.put().await);
        self.note(probe.conditional().await);
        self.note(probe.get().await);
        self.note(probe.remove().await);
    }
}

const SETTINGS_ADVICE: &str = "`s3-connector spec` lists all settings";
const CREDENTIALS_ADVICE: &str = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE";

const ROLE_ADVICE: &str = "look at aws.roleArn; allow sts:AssumeRole on the role to the owner of the keys, both in their policy and in \
                           the role's trust policy, and set aws.roleExternalId if that asks for one; STS is AWS's of aws.region, \
                           unless AWS_ENDPOINT_URL_STS or AWS_ENDPOINT_URL names another";
const PROFILE_ADVICE: &str = "name another profile by aws.profile, or give this one keys";

/// What the settings name, and where those that were left out were found.
fn found(target: &Target, inferred: &[InferredSetting]) -> String {
    let bucket = &target.bucket;
    let mut text = format!("bucket `{}`", bucket.bucket);
    if !bucket.prefix.is_empty() {
        text.push_str(&format!(", prefix `{}`", bucket.prefix));
    }
    text.push_str(&format!(", endpoint {}", bucket.endpoint.display));
    for InferredSetting { setting, origin } in inferred {
        text.push_str(&format!("; {setting} from {origin}"));
    }
    text
}

/// Whether there are credentials, and their origin.
async fn load(credentials: &Credentials) -> Step {
    if credentials.is_anonymous() {
        let step = Step::new(StepName::Credentials, "look at aws.anonymous");
        return step.passed("none: requests are not signed");
    }
    let step = Step::new(StepName::Credentials, "look in the settings, then where the AWS CLI does");
    match credentials.load().await {
        Ok(Loaded { keys, origin }) => {
            let mut found = format!("from {origin}");
            if keys.session_token().is_some() {
                found.push_str(", temporary");
            }
            let left = keys.expiry().map(|end| end.duration_since(std::time::SystemTime::now()));
            if let Some(left) = left {
                let minutes = left.unwrap_or_default().as_secs() / 60;
                found.push_str(&format!(", good for {minutes} min"));
            }
            step.passed(found)
        }
        Err(error) => {
            let advice = match &error {
                credentials::Error::Role { .. } => ROLE_ADVICE,
                credentials::Error::Keyless { .. } => PROFILE_ADVICE,
                _ => CREDENTIALS_ADVICE,
            };
            step.failed(with_causes(&error), advice)
        }
    }
}

/// Whether our clock agrees with the store's.
fn clock(ports: &Ports) -> Step {
    let step = Step::new(StepName::Clock, "compare the time with the store's");
    let Some(ahead) = ports.ahead_seconds() else {
        return step.skipped("the store does not send its time");
    };
    let off = ahead.unsigned_abs();
    let than = if ahead < 0 { "behind" } else { "ahead of" };
    match off {
        0..=1 => step.passed("within 1 s of the store's"),
        2..=SKEW_MAX_SECONDS => step.passed(format!("{off} s {than} the store's")),
        _ => step.warned(
            format!("{off} s {than} the store's"),
            "set the clock of this machine, by NTP best: stores refuse signatures that are 15 minutes off; this \
             host then signs by the store's clock, other programs can't",
        ),
    }
}

/// How long a check waits for a record before it asks whether there is one to wait for.
const READ_WAIT: Duration = Duration::from_millis(250);

/// Has the component itself open the bucket and read a record.
async fn read(source: &mut Source, connector: &Connector) -> Step {
    let step = Step::new(StepName::Read, "open the source and read a record, which is not acked");
    let started = Instant::now();
    let read = async {
        source.open(None).await?;
        let records = loop {
            let left = STEP_MAX.saturating_sub(started.elapsed());
            let records = source.read(1, left.min(READ_WAIT)).await?;
            // A bucket without objects has nothing to wait for.
            if !records.is_empty() || left.is_zero() || source.progress().await?.caught_up {
                break records;
            }
        };
        Ok::<_, Error>(records)
    };
    // Half a second for the way out of a read that ends by itself: a component that is cut off can't say why.
    let step = match timeout(STEP_MAX + Duration::from_millis(500), read).await {
        Ok(Ok(records)) if records.is_empty() => step.passed("nothing to read yet"),
        Ok(Ok(_)) => step.passed("read one record"),
        Ok(Err(error)) => step.failed(error.message(), advice(&error, connector)),
        Err(_) => step.failed(too_long("reading"), SILENCE_ADVICE),
    };
    let _ = source.teardown().await;
    step
}

/// Has the component itself open the bucket.
async fn open(destination: &mut Destination, connector: &Connector) -> Step {
    let step = Step::new(StepName::Open, "open the destination");
    let step = match timeout(STEP_MAX, destination.open()).await {
        Ok(Ok(())) => step.passed("it is open"),
        Ok(Err(error)) => step.failed(error.message(), advice(&error, connector)),
        Err(_) => step.failed(too_long("opening"), SILENCE_ADVICE),
    };
    let _ = destination.teardown().await;
    step
}

const SILENCE_ADVICE: &str = "look at aws.endpoint and the network, or try again later";

fn too_long(what: &str) -> String {
    format!("{what} was aborted after {} s", STEP_MAX.as_secs())
}

fn advice(error: &Error, connector: &Connector) -> String {
    let advice = match error.kind() {
        ErrorKind::Invalid => "look at aws.bucket, aws.region and aws.endpoint",
        ErrorKind::Denied => "look at the steps above",
        ErrorKind::Unavailable => SILENCE_ADVICE,
        ErrorKind::Internal | ErrorKind::Trap => return connector.blame(),
        _ => "report this, with the output of -vv",
    };
    advice.to_owned()
}
