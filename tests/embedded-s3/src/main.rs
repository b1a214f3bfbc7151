//! Owns the command: it turns arguments into options. Leaves the server to the library.

use std::fmt::Display;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use embedded_s3::{ACCESS_KEY, AccessKey, EmbeddedS3, Options, SECRET_KEY, Versioning};
use tokio::signal::unix::{SignalKind, signal};

/// An S3 server in memory, for tests
///
/// It serves plain HTTP on 127.0.0.1 and forgets everything when it ends.
#[derive(Debug, Parser)]
#[command(name = "embedded-s3", after_help = EXAMPLE)]
struct Arguments {
    /// Port to listen on; 0 takes any free one
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Access key that requests are signed with
    #[arg(long, value_name = "KEY", default_value = ACCESS_KEY)]
    access_key: String,
    /// Secret key that requests are signed with
    #[arg(long, value_name = "KEY", default_value = SECRET_KEY)]
    secret_key: String,
    /// Session token that must come with every request
    #[arg(long, value_name = "TOKEN")]
    session_token: Option<String>,
    /// Bucket to make; may be repeated
    #[arg(long = "bucket", value_name = "NAME")]
    buckets: Vec<String>,
    /// Enable versioning on these buckets
    #[arg(long)]
    versioning: bool,
    /// How long every answer takes at least, such as 30ms or 1s
    #[arg(long, value_name = "DURATION", default_value = "0ms", value_parser = parse_duration)]
    latency: Duration,
    /// Give times in milliseconds, as MinIO and Ceph do
    #[arg(long)]
    milliseconds: bool,
    /// Region that requests must be signed for; any without
    #[arg(long)]
    region: Option<String>,
    /// Domain below which host names start with a bucket
    #[arg(long)]
    domain: Option<String>,
}

const EXAMPLE: &str = "\
Example:
  embedded-s3 --port 9000 --access-key demo --secret-key demo-secret \\
      --bucket photos --versioning --latency 30ms

It prints one line once it is ready, and ends on SIGINT or SIGTERM.";

fn parse_duration(text: &str) -> Result<Duration, String> {
    let unit_at = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let number: u64 = number.parse().map_err(|_| "expected a number and a unit".to_owned())?;
    match unit {
        "us" => Ok(Duration::from_micros(number)),
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        _ => Err("expected the unit us, ms or s".to_owned()),
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("embedded-s3: {message}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), String> {
    // Before anybody can know that we are here, so that no signal is missed.
    let listen = |kind| signal(kind).map_err(|error| failed("listen for signals", error));
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    let mut key = AccessKey::new(arguments.access_key, arguments.secret_key);
    key.session_token = arguments.session_token;
    let options = Options {
        port: arguments.port,
        keys: vec![key],
        region: arguments.region,
        domain: arguments.domain,
        milliseconds: arguments.milliseconds,
        latency: arguments.latency,
        // Nobody can look into it from outside.
        requests_logged_max: 0,
        ..Options::default()
    };
    let server = EmbeddedS3::start(options).await.map_err(|error| failed("listen", error))?;
    for bucket in &arguments.buckets {
        let made = server.store().create_bucket(bucket);
        made.map_err(|error| failed("make a bucket", error))?;
        if arguments.versioning {
            let set = server.store().set_versioning(bucket, Versioning::Enabled);
            set.map_err(|error| failed("enable versioning", error))?;
        }
    }
    println!("embedded-s3 listening on {}", server.endpoint());
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

fn failed(what: &str, error: impl Display) -> String {
    format!("failed to {what}: {error}")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(parse_duration("30ms"), Ok(Duration::from_millis(30)));
        assert_eq!(parse_duration("2s"), Ok(Duration::from_secs(2)));
        assert!(parse_duration("30").is_err());
        assert!(parse_duration("ms").is_err());
    }
}
