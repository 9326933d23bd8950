//! What a process says of itself: its log, and traces to a collector of OpenTelemetry if one is named.

use async_trait::async_trait;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{KeyValue, global};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::Handle;
use tracing::Subscriber;
use tracing_subscriber::filter::{FilterExt as _, LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer};

use crate::cli::{Cli, LogFormat};
use crate::error::Failure;

/// Where a collector takes traces, below its address.
const PATH: &str = "/v1/traces";

/// The traces that are on their way.
pub struct Traces(Option<SdkTracerProvider>);

impl Traces {
    /// Sends what has not been sent yet; waits some seconds for a collector that does not answer.
    pub fn end(self) {
        if let Some(provider) = self.0
            && let Err(error) = provider.shutdown()
        {
            tracing::warn!(%error, "some traces were not sent");
        }
    }
}

/// Starts logging to standard error, and collecting traces if the command line says where to. They
/// are sent on `runtime`, which must be there until they are ended.
///
/// # Errors
/// [`Failure`] for a filter or an address that is none.
pub fn start(cli: &Cli, runtime: &Handle) -> Result<Traces, Failure> {
    let filter = cli.log_filter();
    let filter = EnvFilter::try_new(filter)
        .map_err(|e| Failure::input(format!("`{filter}` is no filter for `--log`: {e}")))?;
    // Spans are for traces. In a log, each line stands for itself.
    let log = log(cli.log_format()).with_filter(filter.and(filter_fn(|about| !about.is_span())));
    let registry = tracing_subscriber::registry().with(log);
    let Some((service, address)) = cli.traces() else {
        registry.init();
        return Ok(Traces(None));
    };
    let provider = provider(service, address, runtime)?;
    global::set_text_map_propagator(TraceContextPropagator::new());
    let ours = filter_fn(|about| about.is_span() && about.target().starts_with("ejecta"));
    let spans = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("ejecta"))
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_filter(ours.and(LevelFilter::INFO));
    registry.with(spans).init();
    Ok(Traces(Some(provider)))
}

fn log<S: Subscriber + for<'a> LookupSpan<'a>>(
    format: LogFormat,
) -> Box<dyn Layer<S> + Send + Sync> {
    let log = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(false);
    match format {
        LogFormat::Text => log.boxed(),
        // Names of fields are words of the program and never `message`, `level` and the like.
        LogFormat::Json => log
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .boxed(),
    }
}

fn provider(service: &str, address: &str, runtime: &Handle) -> Result<SdkTracerProvider, Failure> {
    let wrong = |why: String| {
        Failure::input(format!("`{address}` is no address of a collector: {why}"))
            .hint("`--otlp` takes one such as http://127.0.0.1:4318")
    };
    let url: reqwest::Url = address.parse().map_err(|e| wrong(format!("{e}")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong("it is neither http nor https".to_owned()));
    }
    ejecta_registry::use_ring();
    let http = reqwest::Client::builder()
        .user_agent(concat!("ejecta/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|e| Failure::to(format!("set up the client of the collector: {e}")))?;
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Sender {
            http,
            runtime: runtime.clone(),
        })
        .with_endpoint(format!("{}{PATH}", address.trim_end_matches('/')))
        .build()
        .map_err(|e| wrong(e.to_string()))?;
    // What the environment says of the service holds, as it does with OpenTelemetry's own tools.
    let mut resource = Resource::builder();
    if std::env::var_os("OTEL_SERVICE_NAME").is_none() {
        resource = resource.with_service_name(service.to_owned());
    }
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    Ok(SdkTracerProvider::builder()
        .with_resource(resource.with_attribute(version).build())
        .with_batch_exporter(exporter)
        .build())
}

/// Sends requests from a thread that is not the runtime's.
#[derive(Debug)]
struct Sender {
    http: reqwest::Client,
    runtime: Handle,
}

#[async_trait]
impl HttpClient for Sender {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let http = self.http.clone();
        let sending = self.runtime.spawn(async move {
            let answer = http.execute(request.try_into()?).await?;
            let mut response = Response::builder().status(answer.status());
            if let Some(headers) = response.headers_mut() {
                headers.clone_from(answer.headers());
            }
            Ok(response.body(answer.bytes().await?)?)
        });
        sending.await?
    }
}
