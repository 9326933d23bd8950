//! What is told of requests to those who collect traces, if anybody does.
//!
//! Spans are of `tracing`; whoever starts the process decides where they go. A request goes on with
//! the trace of whoever sent it (W3C's `traceparent`), so that a job can be followed from its agent
//! into the store.

use axum::http::HeaderMap;
use opentelemetry::global;
use opentelemetry_http::HeaderExtractor;
use tracing::Span;
use tracing::field::Empty;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// The field of the answer's status.
const STATUS: &str = "http.response.status_code";

/// The span of a request, by the names of OpenTelemetry's conventions for HTTP. Load balancers and
/// monitoring have none.
pub(crate) fn request(method: &'static str, route: Option<&str>, headers: &HeaderMap) -> Span {
    let route = route.unwrap_or_default();
    if matches!(route, "/healthz" | "/readyz" | "/metrics") {
        return Span::none();
    }
    let span = tracing::info_span!(
        "request",
        otel.name = format!("{method} {route}"),
        otel.kind = "server",
        http.request.method = method,
        http.route = route,
        http.response.status_code = Empty,
    );
    if !span.is_disabled() {
        let sender = global::get_text_map_propagator(|w3c| w3c.extract(&HeaderExtractor(headers)));
        // It fails where nobody collects traces, and then there is nothing to go on with.
        let _ = span.set_parent(sender);
    }
    span
}

/// The request of a span was answered.
pub(crate) fn answered(span: &Span, status: u16) {
    span.record(STATUS, status);
}
