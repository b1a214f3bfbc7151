//! Owns the pipelines of `run` while they run: starts them, hears that one ended, reads their files again on SIGHUP, and sums up. Leaves
//! making one to `run`, and signals to `signals`.
//!
//! Invariant: a reload is done whole or not at all. Nothing is stopped before every new and changed pipeline was made once, from its new
//! settings, for trial. At no time do two pipelines of one id run.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use s3_connector_host::monitor::Monitor;
use s3_connector_host::pipeline::{CancellationToken, Counts, Ended, Summary};
use s3_connector_host::state::MemoryState;
use s3_connector_host::{Connector, Error};
use tokio::task::JoinSet;

use super::super::journal::Journal;
use super::super::notify;
use super::super::pipeline_file::{self, PipelineConfig};
use super::super::progress::{ProgressLine, interruptions, totals};
use super::super::signals::Stopping;
use super::super::terminal::Terminal;
use super::super::{Failure, open_state};
use super::{Ready, RunArguments, prepare};

/// Pipelines that run side by side.
pub(super) struct Fleet<'a> {
    pub(super) connector: Connector,
    pub(super) arguments: &'a RunArguments,
    pub(super) stopping: &'a Stopping,
    pub(super) monitor: &'a Monitor,
    pub(super) terminal: &'a Terminal,
    /// Where the files say to show what runs.
    pub(super) listen: Option<SocketAddr>,
    pub(super) running: JoinSet<End>,
    pub(super) members: BTreeMap<String, Member>,
}

/// A pipeline of the files.
pub(super) struct Member {
    config: PipelineConfig,
    /// What stops it.
    stop: CancellationToken,
    after: After,
    /// How it ended; `None` while it runs.
    outcome: Option<Outcome>,
}

/// What comes after a pipeline has ended.
#[derive(Debug, PartialEq, Eq)]
enum After {
    /// Nothing: that is its end.
    Nothing,
    /// It is run again, from these settings.
    Again(Box<PipelineConfig>),
    /// It is forgotten: no file has it any longer.
    Leave,
}

/// A pipeline that has ended.
pub(super) struct End {
    id: String,
    counts: Counts,
    /// Records that became dead letters.
    letters: u64,
    /// How long it ran.
    took: Duration,
    done: Result<Summary, Error>,
}

/// How a pipeline ended.
struct Outcome {
    counts: Counts,
    letters: u64,
    /// How long it ran; none if it never did.
    took: Duration,
    /// Why it ended; `None` if it failed, which was reported then.
    ended: Option<Ended>,
}

impl Outcome {
    fn describe(&self, id: &str, how: Option<&str>) -> String {
        let stored = self.counts.acked.saturating_sub(self.letters);
        let mut text = format!("pipeline `{id}`: {stored} records were stored");
        if self.letters > 0 {
            text.push_str(&format!("; {} became dead letters", self.letters));
        }
        if let Some(often) = interruptions(&self.counts) {
            text.push_str(&format!("; {often}"));
        }
        text.push_str(how.unwrap_or(match self.ended {
            Some(Ended::CaughtUp) => "; caught up",
            Some(Ended::Stopped) => "; stopped",
            Some(_) => "; done",
            None => "; failed, see above",
        }));
        if !self.took.is_zero() {
            text.push_str(&format!("; {}", totals(self.counts.bytes, self.took)));
        }
        text
    }
}

/// What a reload changes.
#[derive(Default)]
struct Changes {
    /// To be started: new, or ended by a failure.
    new: Vec<PipelineConfig>,
    /// To be stopped, and started with other settings.
    changed: Vec<PipelineConfig>,
    /// Ids of those to be stopped.
    removed: Vec<String>,
    /// How many go on.
    kept: usize,
}

impl Fleet<'_> {
    /// Starts a pipeline that was made.
    pub(super) fn start(&mut self, config: PipelineConfig, ready: Ready) {
        let Ready { id, pipeline, letters, watched, known } = ready;
        self.monitor.watch(watched);
        let progress = ProgressLine::draw(self.terminal.bar(), &id, pipeline.counts(), known);
        let begun = Instant::now();
        self.stopping.watch(&id, pipeline.counts());
        let journal = Journal::keep(&id, pipeline.counts(), self.terminal);
        let stop = self.stopping.token().child_token();
        let member = Member { config, stop: stop.clone(), after: After::Nothing, outcome: None };
        self.members.insert(id.clone(), member);
        self.running.spawn(async move {
            let counts = pipeline.counts();
            let done = pipeline.run(stop).await;
            journal.end().await;
            drop(progress);
            let counts = counts.borrow().clone();
            let letters = letters.load(Ordering::Relaxed);
            End { id, counts, letters, took: begun.elapsed(), done }
        });
    }

    /// Runs until all pipelines have ended. Reports each failure when it occurs, and a summary of each pipeline at the end.
    pub(super) async fn run(mut self) -> Result<(), Failure> {
        loop {
            tokio::select! {
                ended = self.running.join_next() => match ended {
                    Some(Ok(end)) => self.ended(end).await,
                    Some(Err(error)) => return Err(Failure::Failed(format!("a pipeline panicked: {error}"))),
                    None => return self.conclude(),
                },
                () = self.stopping.reload_requested() => self.reload().await,
            }
        }
    }

    async fn ended(&mut self, End { id, counts, letters, took, done }: End) {
        let ended = match done {
            Ok(summary) => Some(summary.ended),
            Err(error) => {
                let message = Failure::running(&error).into_message();
                self.terminal.report(&format!("pipeline `{id}`: {message}"));
                None
            }
        };
        let Some(member) = self.members.get_mut(&id) else { return };
        let outcome = Outcome { counts, letters, took, ended };
        match std::mem::replace(&mut member.after, After::Nothing) {
            // All are to end: there is no again.
            After::Again(config) if !self.stopping.token().is_cancelled() => {
                self.tell(&id, &outcome, Some("; restarting with its new settings"));
                self.start_again(*config).await;
            }
            After::Leave => {
                self.tell(&id, &outcome, Some("; stopped, since no file has it any longer"));
                self.leave(&id);
            }
            _ => member.outcome = Some(outcome),
        }
    }

    /// Makes and starts a pipeline whose settings were tried. A failure ends it, and it alone.
    async fn start_again(&mut self, config: PipelineConfig) {
        let id = config.id.clone();
        let made = match open_state(&self.arguments.state.join(&id)) {
            Ok(state) => prepare(&self.connector, config.clone(), state, self.arguments).await,
            Err(failure) => Err(failure),
        };
        match made {
            Ok(ready) => self.start(config, ready),
            Err(failure) => {
                self.terminal.report(&format!("pipeline `{id}`: {}", failure.into_message()));
                let outcome = Outcome { counts: Counts::default(), letters: 0, took: Duration::ZERO, ended: None };
                let stop = self.stopping.token().child_token();
                let member = Member { config, stop, after: After::Nothing, outcome: Some(outcome) };
                self.members.insert(id, member);
            }
        }
    }

    /// Reads the files again, and makes what runs the same as what they say.
    async fn reload(&mut self) {
        if self.stopping.token().is_cancelled() {
            return;
        }
        notify::reloading();
        self.terminal.say("SIGHUP: reading the pipeline files again");
        match self.changes().await {
            Ok(changes) => {
                let Changes { new, changed, removed, kept } = &changes;
                let told = format!(
                    "reloaded: {kept} unchanged, {} starting, {} restarting, {} stopping",
                    new.len(),
                    changed.len(),
                    removed.len()
                );
                self.terminal.say(&told);
                self.monitor.reloaded(Ok(()));
                self.apply(changes).await;
            }
            Err(failure) => {
                let problems = failure.into_message();
                self.terminal.report(&format!("{problems}\nnothing was reloaded: all pipelines go on as they were"));
                self.monitor.reloaded(Err(problems));
            }
        }
        if !self.stopping.token().is_cancelled() {
            notify::ready(self.monitor);
        }
    }

    /// What is to be changed; every new and changed pipeline was made for trial.
    async fn changes(&self) -> Result<Changes, Failure> {
        let (configs, listen) = pipeline_file::read(&self.arguments.files, self.terminal)?;
        pipeline_file::refuse_cycles(&configs).await?;
        if listen != self.listen {
            self.terminal.say("warning: `listen` has changed, which only a restart of the process heeds");
        }
        let mut changes = Changes::default();
        for (id, member) in &self.members {
            let is_there = configs.iter().any(|config| config.id == *id);
            if !is_there && member.after != After::Leave {
                changes.removed.push(id.clone());
            }
        }
        let mut problems = Vec::new();
        for config in configs {
            let member = self.members.get(&config.id);
            let (is_kept, is_running) = member.map_or((false, false), |member| member.is_kept(&config));
            if is_kept {
                changes.kept += 1;
                continue;
            }
            if let Err(failure) = self.try_out(&config).await {
                problems.push(failure.into_message());
            }
            if is_running { changes.changed.push(config) } else { changes.new.push(config) }
        }
        if problems.is_empty() { Ok(changes) } else { Err(Failure::Usage(problems.join("\n"))) }
    }

    /// Makes a pipeline without its state, which the one that runs has locked, and drops it.
    async fn try_out(&self, config: &PipelineConfig) -> Result<(), Failure> {
        let state = Arc::new(MemoryState::default());
        prepare(&self.connector, config.clone(), state, self.arguments).await.map(drop)
    }

    async fn apply(&mut self, changes: Changes) {
        for id in changes.removed {
            match self.members.get_mut(&id) {
                Some(member) if member.is_running() => {
                    member.after = After::Leave;
                    member.stop.cancel();
                }
                _ => self.leave(&id),
            }
        }
        for config in changes.changed {
            if let Some(member) = self.members.get_mut(&config.id) {
                member.after = After::Again(Box::new(config));
                member.stop.cancel();
            }
        }
        for config in changes.new {
            self.start_again(config).await;
        }
    }

    /// Forgets a pipeline that has ended.
    fn leave(&mut self, id: &str) {
        self.members.remove(id);
        self.monitor.forget(id);
        self.stopping.forget(id);
    }

    fn tell(&self, id: &str, outcome: &Outcome, how: Option<&str>) {
        self.terminal.list(&format!("pipeline `{id}`: "), &outcome.counts.source.skipped);
        self.terminal.say(&outcome.describe(id, how));
    }

    fn conclude(self) -> Result<(), Failure> {
        let outcomes: Vec<_> =
            self.members.iter().filter_map(|(id, member)| Some((id, member.outcome.as_ref()?))).collect();
        for (id, outcome) in &outcomes {
            self.tell(id, outcome, None);
        }
        let stopped = outcomes.iter().filter(|(_, outcome)| outcome.ended == Some(Ended::Stopped));
        match stopped.count() {
            _ if outcomes.iter().any(|(_, outcome)| outcome.ended.is_none()) => Err(Failure::Reported),
            0 => Ok(()),
            stopped if self.arguments.until_caught_up => {
                let how_far = format!("{stopped} of {} pipelines had not caught up", outcomes.len());
                Err(self.stopping.stopped_short(&how_far))
            }
            _ => Ok(()),
        }
    }
}

impl Member {
    fn is_running(&self) -> bool {
        self.outcome.is_none()
    }

    /// Whether it stays as it is where the files say this, and whether it runs now.
    fn is_kept(&self, config: &PipelineConfig) -> (bool, bool) {
        if !self.is_running() {
            // Somebody who has mended what made it fail, such as a missing permission, sends a signal: that is the second try.
            let has_failed = self.outcome.as_ref().is_some_and(|outcome| outcome.ended.is_none());
            return (self.config == *config && !has_failed, false);
        }
        let is_kept = match &self.after {
            After::Nothing => self.config == *config,
            After::Again(next) => **next == *config,
            After::Leave => false,
        };
        (is_kept, true)
    }
}
