//! Owns the measurement of copies from bucket to bucket, and rclone beside them. Leaves running them to
//! `contender`.

use std::path::PathBuf;

use super::outcome::Outcome;
use super::work::{Contender, Goal, Judgement, Kind, Work};

/// The bucket that copies go to. The double forgets what is stored there.
pub(super) const COPY: &str = "copy";

/// Where rclone is, unless it is on the path.
const RCLONE: &str = "BENCH_RCLONE";

/// Where rclone is, if it is there. s5cmd is no measure: it has the store copy, so that no bytes go through it.
pub(super) fn rclone() -> Option<PathBuf> {
    let named = std::env::var_os(RCLONE).map(PathBuf::from);
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let on_path = || std::env::split_paths(&paths).map(|folder| folder.join("rclone")).find(|path| path.is_file());
    named.filter(|path| path.is_file()).or_else(on_path)
}

/// Its arguments, for 64 objects at the same time. Of two remotes, all bytes go through it. It does not look at what it has
/// stored, since the double has forgotten it.
pub(super) fn arguments(bucket: &str) -> Vec<String> {
    let text = format!(
        "--config /dev/null copy from:{bucket} to:{COPY} --transfers 64 --checkers 64 --fast-list --s3-list-version 2 \
         --no-check-dest --s3-no-head --s3-no-check-bucket --ignore-checksum"
    );
    text.split_whitespace().map(str::to_owned).collect()
}

/// The variables that say where its two remotes are.
pub(super) fn variables(endpoint: &str) -> Vec<(String, String)> {
    let of = |remote: &str| {
        let pairs = [
            ("TYPE", "s3"),
            ("PROVIDER", "Other"),
            ("ENDPOINT", endpoint),
            ("ACCESS_KEY_ID", "bench"),
            ("SECRET_ACCESS_KEY", "benchbench"),
            ("REGION", "us-east-1"),
        ];
        pairs.map(|(name, value)| (format!("RCLONE_CONFIG_{remote}_{name}"), value.to_owned()))
    };
    [of("FROM"), of("TO")].concat()
}

/// A pipeline from one bucket to the other.
pub(super) fn pipeline(endpoint: &str, bucket: &str) -> String {
    format!(
        "\
version: 2.2
pipelines:
  - id: copy
    connectors:
      - {{id: from, type: source, plugin: s3, settings: {{aws.bucket: {bucket}, aws.endpoint: \"{endpoint}\"}}}}
      - {{id: to, type: destination, plugin: s3, settings:
          {{aws.bucket: {COPY}, aws.endpoint: \"{endpoint}\", format: raw}}}}
"
    )
}

/// Copies of objects of one size, beside rclone where it is there.
pub(super) fn copies(id: &'static str, what: &'static str, rule: &'static str) -> Work {
    const WEATHER: &str = "delay:30";
    let mut contenders = vec![Contender { name: "s3-connector, format: raw", weather: WEATHER, kind: Kind::Copy }];
    match rclone() {
        Some(_) => contenders.push(Contender { name: "rclone", weather: WEATHER, kind: Kind::Rclone }),
        None => println!("{id}: rclone is neither on the path nor in {RCLONE}, so there is nothing to compare with"),
    }
    Work { id, is_long: false, file: None, what, rule, contenders, judge }
}

fn judge(outcomes: &[Outcome]) -> Vec<Judgement> {
    let rate = |outcome: &Outcome| outcome.of(|turn| turn.counts.of("PutObject") as f64 / turn.window).middle;
    let cpu = |outcome: &Outcome| outcome.of(|turn| turn.cpu / turn.counts.of("PutObject") as f64).middle;
    let [ours, others @ ..] = outcomes else { unreachable!("it is there in any case") };
    let of = |other: &Outcome| {
        vec![
            Judgement::time("objects per second / rclone", rate(ours) / rate(other), Goal::AtLeast(0.8)),
            Judgement::other("CPU per object / rclone", cpu(ours) / cpu(other), Goal::AtMost(1.25)),
        ]
    };
    others.iter().flat_map(of).collect()
}
