//! Owns the service of a destination.

use std::pin::Pin;
use std::sync::Arc;

use conduit_protocol::connector::v2::destination_plugin_server::DestinationPlugin;
use conduit_protocol::connector::v2::*;
use futures_util::Stream;
use tonic::{Request, Response, Result, Streaming};

use super::Plugin;

/// Serves one destination.
pub(super) struct DestinationService {
    plugin: Arc<Plugin>,
}

impl DestinationService {
    pub(super) fn new(plugin: Arc<Plugin>) -> Self {
        Self { plugin }
    }
}

#[tonic::async_trait]
impl DestinationPlugin for DestinationService {
    type RunStream = Pin<Box<dyn Stream<Item = Result<DestinationRunResponse>> + Send>>;
    async fn configure(&self, _: Request<ConfigureRequest>) -> Result<Response<ConfigureResponse>> {
        todo!()
    }
    async fn open(&self, _: Request<DestinationOpenRequest>) -> Result<Response<DestinationOpenResponse>> {
        todo!()
    }
    async fn run(&self, _: Request<Streaming<DestinationRunRequest>>) -> Result<Response<Self::RunStream>> {
        todo!()
    }
    async fn stop(&self, _: Request<DestinationStopRequest>) -> Result<Response<DestinationStopResponse>> {
        todo!()
    }
    async fn teardown(&self, _: Request<TeardownRequest>) -> Result<Response<TeardownResponse>> {
        todo!()
    }
    async fn lifecycle_on_created(&self, _: Request<OnCreatedRequest>) -> Result<Response<OnCreatedResponse>> {
        todo!()
    }
    async fn lifecycle_on_updated(&self, _: Request<OnUpdatedRequest>) -> Result<Response<OnUpdatedResponse>> {
        todo!()
    }
    async fn lifecycle_on_deleted(&self, _: Request<OnDeletedRequest>) -> Result<Response<OnDeletedResponse>> {
        todo!()
    }
}
