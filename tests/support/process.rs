//! Owns the `s3-connector` command as others use it: arguments, variables, standard streams, signals and exit codes.
//! Leaves what a command should do to the tests.
//!
//! All output is searched when the command has ended: a secret or a panic fails the test, whichever test that is.
//! Everything waits for what must come, and fails with what the command printed if it doesn't.

mod ended;
mod stream;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use embedded_s3::EmbeddedS3;

pub use ended::{Ended, Record};
use stream::Stream;

/// How long anything may take that must come. Far more than it does: the machine may be busy, and a connector asks a
/// store that is away for a minute before it fails.
const PATIENCE: Duration = Duration::from_secs(180);

/// The command that is built with the tests.
///
/// # Panics
///
/// If it is not there.
pub fn binary() -> PathBuf {
    let this = std::env::current_exe().expect("a running program has a path");
    let folder = this.parent().expect("a program is in a folder");
    // Tests stand in `deps`, other programs beside the command.
    let folder = match folder.file_name() {
        Some(name) if name == "deps" => folder.parent().unwrap_or(folder),
        _ => folder,
    };
    let binary = folder.join("s3-connector");
    assert!(
        binary.is_file(),
        "{} is not there: build the command in the same profile, such as by `cargo build --profile testing --workspace --bins`",
        binary.display()
    );
    binary
}

/// A command that was not started yet.
#[must_use = "nothing runs until it is started"]
pub struct Invocation {
    command: Command,
    text: String,
    secrets: Vec<String>,
    holds_output: bool,
    holds_errors: bool,
}

impl Invocation {
    /// The command with these arguments, without any variable that it would look at.
    pub fn new(arguments: &[&str]) -> Self {
        Self::of(Command::new(binary()), "s3-connector").args(arguments)
    }

    /// A script of bash, which finds the command by its name. It fails if any part of a pipe does.
    pub fn script(script: &str) -> Self {
        let binary = binary();
        let mut path = OsString::from(binary.parent().unwrap_or_else(|| Path::new(".")));
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let this = Self::of(Command::new("bash"), "bash");
        this.args(&["-o", "pipefail", "-c", script]).env("PATH", path)
    }

    fn of(mut command: Command, text: &str) -> Self {
        for (name, _) in std::env::vars_os() {
            let of_ours = |prefix| name.to_string_lossy().starts_with(prefix);
            let is_proxy = name.to_string_lossy().to_ascii_lowercase().ends_with("_proxy");
            if of_ours("AWS_") || of_ours("OTEL_") || of_ours("S3_CONNECTOR_") || is_proxy {
                command.env_remove(&name);
            }
        }
        // Neither the user's profile nor an instance's role.
        command
            .env("AWS_CONFIG_FILE", "/dev/null")
            .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env_remove("COLUMNS")
            .kill_on_drop(true)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Self {
            command,
            text: text.to_owned(),
            secrets: vec![embedded_s3::SECRET_KEY.to_owned()],
            holds_output: false,
            holds_errors: false,
        }
    }

    /// Points it at a server, with its keys.
    pub fn at(self, server: &EmbeddedS3) -> Self {
        self.env("AWS_ACCESS_KEY_ID", embedded_s3::ACCESS_KEY)
            .secret_key(embedded_s3::SECRET_KEY)
            .env("AWS_REGION", embedded_s3::REGION_DEFAULT)
            .env("AWS_ENDPOINT_URL_S3", server.endpoint())
    }

    /// Gives it a secret key, which must not be seen again.
    pub fn secret_key(self, secret: &str) -> Self {
        self.secret(secret).env("AWS_SECRET_ACCESS_KEY", secret)
    }

    /// Something else that it must not print.
    pub fn secret(mut self, secret: &str) -> Self {
        self.secrets.push(secret.to_owned());
        self
    }

    /// Sets a variable.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Adds arguments.
    pub fn args<A: AsRef<OsStr>>(mut self, arguments: &[A]) -> Self {
        for argument in arguments {
            self.text.push(' ');
            self.text.push_str(&argument.as_ref().to_string_lossy());
            self.command.arg(argument);
        }
        self
    }

    /// Adds a setting of the connector.
    pub fn set(self, name: &str, value: &str) -> Self {
        self.args(&["--set", &format!("{name}={value}")])
    }

    /// Runs it in a folder.
    pub fn within(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// Gives it a file or another input in the place of a pipe.
    pub fn stdin(mut self, stdin: impl Into<Stdio>) -> Self {
        self.command.stdin(stdin);
        self
    }

    /// Sends what it prints elsewhere.
    pub fn stdout(mut self, stdout: impl Into<Stdio>) -> Self {
        self.command.stdout(stdout);
        self
    }

    /// Leaves its output in the pipe, which soon is full.
    pub fn holding_output(mut self) -> Self {
        self.holds_output = true;
        self
    }

    /// Leaves what it says in the pipe, which soon is full.
    pub fn holding_errors(mut self) -> Self {
        self.holds_errors = true;
        self
    }

    /// Starts it.
    ///
    /// # Panics
    ///
    /// If it can't be started.
    pub fn start(mut self) -> Running {
        let started = self.command.spawn();
        let mut child = started.unwrap_or_else(|error| panic!("{}: {error}", self.text));
        let mut output = child.stdout.take();
        let held = if self.holds_output { output.take() } else { None };
        let mut errors = child.stderr.take();
        let held_errors = if self.holds_errors { errors.take() } else { None };
        Running {
            input: child.stdin.take(),
            output: output.map_or_else(Stream::empty, Stream::of),
            errors: errors.map_or_else(Stream::empty, Stream::of),
            held,
            held_errors,
            feeder: None,
            child,
            text: self.text,
            secrets: self.secrets,
        }
    }

    /// Runs it to its end, with nothing on its stdin.
    pub async fn run(self) -> Ended {
        self.feed(b"").await
    }

    /// Runs it to its end, with this on its stdin.
    pub async fn feed(self, input: &[u8]) -> Ended {
        let mut running = self.start();
        running.feed(input.to_vec(), true);
        running.ended().await
    }
}

/// What asks a process to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// As Ctrl-C sends it.
    Interrupt,
    /// As a service manager sends it.
    Terminate,
    /// As a terminal sends it that goes away.
    HangUp,
}

impl Signal {
    /// The exit code that a shell reports for a process that ended by it.
    pub fn exit_code(self) -> i32 {
        match self {
            Self::HangUp => 129,
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::HangUp => "HUP",
            Self::Interrupt => "INT",
            Self::Terminate => "TERM",
        }
    }
}

/// A command that runs. It is killed when this is dropped.
pub struct Running {
    child: Child,
    input: Option<ChildStdin>,
    output: Stream,
    errors: Stream,
    /// Output that nobody reads.
    held: Option<ChildStdout>,
    /// What it said and nobody reads.
    held_errors: Option<ChildStderr>,
    feeder: Option<JoinHandle<()>>,
    text: String,
    secrets: Vec<String>,
}

impl Running {
    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id().expect("it was not waited for")
    }

    /// Waits until it has printed this many whole lines.
    pub async fn lines(&mut self, count: usize) {
        let waited = timeout(PATIENCE, self.output.lines(count)).await;
        if waited != Ok(true) {
            let why = if waited.is_ok() { "ended" } else { "hangs" };
            panic!("{} {why} before line {count}: {}", self.text, self.seen());
        }
    }

    /// What it has printed so far.
    pub fn printed(&self) -> Vec<u8> {
        self.output.so_far()
    }

    /// Waits until a line of its stderr holds this.
    pub async fn says(&mut self, what: &str) {
        let waited = timeout(PATIENCE, self.errors.holds(what)).await;
        assert!(waited == Ok(true), "{} did not say `{what}`: {}", self.text, self.seen());
    }

    /// What it has said so far.
    #[must_use]
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&self.errors.so_far()).into_owned()
    }

    /// Waits until it can't say any more, since nobody reads what it said.
    ///
    /// # Panics
    ///
    /// If it was not started with [`Invocation::holding_errors`].
    pub async fn says_no_more(&mut self) {
        // A pipe of Linux holds 64 KiB in pages of 4 KiB, of which the last of each write may be partly empty.
        const FULL_BYTES: u64 = 32 << 10;
        let held = self.held_errors.as_ref().expect("what it says is held");
        let filled = timeout(PATIENCE, async {
            let (mut before, mut same) = (0, 0);
            // The same for this long, and much: the writer waits.
            while before < FULL_BYTES || same < 20 {
                tokio::time::sleep(Duration::from_millis(20)).await;
                let bytes = rustix::io::ioctl_fionread(held).expect("a pipe tells what it holds");
                same = if bytes == before { same + 1 } else { 0 };
                before = bytes;
            }
        });
        assert!(filled.await.is_ok(), "{} says too little", self.text);
    }

    /// Writes to its stdin. That it reads no more is not a failure here.
    pub async fn write(&mut self, bytes: &[u8]) {
        if let Some(input) = &mut self.input {
            let written = timeout(PATIENCE, input.write_all(bytes)).await;
            assert!(written.is_ok(), "{} takes no input", self.text);
            // A broken pipe shows in how the process ended.
            let _ = input.flush().await;
        }
    }

    /// Writes to its stdin while other things are done, and ends it after that or with the process.
    pub fn feed(&mut self, bytes: Vec<u8>, ends: bool) {
        let Some(mut input) = self.input.take() else {
            return;
        };
        let feeder = tokio::spawn(async move {
            let written = input.write_all(&bytes).await;
            if !ends && written.is_ok() {
                std::future::pending::<()>().await;
            }
        });
        self.feeder = Some(feeder);
    }

    /// Ends its stdin.
    pub fn close_input(&mut self) {
        self.input = None;
    }

    /// Ends the reading of its stdout.
    pub async fn close_output(&mut self) {
        self.held = None;
        self.output.close().await;
    }

    /// Sends a signal.
    pub async fn signal(&self, signal: Signal) {
        // The shell's own: it is everywhere.
        let sent = Command::new("sh")
            .args(["-c", "kill -s \"$0\" \"$1\"", signal.name()])
            .arg(self.id().to_string())
            .stderr(Stdio::null())
            .status()
            .await;
        assert!(sent.is_ok(), "there is no shell: {sent:?}");
    }

    /// Whether it has ended, as far as is known within a moment.
    pub async fn has_ended_within(&mut self, moment: Duration) -> bool {
        timeout(moment, self.child.wait()).await.is_ok()
    }

    /// Kills it without warning, and collects what it printed until then.
    pub async fn kill(mut self) -> Ended {
        // It may have ended by itself, which shows in how it ended.
        let _ = self.child.start_kill();
        self.ended().await
    }

    /// Waits for its end.
    pub async fn ended(mut self) -> Ended {
        // Its input stays open for as long as it runs.
        let input = self.input.take();
        let held = (self.held.take(), self.held_errors.take());
        let Ok(waited) = timeout(PATIENCE, self.child.wait()).await else {
            panic!("{} does not end: {}", self.text, self.seen());
        };
        drop((input, held));
        if let Some(feeder) = self.feeder.take() {
            feeder.abort();
        }
        let status = waited.expect("a child can be waited for");
        let stdout = self.output.rest().await;
        let stderr = self.errors.rest().await;
        let ended = Ended::new(self.text, status, stdout, &stderr);
        ended.keeps(&self.secrets);
        ended
    }

    fn seen(&self) -> String {
        format!(
            "{} lines printed, and on stderr:\n{}",
            self.output.count(),
            String::from_utf8_lossy(&self.errors.so_far())
        )
    }
}
