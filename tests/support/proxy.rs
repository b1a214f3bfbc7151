//! Owns a small HTTP proxy: it passes plain requests on and makes tunnels for clients with the password, and records
//! what it was asked for. It keeps no connection, so that each request shows.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Bytes of a request's head. Far more than any client of these tests sends.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// A proxy that runs until it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Starts one on a free port that wants this `user:password`; any client may use it where that is `None`.
    ///
    /// # Errors
    ///
    /// If no port can be listened on.
    pub async fn start(user: Option<&str>) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let asked = Arc::new(Mutex::new(Vec::new()));
        let wanted = user.map(|user| format!("basic {}", BASE64_STANDARD.encode(user)));
        let kept = Arc::clone(&asked);
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(serve(near, wanted.clone(), Arc::clone(&kept)));
            }
        });
        Ok(Self { address, asked, task })
    }

    /// Host and port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it was asked for and did, in order: `GET http://host/path`, `CONNECT host:port`.
    pub fn passed(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves one connection. A peer that goes away ends it.
async fn serve(mut near: TcpStream, wanted: Option<String>, asked: Arc<Mutex<Vec<String>>>) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < HEAD_BYTES_MAX {
        head.push(near.read_u8().await?);
    }
    let head = String::from_utf8(head).map_err(io::Error::other)?;
    let mut lines = head.trim_end().lines();
    let mut first = lines.next().unwrap_or_default().split(' ');
    let (method, target) = (first.next().unwrap_or_default(), first.next().unwrap_or_default());
    let is_own = |line: &&str| line.to_ascii_lowercase().starts_with("proxy-authorization:");
    let (own, others): (Vec<&str>, Vec<&str>) = lines.partition(is_own);
    let given = own.first().and_then(|line| line.split_once(": "));
    let given = given.map(|(_, value)| value.replacen("Basic", "basic", 1));
    if wanted.is_some() && given != wanted {
        let refusal = "HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n";
        return near.write_all(refusal.as_bytes()).await;
    }
    asked.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{method} {target}"));
    let mut far = if method == "CONNECT" {
        let far = TcpStream::connect(target).await?;
        near.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
        far
    } else {
        let rest = target.strip_prefix("http://").unwrap_or_default();
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let mut far = TcpStream::connect(host).await?;
        let others = others.join("\r\n");
        let head = format!("{method} /{path} HTTP/1.1\r\n{others}\r\nconnection: close\r\n\r\n");
        far.write_all(head.as_bytes()).await?;
        far
    };
    copy_bidirectional(&mut near, &mut far).await.map(drop)
}
