//! Owns what goes wrong between a request and its answer, and how long it takes. Leaves doing so to `server`.
//!
//! What becomes of a request follows from its number alone, so that runs meet the same trouble.

use std::time::Duration;

use crate::rule::mix;

/// How the network and the store are.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Weather {
    /// From a request to its answer.
    pub delay: Duration,
    /// Likewise for pages of listings, where it is not 0.
    pub page_delay: Duration,
    /// From a connection to its first request being read.
    pub connect: Duration,
    /// Bytes per second and connection; 0 for as many as can be.
    pub rate: u64,
    /// Requests in a hundred that are answered with 503 `SlowDown`.
    pub throttled: f64,
    /// Requests in a hundred whose connection is reset instead of an answer.
    pub reset: f64,
    /// Requests in a hundred whose connection is reset in the middle of the answer's body.
    pub cut: f64,
    /// Requests in a hundred whose answer comes late.
    pub stalled: f64,
    /// How late.
    pub stall: Duration,
    /// Requests after which a connection is closed; 0 for any number.
    pub requests: u64,
    /// How long a connection may be idle; 0 for ever.
    pub idle: Duration,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Answered,
    Throttled,
    Reset,
    Cut,
    Stalled,
}

impl Weather {
    /// Reads weather: `delay:30,throttled:10`. Times are in milliseconds; what it does not name is 0.
    ///
    /// # Errors
    ///
    /// Which part is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut weather = Self::default();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once(':').ok_or_else(|| format!("`{part}` is not NAME:NUMBER"))?;
            let value = value.parse::<f64>().ok().filter(|value| (0.0..1e12).contains(value));
            let value = value.ok_or_else(|| format!("`{part}` has no number that can be"))?;
            let time = Duration::from_secs_f64(value / 1000.0);
            match name {
                "delay" => weather.delay = time,
                "page-delay" => weather.page_delay = time,
                "connect" => weather.connect = time,
                "rate" => weather.rate = value as u64,
                "throttled" => weather.throttled = value,
                "reset" => weather.reset = value,
                "cut" => weather.cut = value,
                "stalled" => weather.stalled = value,
                "stall" => weather.stall = time,
                "requests" => weather.requests = value as u64,
                "idle" => weather.idle = time,
                _ => return Err(format!("`{name}` is not part of the weather")),
            }
        }
        Ok(weather)
    }

    /// What becomes of the request of this number.
    pub(crate) fn fate(&self, number: u64) -> Fate {
        let drawn = (mix(number ^ 0x5eed) >> 11) as f64 / (1_u64 << 53) as f64 * 100.0;
        let mut below = 0.0;
        for (share, fate) in [
            (self.throttled, Fate::Throttled),
            (self.reset, Fate::Reset),
            (self.cut, Fate::Cut),
            (self.stalled, Fate::Stalled),
        ] {
            below += share;
            if drawn < below {
                return fate;
            }
        }
        Fate::Answered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weather_is_read_from_its_parts() {
        let weather = Weather::parse("delay:30,page-delay:80,throttled:10,stall:2000,rate:1000,requests:7").unwrap();
        assert_eq!((weather.delay, weather.page_delay), (Duration::from_millis(30), Duration::from_millis(80)));
        assert_eq!((weather.stall, weather.rate, weather.requests), (Duration::from_secs(2), 1000, 7));
        assert_eq!(Weather::parse("").unwrap(), Weather::default());
        for wrong in ["delay", "delay:x", "delay:-1", "rain:1"] {
            assert!(Weather::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn as_many_requests_have_trouble_as_the_weather_says() {
        let weather = Weather::parse("throttled:10,reset:2,cut:1,stalled:1").unwrap();
        let of = |wanted| (0..100_000).filter(|number| weather.fate(*number) == wanted).count();
        for (fate, expected) in
            [(Fate::Throttled, 10_000), (Fate::Reset, 2000), (Fate::Cut, 1000), (Fate::Stalled, 1000)]
        {
            let count = of(fate);
            assert!(count.abs_diff(expected) < expected / 10, "{fate:?}: {count}");
        }
        assert!((0..1000).all(|number| Weather::default().fate(number) == Fate::Answered));
    }
}
