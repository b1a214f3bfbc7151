//! `run` from one bucket to another with `format: raw`: what is there afterwards is the same, whatever happened on the way.

use std::time::Duration;

use embedded_s3::{Fault, ObjectHeaders, PutOptions, Reset, Rule, S3Operation};
use tokio::time::sleep;

use crate::sandbox::{LAKE, PHOTOS, Sandbox};

const YAML: &str = "\
version: 2.2
pipelines:
  - id: copy
    connectors:
      - {id: photos, type: source, plugin: s3, settings: {aws.bucket: photos, pollingPeriod: 20ms}}
      - {id: copy, type: destination, plugin: s3, settings: {aws.bucket: lake, format: raw, deletes: propagate}}
";

/// A thousand objects of all sizes and kinds.
fn fill(sandbox: &Sandbox) {
    let put = |key: String, body: Vec<u8>, headers| {
        let options = PutOptions { body: body.into(), headers, ..PutOptions::default() };
        sandbox.server.store().put_with(PHOTOS, &key, options).unwrap();
    };
    for n in 0..999_usize {
        let key = match n % 4 {
            0 => format!("{n:04}"),
            1 => format!("folder {n}/ä+%&é😀.txt"),
            2 => format!("a/b//{n}"),
            _ => format!("{n}/"),
        };
        let headers = ObjectHeaders {
            content_type: (n % 2 == 0).then(|| format!("text/x-{n}")),
            cache_control: (n % 5 == 0).then(|| format!("max-age={n}")),
            metadata: (0..n % 3).map(|m| (format!("name-{m}"), format!("value {n}"))).collect(),
            ..ObjectHeaders::default()
        };
        let bytes = match n % 10 {
            0 => 0,
            9 => 70_000 + n * 100,
            _ => n,
        };
        put(key, (0..bytes).map(|at| (at * n) as u8).collect(), headers);
    }
    put("large".to_owned(), (0..10_000_000_u32).flat_map(u32::to_le_bytes).collect(), ObjectHeaders::default());
}

/// Fails unless both buckets hold the same.
fn compare(sandbox: &Sandbox) {
    let [from, to] = [PHOTOS, LAKE].map(|bucket| sandbox.server.store().objects(bucket).unwrap());
    assert_eq!(from.len(), to.len());
    for (one, other) in from.iter().zip(&to) {
        assert_eq!(one.key, other.key);
        assert!(one.body == other.body, "the bytes of {}", one.key);
        // What has no type gets the store's own.
        let headers = ObjectHeaders {
            content_type: one.headers.content_type.clone().or_else(|| other.headers.content_type.clone()),
            ..one.headers.clone()
        };
        assert_eq!(headers, other.headers, "{}", one.key);
    }
}

#[tokio::test]
async fn a_bucket_is_copied_as_it_is_and_kept_up_to_date() {
    let sandbox = Sandbox::new().await;
    fill(&sandbox);
    let file = sandbox.file("copy.yaml", YAML);
    let run = || sandbox.command(&["run", "--until-caught-up", &file]);
    let _ = run().run().await.well().saying(&["1000 records were stored"]);
    compare(&sandbox);
    sandbox.server.store().delete(PHOTOS, "large").unwrap();
    sandbox.put("0000", "changed");
    sandbox.put("new", "new");
    let _ = run().run().await.well().saying(&["3 records were stored"]);
    compare(&sandbox);
}

#[tokio::test]
async fn a_copy_that_is_killed_goes_on_in_any_weather() {
    let sandbox = Sandbox::new().await;
    fill(&sandbox);
    let faults = sandbox.server.faults();
    for operation in [S3Operation::PutObject, S3Operation::UploadPart, S3Operation::GetObject] {
        faults.add(Rule::new(operation, Fault::slow_down(None)).with_probability(0.1, 7));
        faults.add(Rule::new(operation, Fault::Reset(Reset::AfterAct)).with_probability(0.02, 8));
    }
    let file = sandbox.file("copy.yaml", YAML);
    let stored = || sandbox.server.store().objects(LAKE).unwrap().len();
    for more in [50, 200, 300] {
        let until = stored() + more;
        let running = sandbox.command(&["run", &file]).start();
        while stored() < until {
            sleep(Duration::from_millis(5)).await;
        }
        let ended = running.kill().await;
        assert_eq!(ended.signal, Some(9), "{}", ended.stderr);
    }
    let _ = sandbox.command(&["run", "--until-caught-up", &file]).run().await.well();
    compare(&sandbox);
}

#[tokio::test]
async fn a_pipeline_that_would_read_what_it_writes_is_refused() {
    let sandbox = Sandbox::new().await;
    let file = sandbox.file("copy.yaml", YAML.replace("lake", "photos"));
    for command in ["run", "check"] {
        let ended = sandbox.command(&[command, &file]).run().await.with_code(2);
        let _ = ended.saying(&["connector `copy` would write what connector `photos` reads"]);
    }
}
