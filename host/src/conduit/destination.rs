//! Owns the service of a destination: the engine's calls, in terms of a pipeline from Conduit into the component's destination.
//! Leaves records to `inlet`, acks to `answers`, and outages to `pipeline`.

mod answers;
mod avro;
mod inlet;
mod pace;
mod rate;
mod schemas;

use std::pin::Pin;
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use conduit_protocol::connector::v2::destination_plugin_server::DestinationPlugin;
use conduit_protocol::connector::v2::{
    ConfigureRequest, ConfigureResponse, DestinationOpenRequest, DestinationOpenResponse, DestinationRunRequest,
    DestinationRunResponse, DestinationStopRequest, DestinationStopResponse, OnCreatedRequest, OnCreatedResponse,
    OnDeletedRequest, OnDeletedResponse, OnUpdatedRequest, OnUpdatedResponse, TeardownRequest, TeardownResponse,
};
use futures_util::Stream;
use s3_connector::config::{BUFFER_DELAY, BUFFER_SIZE, duration};
use tokio::sync::{Mutex, Semaphore, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, Streaming};

use self::answers::Answers;
use self::inlet::{Inlet, Received};
use self::pace::Pace;
use self::rate::Bucket;
use self::schemas::Decoder;
use super::parameters::{self, Batching, DestinationParameters};
use super::{ENDLESS, Plugin, Running, TERMINATED, lost_task, out_of_order, state_folder, status};
use crate::connector::destination::Destination;
use crate::connector::instance::InstanceOptions;
use crate::connector::settings::Settings;
use crate::error::{Result, with_causes};
use crate::pipeline::{CancellationToken, OpenPipeline, Options, Pipeline};

/// Bytes of messages that wait to be read, unless there is only one, and bytes that each has besides those that were sent.
const MESSAGE_BYTES_MAX: usize = 64 << 20;
const MESSAGE_BYTES_MIN: usize = 512;

/// Messages that wait to be read.
const MESSAGES_MAX: usize = MESSAGE_BYTES_MAX / MESSAGE_BYTES_MIN;

/// Records that a batch may have: more is cut to it.
const BATCH_RECORDS_MAX: usize = 100_000;

/// How long a teardown waits for the pipeline: what Conduit wanted to have stored is stored by Stop.
const TEARDOWN: Duration = Duration::from_secs(1);

type Message = tonic::Result<DestinationRunResponse>;

/// Serves one destination.
pub(super) struct DestinationService {
    plugin: Arc<Plugin>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    configured: Option<(DestinationParameters, Settings)>,
    opened: Option<Opened>,
    running: Option<Running<Message>>,
    controls: Option<Controls>,
}

/// How a pipeline is told to end.
#[derive(Clone)]
struct Controls {
    stop: CancellationToken,
    until: watch::Sender<Option<Bytes>>,
    /// True once the pipeline has ended.
    ended: watch::Receiver<bool>,
}

/// A destination that is open and does not run yet.
struct Opened {
    pipeline: OpenPipeline<Inlet, Answers<Destination>>,
    messages: (mpsc::Sender<Message>, mpsc::Receiver<Message>),
    received: mpsc::Sender<Received>,
    pace: Arc<StdMutex<Pace>>,
    ended: watch::Sender<bool>,
}

/// What a destination can't do without state. It is no reason not to run.
const LOSS: &str = "uploads in parts that a crash leaves are not aborted";

impl DestinationService {
    pub(super) fn new(plugin: Arc<Plugin>) -> Self {
        Self { plugin, state: Mutex::default() }
    }

    fn instance_options(&self) -> InstanceOptions {
        InstanceOptions { name: self.plugin.engine.connector_id.clone(), state: None }
    }

    /// Opens the destination, unless it is stopped.
    async fn open_pipeline(
        &self,
        (parameters, settings): (DestinationParameters, Settings),
        controls: &Controls,
        ended: watch::Sender<bool>,
    ) -> Result<Opened> {
        let connector = self.plugin.connector().await?;
        let mut instance = self.instance_options();
        let (received, receiver) = mpsc::channel(MESSAGES_MAX);
        let messages = mpsc::channel(MESSAGES_MAX);
        let (faults, pace) = (inlet::Faults::default(), Arc::<StdMutex<Pace>>::default());
        let bucket = parameters.rate.map(|rate| Bucket::new(rate, Instant::now()));
        let inlet = Inlet::new(receiver, bucket, Arc::clone(&faults), Arc::clone(&pace), controls.until.subscribe());
        let stop = controls.stop.clone();
        let (to_engine, paced) = (messages.0.clone(), Arc::clone(&pace));
        let decoder = Decoder::new(&self.plugin.engine, parameters);
        let id = self.plugin.engine.connector_id.clone();
        let open = self.plugin.work.spawn(async move {
            instance.state = state_folder::open(&id, LOSS).await.unwrap_or_else(|error| {
                tracing::warn!("no state is kept: {}; {LOSS}", with_causes(&error));
                None
            });
            let destination = connector.destination(settings, instance).await?;
            let answers = Answers::new(destination, decoder, to_engine, faults, paced);
            let options = Options { name: id, grace: ENDLESS, ..Options::default() };
            Pipeline::new(inlet, answers, options).open(stop).await
        });
        let pipeline = open.await.unwrap_or_else(|lost| Err(lost_task(&lost)))?;
        Ok(Opened { pipeline, messages, received, pace, ended })
    }
}

/// Has what was asked for of batches stand for the component's own settings; where both are set, the smaller one counts.
fn with_batching(mut settings: Settings, batching: Batching) -> Settings {
    if batching.size > 0 {
        let asked = batching.size.min(BATCH_RECORDS_MAX);
        if asked < batching.size {
            tracing::warn!("`sdk.batch.size` is more than a batch may have; records=`{BATCH_RECORDS_MAX}`");
        }
        let set = given(&settings, BUFFER_SIZE.name).map(str::parse::<usize>);
        // What can't be read is the component's to refuse.
        if !matches!(set, Some(Err(_))) {
            let size = set.and_then(std::result::Result::ok).map_or(asked, |set| set.min(asked));
            settings.insert(BUFFER_SIZE.name.to_owned(), size.to_string());
        }
    }
    if !batching.delay.is_zero() {
        let set = given(&settings, BUFFER_DELAY.name).map(duration::parse);
        if !matches!(set, Some(Err(_))) {
            let delay = set.and_then(std::result::Result::ok).map_or(batching.delay, |set| set.min(batching.delay));
            settings.insert(BUFFER_DELAY.name.to_owned(), format!("{}us", delay.as_micros().max(1)));
        }
    }
    settings
}

/// Why nothing more can be read of Conduit's messages, where that is a fault.
type Fault = Arc<StdMutex<Option<Status>>>;

/// What a setting says; nothing where it is empty, which means its default.
fn given<'a>(settings: &'a Settings, name: &str) -> Option<&'a str> {
    settings.get(name).map(|text| text.trim()).filter(|text| !text.is_empty())
}

/// Passes messages on until the stream ends, or nobody takes them.
async fn pump(
    mut requests: Streaming<DestinationRunRequest>,
    received: mpsc::Sender<Received>,
    pace: Arc<StdMutex<Pace>>,
    fault: Fault,
) {
    let room = Arc::new(Semaphore::new(MESSAGE_BYTES_MAX));
    loop {
        let request = match requests.message().await {
            Ok(Some(request)) => request,
            Ok(None) => return,
            Err(error) => {
                *fault.lock().unwrap_or_else(PoisonError::into_inner) = fault_of(&error);
                return;
            }
        };
        let bytes = (prost::Message::encoded_len(&request) + MESSAGE_BYTES_MIN).min(MESSAGE_BYTES_MAX) as u32;
        let Ok(permit) = Arc::clone(&room).acquire_many_owned(bytes).await else { return };
        let count = request.records.len();
        pace.lock().unwrap_or_else(PoisonError::into_inner).received(count, Instant::now());
        if received.send(Received { records: request.records, room: Some(permit) }).await.is_err() {
            return;
        }
    }
}

/// What Conduit is told where a message of its stream could not be read; it ends its stream by cancelling it.
fn fault_of(error: &Status) -> Option<Status> {
    let message = error.message();
    match error.code() {
        Code::Cancelled => None,
        Code::OutOfRange | Code::ResourceExhausted => Some(Status::unknown(format!(
            "{message}: a larger record needs Conduit's flag `--connectors.max-receive-record-size`"
        ))),
        _ => Some(Status::unknown(format!("a message of Conduit can't be read: {message}"))),
    }
}

#[tonic::async_trait]
impl DestinationPlugin for DestinationService {
    type RunStream = Pin<Box<dyn Stream<Item = Message> + Send>>;

    async fn configure(&self, request: Request<ConfigureRequest>) -> tonic::Result<Response<ConfigureResponse>> {
        let split = parameters::of_destination(request.into_inner().config);
        let batching = split.parameters.as_ref().map(|parameters| parameters.batching).unwrap_or_default();
        let settings = with_batching(split.settings, batching);
        let connector = self.plugin.connector().await.map_err(|error| status(&error))?;
        let (tried, options) = (settings.clone(), self.instance_options());
        let made = self.plugin.work.spawn(async move { connector.destination(tried, options).await.map(drop) });
        let made = made.await.unwrap_or_else(|lost| Err(lost_task(&lost)));
        let parameters = super::all_faults(split.parameters, made)?;
        self.state.lock().await.configured = Some((parameters, settings));
        Ok(Response::new(ConfigureResponse {}))
    }

    async fn open(&self, _: Request<DestinationOpenRequest>) -> tonic::Result<Response<DestinationOpenResponse>> {
        let (ended, is_ended) = watch::channel(false);
        let controls = Controls { stop: CancellationToken::new(), until: watch::Sender::new(None), ended: is_ended };
        let configured = {
            let mut state = self.state.lock().await;
            let configured = state.configured.take().ok_or_else(|| out_of_order("Open", "Configure"))?;
            // From now on Stop and Teardown can end it, which a store that does not answer may keep from opening.
            state.controls = Some(controls.clone());
            configured
        };
        let opened = self.open_pipeline(configured, &controls, ended).await.map_err(|error| status(&error))?;
        let mut state = self.state.lock().await;
        if controls.stop.is_cancelled() {
            return Err(Status::cancelled("the destination was stopped while it was being opened"));
        }
        state.opened = Some(opened);
        Ok(Response::new(DestinationOpenResponse {}))
    }

    async fn run(
        &self,
        request: Request<Streaming<DestinationRunRequest>>,
    ) -> tonic::Result<Response<Self::RunStream>> {
        let mut state = self.state.lock().await;
        let opened = state.opened.take().ok_or_else(|| out_of_order("Run", "Open"))?;
        let Opened { pipeline, messages, received, pace, ended } = opened;
        let fault = Fault::default();
        let pump = tokio::spawn(pump(request.into_inner(), received, Arc::clone(&pace), Arc::clone(&fault)));
        let terminated = self.plugin.lifetime.terminated().clone();
        let to_engine = messages.0.clone();
        let work = self.plugin.work.spawn(async move {
            let hasten = async {
                terminated.cancelled().await;
                tracing::info!("SIGTERM came: what has come is stored at once");
                pace.lock().unwrap_or_else(PoisonError::into_inner).end();
                tokio::time::sleep(TERMINATED).await;
            };
            let done = tokio::select! {
                done = pipeline.run() => done.map(drop).map_err(|error| status(&error)),
                () = hasten => Err(Status::unknown("SIGTERM has ended the plugin")),
            };
            // What came before a message that could not be read is stored, and acked, by now.
            let fault = fault.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(error) = done.err().or(fault) {
                // Nobody may be listening any more.
                let _ = to_engine.send(Err(error)).await;
            }
            ended.send_replace(true);
        });
        state.running = Some(Running { work, pump, messages: messages.0 });
        Ok(Response::new(Box::pin(ReceiverStream::new(messages.1))))
    }

    async fn stop(&self, request: Request<DestinationStopRequest>) -> tonic::Result<Response<DestinationStopResponse>> {
        let (controls, is_running) = {
            let state = self.state.lock().await;
            (state.controls.clone(), state.running.is_some())
        };
        if let Some(mut controls) = controls {
            controls.until.send_replace(Some(request.into_inner().last_position));
            if is_running {
                // It fails where the pipeline is gone already.
                let _ = controls.ended.wait_for(|ended| *ended).await;
            }
        }
        Ok(Response::new(DestinationStopResponse {}))
    }

    async fn teardown(&self, _: Request<TeardownRequest>) -> tonic::Result<Response<TeardownResponse>> {
        let mut state = self.state.lock().await;
        if let Some(controls) = state.controls.take() {
            controls.stop.cancel();
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
