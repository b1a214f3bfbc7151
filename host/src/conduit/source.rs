//! Owns the service of a source: the engine's calls, in terms of a pipeline from the component's source into Conduit. Leaves
//! records and acks to `outlet`, and outages to `pipeline`.

mod outlet;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use conduit_protocol::connector::v2::source_plugin_server::SourcePlugin;
use conduit_protocol::connector::v2::{
    ConfigureRequest, ConfigureResponse, OnCreatedRequest, OnCreatedResponse, OnDeletedRequest, OnDeletedResponse,
    OnUpdatedRequest, OnUpdatedResponse, SourceOpenRequest, SourceOpenResponse, SourceRunRequest, SourceRunResponse,
    SourceStopRequest, SourceStopResponse, TeardownRequest, TeardownResponse,
};
use futures_util::Stream;
use s3_connector::limits;
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use self::outlet::{Outlet, Sent};
use super::parameters::{self, SourceParameters};
use super::{ENDLESS, Plugin, Running, TERMINATED, lost_task, out_of_order, state_folder, status};
use crate::connector::instance::InstanceOptions;
use crate::connector::settings::Settings;
use crate::connector::source::Source;
use crate::error::{ErrorKind, Result};
use crate::pipeline::{CancellationToken, OpenPipeline, Options, Pipeline};

/// Messages between the pipeline and the stream. The stream's window holds more.
const MESSAGES: usize = 2;

/// How long a teardown waits for the last acks to be passed on.
const TEARDOWN: Duration = Duration::from_secs(3);

type Message = tonic::Result<SourceRunResponse>;

/// Serves one source.
pub(super) struct SourceService {
    plugin: Arc<Plugin>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    configured: Option<(SourceParameters, Settings)>,
    opened: Option<Opened>,
    running: Option<Running<Message>>,
    stop: Option<(CancellationToken, watch::Receiver<Sent>)>,
}

/// A source that is open and does not run yet.
struct Opened {
    pipeline: OpenPipeline<Source, Outlet>,
    messages: (mpsc::Sender<Message>, mpsc::Receiver<Message>),
    acks: mpsc::Sender<Vec<Bytes>>,
}

/// What a source can't do without state.
const LOSS: &str = "a restart goes by times alone, and may deliver again what was stored within `lookback`";

impl SourceService {
    pub(super) fn new(plugin: Arc<Plugin>) -> Self {
        Self { plugin, state: Mutex::default() }
    }

    fn instance_options(&self) -> InstanceOptions {
        InstanceOptions { name: self.plugin.engine.connector_id.clone(), state: None }
    }

    /// Opens the source and its state, unless it is stopped.
    async fn open_pipeline(
        &self,
        (parameters, settings): (SourceParameters, Settings),
        position: Bytes,
        stop: CancellationToken,
        sent: watch::Sender<Sent>,
    ) -> Result<Opened> {
        let connector = self.plugin.connector().await?;
        let mut instance = self.instance_options();
        let (messages, acks) = (mpsc::channel(MESSAGES), mpsc::channel(limits::RECORDS_UNACKED_MAX));
        let outlet = Outlet::new(messages.0.clone(), acks.1, parameters.batching, stop.clone(), sent);
        let id = self.plugin.engine.connector_id.clone();
        let open = self.plugin.work.spawn(async move {
            instance.state = state_folder::open(&id, LOSS).await?;
            let source = connector.source(settings, instance).await?;
            let position = Some(position.to_vec()).filter(|position| !position.is_empty());
            let options = Options { name: id, position, grace: ENDLESS, ..Options::default() };
            Pipeline::new(source, outlet, options).open(stop).await
        });
        let pipeline = open.await.unwrap_or_else(|lost| Err(lost_task(&lost)))?;
        Ok(Opened { pipeline, messages, acks: acks.0 })
    }
}

/// Passes acks on until the stream ends, or nobody takes them.
async fn pump(mut requests: Streaming<SourceRunRequest>, acks: mpsc::Sender<Vec<Bytes>>) {
    // An error is an end, too: Conduit cancels the stream.
    while let Ok(Some(request)) = requests.message().await {
        if acks.send(request.ack_positions).await.is_err() {
            return;
        }
    }
}

#[tonic::async_trait]
impl SourcePlugin for SourceService {
    type RunStream = Pin<Box<dyn Stream<Item = Message> + Send>>;

    async fn configure(&self, request: Request<ConfigureRequest>) -> tonic::Result<Response<ConfigureResponse>> {
        let split = parameters::of_source(request.into_inner().config);
        let connector = self.plugin.connector().await.map_err(|error| status(&error))?;
        let (settings, options) = (split.settings.clone(), self.instance_options());
        let made = self.plugin.work.spawn(async move { connector.source(settings, options).await.map(drop) });
        let made = made.await.unwrap_or_else(|lost| Err(lost_task(&lost)));
        let parameters = super::all_faults(split.parameters, made)?;
        self.state.lock().await.configured = Some((parameters, split.settings));
        Ok(Response::new(ConfigureResponse {}))
    }

    async fn open(&self, request: Request<SourceOpenRequest>) -> tonic::Result<Response<SourceOpenResponse>> {
        let (stop, (sent, all_sent)) = (CancellationToken::new(), watch::channel(Sent::default()));
        let configured = {
            let mut state = self.state.lock().await;
            let configured = state.configured.take().ok_or_else(|| out_of_order("Open", "Configure"))?;
            // From now on Stop and Teardown can end it, which a store that does not answer may keep from opening.
            state.stop = Some((stop.clone(), all_sent));
            configured
        };
        let opened = self.open_pipeline(configured, request.into_inner().position, stop.clone(), sent).await;
        let opened = opened.map_err(|error| status(&error))?;
        let mut state = self.state.lock().await;
        if stop.is_cancelled() {
            return Err(Status::cancelled("the source was stopped while it was being opened"));
        }
        state.opened = Some(opened);
        Ok(Response::new(SourceOpenResponse {}))
    }

    async fn run(&self, request: Request<Streaming<SourceRunRequest>>) -> tonic::Result<Response<Self::RunStream>> {
        let mut state = self.state.lock().await;
        let Opened { pipeline, messages, acks } = state.opened.take().ok_or_else(|| out_of_order("Run", "Open"))?;
        let pump = tokio::spawn(pump(request.into_inner(), acks));
        let stop = state.stop.as_ref().map(|(stop, _)| stop.clone()).unwrap_or_default();
        let terminated = self.plugin.lifetime.terminated().clone();
        let (to_engine, stopped) = (messages.0.clone(), stop.clone());
        let work: JoinHandle<()> = self.plugin.work.spawn(async move {
            let mut run = std::pin::pin!(pipeline.run());
            let (ended, is_terminated) = tokio::select! {
                ended = &mut run => (ended, false),
                () = terminated.cancelled() => {
                    let is_first = !stopped.is_cancelled();
                    tracing::info!("SIGTERM came: nothing more is read");
                    stopped.cancel();
                    (run.await, is_first)
                }
            };
            if let Err(error) = ended {
                let is_stopped = stopped.is_cancelled() && !is_terminated;
                if is_stopped && matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Closed) {
                    // What was not sent, or whose acks nobody sends any more, is read again.
                    tracing::info!("stopped; what was not read or acked comes with the next start: {error}");
                    return;
                }
                // Nobody may be listening any more.
                let _ = to_engine.send(Err(status(&error))).await;
            } else if is_terminated {
                // What SIGTERM has stopped Conduit has not: it is told, once it had the time to stop the source itself.
                if tokio::time::timeout(TERMINATED, to_engine.closed()).await.is_err() {
                    let _ = to_engine.send(Err(Status::unknown("SIGTERM has ended the plugin"))).await;
                }
            }
        });
        state.running = Some(Running { work, pump, messages: messages.0 });
        Ok(Response::new(Box::pin(ReceiverStream::new(messages.1))))
    }

    async fn stop(&self, _: Request<SourceStopRequest>) -> tonic::Result<Response<SourceStopResponse>> {
        let Some((stop, mut sent)) = self.state.lock().await.stop.clone() else {
            return Ok(Response::new(SourceStopResponse::default()));
        };
        stop.cancel();
        let is_running = self.state.lock().await.running.is_some();
        if is_running {
            // It fails where the pipeline is gone: then nothing more is sent either.
            let _ = sent.wait_for(|sent| sent.is_all).await;
        }
        let last_position = sent.borrow().last.clone();
        Ok(Response::new(SourceStopResponse { last_position }))
    }

    async fn teardown(&self, _: Request<TeardownRequest>) -> tonic::Result<Response<TeardownResponse>> {
        let mut state = self.state.lock().await;
        if let Some((stop, _)) = state.stop.take() {
            stop.cancel();
        }
        state.opened = None;
        if let Some(running) = state.running.take() {
            running.end(TEARDOWN).await;
        }
        Ok(Response::new(TeardownResponse {}))
    }

    async fn lifecycle_on_created(&self, _: Request<OnCreatedRequest>) -> tonic::Result<Response<OnCreatedResponse>> {
        Ok(Response::new(OnCreatedResponse {}))
    }

    async fn lifecycle_on_updated(&self, _: Request<OnUpdatedRequest>) -> tonic::Result<Response<OnUpdatedResponse>> {
        Ok(Response::new(OnUpdatedResponse {}))
    }

    async fn lifecycle_on_deleted(&self, _: Request<OnDeletedRequest>) -> tonic::Result<Response<OnDeletedResponse>> {
        state_folder::remove(&self.plugin.engine.connector_id).await.map_err(|error| status(&error))?;
        Ok(Response::new(OnDeletedResponse {}))
    }
}
