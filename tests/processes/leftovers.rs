//! `kill -9` in the middle of uploads in parts: the next run aborts what the first one has left, and nothing else.

use embedded_s3::{Filter, ObjectHeaders, S3Operation, Stage};

use crate::kills::Doom;
use crate::sandbox::{LAKE, PHOTOS, Sandbox, key};

/// An object that a batch holds and stores in parts, and one that is stored while it arrives.
const SIZES: [usize; 2] = [20 << 20, (64 << 20) + 1];

#[tokio::test]
async fn an_upload_that_a_kill_leaves_is_aborted_by_the_next_run() {
    for size in SIZES {
        for (stage, operation, skipped) in [
            (Stage::BeforeAct, S3Operation::UploadPart, 0),
            (Stage::AfterAct, S3Operation::UploadPart, 1),
            (Stage::BeforeAct, S3Operation::CompleteMultipartUpload, 0),
            (Stage::AfterAct, S3Operation::CompleteMultipartUpload, 0),
        ] {
            let sandbox = Sandbox::new().await;
            let body: String = (0..size / 8).map(|n| format!("{n:08x}")).collect();
            sandbox.put("large", &body);
            let yaml = "\
version: 2.2
pipelines:
  - id: copy
    connectors:
      - {id: in, type: source, plugin: s3, settings: {aws.bucket: photos}}
      - {id: out, type: destination, plugin: s3, settings: {aws.bucket: lake, format: json}}
";
            let file = sandbox.file("copy.yaml", yaml);
            let run = || sandbox.command(&["run", "--until-caught-up", &file]);
            let store = sandbox.server.store();
            let doom = Doom::at(&sandbox.server, stage, Filter::from(operation), skipped);
            let ended = doom.kill(run().start()).await;
            assert_eq!(ended.signal, Some(9), "{}", ended.stderr);
            let is_complete = stage == Stage::AfterAct && operation == S3Operation::CompleteMultipartUpload;
            let left = store.uploads(LAKE).unwrap();
            assert_eq!(left.len(), usize::from(!is_complete), "{size} {stage:?} {operation:?}");
            // Another writer's, under the same key.
            let name = left.first().map_or("large", |upload| &upload.key).to_owned();
            let stranger = store.begin_upload(LAKE, &name, ObjectHeaders::default()).unwrap();

            let _ = run().run().await.well();
            let there: Vec<_> = store.uploads(LAKE).unwrap().into_iter().map(|upload| upload.upload_id).collect();
            assert_eq!(there, [stranger], "{size} {stage:?} {operation:?}");
            let records = sandbox.stored();
            assert_eq!(records.iter().map(key).collect::<Vec<_>>(), ["large"]);
            let after = records[0].payload.after.as_ref();
            assert!(after.is_some_and(|data| matches!(data, s3_connector::record::Data::Raw(bytes) if *bytes == body)));
            assert_eq!(store.versions(LAKE).unwrap().len(), 1, "stored once");
            assert_eq!(store.objects(PHOTOS).unwrap().len(), 1);
        }
    }
}
