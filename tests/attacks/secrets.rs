//! Owns the tests that keys stay in the host, whatever a component reports about its settings.

use std::sync::Arc;
use std::time::Duration;

use embedded_s3::{Fault, Rule, S3Operation};
use s3_connector_host::InstanceOptions;
use s3_connector_host::record::Data;
use s3_connector_host::state::{Edit, Error, StateStore};
use s3_connector_tests::world::BUCKET;

use crate::siege::{KEY_ID, SECRET, Siege, TOKEN};

/// Variants that say of the host's secrets: secret, nothing, not secret.
const VARIANTS: [&str; 3] = ["plain", "no-parameters", "not-secret"];

#[track_caller]
fn holds_no_key(text: &str) {
    for secret in [KEY_ID, SECRET, TOKEN] {
        assert!(!text.contains(secret), "{secret} got out: {text}");
    }
}

#[tokio::test]
async fn keys_are_redacted_whatever_a_specification_says() {
    for variant in VARIANTS {
        let siege = Siege::of(variant).await;
        let source = siege.loot_of_source(&[("attack", "settings")]).await;
        let destination = siege.loot_of_destination(&[("attack", "settings")]).await;
        for loot in [source.expect("it reads"), destination.expect("it acks")] {
            holds_no_key(&loot);
            for name in ["accessKeyId", "secretAccessKey", "sessionToken"] {
                let wanted = format!("aws.{name}=redacted\n");
                assert!(loot.contains(&wanted), "{variant}: {loot}");
            }
            assert!(loot.contains("aws.region=us-east-1\n"), "{loot}");
        }
    }
}

#[tokio::test]
async fn an_error_that_repeats_all_settings_holds_no_key() {
    for variant in VARIANTS {
        let siege = Siege::of(variant).await;
        for at in ["configure", "open"] {
            let attack = [("attack", "settings-in-error"), ("at", at)];
            let source = siege.loot_of_source(&attack).await;
            let error = source.expect_err("it fails");
            assert!(error.message().contains("aws.secretAccessKey=redacted"));
            holds_no_key(error.message());
        }
        let attack = [("attack", "settings-in-error"), ("at", "configure")];
        let error = siege.destination(&attack).await.err().expect("it fails");
        assert!(error.message().contains("aws.secretAccessKey=redacted"));
        holds_no_key(error.message());
    }
}

#[tokio::test]
async fn an_object_that_holds_all_settings_holds_no_key() {
    for variant in VARIANTS {
        let siege = Siege::of(variant).await;
        let path = format!("/{BUCKET}/loot");
        let attack =
            [("attack", "settings-in-object"), ("request.path", path.as_str()), ("request.header.if-none-match", "*")];
        let answer = siege.loot_of_destination(&attack).await.expect("it acks");
        assert!(answer.starts_with("200\n"), "{answer}");
        let objects = siege.bucket.objects().await;
        let stored = String::from_utf8_lossy(&objects[0].1);
        assert!(stored.contains("aws.secretAccessKey=redacted"), "{stored}");
        holds_no_key(&stored);
    }
}

#[tokio::test]
async fn a_specification_may_add_a_secret() {
    let siege = Siege::of("more-secrets").await;
    let attack = [("attack", "settings"), ("prefix", "photos/")];
    let loot = siege.loot_of_source(&attack).await.expect("it reads");
    assert!(loot.contains("prefix=redacted\n"), "{loot}");
}

#[tokio::test]
async fn a_key_under_a_misspelt_name_is_redacted_too() {
    let siege = Siege::of("no-parameters").await;
    let misspelt = [
        (" AWS.SECRETACCESSKEY ", "misspelt-1"),
        ("aws.secretAccesKey", "misspelt-2"),
        ("aws.session_token", "misspelt-3"),
        ("aws_access_key_id", "misspelt-4"),
        ("secretAccessKey", "misspelt-5"),
        ("aws.endpoint", "http://user:misspelt-6@127.0.0.1:9"),
    ];
    let attack = [("attack", "settings-in-error"), ("at", "configure")];
    let error = siege.source(&[&attack[..], &misspelt].concat()).await;
    let error = error.err().expect("it fails");
    assert!(error.message().contains("attack=settings-in-error"));
    assert!(!error.message().contains("misspelt"), "{error}");
}

#[tokio::test]
async fn a_refusal_that_repeats_what_was_signed_tells_the_component_nothing() {
    let siege = Siege::of("plain").await;
    let spaced: Vec<_> = TOKEN.bytes().map(|byte| format!("{byte:02x}")).collect();
    let message = format!("canonical: x-amz-security-token:{TOKEN} {} by {KEY_ID}", spaced.join(" "));
    let path = format!("/{BUCKET}/key");
    for status in [403, 404, 500] {
        let refusal = Fault::answer(status, "SignatureDoesNotMatch", message.clone());
        let rule = Rule::new(S3Operation::GetObject, refusal).times(1);
        siege.bucket.wire().faults().add(rule);
        let attack = [("attack", "request"), ("request.path", path.as_str())];
        let answer = siege.loot_of_source(&attack).await.expect("it reads");
        assert!(answer.contains("<Code>SignatureDoesNotMatch"), "{answer}");
        holds_no_key(&answer);
        assert!(!answer.contains(&spaced.join(" ")), "{answer}");
    }
}

#[tokio::test]
async fn a_header_that_servers_read_in_two_ways_stays_here() {
    let siege = Siege::of("plain").await;
    let path = format!("/{BUCKET}/key");
    for value in ["a\t", "a  b", " a", "\u{a0}a"] {
        let attack = [("attack", "request"), ("request.path", path.as_str()), ("request.header.if-match", value)];
        let answer = siege.loot_of_source(&attack).await.expect("it reads");
        assert!(answer.contains("HttpRequestDenied"), "{value:?}: {answer}");
    }
    assert!(siege.bucket.wire().requests().is_empty());
}

/// A store that fails, with a place of this machine in each failure.
struct Failing;

const PLACE: &str = "/a/place/of/this/machine";

impl Failing {
    fn fail<T>() -> Result<T, Error> {
        Err(Error::Folder { action: "write", folder: PLACE.into(), source: std::io::Error::other("no space") })
    }
}

impl StateStore for Failing {
    fn load(&self, _name: &str) -> Result<Option<Vec<u8>>, Error> {
        Self::fail()
    }

    fn commit(&self, _edits: &[Edit]) -> Result<(), Error> {
        Self::fail()
    }

    fn load_position(&self) -> Result<Option<Vec<u8>>, Error> {
        Self::fail()
    }

    fn save_position(&self, _position: &[u8]) -> Result<(), Error> {
        Self::fail()
    }
}

#[tokio::test]
async fn a_folder_of_the_host_is_told_to_people_and_not_to_the_component() {
    let siege = Siege::of("plain").await;
    let options = || InstanceOptions { state: Some(Arc::new(Failing)), ..InstanceOptions::default() };
    let attack = siege.bucket.settings(&[("attack", "save"), ("text", "name")]);
    let mut source = siege.hostile.source(attack, options()).await.expect("it is made");
    source.open(None).await.expect("it opens");
    let read = source.read(1, Duration::ZERO).await.expect("it reads");
    let Some(Data::Raw(told)) = &read[0].payload.after else { panic!("loot is text, not {read:?}") };
    let told = String::from_utf8_lossy(told);
    assert!(told.contains("no space") && !told.contains(PLACE), "{told}");

    let honest = siege.bucket.connector();
    siege.bucket.put("a", "1").await;
    let mut source = honest.source(siege.settings(&[]), options()).await.expect("it is made");
    let failed = match source.open(None).await {
        Ok(()) => source.read(1, Duration::from_secs(10)).await.map(drop),
        Err(error) => Err(error),
    };
    let error = failed.expect_err("nothing can be kept");
    let place = format!("folder=`{PLACE}`");
    assert!(error.message().contains("no space") && error.message().contains(&place), "{error}");
}
