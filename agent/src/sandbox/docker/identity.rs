//! Whose container it is: labels that let a later process tell leftovers from work in progress.

use std::collections::HashMap;

use crate::sandbox::process::ProcessIdentity;

/// Every container and image of ours has it; its value is what the caller named as owner.
pub(super) const LABEL_OWNER: &str = "dev.ejecta.owner";
/// The process that made the container, as [`ProcessIdentity::label`] writes it.
const LABEL_PROCESS: &str = "dev.ejecta.process";
/// One [`super::DockerSandbox`] of that process.
pub(super) const LABEL_SANDBOX: &str = "dev.ejecta.sandbox";

/// The labels of a container.
pub(super) fn labels(
    owner: &str,
    process: &ProcessIdentity,
    sandbox: &str,
) -> HashMap<String, String> {
    HashMap::from([
        (LABEL_OWNER.to_owned(), owner.to_owned()),
        (LABEL_PROCESS.to_owned(), process.label()),
        (LABEL_SANDBOX.to_owned(), sandbox.to_owned()),
    ])
}

/// Whether a container with these labels belongs to a dead process of this machine.
pub(super) fn is_leftover(own: &ProcessIdentity, labels: &HashMap<String, String>) -> bool {
    labels
        .get(LABEL_PROCESS)
        .and_then(|label| ProcessIdentity::parse(label))
        .is_some_and(|process| own.outlived(&process))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_alive_or_has_no_readable_label_is_left_alone() {
        let own = ProcessIdentity::own().unwrap();
        assert!(!is_leftover(&own, &labels("owner", &own, "sandbox")));
        assert!(!is_leftover(&own, &HashMap::new()));
        let odd = HashMap::from([(LABEL_PROCESS.to_owned(), "x y".to_owned())]);
        assert!(!is_leftover(&own, &odd));
    }
}
