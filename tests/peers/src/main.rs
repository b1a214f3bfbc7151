//! Owns the command: its arguments, and the line that it prints. Leaves the clients to their modules.

mod floor;
mod listing;
mod store;

use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, ValueEnum};
use synthetic_s3::Rule;

/// Does what the connector does, in another way, and prints what that took as a line of JSON
#[derive(Debug, Parser)]
#[command(name = "peer")]
struct Arguments {
    /// Which client
    client: Client,
    /// Address of the server, such as 127.0.0.1:9000
    #[arg(long)]
    address: String,
    /// The bucket
    #[arg(long)]
    bucket: String,
    /// The bucket's rule, from which its keys follow
    #[arg(long, value_parser = Rule::parse)]
    rule: Rule,
    /// Requests at the same time
    #[arg(long, default_value_t = 64)]
    concurrency: usize,
    /// Objects to get: all of them by default
    #[arg(long)]
    objects: Option<u64>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Client {
    /// Plain hyper: a connection per request in flight, no signatures, bodies counted and dropped
    Floor,
    /// One request after the other, on one connection
    Serial,
    /// The `object_store` crate
    ObjectStore,
    /// Pages of versions, one after the other
    SerialListing,
}

/// What was done.
#[derive(Clone, Copy, Debug, Default)]
struct Done {
    objects: u64,
    bytes: u64,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    let begun = Instant::now();
    match runtime.block_on(run(&arguments)) {
        Ok(Done { objects, bytes }) => {
            let seconds = begun.elapsed().as_secs_f64();
            println!("{{\"objects\":{objects},\"bytes\":{bytes},\"seconds\":{seconds}}}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("peer: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<Done, Failure> {
    let Arguments { client, address, bucket, rule, concurrency, objects } = arguments;
    let keys = (0..objects.unwrap_or(rule.keys).min(rule.keys)).map(|number| rule.key(number));
    match client {
        Client::Floor => floor::get(address, bucket, keys, *concurrency).await,
        Client::Serial => floor::get(address, bucket, keys, 1).await,
        Client::ObjectStore => store::get(address, bucket, keys, *concurrency).await,
        Client::SerialListing => listing::versions(address, bucket).await,
    }
}
