//! Owns the first line of a plugin, and where it listens. Leaves what is served there to `conduit`.
//!
//! The line is that of [go-plugin](https://github.com/hashicorp/go-plugin/blob/main/docs/internals.md): versions, network,
//! address and protocol between bars. Conduit reads it from stdout; whatever came before it would break the start.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;

use futures_util::stream::{Stream, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio_stream::wrappers::{TcpListenerStream, UnixListenerStream};

use super::engine::{Engine, TCP_VARIABLE};
use super::lifetime::{Counted, Lifetime};
use crate::random;

/// The variable that tells a plugin from a program that a person has started, and its value.
pub(super) const COOKIE_NAME: &str = "CONDUIT_PLUGIN_MAGIC_COOKIE";
const COOKIE: &str = "204e8e812c3a1bb73b838928c575b42a105dd2e9aa449be481bc4590486df53f";

/// The version of go-plugin's own protocol.
const CORE_VERSION: u32 = 1;

/// The version of Conduit's protocol that is spoken here.
const PROTOCOL_VERSION: u32 = 2;

pub(super) fn has_cookie(value: Option<&str>) -> bool {
    value == Some(COOKIE)
}

/// Where the engine connects.
pub(super) struct Listener {
    socket: Socket,
}

enum Socket {
    Unix(UnixListener, SocketFolder),
    Tcp(TcpListener),
}

/// A folder that only this user can enter, with a socket in it. Removed at the end, as far as the process gets to it.
pub(super) struct SocketFolder(PathBuf);

impl Drop for SocketFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A connection of the engine.
pub(super) trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

impl Listener {
    /// Listens at a socket in a folder that nobody else can enter: a user who can connect can read the bucket. Where it was asked for,
    /// on the loopback interface, to which every user of the machine can connect.
    pub(super) fn bind(engine: &Engine, lifetime: &Lifetime) -> io::Result<Self> {
        if !engine.wants_tcp {
            let (listener, folder) = bind_unix(folders(engine, |name| std::env::var_os(name)))?;
            lifetime.remove_at_end(folder.0.clone(), SOCKET_NAME);
            return Ok(Self { socket: Socket::Unix(listener, folder) });
        }
        let (low, high) = engine.ports;
        let ports = (low..=high).chain([0]);
        let listener = ports.into_iter().find_map(|port| std::net::TcpListener::bind(("127.0.0.1", port)).ok());
        let listener = listener.ok_or_else(|| io::Error::other("no port is free"))?;
        listener.set_nonblocking(true)?;
        Ok(Self { socket: Socket::Tcp(TcpListener::from_std(listener)?) })
    }

    /// Network and address, as go-plugin writes them.
    fn address(&self) -> io::Result<(&'static str, String)> {
        Ok(match &self.socket {
            Socket::Unix(_, folder) => ("unix", folder.0.join(SOCKET_NAME).display().to_string()),
            Socket::Tcp(listener) => ("tcp", listener.local_addr()?.to_string()),
        })
    }

    /// The connections that the engine makes, each of which `lifetime` counts.
    pub(super) fn connections(
        self,
        lifetime: Lifetime,
    ) -> impl Stream<Item = io::Result<Counted<Box<dyn Connection>>>> {
        type Connections = Pin<Box<dyn Stream<Item = io::Result<Box<dyn Connection>>> + Send>>;
        let boxed: (Connections, Option<SocketFolder>) = match self.socket {
            Socket::Unix(listener, folder) => {
                let stream = UnixListenerStream::new(listener).map(|c| c.map(|c| Box::new(c) as Box<dyn Connection>));
                (Box::pin(stream), Some(folder))
            }
            Socket::Tcp(listener) => {
                let stream = TcpListenerStream::new(listener).map(|c| {
                    let c = c?;
                    c.set_nodelay(true)?;
                    Ok(Box::new(c) as Box<dyn Connection>)
                });
                (Box::pin(stream), None)
            }
        };
        let (stream, folder) = boxed;
        stream.map(move |connection| {
            let _kept = &folder;
            connection.map(|connection| lifetime.count(connection))
        })
    }
}

/// As short as can be: the path of a socket has room for about a hundred bytes.
const SOCKET_NAME: &str = "s";

/// Where a socket's folder may be made: where Conduit says, otherwise where temporary files are.
fn folders(engine: &Engine, variable: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    if let Some(folder) = &engine.socket_folder {
        return vec![PathBuf::from(folder)];
    }
    let set = ["TMPDIR", "XDG_RUNTIME_DIR"].into_iter().filter_map(variable);
    set.filter(|folder| !folder.is_empty()).chain(["/tmp".into(), "/var/tmp".into()]).map(PathBuf::from).collect()
}

fn bind_unix(folders: Vec<PathBuf>) -> io::Result<(UnixListener, SocketFolder)> {
    let mut faults = Vec::new();
    for parent in folders {
        match bind_in(&parent) {
            Ok(bound) => return Ok(bound),
            Err(error) => faults.push(format!("{}: {error}", parent.display())),
        }
    }
    Err(io::Error::other(format!(
        "no socket can be made ({}): set TMPDIR to a folder with a short path that can be written, or {TCP_VARIABLE}=1 to be \
         served by TCP on 127.0.0.1, to which every user of this machine can connect",
        faults.join("; ")
    )))
}

fn bind_in(parent: &Path) -> io::Result<(UnixListener, SocketFolder)> {
    let is_plain = |text: &str| !text.contains(['|', '\n', '\r']);
    if !parent.to_str().is_some_and(is_plain) {
        return Err(io::Error::other("its path has `|`, a line break, or bytes that are not UTF-8"));
    }
    let folder = parent.join(format!("s3c-{:08x}", random::number() >> 32));
    std::fs::DirBuilder::new().mode(0o700).create(&folder)?;
    let folder = SocketFolder(folder);
    let path = folder.0.join(SOCKET_NAME);
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok((listener, folder))
}

/// Prints the line that Conduit waits for.
pub(super) fn announce(engine: &Engine, listener: &Listener) -> io::Result<()> {
    let offered = &engine.protocol_versions;
    if !offered.is_empty() && !offered.contains(&PROTOCOL_VERSION) {
        tracing::error!("this Conduit offers other versions of the protocol than {PROTOCOL_VERSION}: {offered:?}");
    }
    let (network, address) = listener.address()?;
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{CORE_VERSION}|{PROTOCOL_VERSION}|{network}|{address}|grpc|")?;
    stdout.flush()
}
