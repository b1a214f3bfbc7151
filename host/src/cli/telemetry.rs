//! Owns the refusal of a command whose variables of OpenTelemetry are wrong. Leaves what is sent to the library's telemetry.

use s3_connector_host::monitor::Monitor;
use s3_connector_host::telemetry::Telemetry;
use s3_connector_host::with_causes;

use super::Failure;

/// Sends what `monitor` sees, if a collector is named.
pub(super) fn start(monitor: &Monitor) -> Result<Telemetry, Failure> {
    Telemetry::start(monitor).map_err(|error| Failure::Usage(with_causes(&error)))
}
