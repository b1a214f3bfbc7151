//! Owns what a check found, step by step. Leaves showing it to the caller.

use std::fmt;

use crate::role::Role;

/// A step of a check. The order of steps is the order in which they are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum StepName {
    /// The variables that name a proxy.
    Proxy,
    /// The trusted certificates.
    Certificates,
    /// The component's file.
    Component,
    /// The settings.
    Settings,
    /// Name look-up.
    Name,
    /// The connection.
    Connection,
    /// TLS, and the server's certificate.
    Tls,
    /// The credentials.
    Credentials,
    /// The bucket.
    Bucket,
    /// The clock of this machine.
    Clock,
    /// The bucket's region.
    Region,
    /// Listing objects.
    List,
    /// Listing versions.
    Versions,
    /// Whether the bucket keeps versions.
    Versioning,
    /// Storing an object.
    Put,
    /// Conditional writes.
    Conditional,
    /// Reading an object.
    Get,
    /// Reading a version.
    GetVersion,
    /// Reading a record.
    Read,
    /// Removing the object that was stored.
    Remove,
    /// Opening the destination.
    Open,
}

impl StepName {
    /// Every step.
    pub const ALL: [Self; 21] = [
        Self::Proxy,
        Self::Certificates,
        Self::Component,
        Self::Settings,
        Self::Name,
        Self::Connection,
        Self::Tls,
        Self::Credentials,
        Self::Bucket,
        Self::Clock,
        Self::Region,
        Self::List,
        Self::Versions,
        Self::Versioning,
        Self::Put,
        Self::Conditional,
        Self::Get,
        Self::GetVersion,
        Self::Read,
        Self::Remove,
        Self::Open,
    ];

    /// The name, the same in every report.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Proxy => "proxy",
            Self::Certificates => "certificates",
            Self::Component => "component",
            Self::Settings => "settings",
            Self::Name => "name",
            Self::Connection => "connection",
            Self::Tls => "tls",
            Self::Credentials => "credentials",
            Self::Bucket => "bucket",
            Self::Clock => "clock",
            Self::Region => "region",
            Self::List => "list",
            Self::Versions => "versions",
            Self::Versioning => "versioning",
            Self::Put => "put",
            Self::Conditional => "conditional",
            Self::Get => "get",
            Self::GetVersion => "get-version",
            Self::Read => "read",
            Self::Remove => "remove",
            Self::Open => "open",
        }
    }

    /// The steps of a connector in this role that come after another one, in order.
    pub(super) fn after(last: Option<Self>, role: Role) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(move |name| Some(*name) > last && name.is_of(role))
    }

    /// Whether a connector in this role needs it. The first three are tried before there is a connector.
    const fn is_of(self, role: Role) -> bool {
        match self {
            Self::Proxy | Self::Certificates | Self::Component => false,
            Self::Settings
            | Self::Name
            | Self::Connection
            | Self::Tls
            | Self::Credentials
            | Self::Bucket
            | Self::Clock
            | Self::Region
            | Self::List
            | Self::Get => true,
            Self::Versions | Self::Versioning | Self::GetVersion | Self::Read => {
                matches!(role, Role::Source)
            }
            Self::Put | Self::Conditional | Self::Remove | Self::Open => matches!(role, Role::Destination),
        }
    }
}

impl fmt::Display for StepName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What came of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// It works.
    Passed,
    /// A pipeline would run, but not as well as it could, or with a guarantee less.
    Warned,
    /// A pipeline would not run.
    Failed,
    /// It was not tried.
    Skipped,
}

impl Status {
    /// In a word, as reports have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "ok",
            Self::Warned => "warning",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// One step: what was tried, what came back, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Step {
    /// Which step it is.
    pub name: StepName,
    /// What came of it.
    pub status: Status,
    /// What was tried.
    pub tried: String,
    /// What came back, or why it was not tried.
    pub found: String,
    /// What to do; empty where there is nothing to do.
    pub advice: String,
}

impl Step {
    /// A step that has not been judged: it passes until something else is said.
    #[must_use]
    pub fn new(name: StepName, tried: impl Into<String>) -> Self {
        Self { name, status: Status::Passed, tried: tried.into(), found: String::new(), advice: String::new() }
    }

    /// It works.
    #[must_use]
    pub fn passed(self, found: impl Into<String>) -> Self {
        self.judged(Status::Passed, found, "")
    }

    /// It works with a drawback.
    #[must_use]
    pub fn warned(self, found: impl Into<String>, advice: impl Into<String>) -> Self {
        self.judged(Status::Warned, found, advice)
    }

    /// It does not work.
    #[must_use]
    pub fn failed(self, found: impl Into<String>, advice: impl Into<String>) -> Self {
        self.judged(Status::Failed, found, advice)
    }

    /// It was not tried.
    #[must_use]
    pub fn skipped(self, why: impl Into<String>) -> Self {
        self.judged(Status::Skipped, why, "")
    }

    fn judged(mut self, status: Status, found: impl Into<String>, advice: impl Into<String>) -> Self {
        self.status = status;
        self.found = found.into();
        self.advice = advice.into();
        self
    }
}

/// A step that begins or ends, as a check goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepEvent<'c> {
    /// The step of this name has begun; it may be skipped.
    Begun(StepName),
    /// A step is done.
    Done(&'c Step),
}

/// All steps of a check, in the order in which they were tried.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The steps.
    pub steps: Vec<Step>,
    /// Whether it is the settings that are wrong, for their author to correct.
    pub refuses_settings: bool,
}

impl Report {
    /// Whether a pipeline could run: no step failed.
    #[must_use]
    pub fn can_run(&self) -> bool {
        self.steps.iter().all(|step| step.status != Status::Failed)
    }

    /// The step of that name.
    #[must_use]
    pub fn step(&self, name: StepName) -> Option<&Step> {
        self.steps.iter().find(|step| step.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_tried_in_the_order_of_their_names() {
        assert!(StepName::ALL.is_sorted());
        let names = |role| StepName::after(None, role).map(StepName::as_str).collect::<Vec<_>>();
        let shared = ["settings", "name", "connection", "tls", "credentials", "bucket", "clock", "region", "list"];
        let source = ["versions", "versioning", "get", "get-version", "read"];
        assert_eq!(names(Role::Source), [&shared[..], &source].concat());
        assert_eq!(names(Role::Destination), [&shared[..], &["put", "conditional", "get", "remove", "open"]].concat());
        let rest: Vec<_> = StepName::after(Some(StepName::Get), Role::Destination).collect();
        assert_eq!(rest, [StepName::Remove, StepName::Open]);
    }
}
