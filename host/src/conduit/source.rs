//! Owns the service of a source.

use std::pin::Pin;
use std::sync::Arc;

use conduit_protocol::connector::v2::source_plugin_server::SourcePlugin;
use conduit_protocol::connector::v2::*;
use futures_util::Stream;
use tonic::{Request, Response, Result, Streaming};

use super::Plugin;

/// Serves one source.
pub(super) struct SourceService {
    plugin: Arc<Plugin>,
}

impl SourceService {
    pub(super) fn new(plugin: Arc<Plugin>) -> Self {
        Self { plugin }
    }
}

#[tonic::async_trait]
impl SourcePlugin for SourceService {
    type RunStream = Pin<Box<dyn Stream<Item = Result<SourceRunResponse>> + Send>>;
    async fn configure(&self, _: Request<ConfigureRequest>) -> Result<Response<ConfigureResponse>> {
        todo!()
    }
    async fn open(&self, _: Request<SourceOpenRequest>) -> Result<Response<SourceOpenResponse>> {
        todo!()
    }
    async fn run(&self, _: Request<Streaming<SourceRunRequest>>) -> Result<Response<Self::RunStream>> {
        todo!()
    }
    async fn stop(&self, _: Request<SourceStopRequest>) -> Result<Response<SourceStopResponse>> {
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
