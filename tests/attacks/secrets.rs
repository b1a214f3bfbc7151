//! Keys stay in the host, whatever a component says of its settings.

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
        let attack = [
            ("attack", "settings-in-object"),
            ("request.path", path.as_str()),
            ("request.header.if-none-match", "*"),
        ];
        let answer = siege.loot_of_destination(&attack).await.expect("it acks");
        assert!(answer.starts_with("200\n"), "{answer}");
        let objects = siege.world.server.store().objects(BUCKET).expect("there");
        let stored = String::from_utf8_lossy(&objects[0].body);
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
