//! What the domain reads from outside, fuzzed: cargo's output, which a hostile crate writes into,
//! and what people write: denylists, toolchains, selections.
//!
//! `EJECTA_FUZZ_CASES` says how many cases each target has; see CONTRIBUTING.md.

use std::collections::BTreeSet;
use std::fmt;

use ejecta_core::denylist::{Denylist, DenylistError};
use ejecta_core::krate::{Crate, CrateName, Source};
use ejecta_core::limits::{LimitHit, Usage};
use ejecta_core::messages::StepReader;
use ejecta_core::outcome::{
    MAX_DIAGNOSTICS, Reason, Run, Side, StepExit, StepOutcome, UnitKey, UnitKind, UnitStatus,
};
use ejecta_core::package_id::PackageId;
use ejecta_core::selection::{Selection, SelectionError, parse_list};
use ejecta_core::toolchain::ToolchainSpec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::FileFailurePersistence;

fn config() -> ProptestConfig {
    let cases = std::env::var("EJECTA_FUZZ_CASES").ok();
    let cases = cases.map(|n| n.parse().expect("EJECTA_FUZZ_CASES is a number"));
    ProptestConfig {
        // Without the variable a change of a rule is seen in a second.
        cases: cases.unwrap_or(100),
        max_shrink_iters: 20_000,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    }
}

// -------------------------------------------------------------------------------- cargo's output

macro_rules! said {
    ($($case:literal),* $(,)?) => {
        [$((
            include_str!(concat!("data/messages/", $case, ".stdout")),
            include_str!(concat!("data/messages/", $case, ".stderr")),
        )),*]
    };
}

/// What cargo really said.
const SAID: [(&str, &str); 15] = said![
    "build-script.dependency",
    "build-script.own",
    "dependency.new",
    "dependency.old",
    "ice.nightly",
    "lib-error.nightly",
    "lib-error.old",
    "lib-error.stable",
    "lib-test-error.nightly",
    "lib-test-error.old",
    "lib-test-error.stable",
    "nightly-bench.nightly",
    "nightly-bench.stable",
    "several.nightly",
    "several.stable",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stream {
    Stdout,
    Stderr,
}

/// One line, which a failed case shows as text.
#[derive(Clone, PartialEq, Eq)]
struct Line(Vec<u8>);

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

/// The lines of both streams of one run.
#[derive(Debug, Clone)]
struct Output {
    stdout: Vec<Line>,
    stderr: Vec<Line>,
}

fn lines(text: &str) -> Vec<Line> {
    text.lines().map(|l| Line(l.as_bytes().to_vec())).collect()
}

fn real() -> impl Strategy<Value = Output> {
    let mut said = SAID.to_vec();
    // Most crashes of a compiler come without any message of its own.
    said.push(("", include_str!("data/messages/ice.nightly.stderr")));
    prop::sample::select(said).prop_map(|(stdout, stderr)| Output {
        stdout: lines(stdout),
        stderr: lines(stderr),
    })
}

/// Any line of any run, for another package as often as not, or one that nobody wrote.
fn forged() -> impl Strategy<Value = (Stream, Line)> {
    let pool: Vec<(Stream, Line)> = SAID
        .iter()
        .flat_map(|(stdout, stderr)| {
            let out = lines(stdout).into_iter().map(|l| (Stream::Stdout, l));
            let err = lines(stderr).into_iter().map(|l| (Stream::Stderr, l));
            out.chain(err)
        })
        .collect();
    let name = prop::sample::select(vec!["under-test", "broken-dep", "serde", "under_test"]);
    let renamed = (prop::sample::select(pool), name).prop_map(|((stream, line), name)| {
        let text = String::from_utf8_lossy(&line.0).replace("under-test", name);
        (stream, Line(text.into_bytes()))
    });
    let stream = prop_oneof![Just(Stream::Stdout), Just(Stream::Stderr)];
    let noise =
        (stream, prop::collection::vec(any::<u8>(), 0..60)).prop_map(|(stream, mut line)| {
            line.retain(|b| *b != b'\n');
            (stream, Line(line))
        });
    prop_oneof![5 => renamed, 1 => noise]
}

/// One change of a stream.
#[derive(Debug, Clone)]
enum Change {
    Flip(Index, Index, u8),
    Cut(Index, Index),
    Drop(Index),
    Double(Index),
    Swap(Index, Index),
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    prop_oneof![
        (at(), at(), any::<u8>()).prop_map(|(l, b, x)| Change::Flip(l, b, x)),
        (at(), at()).prop_map(|(l, b)| Change::Cut(l, b)),
        at().prop_map(Change::Drop),
        at().prop_map(Change::Double),
        (at(), at()).prop_map(|(a, b)| Change::Swap(a, b)),
    ]
}

fn apply(lines: &mut Vec<Line>, change: &Change) {
    if lines.is_empty() {
        return;
    }
    match change {
        Change::Flip(line, at, byte) => {
            let line = line.index(lines.len());
            let line = &mut lines[line].0;
            if !line.is_empty() {
                let at = at.index(line.len());
                line[at] ^= (*byte).max(1);
            }
        }
        Change::Cut(line, at) => {
            let line = line.index(lines.len());
            let line = &mut lines[line].0;
            let length = at.index(line.len() + 1);
            line.truncate(length);
        }
        Change::Drop(line) => {
            lines.remove(line.index(lines.len()));
        }
        Change::Double(line) => {
            let line = line.index(lines.len());
            lines.insert(line, lines[line].clone());
        }
        Change::Swap(one, other) => {
            let (one, other) = (one.index(lines.len()), other.index(lines.len()));
            lines.swap(one, other);
        }
    }
}

fn mutated() -> impl Strategy<Value = Output> {
    let changes = || prop::collection::vec(change(), 0..6);
    let more = prop::collection::vec((forged(), any::<Index>()), 0..4);
    (real(), changes(), changes(), more).prop_map(|(mut output, out, err, more)| {
        out.iter().for_each(|c| apply(&mut output.stdout, c));
        err.iter().for_each(|c| apply(&mut output.stderr, c));
        for ((stream, line), at) in more {
            let into = match stream {
                Stream::Stdout => &mut output.stdout,
                Stream::Stderr => &mut output.stderr,
            };
            into.insert(at.index(into.len() + 1), line);
        }
        output
    })
}

/// Reads both streams, whose order against each other `turns` decides.
fn read(output: &Output, turns: &[bool], exit: StepExit) -> (StepOutcome, String) {
    let mut reader = StepReader::new(PackageId::parse("under-test 0.1.0 (path+file:///x)"));
    let (mut out, mut err) = (output.stdout.iter(), output.stderr.iter());
    for stdout_first in turns {
        if *stdout_first {
            out.next().into_iter().for_each(|l| reader.stdout(&l.0));
        } else {
            err.next().into_iter().for_each(|l| reader.stderr(&l.0));
        }
    }
    out.for_each(|l| reader.stdout(&l.0));
    err.for_each(|l| reader.stderr(&l.0));
    let read = reader.finish("check", exit, false, Usage::default());
    (read.outcome, read.log)
}

fn in_order(output: &Output, exit: StepExit) -> (StepOutcome, String) {
    read(output, &[], exit)
}

fn run_of(step: StepOutcome) -> Run {
    Run {
        side: Side::Candidate,
        dev_dependencies: false,
        keep_going: true,
        features: BTreeSet::new(),
        steps: vec![step],
        log: "1-candidate".to_owned(),
    }
}

fn library() -> UnitKey {
    UnitKey {
        kind: UnitKind::Lib,
        name: "under_test".to_owned(),
        harness: false,
    }
}

proptest! {
    #![proptest_config(config())]

    /// Whatever comes, it is read; what is kept is bounded and plain.
    #[test]
    fn fuzz_messages(output in mutated(), turns: Vec<bool>, status in 0..3_i32) {
        let (outcome, log) = read(&output, &turns, StepExit::Code(status * 50));
        let obeyed = |c: char| c.is_control() && c != '\n' && c != '\t';
        prop_assert!(!log.contains(obeyed));
        prop_assert!(outcome.diagnostics.len() <= MAX_DIAGNOSTICS);
        for diagnostic in &outcome.diagnostics {
            prop_assert!(!diagnostic.rendered.contains(obeyed));
            let root = diagnostic.package.to_string() == "under-test 0.1.0";
            prop_assert!(root || !diagnostic.own, "{diagnostic:?}");
        }
        prop_assert_eq!(outcome.reason.is_none(), status == 0);
        let mut keys: Vec<&UnitKey> = outcome.units.iter().map(|u| &u.unit).collect();
        keys.dedup();
        prop_assert_eq!(keys.len(), outcome.units.len(), "each unit once");
        let text = serde_json::to_string(&outcome).expect("JSON");
        let again: StepOutcome = serde_json::from_str(&text).expect("just written");
        prop_assert_eq!(again, outcome);
    }

    /// The two streams reach us in any order, and what is concluded does not depend on it.
    #[test]
    fn fuzz_interleaving(output in mutated(), turns in prop::collection::vec(any::<bool>(), 0..80)) {
        let exit = StepExit::Code(101);
        let (one, _) = in_order(&output, exit);
        let (other, _) = read(&output, &turns, exit);
        prop_assert_eq!(one, other);
    }

    /// What a crate prints can neither make a step pass that failed, nor fail one that passed, nor
    /// hide a limit.
    #[test]
    fn fuzz_forged_lines(output in real(), more in prop::collection::vec((forged(), any::<Index>()), 1..8)) {
        let mut forged = output.clone();
        let by_messages_alone = more.iter().all(|((stream, _), _)| *stream == Stream::Stdout);
        for ((stream, line), at) in more {
            let into = match stream {
                Stream::Stdout => &mut forged.stdout,
                Stream::Stderr => &mut forged.stderr,
            };
            into.insert(at.index(into.len() + 1), line);
        }
        let (passed, _) = in_order(&forged, StepExit::Code(0));
        prop_assert_eq!(&passed.reason, &None);
        prop_assert!(passed.diagnostics.is_empty());
        prop_assert!(passed.units.iter().all(|u| u.status == UnitStatus::Pass));

        let limit = LimitHit::Oom;
        let (stopped, _) = in_order(&forged, StepExit::Limit(limit));
        prop_assert_eq!(stopped.reason, Some(Reason::Limit { limit }));

        let (honest, _) = in_order(&output, StepExit::Code(101));
        let (failed, _) = in_order(&forged, StepExit::Code(101));
        prop_assert!(failed.reason.is_some());
        let run = run_of(failed);
        prop_assert!(!run.passed());
        // Older cargos do not say which unit it was that they could not compile, and what cargo says
        // itself can be drowned: then a crate hides its own failure, and nobody else's.
        let named = output.stderr.iter().any(|l| l.0.ends_with(b"`under-test` (lib)")
            || l.0.starts_with(b"error: could not compile `under-test` (lib) "));
        if named && by_messages_alone && run_of(honest).unit_status(&library()) == Some(UnitStatus::Fail) {
            prop_assert_ne!(run.unit_status(&library()), Some(UnitStatus::Pass));
        }
    }
}

// ---------------------------------------------------------------------------- what people write

/// A denylist of words that it knows and words that it does not.
fn denylist() -> impl Strategy<Value = String> {
    let word = |words: &[&'static str]| prop::sample::select(words.to_vec());
    let name = word(&[
        "a",
        "A",
        "a-b",
        "a_b",
        "\"a b\"",
        "serde",
        "\"\"",
        "\"\\u001b\"",
        "é",
    ]);
    let key = word(&[
        "skip",
        "skip-tests",
        "quiet",
        "broken",
        "reason",
        "version",
        "limits",
        "skpi",
        "",
        "limits.pids",
        "limits.memory-mib",
        "limits.no-progress-seconds",
        "limits.x",
    ]);
    let value = prop_oneof![
        6 => word(&[
            "true", "false", "\"r\"", "\" \"", "\"<1\"", "\"*\"", "{}", "[]", "1", "64", "1.5", "-1",
            "99999999999999999999", "{ pids = 64 }", "{ pids = 1 }", "{ memory-mib = 8192 }",
        ])
        .prop_map(str::to_owned),
        1 => any::<i64>().prop_map(|n| n.to_string()),
    ];
    let line = (key, value).prop_map(|(key, value)| format!("{key} = {value}\n"));
    let entry = (
        name,
        prop::bool::weighted(0.8),
        prop::collection::vec(line, 0..4),
    )
        .prop_map(|(name, reason, lines)| {
            let reason = if reason { "reason = \"why\"\n" } else { "" };
            format!("[crates.{name}]\n{reason}{}", lines.concat())
        });
    prop_oneof![
        8 => prop::collection::vec(entry, 0..4).prop_map(|entries| entries.concat()),
        1 => "\\PC{0,60}",
        1 => any::<String>(),
    ]
}

fn krate(name: &str, version: (u64, u64, u64)) -> Crate {
    Crate {
        name: CrateName::new(name).expect("valid"),
        version: semver::Version::new(version.0, version.1, version.2),
        source: Source::Local {
            path: "/x".to_owned(),
            root: None,
        },
    }
}

fn spec() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec![
        "stable",
        "nightly",
        "-2026-05-19",
        "1.95.0",
        "path:",
        "/opt/rust",
        "master#",
        "try#",
        "+",
        "=",
        "rustflags",
        "+rustflags=",
        "+target=",
        "+cargoflags=",
        "+patch=",
        "+patch=a=path:",
        "+patch=b=https://h.invalid/o/r",
        "-Dwarnings",
        " ",
        "--cfg",
        "x",
        "\t",
        "0123456789abcdef0123456789abcdef01234567",
        "+avx2",
        "é",
        "\u{1b}",
        "\u{a0}",
    ]);
    prop_oneof![
        4 => prop::collection::vec(part, 0..8).prop_map(|parts| parts.concat()),
        1 => any::<String>(),
    ]
}

fn selection() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec![
        "demo",
        "list:",
        "local:",
        "full",
        "top-",
        "random-",
        "dependents:",
        ",",
        "@",
        "1.0.0",
        "1",
        "a",
        "A-b",
        "a_b",
        " ",
        "#",
        "\n",
        "/",
        "./",
        ".txt",
        "9x",
        "é",
        "\u{1b}",
        "1.0.0-rc.1+b",
    ]);
    prop_oneof![
        4 => prop::collection::vec(part, 0..8).prop_map(|parts| parts.concat()),
        1 => any::<String>(),
    ]
}

proptest! {
    #![proptest_config(config())]

    /// Each denylist is read, or refused with the entry that is wrong.
    #[test]
    fn fuzz_denylist(text in denylist(), version: (u64, u64, u64)) {
        match text.parse::<Denylist>() {
            Ok(list) => {
                prop_assert!(list.len() <= text.matches("[crates").count().max(1) * 4);
                for name in ["a", "A", "a-b", "a_b", "serde", "other"] {
                    let (skip, options) = list.judge(&krate(name, version));
                    prop_assert!(skip.is_none_or(|s| !s.reason().trim().is_empty()));
                    let limits = ejecta_core::limits::Limits::default();
                    prop_assert!(options.limits(&limits).memory_bytes >= 64 << 20);
                }
            }
            Err(DenylistError::Syntax(_)) => {}
            Err(error) => {
                let said = error.to_string();
                let named = ["`a`", "`A`", "`a-b`", "`a_b`", "`serde`"];
                prop_assert!(named.iter().any(|name| said.contains(name)), "{said}");
            }
        }
    }

    /// A toolchain that is read is written as something that means the same; one that is not is
    /// named.
    #[test]
    fn fuzz_toolchain(text in spec()) {
        match text.parse::<ToolchainSpec>() {
            Ok(spec) => {
                let written = spec.to_string();
                prop_assert_eq!(written.parse::<ToolchainSpec>(), Ok(spec));
            }
            Err(error) => {
                let said = error.to_string();
                // Where characters that a terminal would obey are what is wrong, they are escaped.
                let escaped = text.escape_debug().to_string();
                prop_assert!(said.contains(&text) || said.contains(&escaped), "{said}");
            }
        }
    }

    /// Likewise a selection.
    #[test]
    fn fuzz_selection(text in selection()) {
        match text.parse::<Selection>() {
            Ok(selection) => {
                let written = selection.to_string();
                prop_assert_eq!(written.parse::<Selection>().expect("it was just written"), selection);
            }
            // A wrong name is named by itself: lists are long.
            Err(SelectionError::Name(error)) => {
                let said = error.to_string();
                let quoted = said.split('`').nth(1).expect("what is wrong, in backticks");
                prop_assert!(text.contains(quoted), "{said}");
            }
            Err(error) => prop_assert!(error.to_string().contains(&text), "{error}"),
        }
    }

    /// Likewise a list in a file, whose wrong line is counted.
    #[test]
    fn fuzz_lists(text in selection()) {
        match parse_list(&text) {
            Ok(crates) => {
                let names: Vec<String> = crates.iter().map(ToString::to_string).collect();
                prop_assert_eq!(parse_list(&names.join("\n")).expect("just written"), crates);
            }
            Err(SelectionError::Line { line, .. }) => {
                prop_assert!(text.lines().nth(line - 1).is_some_and(|l| !l.trim().is_empty()));
            }
            Err(error) => prop_assert!(false, "an error without a line: {error}"),
        }
    }
}
