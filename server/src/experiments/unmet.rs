//! What an experiment waits for in vain: something that no agent has.

use std::collections::BTreeMap;

use ejecta_core::capability::{Capabilities, Requirements};

/// What is wrong, for people, where none of `alive` has all that is asked for; `None` where one has,
/// or nothing is asked for.
pub fn unmet(asked: &Requirements, alive: &[Capabilities]) -> Option<String> {
    if asked.is_empty() || alive.iter().any(|agent| agent.fit(asked)) {
        return None;
    }
    let missing: Vec<String> = asked
        .iter()
        .filter(|(name, value)| {
            let one = BTreeMap::from([((*name).to_owned(), (*value).to_owned())]);
            // It was checked as a part of the whole.
            let one = Requirements::try_from(one).unwrap_or_default();
            !alive.iter().any(|agent| agent.fit(&one))
        })
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    Some(if alive.is_empty() {
        format!("it waits for an agent with {asked}, and no agent is alive")
    } else if missing.is_empty() {
        format!(
            "it waits for an agent with {asked}: there is one for each of these, and none with all"
        )
    } else {
        format!(
            "it waits for an agent with {}, which no agent that is alive has",
            missing.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(texts: &[&str]) -> Capabilities {
        Capabilities::parse(texts.iter().copied()).expect("capabilities")
    }

    #[test]
    fn what_no_agent_has_is_named() {
        let linux = of(&["os=linux", "memory-mib=4096"]);
        let mac = of(&["os=macos", "memory-mib=16384"]);
        let agents = [linux, mac];
        let table = [
            (of(&[]), None),
            (of(&["os=linux"]), None),
            (of(&["os=linux", "memory-mib=4096"]), None),
            (
                of(&["os=linux", "gpu=yes"]),
                Some("it waits for an agent with gpu=yes, which no agent that is alive has"),
            ),
            (
                of(&["memory-mib=32768", "os=linux"]),
                Some(
                    "it waits for an agent with memory-mib=32768, which no agent that is alive has",
                ),
            ),
        ];
        for (asked, expected) in table {
            assert_eq!(unmet(&asked, &agents).as_deref(), expected, "{asked}");
        }
        let both = of(&["memory-mib=8192", "os=linux"]);
        let text = unmet(&both, &agents).expect("a problem");
        assert!(
            text.ends_with("there is one for each of these, and none with all"),
            "{text}"
        );
        let text = unmet(&of(&["os=linux"]), &[]).expect("a problem");
        assert_eq!(
            text,
            "it waits for an agent with os=linux, and no agent is alive"
        );
        assert_eq!(unmet(&of(&[]), &[]), None);
    }
}
