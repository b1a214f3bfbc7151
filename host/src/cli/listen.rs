//! Owns `--listen`: the address where a command shows what it does. Leaves what is shown to the library's monitor.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use clap::Args;
use s3_connector_host::monitor::{self, Monitor};
use s3_connector_host::pipeline::CancellationToken;
use tokio::net::TcpListener;

use super::Failure;
use super::terminal::Terminal;

/// Where to show what the command does.
#[derive(Debug, Args)]
pub(super) struct ListenArguments {
    /// Serve metrics, health and a page for people on this address
    ///
    /// `/` is a page, `/status` JSON, `/metrics` for Prometheus, `/live` and `/ready` for probes. A port alone is one of 127.0.0.1,
    /// which only this machine reaches. No credentials and no payloads are to be seen, but names of buckets and objects, and nobody
    /// is asked who they are: choose another address only where that is fine.
    #[arg(long, value_name = "[ADDR:]PORT", value_parser = parse)]
    listen: Option<SocketAddr>,
}

/// Parses an address, or a port of the loopback interface.
pub(super) fn parse(text: &str) -> Result<SocketAddr, &'static str> {
    let port = |port: u16| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
    let local = |text: &str| text.strip_prefix("localhost:").and_then(|text| text.parse().ok());
    text.parse::<u16>()
        .ok()
        .or_else(|| local(text))
        .map(port)
        .or_else(|| text.parse().ok())
        .ok_or("expected a port, such as 9464, or an address with one, such as 0.0.0.0:9464 or [::]:9464")
}

impl ListenArguments {
    /// Shows what `monitor` sees until the end of the process, if that is asked for; otherwise on `fallback`, if there is one.
    ///
    /// # Errors
    ///
    /// If the address can't be had.
    pub(super) async fn serve(
        &self,
        fallback: Option<SocketAddr>,
        monitor: &Monitor,
        terminal: &Terminal,
    ) -> Result<(), Failure> {
        let Some(address) = self.listen.or(fallback) else { return Ok(()) };
        let refuse = |error| Failure::Failed(format!("cannot listen on {address}: {error}"));
        let listener = TcpListener::bind(address).await.map_err(refuse)?;
        let bound = listener.local_addr().map_err(refuse)?;
        terminal.say(&format!("listening on http://{bound}"));
        tokio::spawn(monitor::serve(monitor.clone(), listener, CancellationToken::new()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_one_of_this_machine() {
        for (text, expected) in [
            ("9464", "127.0.0.1:9464"),
            ("localhost:9464", "127.0.0.1:9464"),
            ("0.0.0.0:9464", "0.0.0.0:9464"),
            ("[::1]:0", "[::1]:0"),
        ] {
            assert_eq!(parse(text).unwrap().to_string(), expected);
        }
        for text in ["", ":9464", "99999", "host", "http://127.0.0.1:1", "example.com:80"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
