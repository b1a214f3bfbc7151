//! Owns what a check found, step by step. Leaves showing it to the caller.

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
    /// Names the step, the same in every report.
    pub name: &'static str,
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
    pub fn new(name: &'static str, tried: impl Into<String>) -> Self {
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
    Begun(&'static str),
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
    pub fn step(&self, name: &str) -> Option<&Step> {
        self.steps.iter().find(|step| step.name == name)
    }
}
