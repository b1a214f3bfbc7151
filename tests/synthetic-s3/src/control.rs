//! Owns the requests under `/_double/`, by which a bench asks for counts and changes buckets. They are not counted.
//!
//! - `counts`: what was requested, as JSON. `reset`: counts from zero.
//! - `weather?is=W`: the weather from now on; requests are numbered from 0 again.
//! - `generation?bucket=B&n=N`: the bucket is now in generation N; the first one is 1.
//! - `start?bucket=B`: the clock of changes runs. `stop?bucket=B`: it stands still.

use crate::answer::Answer;
use crate::counts::{Counts, micros};
use crate::operation::Request;
use crate::server::Shared;
use crate::weather::Weather;

pub(crate) fn answer(request: &Request, shared: &Shared) -> Answer {
    match act(request, shared) {
        Ok(text) => Answer::of(200, text.into_bytes()).header("content-type", "application/json"),
        Err(why) => Answer::of(400, why.into_bytes()),
    }
}

fn act(request: &Request, shared: &Shared) -> Result<String, String> {
    match request.key.as_str() {
        "counts" => return Ok(shared.counts.borrow().json(shared.connections.get(), shared.open.get())),
        "weather" => {
            shared.weather.set(Weather::parse(request.parameter("is").unwrap_or_default())?);
            shared.number.set(0);
        }
        "reset" => {
            *shared.counts.borrow_mut() = Counts::default();
            shared.connections.set(shared.open.get());
        }
        command => {
            let bucket = request.parameter("bucket").ok_or("`bucket` is missing")?;
            let mut buckets = shared.buckets.borrow_mut();
            let bucket = buckets.get_mut(bucket).ok_or_else(|| format!("there is no bucket `{bucket}`"))?;
            match command {
                "generation" => {
                    let number = request.parameter("n").and_then(|n| n.parse().ok()).ok_or("`n` is no number")?;
                    bucket.begin_generation(number, micros() / 1_000_000);
                }
                "start" => bucket.start_clock(micros()),
                "stop" => bucket.stop_clock(micros()),
                _ => return Err(format!("there is no `{command}`")),
            }
        }
    }
    Ok("{}".to_owned())
}
