//! Owns a real Conduit as a process: its start, its log, its API, its plugins, its end. Leaves what goes through it to `sandbox`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Once;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

/// Names the Conduit to test with.
const CONDUIT: &str = "S3_CONNECTOR_CONDUIT";

/// How long anything may take that must come. A pipeline that Conduit restarts waits for some seconds itself.
const PATIENCE: Duration = Duration::from_secs(90);

/// How often it is looked whether it has come.
const LOOK: Duration = Duration::from_millis(50);

/// How long Conduit may take to end. It gives its pipelines half a minute.
const END: Duration = Duration::from_secs(60);

/// Lines of the log that a failure shows.
const LINES_SHOWN: usize = 30;

/// The Conduit to test with; where none is named, that is said once.
pub fn program() -> Option<PathBuf> {
    static SAID: Once = Once::new();
    let named = std::env::var_os(CONDUIT).filter(|path| !path.is_empty()).map(PathBuf::from);
    if named.is_none() {
        SAID.call_once(|| {
            let line = format!("tests in a real Conduit are skipped: {CONDUIT} names none; see `make conduit`\n");
            // Past the test harness, which swallows output. Nobody may be listening.
            let _ = std::io::stderr().write_all(line.as_bytes());
        });
    }
    named
}

/// Which of Conduit's two ways to run pipelines is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    V1,
    V2,
}

/// A Conduit that runs.
pub struct Conduit {
    child: Child,
    log: PathBuf,
    api: u16,
}

impl Conduit {
    /// Starts it in a folder, with these variables, flags and a log of its own; returns once its API is there.
    pub async fn start(
        folder: &Path,
        architecture: Architecture,
        variables: &[(&str, String)],
        flags: &[&str],
        log: PathBuf,
    ) -> Self {
        let output = std::fs::File::create(&log).expect("a log can be made");
        let mut command = Command::new(program().expect("a Conduit is named"));
        command
            // Neither the caller's keys, nor their proxies, nor settings of Conduit.
            .env_clear()
            .envs(["PATH", "HOME"].into_iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
            .envs([("AWS_CONFIG_FILE", "/dev/null"), ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")])
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .args(["run", "--connectors.path", "connectors", "--pipelines.path", "pipelines"])
            .args(["--db.type", "badger", "--db.badger.path", "db", "--log.format", "json"])
            .args(["--api.enabled=true", "--api.http.address", "127.0.0.1:0", "--api.grpc.address", "127.0.0.1:0"])
            .args((architecture == Architecture::V2).then_some("--preview.pipeline-arch-v2"))
            .args(flags)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a file can be shared"))
            .stderr(output)
            .kill_on_drop(true);
        let child = command.spawn().unwrap_or_else(|error| panic!("{CONDUIT} does not start: {error}"));
        let mut conduit = Self { child, log, api: 0 };
        conduit.wait_for("`http API started` in the log", |conduit| conduit.address().is_some()).await;
        conduit.api = conduit.address().expect("it was there");
        conduit
    }

    /// The port of the API, once it is there.
    fn address(&self) -> Option<u16> {
        let started = self.lines().into_iter().find(|line| line["message"] == "http API started")?;
        started["address"].as_str()?.rsplit(':').next()?.parse().ok()
    }

    /// The text of the log so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).expect("the log can be read")).into_owned()
    }

    /// The lines of the log so far that are JSON.
    pub fn lines(&self) -> Vec<Value> {
        self.log().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Waits until something is so; fails with what was waited for and the end of the log.
    pub async fn wait_for(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let since = Instant::now();
        while !is_so(self) {
            let ended = self.child.try_wait().expect("a child can be asked");
            assert!(ended.is_none(), "Conduit has ended, before {what}{}", self.tail());
            assert!(since.elapsed() < PATIENCE, "{what} did not come{}", self.tail());
            sleep(LOOK).await;
        }
    }

    /// The end of the log, for a failure.
    pub fn tail(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        let shown = lines[lines.len().saturating_sub(LINES_SHOWN)..].iter();
        let shown: String = shown.map(|line| format!("  {}\n", line.chars().take(500).collect::<String>())).collect();
        format!("; the end of Conduit's log:\n{shown}")
    }

    /// Asks the API; returns the status and the answer.
    pub async fn call(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let asked = async {
            let mut stream = TcpStream::connect(("127.0.0.1", self.api)).await?;
            let body = if body.is_null() { String::new() } else { body.to_string() };
            // HTTP/1.0: the answer is whole when the connection ends.
            let head =
                format!("{method} /v1/{path} HTTP/1.0\r\nHost: conduit\r\nContent-Length: {}\r\n\r\n", body.len());
            stream.write_all(format!("{head}{body}").as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.map(|_| answer)
        };
        let answer =
            timeout(PATIENCE, asked).await.unwrap_or_else(|_| panic!("no answer to {method} {path}{}", self.tail()));
        let answer = answer.unwrap_or_else(|error| panic!("{method} {path}: {error}{}", self.tail()));
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect(head);
        (status, serde_json::from_str(body).unwrap_or_default())
    }

    /// As `call`, and fails unless it went well.
    pub async fn call_well(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = self.call(method, path, body).await;
        assert_eq!(status, 200, "{method} {path}: {answer}{}", self.tail());
        answer
    }

    /// Waits until the API's answer to a GET is as it should be; returns it.
    pub async fn wait_for_answer(&self, what: &str, path: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let since = Instant::now();
        loop {
            let answer = self.call_well("GET", path, &Value::Null).await;
            if is_so(&answer) {
                return answer;
            }
            assert!(since.elapsed() < PATIENCE, "{what} did not come, but {answer}{}", self.tail());
            sleep(LOOK).await;
        }
    }

    /// Waits until the pipeline `p` has this status.
    pub async fn has_status(&self, status: &str) {
        self.wait_for_answer(status, "pipelines/p", |pipeline| pipeline["state"]["status"] == status).await;
    }

    /// The processes of its plugins.
    pub fn plugins(&self) -> Vec<Pid> {
        let parent = self.child.id().expect("it runs").to_string();
        let listed = std::process::Command::new("ps").args(["-A", "-o", "pid=,ppid=,args="]).output();
        let listed = listed.expect("`ps` is needed: on Debian, apt-get install procps").stdout;
        let listed = String::from_utf8_lossy(&listed).into_owned();
        let plugins = listed.lines().filter_map(|line| {
            let mut words = line.split_whitespace();
            let (pid, of, program) = (words.next()?, words.next()?, words.next()?);
            (of == parent && program.ends_with("s3-connector")).then(|| Pid::from_raw(pid.parse().ok()?))?
        });
        plugins.collect()
    }

    /// Kills the processes of its plugins, of which there must be one at least, and waits until Conduit has started others.
    ///
    /// Conduit's v1 engine tells that all nodes have stopped before it stores the error of the last one: now and then it takes a
    /// killed plugin for a stop by the user, and says "pipeline stopped" without an error. Then the pipeline is started as a
    /// user would start it.
    pub async fn kill_plugins(&self) {
        let killed = self.plugins();
        assert!(!killed.is_empty(), "there is no plugin to kill{}", self.tail());
        for plugin in &killed {
            kill_process(*plugin, Signal::KILL).expect("it can be killed");
        }
        let since = Instant::now();
        while !self.plugins().iter().any(|plugin| !killed.contains(plugin)) {
            assert!(since.elapsed() < PATIENCE, "no other plugin was started{}", self.tail());
            let pipeline = self.call_well("GET", "pipelines/p", &Value::Null).await;
            if pipeline["state"]["status"] == "STATUS_STOPPED" {
                self.call_well("POST", "pipelines/p/start", &Value::Null).await;
            }
            sleep(LOOK).await;
        }
    }

    /// Kills it, and waits until its plugins have ended, which they must do by themselves.
    pub async fn kill(mut self) {
        let plugins = self.plugins();
        self.child.kill().await.expect("it can be killed");
        self.ends_without_orphans(plugins).await;
    }

    /// Ends it by a second signal, after which it waits for nothing more.
    pub async fn stop_at_once(mut self) {
        let plugins = self.plugins();
        self.signal(Signal::TERM);
        self.wait_for("`conduit is stopping` in the log", |conduit| conduit.log().contains("conduit is stopping"))
            .await;
        self.signal(Signal::TERM);
        self.ends_without_orphans(plugins).await;
    }

    async fn ends_without_orphans(&mut self, plugins: Vec<Pid>) {
        let ended = timeout(END, self.child.wait()).await;
        assert!(ended.is_ok(), "Conduit did not end within {END:?}{}", self.tail());
        let since = Instant::now();
        while plugins.iter().any(|plugin| kill_process(*plugin, Signal::CONT).is_ok()) {
            assert!(since.elapsed() < PATIENCE, "plugins have outlived Conduit{}", self.tail());
            sleep(LOOK).await;
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)).expect("it runs");
        kill_process(pid, signal).expect("it can be signalled");
    }

    /// Stops it. Plugins must end by themselves, and log nothing that Conduit can't read.
    pub async fn stop(self) {
        self.stop_by(Signal::TERM, &[]).await;
    }

    /// Stops it by a signal that these plugins get, too, as from a service manager or a terminal.
    pub async fn stop_by(mut self, signal: Signal, plugins: &[Pid]) {
        for plugin in plugins {
            kill_process(*plugin, signal).expect("it can be signalled");
        }
        self.signal(signal);
        let ended = timeout(END, self.child.wait()).await;
        assert!(ended.is_ok(), "Conduit did not end within {END:?} after {signal:?}{}", self.tail());
        let log = self.log();
        for trouble in ["failed to exit gracefully", "could not load standalone connector plugin", "panic"] {
            assert!(!log.contains(trouble), "`{trouble}` is in the log{}", self.tail());
        }
        assert!(!log.contains(embedded_s3::SECRET_KEY), "a secret is in the log");
    }
}
