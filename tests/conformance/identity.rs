//! Cases of whose state and positions these are: a bucket's on a store, whichever of its addresses is used.

use s3_connector_host::ErrorKind;
use s3_connector_tests::in_every_world;
use s3_connector_tests::world::{Env, SavedState, WorldKind, read_all, read_some, summary};

in_every_world! {
    a_position_of_another_store_is_refused except(Real, "there is one store"),
    another_name_of_the_same_store_goes_on
        except(Component, "there is one address") except(Real, "there is one address"),
    a_position_that_names_no_store_goes_on,
}

async fn a_position_of_another_store_is_refused(env: &Env) {
    let bucket = env.versioned().await;
    for key in ["a", "b"] {
        bucket.put(key, "1").await;
    }
    let state = SavedState::memory();
    let mut source = bucket.start(&state).await;
    let position = read_some(&mut source, 2).await.expect("reads").remove(1);
    let position = Some(&*position.position);
    // A bucket of the same name, on a server of its own.
    let other = env.versioned().await;
    other.put("a", "another").await;
    let elsewhere = match env.kind() {
        WorldKind::Native => &[("aws.endpoint", "http://elsewhere.test:9000")][..],
        _ => &[],
    };
    let Err(error) = other.source(elsewhere, &state, position).await else {
        panic!("it would go on after what it never read")
    };
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    for part in ["on another store than http://", "`aws.endpoint`", "start over"] {
        assert!(error.message().contains(part), "{error}");
    }
    // Where it was, it goes on.
    let mut source = bucket.source(&[], &state, position).await.expect("goes on");
    assert!(read_all(&mut source).await.expect("reads").is_empty());
}

async fn another_name_of_the_same_store_goes_on(env: &Env) {
    let bucket = env.versioned().await;
    bucket.put("a", "1").await;
    let state = SavedState::memory();
    let https = ("aws.endpoint", "https://embedded.test");
    let mut source = bucket.start_with(&[https], &state).await;
    let position = read_some(&mut source, 1).await.expect("reads").remove(0);
    for endpoint in
        ["https://EMBEDDED.test/", "https://embedded.test:443", "http://embedded.test", "http://embedded.test:80"]
    {
        let settings = [("aws.endpoint", endpoint)];
        let source = bucket.source(&settings, &state, Some(&position.position)).await;
        let mut source = source.unwrap_or_else(|error| panic!("{endpoint}: {error}"));
        assert!(read_all(&mut source).await.expect("reads").is_empty());
    }
}

async fn a_position_that_names_no_store_goes_on(env: &Env) {
    let bucket = env.versioned().await;
    for key in ["a", "b", "c"] {
        bucket.put(key, "1").await;
    }
    let mut source = bucket.start(&SavedState::none()).await;
    let records = read_some(&mut source, 2).await.expect("reads");
    let position = records[0].position.split(|byte| *byte == b'~').next();
    let mut source = bucket.source(&[], &SavedState::none(), position).await.expect("goes on");
    let records = read_some(&mut source, 2).await.expect("reads");
    assert_eq!(summary(&records), ["snapshot b 1", "snapshot c 1"]);
}
