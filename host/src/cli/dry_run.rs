//! Owns `s3-connector run --dry-run`: what pipelines would read, where they would write, and what that costs in requests. Leaves running them
//! to `run`. It lists, and stores nothing, neither in a bucket nor in the state.

use std::path::Path;
use std::time::Duration;

use indicatif::HumanCount;
use s3_connector::config::{DestinationConfig, Format};
use s3_connector_host::egress::S3Operation;
use s3_connector_host::environment::{self, Environment};
use s3_connector_host::printable::{self, MESSAGE_BYTES_MAX};
use s3_connector_host::{Connector, InstanceOptions, Listing};

use super::Failure;
use super::ls::Sums;
use super::pipeline_file::{ConnectorConfig, PipelineConfig, Plugin};
use super::run::{configuring, named};
use super::terminal::print_data;

/// Keys that are listed of a source at most: a hundred pages, which cost half a cent. What there is beyond is said to be there.
const KEYS_MAX: u64 = 100_000;

/// Keys of a page.
const PAGE_KEYS: u64 = 1000;

/// What a source would read.
struct Reading {
    text: String,
    /// Objects and bytes; nothing of a file.
    sums: Sums,
    /// Requests of a listing, and how often there is one.
    listing: Option<(u64, Duration)>,
    /// Whether there is more than was listed.
    is_cut: bool,
}

/// Prints what each pipeline would do.
pub(super) async fn run(
    configs: &[PipelineConfig],
    connector: &Connector,
    state: &Path,
    until_caught_up: bool,
) -> Result<(), Failure> {
    let mut problems = Vec::new();
    for (index, config) in configs.iter().enumerate() {
        match describe(config, connector, state, until_caught_up).await {
            Ok(text) => {
                let space = if index == 0 { "" } else { "\n" };
                let text = format!("{space}pipeline `{}`\n{text}", config.id);
                print_data(&printable::lines(&text, MESSAGE_BYTES_MAX))?;
            }
            Err(Failure::Usage(problem)) => problems.push(problem),
            Err(failure) => return Err(failure),
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(Failure::Usage(problems.join("\n"))) }
}

async fn describe(
    config: &PipelineConfig,
    connector: &Connector,
    state: &Path,
    until_caught_up: bool,
) -> Result<String, Failure> {
    let PipelineConfig { id, source, destination, dead_letters } = config;
    let (writes, batch) = writing(id, destination, connector).await?;
    let reading = reading(id, source, connector).await?;
    let folder = state.join(id);
    // The file is what a state is; a run that never came to a record leaves one, too.
    let has_state = folder.join("state.redb").exists();
    let state = match has_state {
        true => format!("{} exists: it goes on where it was, and reads what it has not read", folder.display()),
        false => format!("none in {}: it begins with all of them", folder.display()),
    };
    let mut text = format!("  reads    {}\n  state    {state}\n  writes   {writes}\n", reading.text);
    if let Some(letters) = dead_letters {
        let (letters, _) = writing(id, &letters.destination, connector).await?;
        text.push_str(&format!("  refused  {letters}\n"));
    }
    for line in costs(&reading, batch.as_ref(), has_state, until_caught_up) {
        text.push_str(&format!("  costs    {line}\n"));
    }
    Ok(text)
}

async fn reading(id: &str, source: &ConnectorConfig, connector: &Connector) -> Result<Reading, Failure> {
    let mut sums = Sums::default();
    if source.plugin != Plugin::S3 {
        let path = path(source);
        let text = match std::fs::metadata(&path) {
            Ok(file) => format!("{path}, {}", indicatif::HumanBytes(file.len())),
            Err(error) => format!("{path}, which can't be read now: {error}"),
        };
        return Ok(Reading { text, sums, listing: None, is_cut: false });
    }
    let listed = connector.listing(source.settings.clone()).await;
    let mut listing: Listing = listed.map_err(|error| configuring(id, &named(source), &error))?;
    let mut is_cut = false;
    while let Some(page) = listing
        .next_page()
        .await
        .map_err(|error| Failure::running(&error.context(format!("pipeline `{id}`: {}", named(source)))))?
    {
        for object in &page {
            sums.count(object);
        }
        if sums.seen() >= KEYS_MAX {
            is_cut = true;
            break;
        }
    }
    let mut text = format!("{}: {}", listing.place(), sums.describe());
    if is_cut {
        text.push_str(&format!("; the first {} keys, there may be more", HumanCount(sums.seen())));
    }
    if listing.begins_now() {
        text.push_str("; with `start: now`, what changes from now on");
    }
    let requests = sums.seen().div_ceil(PAGE_KEYS).max(1);
    Ok(Reading { text, sums, listing: Some((requests, listing.polling_period())), is_cut })
}

/// Where records go, and what a batch of them is, where they go to S3.
async fn writing(
    id: &str,
    destination: &ConnectorConfig,
    connector: &Connector,
) -> Result<(String, Option<DestinationConfig>), Failure> {
    match destination.plugin {
        Plugin::S3 => {}
        Plugin::Log => return Ok(("the log".to_owned(), None)),
        Plugin::File => return Ok((path(destination), None)),
    }
    let refuse = |error| configuring(id, &named(destination), &error);
    // The component says what is wrong with its settings.
    let made = connector.destination(destination.settings.clone(), InstanceOptions::default()).await;
    drop(made.map_err(refuse)?);
    let mut settings = destination.settings.clone();
    // What is asked for in vain was refused above.
    let _ = environment::fill(&mut settings, &Environment::process()).await;
    let config = DestinationConfig::parse(&settings).map_err(|error| Failure::Usage(error.message))?;
    let format = settings.get("format").map_or("", String::as_str);
    let text = format!("s3://{}/{} as {format}", config.bucket.bucket, config.bucket.prefix);
    Ok((text, Some(config)))
}

fn path(connector: &ConnectorConfig) -> String {
    connector.settings.get("path").cloned().unwrap_or_default()
}

/// What it costs to read and write what there is, and to look for changes.
fn costs(
    reading: &Reading,
    destination: Option<&DestinationConfig>,
    has_state: bool,
    until_caught_up: bool,
) -> Vec<String> {
    let mut lines = Vec::new();
    let (mut parts, mut dollars) = (Vec::new(), 0.0);
    let mut add = |count: u64, name: &str, operation: S3Operation| {
        if count > 0 {
            parts.push(format!("{} {name}", HumanCount(count)));
            dollars += count as f64 * operation.price_dollars();
        }
    };
    if let Some((requests, _)) = reading.listing {
        // A snapshot, and the poll that finds that nothing is missing.
        add(2 * requests, "LIST", S3Operation::ListObjectVersions);
        add(reading.sums.objects, "GET", S3Operation::GetObject);
    }
    if let (Some(config), true) = (destination, reading.listing.is_some()) {
        add(puts(config, &reading.sums), "PUT", S3Operation::PutObject);
    }
    if !parts.is_empty() {
        let bound = match (has_state, reading.is_cut) {
            (true, false) => "at most ",
            (false, true) => "at least ",
            _ => "about ",
        };
        lines.push(format!("{bound}{}: {} for what there is", parts.join(", "), price(dollars)));
    }
    if let Some((requests, period)) = reading.listing.filter(|_| !until_caught_up) {
        let polls = 86_400_000 / u64::try_from(period.as_millis()).unwrap_or(u64::MAX).max(1);
        let lists = polls.saturating_mul(requests).min(LISTS_PER_DAY_MAX.max(polls));
        let dollars = lists as f64 * S3Operation::ListObjectVersions.price_dollars();
        lines.push(format!(
            "then {} LIST: {} per day, with pollingPeriod {}; more with old versions",
            HumanCount(lists),
            price(dollars),
            printable::length(period)
        ));
    }
    if !lines.is_empty() {
        lines.push("list prices of S3 Standard in us-east-1, without storage, transfer and retries".to_owned());
    }
    lines
}

/// Dollars for people.
fn price(dollars: f64) -> String {
    if dollars < 0.01 { "less than $0.01".to_owned() } else { format!("${dollars:.2}") }
}

/// Listings per day at most, of those that take several pages: one each 80 ms, as README's section on costs has it.
const LISTS_PER_DAY_MAX: u64 = 1_080_000;

/// Objects that a destination makes of these, at least: rows of objects are more records, and paths more batches.
fn puts(config: &DestinationConfig, sums: &Sums) -> u64 {
    match config.format {
        Format::Raw => sums.objects,
        Format::Batches(_) => {
            let by_records = sums.objects.div_ceil(config.buffers.records_max as u64);
            by_records.max(sums.bytes.div_ceil(config.buffers.bytes_max))
        }
    }
}
