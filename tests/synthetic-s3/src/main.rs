//! Owns the command: its arguments. Leaves the server to the library.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use synthetic_s3::{Double, Rule, Weather};

/// An S3 server for benches whose buckets follow from a rule
///
/// It serves plain HTTP on 127.0.0.1, lists and gets, forgets what is stored, and checks no signature. It prints its address once it listens.
#[derive(Debug, Parser)]
#[command(name = "synthetic-s3", after_help = EXAMPLE)]
struct Arguments {
    /// Port to listen on; 0 takes any free one
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// A bucket and its rule; may be repeated
    #[arg(long = "bucket", value_name = "NAME=RULE", value_parser = bucket)]
    buckets: Vec<(String, Rule)>,
    /// A file whose bytes all objects of a bucket have; may be repeated
    #[arg(long = "body", value_name = "NAME=FILE", value_parser = body)]
    bodies: Vec<(String, PathBuf)>,
    /// How the network and the store are: `_double/weather?is=…` changes it
    #[arg(long, default_value = "", value_parser = Weather::parse)]
    weather: Weather,
}

const EXAMPLE: &str = "\
A rule names numbers: keys, versions (per key), markers (keys that have nothing else), changed (keys per generation), \
clustered, rate (changes per second), uploads, bytes (per object), unversioned, skewed (nine keys in ten under one long \
prefix, some with letters that are not ASCII), current-only (the store can't list versions).

Weather names numbers: delay, page-delay, connect, stall and idle (milliseconds), rate (bytes per second and connection), \
throttled, reset, cut and stalled (requests in a hundred), requests (per connection).

Example:
  synthetic-s3 --port 9000 --bucket million=keys:1000000,changed:200000
  synthetic-s3 --bucket small=keys:20000,bytes:4096 --weather delay:30,throttled:10
  curl '127.0.0.1:9000/_double/generation?bucket=million&n=2'
  curl 127.0.0.1:9000/_double/counts";

fn bucket(text: &str) -> Result<(String, Rule), String> {
    let (name, rule) = text.split_once('=').ok_or("expected NAME=RULE")?;
    Ok((name.to_owned(), Rule::parse(rule)?))
}

fn body(text: &str) -> Result<(String, PathBuf), String> {
    let (name, file) = text.split_once('=').ok_or("expected NAME=FILE")?;
    Ok((name.to_owned(), file.into()))
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match serve(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("synthetic-s3: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(arguments: Arguments) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let double = Double::bind(arguments.port, arguments.buckets, arguments.weather).await?;
        for (bucket, file) in arguments.bodies {
            double.fill(&bucket, std::fs::read(file)?.into())?;
        }
        println!("http://{}", double.address()?);
        double.serve().await
    })
}
