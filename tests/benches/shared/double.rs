//! Owns the double as a process: its start, its counts, its changes. Leaves what it serves to the package `synthetic-s3`.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The double. It ends when this is dropped.
pub(super) struct Double {
    process: Child,
    address: String,
}

/// What was requested of it.
#[derive(Clone, Debug)]
pub(super) struct Counts(serde_json::Value);

impl Counts {
    /// A count by its name: an operation, `requests`, `polls`, `bytes`, …
    pub(super) fn of(&self, name: &str) -> u64 {
        self.0[name].as_u64().unwrap_or_else(|| panic!("the double counts `{name}`"))
    }
}

impl Double {
    /// Starts it with buckets, each a name and a rule.
    pub(super) fn start(folder: &Path, buckets: &[(&str, String)]) -> Self {
        Self::start_by(Command::new(folder.join("synthetic-s3")), buckets)
    }

    /// Likewise, by a command that runs the double.
    pub(super) fn start_by(mut command: Command, buckets: &[(&str, String)]) -> Self {
        for (name, rule) in buckets {
            command.arg("--bucket").arg(format!("{name}={rule}"));
        }
        let mut process = command.stdout(Stdio::piped()).spawn().expect("synthetic-s3 was built, and starts");
        let mut line = String::new();
        let output = process.stdout.take().expect("it is a pipe");
        BufReader::new(output).read_line(&mut line).expect("it says where it listens");
        let address = line.trim().trim_start_matches("http://").to_owned();
        Self { process, address }
    }

    /// Its URL.
    pub(super) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What was requested since the last reset.
    pub(super) fn counts(&self) -> Counts {
        Counts(serde_json::from_str(&self.control("counts")).expect("counts are JSON"))
    }

    /// Counts from zero.
    pub(super) fn reset(&self) {
        self.control("reset");
    }

    /// Begins a generation.
    pub(super) fn generation(&self, bucket: &str, number: usize) {
        self.control(&format!("generation?bucket={bucket}&n={number}"));
    }

    /// Starts the clock of changes.
    pub(super) fn start_clock(&self, bucket: &str) {
        self.control(&format!("start?bucket={bucket}"));
    }

    /// Stops it.
    pub(super) fn stop_clock(&self, bucket: &str) {
        self.control(&format!("stop?bucket={bucket}"));
    }

    /// Its address, without a scheme.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Has this weather from now on.
    pub(super) fn weather(&self, weather: &str) {
        self.control(&format!("weather?is={weather}"));
    }

    /// The number of its process.
    pub(super) fn pid(&self) -> u32 {
        self.process.id()
    }

    fn control(&self, command: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).expect("the double listens");
        let request = format!("GET /_double/{command} HTTP/1.1\r\nhost: {}\r\n\r\n", self.address);
        stream.write_all(request.as_bytes()).expect("it reads");
        stream.shutdown(std::net::Shutdown::Write).expect("it is open");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        assert!(answer.starts_with("HTTP/1.1 200"), "{command}: {answer}");
        answer.split_once("\r\n\r\n").expect("an answer has a head").1.to_owned()
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
