//! Owns the smallest program that embeds the connector: it reads a bucket and drops what it reads. Leaves being started to
//! `contender`.

use std::time::Duration;

use s3_connector_host::{CompiledAhead, Connector, InstanceOptions, Options, Settings};

/// The argument that asks for it. Others are how many objects it reads, and settings, `NAME=VALUE`.
pub(super) const ARGUMENT: &str = "--drain";

/// The variable that names a file of code that was compiled ahead.
pub(super) const CODE: &str = "BENCH_CODE";

/// The code that was compiled ahead, if it is to be used.
#[allow(unsafe_code, reason = "a program includes it; a bench has it beside itself")]
fn compiled_ahead() -> Option<CompiledAhead> {
    let file = std::env::var_os(CODE)?;
    let code = std::fs::read(file).expect("`make build` has made it");
    // SAFETY: the file is in the target folder, where this program and the component that it is to run are too.
    Some(unsafe { CompiledAhead::new(Vec::leak(code)) })
}

/// Reads objects, and prints what was read as JSON.
pub(super) fn run(arguments: &[String]) {
    let [most, settings @ ..] = arguments else { panic!("a number of objects, and settings") };
    let most = most.parse().expect("a number of objects");
    let settings = settings.iter().map(|setting| setting.split_once('=').expect("NAME=VALUE"));
    let settings: Settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    let (objects, bytes) = runtime.block_on(drain(settings, most));
    println!("{{\"objects\":{objects},\"bytes\":{bytes}}}");
}

async fn drain(settings: Settings, most: u64) -> (u64, u64) {
    let options = Options { compiled_ahead: compiled_ahead(), ..Options::default() };
    let connector = Connector::load(options).await.expect("the component loads");
    let mut source = connector.source(settings, InstanceOptions::default()).await.expect("settings are right");
    source.open(None).await.expect("it opens");
    let (mut objects, mut bytes) = (0, 0);
    while objects < most {
        let records = source.read(1000, Duration::from_secs(1)).await.expect("it reads");
        let Some(last) = records.last().map(|record| record.position.clone()) else {
            continue;
        };
        for record in records {
            objects += 1;
            bytes += match record.payload.after {
                None => 0,
                Some(s3_connector_host::record::Data::Body { mut bytes, .. }) => {
                    let mut count = 0;
                    while let Some(piece) = bytes.next().await.expect("bodies are whole") {
                        count += piece.len() as u64;
                    }
                    count
                }
                Some(data) => data.length().unwrap_or_default(),
            };
        }
        source.ack(&last).await.expect("it acks");
    }
    (objects, bytes)
}
