//! Owns what Conduit says of itself in a plugin's environment. Leaves what follows from it to the services.

/// The engine that has started this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Engine {
    /// The connector's id: `PIPELINE:CONNECTOR` where a file describes the pipeline.
    pub(super) connector_id: String,
    /// The address of the services that it has for connectors; `None` where it has none.
    pub(super) utilities: Option<String>,
    /// What calls of those services must carry.
    pub(super) token: String,
    /// The least severe lines that it wants to have.
    pub(super) log_level: tracing::level_filters::LevelFilter,
    /// Bytes of a message that it may send.
    pub(super) receive_bytes_max: usize,
    /// The versions of the protocol that it offers.
    pub(super) protocol_versions: Vec<u32>,
    /// Where sockets are to be made; `None` for the system's folder of temporary files.
    pub(super) socket_folder: Option<String>,
    /// Whether it is to be served by TCP, on the loopback interface, rather than by a socket in a folder.
    pub(super) wants_tcp: bool,
    /// The ports to choose from.
    pub(super) ports: (u16, u16),
}

/// The default of gRPC, and so of Conduit.
const RECEIVE_BYTES: usize = 4 << 20;

/// The variable by which a user asks for TCP.
pub(super) const TCP_VARIABLE: &str = "S3_CONNECTOR_CONDUIT_TCP";

impl Engine {
    /// Reads the environment. What is missing or can't be read has a default: what Conduit asks of every plugin at its own
    /// start needs none of it.
    pub(super) fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Self {
        use tracing::level_filters::LevelFilter;
        let text = |name: &str| variable(name).filter(|text| !text.is_empty());
        let port = |name: &str| text(name).and_then(|text| text.parse().ok());
        Self {
            connector_id: text("CONDUIT_CONNECTOR_ID").unwrap_or_default(),
            utilities: text("CONDUIT_CONNECTOR_UTILITIES_GRPC_TARGET"),
            token: text("CONDUIT_CONNECTOR_TOKEN").unwrap_or_default(),
            log_level: match text("CONDUIT_CONNECTOR_LOG_LEVEL").unwrap_or_default().as_str() {
                "trace" => LevelFilter::TRACE,
                "debug" => LevelFilter::DEBUG,
                "warn" => LevelFilter::WARN,
                "error" | "fatal" | "panic" => LevelFilter::ERROR,
                "disabled" => LevelFilter::OFF,
                _ => LevelFilter::INFO,
            },
            receive_bytes_max: text("CONDUIT_CONNECTOR_MAX_RECEIVE_RECORD_SIZE")
                .and_then(|text| text.parse().ok())
                .unwrap_or(RECEIVE_BYTES),
            protocol_versions: text("PLUGIN_PROTOCOL_VERSIONS")
                .map(|list| list.split(',').filter_map(|version| version.trim().parse().ok()).collect())
                .unwrap_or_default(),
            socket_folder: text("PLUGIN_UNIX_SOCKET_DIR"),
            wants_tcp: text(TCP_VARIABLE).is_some_and(|text| matches!(text.as_str(), "1" | "true")),
            ports: (port("PLUGIN_MIN_PORT").unwrap_or(10_000), port("PLUGIN_MAX_PORT").unwrap_or(25_000)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::level_filters::LevelFilter;

    #[test]
    fn an_empty_environment_has_defaults() {
        let engine = Engine::from_environment(|_| None);
        assert_eq!((engine.receive_bytes_max, engine.log_level), (4 << 20, LevelFilter::INFO));
        assert_eq!((engine.utilities, engine.wants_tcp), (None, false));
    }

    #[test]
    fn what_conduit_says_is_read() {
        let engine = Engine::from_environment(|name| {
            let value = match name {
                "CONDUIT_CONNECTOR_ID" => "a:b",
                "CONDUIT_CONNECTOR_LOG_LEVEL" => "warn",
                "CONDUIT_CONNECTOR_MAX_RECEIVE_RECORD_SIZE" => "67108864",
                "PLUGIN_PROTOCOL_VERSIONS" => "2,1",
                _ => "",
            };
            Some(value.to_owned())
        });
        assert_eq!((engine.connector_id.as_str(), engine.receive_bytes_max), ("a:b", 64 << 20));
        assert_eq!((engine.log_level, engine.protocol_versions), (LevelFilter::WARN, vec![2, 1]));
        assert_eq!(engine.utilities, None, "it is empty while Conduit provisions");
    }
}
