//! What is told of jobs to those who collect traces, if anybody does: each job is a trace, which goes
//! on in the coordinator (W3C's `traceparent`).

use ejecta_core::job::JobId;
use ejecta_core::protocol::Grant;
use opentelemetry::global;
use opentelemetry_http::HeaderInjector;
use reqwest::RequestBuilder;
use reqwest::header::HeaderMap;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// The span of a job.
pub(crate) fn job(job: &JobId, grant: &Grant) -> Span {
    tracing::info_span!(
        parent: None,
        "job",
        ejecta.experiment = %grant.experiment,
        ejecta.job = %job,
        ejecta.attempt = grant.attempt,
        ejecta.lease = %grant.lease,
    )
}

/// A request that belongs to the trace of whoever sends it.
pub(crate) fn continued(call: RequestBuilder) -> RequestBuilder {
    let mut headers = HeaderMap::new();
    global::get_text_map_propagator(|w3c| {
        w3c.inject_context(
            &Span::current().context(),
            &mut HeaderInjector(&mut headers),
        );
    });
    call.headers(headers)
}
