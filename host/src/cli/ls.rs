//! Owns `s3-connector ls`: prints the objects that a source would read. Leaves which they are to the library's `Listing`.

use std::io::{self, IsTerminal as _, Write as _};

use clap::Args;
use indicatif::{HumanBytes, HumanCount};
use s3_connector::time::Timestamp;
use s3_connector_host::printable;
use s3_connector_host::{Choice, ListedObject, Options};
use serde_json::json;

use super::place::PlaceArguments;
use super::pretty::{push_key, size, time};
use super::terminal::Terminal;
use super::{Failure, columns, load};

/// Lists the objects that a source would read: time, size, key
///
/// Takes the settings of a source, and leaves out what they leave out (`keys.include`, `keys.exclude`, `start`, `objectBytes`), which the
/// last line on stderr counts. It knows what a listing shows: an archived object, which a source skips, is listed, too, and so is one that
/// may not be read. Times are UTC.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub(super) struct LsArguments {
    #[command(flatten)]
    place: PlaceArguments,
    /// Print a JSON object per line: key, size, lastModified, etag
    #[arg(long)]
    json: bool,
    /// End after N objects
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
}

const AFTER_HELP: &str = "\
Examples:
  s3-connector ls s3://photos/2024/
  s3-connector ls s3://photos --set keys.include='**/*.jpg'
  s3-connector ls s3://photos --json | jq -s 'map(.size) | add'

Credentials, region and endpoint come from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, \
AWS_REGION and AWS_ENDPOINT_URL_S3, or from any other place where the AWS CLI finds them.

Exit codes: 0 done, 1 failed, 2 wrong usage or settings.";

/// Objects and their bytes, by what the settings make of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) objects: u64,
    pub(super) bytes: u64,
    pub(super) other_keys: u64,
    pub(super) before_start: u64,
    pub(super) too_large: u64,
}

impl Sums {
    /// Counts an object; whether it is read.
    pub(super) fn count(&mut self, object: &ListedObject) -> bool {
        match object.choice {
            Choice::Read => {
                self.objects += 1;
                self.bytes = self.bytes.saturating_add(object.bytes);
                return true;
            }
            Choice::BeforeStart => self.before_start += 1,
            Choice::TooLarge => self.too_large += 1,
            _ => self.other_keys += 1,
        }
        false
    }

    /// All that were seen.
    pub(super) fn seen(&self) -> u64 {
        self.objects + self.other_keys + self.before_start + self.too_large
    }

    /// As text: those that are read, then those that are not and why.
    pub(super) fn describe(&self) -> String {
        let noun = if self.objects == 1 { "object" } else { "objects" };
        let mut text = format!("{} {noun}, {}", HumanCount(self.objects), HumanBytes(self.bytes));
        let left_out: Vec<String> = [
            (self.other_keys, "by keys.include and keys.exclude"),
            (self.before_start, "from before start"),
            (self.too_large, "larger than objectBytes"),
        ]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, why)| format!("{} {why}", HumanCount(count)))
        .collect();
        if !left_out.is_empty() {
            text.push_str(&format!("; left out: {}", left_out.join(", ")));
        }
        text
    }
}

/// Runs the command.
pub(super) async fn run(arguments: &LsArguments, options: Options, terminal: &Terminal) -> Result<(), Failure> {
    let settings = arguments.place.settings()?;
    let connector = load(options).await?;
    let mut listing = connector.listing(settings).await.map_err(|error| Failure::configuring(&error))?;
    let is_terminal = io::stdout().is_terminal();
    // In a file, a line is an object, however long its key is.
    let width = if is_terminal { columns::of(io::stdout()) } else { usize::MAX };
    let bar = if is_terminal { None } else { terminal.bar() };
    let mut sums = Sums::default();
    let mut is_cut = false;
    'pages: while let Some(page) = listing.next_page().await.map_err(|error| Failure::running(&error))? {
        let mut text = String::new();
        for object in &page {
            if arguments.limit.is_some_and(|limit| sums.objects >= limit) {
                is_cut = true;
                break;
            }
            if sums.count(object) {
                push_line(&mut text, object, arguments.json, width);
            }
        }
        if !write(&text)? {
            return Ok(());
        }
        if let Some(bar) = &bar {
            bar.set_message(format!("{} keys listed", HumanCount(sums.seen())));
            bar.tick();
        }
        if is_cut {
            break 'pages;
        }
    }
    if let Some(bar) = &bar {
        bar.finish_and_clear();
    }
    let place = printable::line(&listing.place(), 2048).into_owned();
    let end = match (is_cut, sums.seen()) {
        (true, _) => format!("{} in {place}; there are more, --limit ended it", sums.describe()),
        (false, 0) if !listing.prefix().is_empty() => format!("no key begins with {place}"),
        (false, 0) => format!("{place} has no objects"),
        (false, _) if listing.begins_now() => {
            format!("{} in {place}; with `start: now` a source reads what changes from now on", sums.describe())
        }
        (false, _) => format!("{} in {place}", sums.describe()),
    };
    terminal.say(&end);
    Ok(())
}

/// Appends the line of an object.
fn push_line(text: &mut String, object: &ListedObject, is_json: bool, width: usize) {
    let modified = Timestamp::from_system_time(object.modified).unwrap_or_default();
    if is_json {
        let line = json!({
            "key": object.key,
            "size": object.bytes,
            "lastModified": modified.to_rfc3339(),
            "etag": object.etag,
        });
        text.push_str(&printable::json(&line.to_string()));
        text.push('\n');
        return;
    }
    text.push_str(&format!("{}  {:>10}  ", time(modified), size(Some(object.bytes))));
    push_key(text, &printable::line(&object.key, usize::MAX), width);
}

/// Writes to stdout; false if its reader is gone.
fn write(text: &str) -> Result<bool, Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::Failed(format!("cannot write the output: {error}"))),
    }
}
