//! What is refused of what agents send, and what is made of their words.

use ejecta_core::log::clean;
use ejecta_core::outcome::JOB_RECORD_SCHEMA;
use ejecta_core::protocol::{ClaimRequest, LogFile, PROTOCOL, SubmitRequest};

use super::CoordinatorError;

/// The longest name of an agent, in bytes.
const MAX_AGENT_BYTES: usize = 100;
/// How much is kept of the error that a release names, in bytes.
const MAX_ERROR_BYTES: usize = 8 * 1024;

pub(super) fn check_claim(request: &ClaimRequest) -> Result<(), CoordinatorError> {
    if request.protocol != PROTOCOL {
        return Err(CoordinatorError::Protocol(request.protocol));
    }
    let decent = (1..=MAX_AGENT_BYTES).contains(&request.agent.len())
        && clean(&request.agent) == request.agent
        && !request.agent.contains(['\n', '\t']);
    if !decent {
        return Err(CoordinatorError::Invalid(format!(
            "an agent's name has 1 to {MAX_AGENT_BYTES} bytes and no control characters"
        )));
    }
    if request.slots == 0 {
        return Err(CoordinatorError::Invalid(
            "a claim is for at least 1 slot".to_owned(),
        ));
    }
    Ok(())
}

/// Refuses what could not be kept, or could not be read back.
pub(super) fn check_submission(request: &SubmitRequest) -> Result<(), CoordinatorError> {
    let invalid = |why: String| Err(CoordinatorError::Invalid(why));
    let schema = request.record.schema;
    if schema != JOB_RECORD_SCHEMA {
        return invalid(format!(
            "this coordinator reads records of schema {JOB_RECORD_SCHEMA}, and this one has {schema}"
        ));
    }
    let sent = request.logs.iter().map(|log| &log.name);
    let named = request.record.runs.iter().map(|run| &run.log);
    if let Some(name) = sent
        .clone()
        .chain(named)
        .find(|n| !LogFile::name_is_safe(n))
    {
        return invalid(format!("`{}` is no name of a log", clean(name)));
    }
    let mut names: Vec<&String> = sent.collect();
    names.sort();
    if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return invalid(format!("there are two logs named `{}`", twice[0]));
    }
    Ok(())
}

/// What an agent said of a toolchain or of patches, in one line.
pub(super) fn in_short(fact: &serde_json::Value) -> String {
    let said = match fact.get("rustc").and_then(serde_json::Value::as_str) {
        Some(rustc) => rustc.lines().next().unwrap_or_default().to_owned(),
        None => fact.to_string(),
    };
    bounded(&said)
}

/// Text from outside, safe to show and of a bounded length.
pub(super) fn bounded(text: &str) -> String {
    let mut text = clean(text);
    if text.len() > MAX_ERROR_BYTES {
        text.truncate(text.floor_char_boundary(MAX_ERROR_BYTES));
        text.push_str(" [...]");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_agents_are_cut_and_cleaned() {
        assert_eq!(bounded("a \x1b[2J"), "a \\u{1b}[2J");
        let long = bounded(&"ä".repeat(MAX_ERROR_BYTES));
        assert!(long.len() <= MAX_ERROR_BYTES + 6, "{}", long.len());
        assert!(long.ends_with("ä [...]"));
    }
}
