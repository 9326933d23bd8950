//! Traces: a collector of OpenTelemetry hears of each job, from its agent into the store.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use ejecta_test_support::{Fleet, Lab};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

/// A span, and the service that told it.
type Told = (String, Span);

/// Takes traces on a port of loopback, until the test ends.
struct Collector {
    address: String,
    told: Arc<Mutex<Vec<Told>>>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = format!("http://{}", listener.local_addr().expect("bound"));
        let told = Arc::<Mutex<Vec<Told>>>::default();
        let all = Arc::clone(&told);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let spans = take(stream);
                all.lock().expect("whole").extend(spans);
            }
        });
        Self { address, told }
    }

    fn told(&self) -> Vec<Told> {
        self.told.lock().expect("whole").clone()
    }
}

/// Answers one request, and says which spans it had.
fn take(mut stream: TcpStream) -> Vec<Told> {
    let mut reader = BufReader::new(stream.try_clone().expect("a socket"));
    let (mut path, mut length) = (String::new(), 0);
    reader.read_line(&mut path).expect("a request");
    assert!(path.starts_with("POST /v1/traces "), "{path}");
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a header");
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().expect("a number");
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("a body");
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    stream.write_all(answer.as_bytes()).expect("sent");
    let export = ExportTraceServiceRequest::decode(body.as_slice()).expect("traces");
    let mut all = Vec::new();
    for of_service in export.resource_spans {
        let resource = of_service.resource.expect("a service");
        let service = resource.attributes.iter().find(|a| a.key == "service.name");
        let service = text(service.expect("a name").value.as_ref());
        let spans = of_service.scope_spans.into_iter().flat_map(|s| s.spans);
        all.extend(spans.map(|span| (service.clone(), span)));
    }
    all
}

fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

fn attribute(span: &Span, key: &str) -> String {
    let found = span.attributes.iter().find(|a| a.key == key);
    text(found.and_then(|a| a.value.as_ref()))
}

#[test]
fn a_job_is_one_trace_from_its_agent_into_the_store() {
    let collector = Collector::start();
    let fleet = Fleet::new(Lab::new(env!("CARGO_BIN_EXE_ejecta")), None, "");
    let server = fleet.server_with(|command| {
        command.args(["--otlp", &collector.address]);
    });
    let agent = fleet.agent("one", &["--jobs", "1", "--otlp", &collector.address]);
    let crates = ["--crates", "list:passes,leaf", "--candidate", "stable"];
    let made = fleet.experiment(&[&["create", "e"][..], &crates].concat());
    assert_eq!(made.code, Some(0), "{made:?}");
    fleet.wait("e", |e| e["state"] == "completed");
    // What has not been sent by then is sent at the end.
    let ((agent, log), (server, more)) = (agent.stop(), server.stop());
    assert_eq!((agent, server), (Some(0), Some(0)), "{log}{more}");
    assert!(!log.contains("job{"), "spans are not for people: {log}");

    let told = collector.told();
    let jobs: Vec<&Span> = told
        .iter()
        .filter(|(service, span)| service == "ejecta-agent" && span.name == "job")
        .map(|(_, span)| span)
        .collect();
    let names: BTreeMap<String, String> = jobs
        .iter()
        .map(|job| ["ejecta.job", "ejecta.experiment"].map(|key| attribute(job, key)))
        .map(|[job, experiment]| (job, experiment))
        .collect();
    let expected = ["leaf-1.0.0 (lib)", "passes-1.0.0 (lib)"];
    assert_eq!(names, expected.map(|j| (j.into(), "e".into())).into());
    for job in jobs {
        let of_trace = |service: &str| {
            let told = told.iter().filter(|(by, _)| by == service);
            let spans = told.map(|(_, span)| span);
            let spans = spans.filter(|span| span.trace_id == job.trace_id);
            spans.collect::<Vec<_>>()
        };
        let steps: Vec<&str> = of_trace("ejecta-agent")
            .iter()
            .filter(|span| span.parent_span_id == job.span_id)
            .map(|span| span.name.as_str())
            .collect();
        assert!(steps.contains(&"prepare"), "{steps:?}");
        assert!(steps.contains(&"run"), "{steps:?}");
        let of_server = of_trace("ejecta-server");
        let submit = of_server.iter().find(|s| s.name == "POST /api/v1/submit");
        let names: Vec<&str> = of_server.iter().map(|s| s.name.as_str()).collect();
        let submit = submit.unwrap_or_else(|| panic!("no submission: {names:?}"));
        assert_eq!(submit.parent_span_id, job.span_id);
        assert_eq!(attribute(submit, "http.response.status_code"), "200");
        let stored = of_server.iter().find(|s| s.name == "store submit");
        let stored = stored.unwrap_or_else(|| panic!("nothing stored: {names:?}"));
        assert_eq!(stored.parent_span_id, submit.span_id);
    }
}

#[test]
fn a_collector_that_is_away_or_none_holds_nobody_up() {
    let away = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    let away = format!("http://{}", away.expect("a free port"));
    let fleet = Fleet::new(Lab::new(env!("CARGO_BIN_EXE_ejecta")), None, "");
    for address in [away.as_str(), ""] {
        let server = fleet.server_with(|command| {
            command.env("OTEL_EXPORTER_OTLP_ENDPOINT", address);
        });
        let listed = fleet.experiment(&["list"]);
        assert_eq!(listed.code, Some(0), "{listed:?}");
        let (code, log) = server.stop();
        assert_eq!(code, Some(0), "{address:?} {log}");
    }
}

#[test]
fn an_address_that_is_none_is_refused() {
    let lab = Lab::new(env!("CARGO_BIN_EXE_ejecta"));
    for address in ["collector", "ftp://127.0.0.1"] {
        let args = ["server", "--config", "none.toml", "--otlp", address];
        let ended = lab.ejecta(args);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        let expected = format!("`{address}` is no address of a collector");
        assert!(ended.stderr.contains(&expected), "{ended:?}");
    }
}
