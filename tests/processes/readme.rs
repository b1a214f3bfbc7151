//! Owns what README quotes of the command and computes: each quote is, as a whole, what the command prints. Leaves what it
//! should print to the command.

use std::path::Path;

use s3_connector_tests::process::Invocation;

/// The README from the first line that begins with `start` after `heading`, up to a line that is `end`.
fn quoted(heading: &str, start: &str, end: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = std::fs::read_to_string(path).unwrap();
    let (_, section) = readme.split_once(&format!("\n{heading}\n")).expect(heading);
    let lines = section.lines().skip_while(|line| !line.starts_with(start)).take_while(|line| *line != end);
    lines.map(|line| format!("{line}\n")).collect()
}

#[tokio::test]
async fn the_policies_are_the_commands() {
    let lake: &[_] = &["aws.bucket=lake", "prefix=photos/", "aws.region=eu-west-1"];
    for (role, settings, heading) in [
        ("source", &["aws.bucket=photos", "aws.region=eu-west-1"][..], "### The least permissions"),
        ("destination", lake, "The same for a destination:"),
    ] {
        let mut command = vec!["policy", "--role", role];
        command.extend(settings.iter().flat_map(|setting| ["--set", setting]));
        let printed = Invocation::new(&command).run().await.well().printed();
        assert_eq!(quoted(heading, "{", "```"), printed, "insert what `s3-connector {}` prints", command.join(" "));
        assert!(quoted(heading, "s3-connector policy", "```").contains(&command.join(" ")), "{command:?}");
    }
}

#[tokio::test]
async fn the_table_of_settings_is_the_commands() {
    let printed = Invocation::new(&["spec", "--markdown"]).run().await.well().printed();
    assert_eq!(quoted("## Settings", "| name ", ""), printed, "insert what `s3-connector spec --markdown` prints");
}

/// A number with commas between its thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

#[test]
fn the_table_of_requests_follows_its_formula() {
    const DAY_MS: u64 = 86_400_000;
    const PAGE_MS: u64 = 80;
    let rows = [("`1s` (default)", 1), ("`10s`", 10), ("`1m`", 60), ("`5m`", 300), ("`1h`", 3600)];
    let mut table = String::new();
    for (period, seconds) in rows {
        let cells = [1_000_u64, 10_000, 100_000, 1_000_000].map(|versions| {
            let requests = versions.div_ceil(1000);
            match requests * PAGE_MS > seconds * 1000 {
                true => format!("{} *", grouped(DAY_MS / PAGE_MS)),
                false => grouped(DAY_MS / (seconds * 1000) * requests),
            }
        });
        table.push_str(&format!("| {period} | {} |\n", cells.join(" | ")));
    }
    assert_eq!(quoted("## What it costs", "| `1s`", ""), table);
}
