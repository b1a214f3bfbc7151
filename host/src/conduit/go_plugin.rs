//! Owns the services that go-plugin expects of every plugin: controller, broker, stdio, health. Leaves the connector's own to
//! `specifier`, `source` and `destination`.

use conduit_protocol::go_plugin::grpc_broker_server::GrpcBroker;
use conduit_protocol::go_plugin::grpc_controller_server::GrpcController;
use conduit_protocol::go_plugin::grpc_stdio_server::GrpcStdio;
use conduit_protocol::go_plugin::{ConnInfo, Empty, StdioData};
use conduit_protocol::health::v1::health_check_response::ServingStatus;
use conduit_protocol::health::v1::{HealthCheckRequest, HealthCheckResponse, health_server};
use futures_util::stream;
use tonic::{Request, Response, Result, Status, Streaming};

use super::Silence;
use super::lifetime::Lifetime;

/// Ends the process.
pub(super) struct Controller {
    lifetime: Lifetime,
}

impl Controller {
    pub(super) fn new(lifetime: Lifetime) -> Self {
        Self { lifetime }
    }
}

#[tonic::async_trait]
impl GrpcController for Controller {
    async fn shutdown(&self, _: Request<Empty>) -> Result<Response<Empty>> {
        self.lifetime.shut_down();
        Ok(Response::new(Empty {}))
    }
}

/// Would arrange further connections, which Conduit never asks for.
pub(super) struct Broker;

#[tonic::async_trait]
impl GrpcBroker for Broker {
    type StartStreamStream = Silence<ConnInfo>;

    async fn start_stream(&self, _: Request<Streaming<ConnInfo>>) -> Result<Response<Self::StartStreamStream>> {
        Ok(Response::new(stream::pending()))
    }
}

/// Would carry what a plugin prints. The log goes to stderr, where its lines keep their level.
pub(super) struct Stdio;

#[tonic::async_trait]
impl GrpcStdio for Stdio {
    type StreamStdioStream = Silence<StdioData>;

    async fn stream_stdio(&self, _: Request<()>) -> Result<Response<Self::StreamStdioStream>> {
        Ok(Response::new(stream::pending()))
    }
}

/// Says that the plugin is up.
pub(super) struct Health;

/// The services that are asked for: go-plugin's name for all of them, and no name.
const SERVICES: [&str; 2] = ["", "plugin"];

fn health(service: &str) -> Result<HealthCheckResponse> {
    if SERVICES.contains(&service) {
        Ok(HealthCheckResponse { status: ServingStatus::Serving.into() })
    } else {
        Err(Status::not_found("there is no such service"))
    }
}

#[tonic::async_trait]
impl health_server::Health for Health {
    type WatchStream =
        stream::Chain<stream::Once<std::future::Ready<Result<HealthCheckResponse>>>, Silence<HealthCheckResponse>>;

    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>> {
        health(&request.into_inner().service).map(Response::new)
    }

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>> {
        use stream::StreamExt as _;
        let first = health(&request.into_inner().service)?;
        Ok(Response::new(stream::once(std::future::ready(Ok(first))).chain(stream::pending())))
    }
}
