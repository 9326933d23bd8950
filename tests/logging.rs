//! What server and agent log, for people and for programs.

use ejecta_test_support::{Fleet, Lab};
use serde_json::Value;

fn fleet() -> Fleet {
    Fleet::new(Lab::new(env!("CARGO_BIN_EXE_ejecta")), None, "")
}

/// Each line of a log as JSON.
fn lines(log: &str) -> Vec<Value> {
    let line = |line: &str| {
        serde_json::from_str(line).unwrap_or_else(|e| panic!("not JSON ({e}): {line}"))
    };
    log.lines().map(line).collect()
}

fn said<'a>(lines: &'a [Value], message: &str) -> &'a Value {
    let found = lines.iter().find(|line| line["message"] == message);
    found.unwrap_or_else(|| panic!("no {message:?} in {lines:#?}"))
}

#[test]
fn logs_for_programs_have_one_object_a_line_and_fields_by_their_names() {
    let fleet = fleet();
    let mut server = fleet.server_with(|command| {
        command.args(["--log-format", "json"]);
    });
    let mut agent = fleet.agent("one", &["--jobs", "1", "--log-format", "json"]);
    agent.wait_for_log("working for");
    server.wait_for_log("/api/v1/claim");
    let (code, log) = agent.stop();
    assert_eq!(code, Some(0), "{log}");
    let of_agent = lines(&log);
    let working = said(&of_agent, &format!("working for {}", fleet.address()));
    assert_eq!(
        (&working["agent"], &working["level"]),
        (&"one".into(), &"INFO".into()),
        "{working}"
    );
    let (code, log) = server.stop();
    assert_eq!(code, Some(0), "{log}");
    let of_server = lines(&log);
    let request = said(&of_server, "a request was answered");
    assert_eq!(request["status"], 200, "{request}");
    assert!(request["took_ms"].is_u64(), "{request}");
    for line in of_agent.iter().chain(&of_server) {
        assert!(line["timestamp"].is_string(), "{line}");
    }
}

#[test]
fn the_log_of_a_service_is_for_people_unless_it_is_asked_otherwise() {
    let fleet = fleet();
    let (code, log) = fleet.server().stop();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains(" INFO ejecta::server: listening on "), "{log}");
}
