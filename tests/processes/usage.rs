//! Exit codes and messages: 0 done, 1 failed, 2 wrong usage or settings.

use embedded_s3::REGION_DEFAULT;
use s3_connector_host::EMBEDDED;
use s3_connector_tests::process::Invocation;
use sha2::{Digest as _, Sha256};

use crate::sandbox::Sandbox;

/// Arguments with the exit code and words that must be printed about them.
type Case<'c> = (&'c [&'c str], i32, &'c [&'c str]);

async fn all_end_so(sandbox: &Sandbox, cases: &[Case<'_>]) {
    for (arguments, code, words) in cases {
        let ended = sandbox.command(arguments).run().await.with_code(*code).saying(words);
        if *code != 0 {
            assert_eq!(ended.stdout, b"", "{arguments:?}: stdout is for data");
        }
    }
}

#[tokio::test]
async fn the_version_names_component_and_engine_and_its_short_form_does_not() {
    let printed = async |argument| Invocation::new(&[argument]).run().await.well().printed();
    let short = printed("-V").await;
    assert_eq!(short, concat!("s3-connector ", env!("CARGO_PKG_VERSION"), "\n"));
    let digest: String = Sha256::digest(EMBEDDED).iter().map(|byte| format!("{byte:02x}")).collect();
    let long = printed("--version").await;
    let rest = long.strip_prefix(&format!("{} (", short.trim_end())).unwrap();
    assert!(rest.contains(&format!("component sha256:{digest}, wasmtime 48.")), "{long}");
    assert!(rest.ends_with(")\n") && long.lines().count() == 1, "{long}");
}

#[tokio::test]
async fn usages_end_with_their_codes() {
    let sandbox = Sandbox::new().await;
    let photos = "aws.bucket=photos";
    let missing = "nowhere/pipeline.yaml";
    let cases: &[Case] = &[
        (&["--help"], 0, &[]),
        (&["--version"], 0, &[]),
        (&["help", "source"], 0, &[]),
        (&["source", "--help"], 0, &[]),
        (&["spec"], 0, &[]),
        (&["spec", "--json"], 0, &[]),
        (&["spec", "--markdown"], 0, &[]),
        (&["spec", "--markdown", "--json"], 2, &["--markdown", "--json"]),
        (&["check", "--set", photos], 0, &[]),
        (&["policy", "--role", "source", "--set", photos], 0, &[]),
        (&["policy", "--set", photos], 2, &["--role"]),
        (&["policy", "--role", "sink", "--set", photos], 2, &["sink", "destination"]),
        (&["policy", "--role", "source"], 2, &["`aws.bucket` is required"]),
        (&["policy", "--role", "source", "--set", photos, "--set", "prefx=a/"], 2, &["`prefx`", "`prefix`"]),
        (&["policy", "--role", "source", "--set", photos, "--set", "format=json"], 2, &["`format`"]),
        (&["source", "--until-caught-up", "--set", photos], 0, &[]),
        (&["destination", "--set", photos, "--set", "format=json"], 0, &[]),
        (&[], 2, &["Usage"]),
        (&["sauce"], 2, &["sauce", "source"]),
        (&["source", "--sett", photos], 2, &["--sett", "--set"]),
        (&["source", "--set", "photos"], 2, &["NAME=VALUE"]),
        (&["source", "--set", "=photos"], 2, &["NAME=VALUE"]),
        (&["source", "--limit", "0", "--set", photos], 2, &["--limit"]),
        (&["source", "--limit", "many", "--set", photos], 2, &["many"]),
        (&["source", "--quiet", "--verbose"], 2, &["--quiet", "--verbose"]),
        (&["source", "--set", photos, "--set", photos], 2, &["error: duplicate setting `aws.bucket`"]),
        (&["source", "extra"], 2, &["extra"]),
        (&["check", "--source", "--destination"], 2, &["--destination"]),
        (&["run"], 2, &["PIPELINE.yaml"]),
        (&["run", missing], 2, &["error: ", missing]),
        (&["spec", "--component", "nowhere.wasm"], 2, &["error: ", "nowhere.wasm"]),
    ];
    all_end_so(&sandbox, cases).await;
}

#[tokio::test]
async fn wrong_settings_are_told_by_name_with_what_is_allowed_and_what_is_near() {
    let sandbox = Sandbox::new().await;
    let source = |setting: &'static str| ["source", "--set", "aws.bucket=photos", "--set", setting];
    let destination = |setting: &'static str| ["destination", "--set", "aws.bucket=photos", "--set", setting];
    let cases: &[Case] = &[
        (&["source"], 2, &["error: ", "aws.bucket", "required"]),
        (&["source", "--set", "aws.bukcet=photos"], 2, &["`aws.bukcet`", "`aws.bucket`"]),
        (&source("colour=red"), 2, &["`colour`"]),
        (&source("pollingPeriod=soon"), 2, &["`pollingPeriod`", "soon", "duration"]),
        (&source("pollingPeriod=0s"), 2, &["`pollingPeriod`", "greater than 0"]),
        (&source("concurrency=0"), 2, &["`concurrency`", "1", "512"]),
        (&source("concurrency=lots"), 2, &["`concurrency`", "lots"]),
        (&source("aws.forcePathStyle=perhaps"), 2, &["`aws.forcePathStyle`", "true or false"]),
        (&source("aws.endpoint=not a url"), 2, &["`aws.endpoint`"]),
        (&source("format=json"), 2, &["`format`"]),
        (&destination("bufferSize=10"), 2, &["`format`", "required"]),
        (&destination("format=jsom"), 2, &["`format`", "jsom", "json", "parquet"]),
        (&destination("format=json,"), 2, &["`format`"]),
    ];
    all_end_so(&sandbox, cases).await;

    // All that is wrong, not only the first of it.
    let ended = sandbox.command(&["source"]).set("aws.bukcet", "x").set("concurrency", "0");
    let ended = ended.run().await.with_code(2);
    let _ = ended.saying(&["`aws.bukcet`", "`concurrency`", "`aws.bucket`"]);
}

#[tokio::test]
async fn a_position_that_is_none_is_refused() {
    let sandbox = Sandbox::new().await;
    for position in ["garbage", "a_s", "_x12", "a_c12~AAAA"] {
        let source = sandbox.source().args(&["--until-caught-up", "--position", position]);
        let ended = source.run().await;
        assert!(matches!(ended.code, Some(1 | 2)), "{position}: {ended:?}");
        let _ = ended.saying(&["error: ", "position"]);
    }
}

#[tokio::test]
async fn a_missing_bucket_is_named_with_region_and_endpoint() {
    let sandbox = Sandbox::new().await;
    let endpoint = sandbox.server.endpoint();
    let words = ["error: ", "bucket \"nowhere\" does not exist", REGION_DEFAULT, &endpoint];
    let bucket = "aws.bucket=nowhere";
    let cases: &[Case] = &[
        (&["source", "--set", bucket], 1, &words),
        (&["destination", "--set", bucket, "--set", "format=json"], 1, &words),
    ];
    all_end_so(&sandbox, cases).await;
    let check = sandbox.command(&["check", "--set", bucket]).run().await.with_code(1);
    assert!(check.printed().contains("bucket \"nowhere\" does not exist"), "{}", check.printed());
}

#[tokio::test]
async fn a_wrong_secret_is_told_with_where_it_came_from() {
    let sandbox = Sandbox::new().await;
    let wrong = "this-is-not-the-secret";
    let photos = ["source", "--set", "aws.bucket=photos"];
    let by_variable = sandbox.command(&photos).secret_key(wrong).run().await;
    let _ = by_variable.with_code(1).saying(&["error: ", "refused", "AWS_ACCESS_KEY_ID in the environment"]);

    let by_setting = sandbox
        .command(&photos)
        .set("aws.accessKeyId", "embedded-access-key")
        .set("aws.secretAccessKey", wrong)
        .secret(wrong);
    let by_setting = by_setting.args(&["--verbose"]).run().await;
    let _ = by_setting.with_code(1).saying(&["error: ", "refused", "setting aws.accessKeyId"]);

    let check = sandbox.command(&["check", "--set", "aws.bucket=photos"]).secret_key(wrong);
    let check = check.run().await.with_code(1);
    assert!(check.printed().contains("refused"), "{}", check.printed());
}

#[tokio::test]
async fn missing_keys_and_regions_are_told_with_what_to_set() {
    let sandbox = Sandbox::new().await;
    let endpoint = sandbox.server.endpoint();
    let bare = || Invocation::new(&["source", "--set", "aws.bucket=photos"]).env("AWS_ENDPOINT_URL_S3", &endpoint);
    let no_keys = bare().env("AWS_REGION", REGION_DEFAULT).run().await;
    let _ = no_keys.with_code(1).saying(&["error: ", "AWS_ACCESS_KEY_ID"]);
    let no_region = bare().run().await.with_code(2);
    let _ = no_region.saying(&["error: ", "aws.region", "AWS_REGION"]);
}

#[tokio::test]
async fn a_store_that_is_not_there_is_told_with_its_address() {
    // A port that was free a moment ago.
    let endpoint = Sandbox::new().await.server.endpoint();
    let sandbox = Sandbox::new().await;
    let source = sandbox.source().env("AWS_ENDPOINT_URL_S3", &endpoint);
    let ended = source.run().await.with_code(1);
    let _ = ended.saying(&["error: ", endpoint.trim_start_matches("http://")]);
}
