//! A secret stays in the host: it is not in the component's memory, in records, errors or logs.

use std::io::Write;
use std::sync::{Arc, Mutex};

use embedded_s3::AccessKey;
use s3_connector_host::InstanceOptions;
use s3_connector_tests::world::{Conditions, Env, SavedState, read_all};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

const SECRET: &str = "kept-secret-5e3f1a9b7c";
const TOKEN: &str = "kept-token-77d0c2e4aa";

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("nobody panicked").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_secret_is_nowhere_but_in_the_host() {
    let log = Captured::default();
    let writer = log.clone();
    // All that the host and its libraries say; not the server, which runs in this process too.
    let filter: Targets = "trace,s3s=off,embedded_s3=off,s3_connector_tests=off".parse().expect("a filter");
    let lines = tracing_subscriber::fmt::layer().with_writer(move || writer.clone()).with_filter(filter);
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(lines))
        .expect("no other test of this binary sets one");
    let keys = vec![AccessKey::new("AKIATEST", SECRET).session_token(TOKEN)];
    let bucket = Env::component().bucket(Conditions::default().on(|store| store.keys = keys)).await;
    bucket.put("a", "1").await;
    let secret = [("aws.accessKeyId", "AKIATEST"), ("aws.secretAccessKey", SECRET), ("aws.sessionToken", TOKEN)];
    let mut source = bucket.open_with(&secret).await;
    let records = read_all(&mut source).await.expect("reads");
    let source = source.into_host();
    let seen = format!("{records:?} {:?}", source.traffic());
    let memory = source.memory().await;
    let wrong = [&secret[..1], &[("aws.secretAccessKey", "wrong-5e3f1a9b7c"), secret[2]]].concat();
    let Err(error) = bucket.source(&wrong, &SavedState::none(), None).await else { panic!("a wrong secret opened") };
    let unknown = [&secret[..], &[("aws.secretAccesKey", SECRET)]].concat();
    let configured = bucket.connector().source(bucket.settings(&unknown), InstanceOptions::default()).await;
    let Err(misspelt) = configured else { panic!("a misspelt setting was taken") };
    let log = String::from_utf8_lossy(&log.0.lock().expect("nobody panicked")).into_owned();
    assert!(log.contains("GetObject"), "the log was captured");
    for text in [&seen, &log, &error.to_string(), &misspelt.to_string()] {
        for secret in [SECRET, TOKEN, "wrong-5e3f1a9b7c"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
    let holds = |text: &str| memory.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(memory.len() > 100_000, "the memory was looked at: {} bytes", memory.len());
    assert!(holds(&bucket.server().endpoint()), "and it is the one that was in use");
    assert!(!holds(SECRET) && !holds(TOKEN));
}
