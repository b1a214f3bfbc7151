//! Owns a small client of Conduit's protocol: it starts the command as Conduit starts a plugin, reads the first line, connects,
//! and keeps what the plugin logs. Leaves what a plugin should do to the tests, and Conduit's own client to `make conduit-client`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use conduit_protocol::connector::v2::destination_plugin_client::DestinationPluginClient;
use conduit_protocol::connector::v2::source_plugin_client::SourcePluginClient;
use conduit_protocol::connector::v2::specifier_plugin_client::SpecifierPluginClient;
use conduit_protocol::go_plugin::Empty;
use conduit_protocol::go_plugin::grpc_controller_client::GrpcControllerClient;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};

use embedded_s3::EmbeddedS3;

use crate::process::binary;

/// How long anything may take that must come.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// Bytes of a message, as Conduit's client takes them.
const MESSAGE_BYTES_MAX: usize = i32::MAX as usize;

/// The variable and the value by which a plugin knows that Conduit has started it.
pub const COOKIE: (&str, &str) =
    ("CONDUIT_PLUGIN_MAGIC_COOKIE", "204e8e812c3a1bb73b838928c575b42a105dd2e9aa449be481bc4590486df53f");

/// A plugin that runs.
pub struct Plugin {
    child: Child,
    channel: Channel,
    /// The first line, without its newline.
    pub first_line: String,
    log: watch::Receiver<Vec<String>>,
}

/// How a plugin is started.
#[must_use = "nothing runs until it is started"]
pub struct Start {
    command: Command,
    state: Option<PathBuf>,
}

impl Start {
    /// As Conduit starts one for a connector of that id, but with no variable that is not named here.
    pub fn new(connector_id: &str) -> Self {
        let mut command = Command::new(binary());
        command
            .env_clear()
            .env("AWS_CONFIG_FILE", "/dev/null")
            .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            // Compiled code is kept in the user's cache.
            .envs(std::env::var_os("HOME").map(|home| ("HOME", home)))
            // State is not: connectors of several tests have the same name.
            .env("XDG_STATE_HOME", "/dev/null")
            .env("CONDUIT_CONNECTOR_ID", connector_id)
            .env("CONDUIT_CONNECTOR_TOKEN", r#"{"value":"token","connector_id":"id"}"#)
            .env("CONDUIT_CONNECTOR_LOG_LEVEL", "debug")
            .env(COOKIE.0, COOKIE.1)
            .env("PLUGIN_PROTOCOL_VERSIONS", "1,2");
        Self { command, state: None }
    }

    /// As Conduit starts one to hear what it is, with no variable but the one that says so.
    pub fn bare() -> Self {
        let mut command = Command::new(binary());
        command.env_clear().env(COOKIE.0, COOKIE.1);
        Self { command, state: None }
    }

    /// With this variable.
    pub fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// With a folder for its state. Without one, it keeps none.
    pub fn state(mut self, folder: impl Into<PathBuf>) -> Self {
        self.state = Some(folder.into());
        self
    }

    /// Starts it, and connects.
    ///
    /// # Panics
    ///
    /// If it does not say where to connect.
    pub async fn start(mut self) -> Plugin {
        if let Some(state) = &self.state {
            self.command.env("S3_CONNECTOR_STATE", state);
        }
        self.command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = self.command.spawn().expect("the command can be started");
        let (kept, log) = watch::channel(Vec::new());
        let mut errors = BufReader::new(child.stderr.take().expect("it is piped")).lines();
        tokio::spawn(async move {
            while let Ok(Some(line)) = errors.next_line().await {
                kept.send_modify(|lines: &mut Vec<String>| lines.push(line));
            }
        });
        let mut output = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let first_line = timeout(PATIENCE, output.next_line()).await.expect("a plugin says where it is");
        let first_line = first_line.expect("its output can be read").expect("it prints a line");
        // What it prints later is read, as Conduit does, so that it never waits for a reader.
        tokio::spawn(async move { while let Ok(Some(_)) = output.next_line().await {} });
        let channel = connect(&first_line).await;
        Plugin { child, channel, first_line, log }
    }
}

async fn connect(first_line: &str) -> Channel {
    let parts: Vec<&str> = first_line.split('|').collect();
    assert!(parts.len() >= 5 && parts[..2] == ["1", "2"] && parts[4] == "grpc", "{first_line}");
    let address = match parts[2] {
        "unix" => format!("unix://{}", parts[3]),
        "tcp" => format!("http://{}", parts[3]),
        other => panic!("no network: {other}"),
    };
    let endpoint = Endpoint::from_shared(address).expect("an address of a plugin");
    endpoint.connect().await.expect("the plugin listens once it has said where")
}

impl Plugin {
    /// Its source.
    pub fn source(&self) -> SourcePluginClient<Channel> {
        SourcePluginClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// Its destination.
    pub fn destination(&self) -> DestinationPluginClient<Channel> {
        DestinationPluginClient::new(self.channel.clone()).max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// What it says of itself.
    pub fn specifier(&self) -> SpecifierPluginClient<Channel> {
        SpecifierPluginClient::new(self.channel.clone())
    }

    /// The connection, for other services.
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// The lines that it has logged so far.
    pub fn log(&self) -> Vec<String> {
        self.log.borrow().clone()
    }

    /// Waits until it has logged a line that holds this.
    ///
    /// # Panics
    ///
    /// If it logs none.
    pub async fn says(&self, what: &str) {
        let mut log = self.log.clone();
        let said = timeout(PATIENCE, log.wait_for(|lines| lines.iter().any(|line| line.contains(what)))).await;
        assert!(matches!(said, Ok(Ok(_))), "the plugin did not say `{what}`: {:?}", self.log());
    }

    /// Sends it a signal.
    ///
    /// # Panics
    ///
    /// If it has ended.
    pub fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)).expect("it runs");
        kill_process(pid, signal).expect("it can be signalled");
    }

    /// Kills it.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("it can be killed");
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Ends it as Conduit does, which gives it two seconds.
    ///
    /// # Panics
    ///
    /// If it is there for longer.
    pub async fn shut_down(mut self) -> ExitStatus {
        let mut controller = GrpcControllerClient::new(self.channel.clone());
        controller.shutdown(Empty {}).await.expect("the call is answered");
        let ended = timeout(Duration::from_secs(2), self.child.wait()).await;
        for line in self.log() {
            assert!(!line.contains(embedded_s3::SECRET_KEY), "a secret was logged: {line}");
            // Any other line loses its level, and a value that is no string has Conduit panic.
            let fields: BTreeMap<String, String> = serde_json::from_str(&line).expect(&line);
            assert!(fields.contains_key("@message") && fields["@timestamp"].len() == 27, "{line}");
        }
        ended.expect("a plugin ends within two seconds").expect("its end can be waited for")
    }

    /// Waits for its end.
    ///
    /// # Panics
    ///
    /// If it does not end.
    pub async fn ended(mut self) -> ExitStatus {
        timeout(PATIENCE, self.child.wait()).await.expect("the plugin ends").expect("its end can be waited for")
    }
}

/// Settings of either side for a bucket of a server.
pub fn settings(server: &EmbeddedS3, bucket: &str, more: &[(&str, &str)]) -> BTreeMap<String, String> {
    let endpoint = server.endpoint();
    let common = [
        ("aws.bucket", bucket),
        ("aws.region", "us-east-1"),
        ("aws.endpoint", endpoint.as_str()),
        ("aws.accessKeyId", embedded_s3::ACCESS_KEY),
        ("aws.secretAccessKey", embedded_s3::SECRET_KEY),
    ];
    common.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}
