//! What cargo says (1.63 and 1.95, over a local registry), and what is kept of it.

use super::*;
use UnpreparedReason as Reason;

fn of(said: &str) -> Reason {
    let lines: Vec<String> = said.lines().map(str::to_owned).collect();
    Reason::of_cargo(&lines)
}

#[test]
fn cargo_tells_why_it_cannot_resolve() {
    let table = [
        (
            "    Updating index\n\
             error: failed to select a version for the requirement `leaf = \"^1\"`\n  \
             version 1.0.0 is yanked\n\
             location searched: `/reg` index (which is replacing registry `crates-io`)\n\
             required by package `p v0.1.0 (/p)`",
            Reason::Yanked,
        ),
        // 1.63, whether they are yanked or were never there.
        (
            "error: failed to select a version for the requirement `leaf = \"^1\"`\n\
             candidate versions found which didn't match: 2.0.0\n\
             location searched: `/reg` index (which is replacing registry `crates-io`)\n\
             required by package `p v0.1.0 (/p)`\n\
             perhaps a crate was updated and forgotten to be re-vendored?",
            Reason::NoMatchingVersion,
        ),
        // A crate may be called so; what is yanked is a version.
        (
            "error: failed to select a version for the requirement `leaf = \"^1\"`\n\
             required by package `version is yanked v0.1.0 (/p)`\n  \
             version of it is yanked",
            Reason::NoMatchingVersion,
        ),
        (
            "error: no matching package named `gone` found\n\
             location searched: registry `crates-io`\n\
             required by package `p v0.1.0 (/p)`",
            Reason::MissingDeps,
        ),
        (
            "error: no matching package found\nsearched package name: `a_b`",
            Reason::MissingDeps,
        ),
        (
            "error: failed to select a version for `leaf`.\n    \
             ... required by package `p v0.1.0 (/p)`\n\
             versions that meet the requirements `^2` are: 2.0.0\n\n\
             package `p` depends on `leaf` with feature `x` but `leaf` does not have that feature.",
            Reason::VersionConflict,
        ),
        (
            "error: failed to get `g` as a dependency of package `p v0.1.0 (/p)`\n\nCaused by:\n  \
             failed to load source for dependency `g`\n\nCaused by:\n  \
             Unable to update https://h.invalid/x",
            Reason::MissingGitRepository,
        ),
        (
            "error: failed to get `g` as a dependency of package `p v0.1.0 (/p)`\n\nCaused by:\n  \
             failed to load source for dependency `g`\n\nCaused by:\n  \
             no such thing",
            Reason::MissingDeps,
        ),
        (
            "error: failed to parse manifest at `/p/Cargo.toml`\n\nCaused by:\n  \
             no index found for registry: `other`",
            Reason::MissingDeps,
        ),
        (
            "error: failed to parse manifest at `/p/Cargo.toml`\n\nCaused by:\n  \
             registry index was not found in any configuration: `other`",
            Reason::MissingDeps,
        ),
        (
            "error: failed to parse manifest at `/p/Cargo.toml`\n\nCaused by:\n  \
             feature `f` includes `x` which is neither a dependency nor another feature",
            Reason::CargoToml,
        ),
        (
            "error: failed to load manifest for workspace member `/p/a`\n\nCaused by:\n  \
             failed to parse manifest at `/p/a/Cargo.toml`",
            Reason::CargoToml,
        ),
        (
            "error: failed to parse lock file at: /p/Cargo.lock\n\nCaused by:\n  \
             package `a` is specified twice in the lockfile",
            Reason::Lockfile,
        ),
        ("error: something else", Reason::Unknown),
        // Only what it ends with counts.
        (
            "warning: no matching package named `x` found",
            Reason::Unknown,
        ),
        ("", Reason::Unknown),
    ];
    for (said, expected) in table {
        assert_eq!(of(said), expected, "{said}");
    }
}

#[test]
fn records_without_a_reason_are_read() {
    for (kind, verdict) in [("broken", "b"), ("prepare-fail", "p")] {
        let old = format!(r#"{{"kind":"{kind}","message":"{verdict}"}}"#);
        let read: Unprepared = serde_json::from_str(&old).expect("a record of before");
        assert_eq!(read.reason(), Some(Reason::Unknown));
        assert_eq!(read.message(), verdict);
        assert_eq!(serde_json::to_string(&read).expect("JSON"), old);
    }
    let skipped = Unprepared::RustVersion {
        message: "m".to_owned(),
    };
    assert_eq!(skipped.reason(), None);
}

#[test]
fn reasons_are_read_as_they_were_written() {
    let limit = LimitHit::Oom;
    for (reason, text) in [
        (Reason::CargoToml, r#"{"kind":"cargo-toml"}"#),
        (Reason::Limit { limit }, r#"{"kind":"limit","limit":"oom"}"#),
        (Reason::Unknown, r#"{"kind":"unknown"}"#),
    ] {
        assert_eq!(serde_json::to_string(&reason).expect("JSON"), text);
        let read: Reason = serde_json::from_str(text).expect("a reason");
        assert_eq!(read, reason);
        let why = Unprepared::Broken {
            reason,
            message: String::new(),
        };
        let text = serde_json::to_string(&why).expect("JSON");
        let read: Unprepared = serde_json::from_str(&text).expect("just written");
        assert_eq!(read, why);
    }
}
