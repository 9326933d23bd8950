//! Experiments that never ran: any number of crates, the same ones each time, with the verdicts,
//! errors, sizes and times that large runs have. For the bench of the report and for its tests in
//! browsers.

use std::collections::{BTreeMap, BTreeSet};

use ejecta_core::experiment::{
    BaselineRuns, CapLints, Compare, Config, Experiment, ExperimentName, LockfilePolicy,
};
use ejecta_core::krate::{Checksum, Crate, CrateName, Source};
use ejecta_core::limits::{LimitHit, Limits, Usage};
use ejecta_core::mode::{Mode, Scope};
use ejecta_core::outcome::{
    Diagnostic, JOB_RECORD_SCHEMA, JobRecord, Lockfile, LockfileOrigin, PackageRef, Reason, Run,
    Side, StepExit, StepOutcome, UnitKey, UnitKind, UnitOutcome, UnitStatus, Unprepared,
    UnpreparedReason,
};
use ejecta_core::plan::{CrateOptions, PlanEntry, Skip};
use ejecta_core::report::model::RegistryInfo;
use ejecta_core::report::{Entry, Input, Popularity, Tier, TierState};
use ejecta_core::toolchain::ToolchainInfo;

/// Ends tags, attributes and scripts, and speaks to terminals.
pub const HOSTILE: &str = "</pre></script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"> '\"& javascript:alert(1) \u{1b}[31mred\u{202e}";

const WORDS: [&str; 48] = [
    "async", "tokio", "serde", "json", "http", "client", "server", "parse", "derive", "macro",
    "core", "utils", "rust", "simple", "fast", "tiny", "graph", "tree", "map", "cache", "log",
    "config", "cli", "term", "color", "math", "matrix", "vector", "image", "audio", "video",
    "game", "engine", "wasm", "web", "api", "sdk", "proto", "crypto", "hash", "sign", "net",
    "socket", "stream", "buffer", "queue", "lock", "sys",
];

/// SplitMix64: numbers that look random and are the same for ever.
fn mix(n: u64) -> u64 {
    let mut z = n
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A number below `of`.
pub fn pick(n: u64, salt: u64, of: u64) -> u64 {
    mix(n ^ mix(salt)) % of
}

/// One of the words that names are made of.
pub fn word(n: u64) -> &'static str {
    WORDS[usize::try_from(n % WORDS.len() as u64).expect("small")]
}

/// The name of the nth crate: unique, and much like those of a registry.
fn name(n: u64) -> CrateName {
    let (a, b) = (word(pick(n, 1, 48)), word(pick(n, 2, 48)));
    let separator = if pick(n, 3, 4) == 0 { "_" } else { "-" };
    CrateName::new(format!("{a}{separator}{b}{separator}{n:x}")).expect("letters and digits")
}

fn krate(n: u64) -> Crate {
    let version = format!("{}.{}.{}", pick(n, 4, 3), pick(n, 5, 30), pick(n, 6, 12));
    let checksum = (0..4)
        .map(|k| format!("{:016x}", mix(n ^ k)))
        .collect::<String>();
    Crate {
        name: name(n),
        version: version.parse().expect("three numbers"),
        source: Source::Registry {
            checksum: Checksum::new(checksum).expect("hexadecimal"),
        },
    }
}

fn unit(kind: UnitKind, name: &str) -> UnitKey {
    UnitKey {
        kind,
        name: name.replace('-', "_"),
        harness: false,
    }
}

fn usage(n: u64, salt: u64) -> Usage {
    // Most are done in a second or two, few in minutes.
    let scale = [300, 600, 1_200, 2_500, 6_000, 20_000, 90_000, 400_000];
    let rare = mix(n ^ mix(salt)).leading_zeros() as usize;
    let scale = scale[rare.min(scale.len() - 1)];
    let wall_ms = scale / 2 + pick(n, salt + 1, scale);
    Usage {
        wall_ms,
        cpu_ms: Some(wall_ms * 3 / 2),
        peak_memory_bytes: Some((80 + pick(n, salt + 2, 900)) << 20),
        disk_bytes: Some((5 + pick(n, salt + 3, 200)) << 20),
        output_bytes: 4_000 + pick(n, salt + 4, 40_000),
        ..Usage::default()
    }
}

fn error(package: PackageRef, own: bool, lib: &UnitKey, cause: u64) -> Diagnostic {
    let message = match cause % 4 {
        0 => format!("type annotations needed for `Box<{}>`", word(cause)),
        1 => format!(
            "cannot find function `{}_{}` in this scope",
            word(cause),
            word(cause / 5)
        ),
        2 => format!("the trait bound `{}: Sized` is not satisfied", word(cause)),
        _ => format!(
            "mismatched types: expected `{}`, found `{}`",
            word(cause),
            word(cause / 7)
        ),
    };
    let code = ["E0282", "E0425", "E0277", "E0308"][usize::try_from(cause % 4).expect("small")];
    let line = 3 + cause % 400;
    Diagnostic {
        rendered: format!(
            "error[{code}]: {message}\n --> src/lib.rs:{line}:9\n  |\n{line:<3}|     let x = items.into_iter().map(Box::new).collect();\n   |         ^ --------------------- this is what it is\n   |         |\n   |         this is where it fails\n   |\n   = note: the candidate is stricter than the baseline\nhelp: write out what it is\n   |\n{line:<3}|     let x: Box<_> = items.into_iter().map(Box::new).collect();\n   |          ++++++++\n\n"
        ),
        package,
        own,
        unit: lib.clone(),
        code: Some(code.to_owned()),
        message,
        place: Some(format!("src/lib.rs:{line}")),
        ice: false,
        test: None,
    }
}

struct Told {
    status: UnitStatus,
    reason: Option<Reason>,
    error: Option<Diagnostic>,
}

fn run(n: u64, nth: u64, side: Side, lib: &UnitKey, told: &Told) -> Run {
    let exit = match &told.reason {
        None => StepExit::Code(0),
        Some(Reason::Limit { limit }) => StepExit::Limit(*limit),
        Some(_) => StepExit::Code(101),
    };
    Run {
        side,
        dev_dependencies: false,
        keep_going: true,
        features: BTreeSet::new(),
        steps: vec![StepOutcome {
            step: "check".to_owned(),
            exit,
            units: vec![UnitOutcome {
                unit: lib.clone(),
                status: told.status,
            }],
            diagnostics: told.error.clone().into_iter().collect(),
            diagnostics_left_out: 0,
            warnings: BTreeMap::new(),
            tests: None,
            reason: told.reason.clone(),
            usage: usage(n, 100 + 10 * nth),
        }],
        log: format!("{nth}-{side}"),
    }
}

/// What the nth crate did: for each run, in their order, the side and what is told.
fn story(n: u64, krate: &Crate, lib: &UnitKey) -> Vec<(Side, Told)> {
    use Side::{Baseline, Candidate};
    let pass = || Told {
        status: UnitStatus::Pass,
        reason: None,
        error: None,
    };
    let fail = |error: Diagnostic| Told {
        status: UnitStatus::Fail,
        reason: Some(if error.own {
            Reason::CompilerError {
                codes: error.code.clone().into_iter().collect(),
            }
        } else {
            Reason::DependsOn {
                packages: [error.package.clone()].into(),
            }
        }),
        error: Some(error),
    };
    let own = PackageRef {
        name: krate.name.to_string(),
        version: Some(krate.version.clone()),
    };
    // Few causes have most of the crates.
    let cause = pick(n, 11, 1 + pick(n, 12, 80));
    let dependency = PackageRef {
        name: format!("{}-{}", word(cause), word(cause / 3 + 1)),
        version: format!("0.{}.{}", cause % 9, cause % 5).parse().ok(),
    };
    let broken = || {
        if cause.is_multiple_of(3) {
            fail(error(own.clone(), true, lib, cause))
        } else {
            fail(error(
                dependency.clone(),
                false,
                &unit(UnitKind::Lib, &dependency.name),
                cause,
            ))
        }
    };
    let slow = || Told {
        status: UnitStatus::Fail,
        reason: Some(Reason::Limit {
            limit: LimitHit::Timeout,
        }),
        error: None,
    };
    match pick(n, 10, 10_000) {
        0..30 => vec![
            (Candidate, broken()),
            (Baseline, pass()),
            (Candidate, broken()),
            (Baseline, pass()),
        ],
        30..36 => vec![
            (Candidate, broken()),
            (Baseline, pass()),
            (Candidate, pass()),
            (Baseline, pass()),
        ],
        36..44 => vec![
            (Candidate, slow()),
            (Baseline, pass()),
            (Candidate, slow()),
            (Baseline, pass()),
        ],
        44..900 => vec![(Candidate, broken()), (Baseline, broken())],
        _ => vec![(Candidate, pass())],
    }
}

/// The nth crate of the plan with what is known of it.
pub fn entry(n: u64) -> Entry {
    let krate = krate(n);
    let lib = unit(UnitKind::Lib, krate.name.as_str());
    let chance = pick(n, 20, 1_000);
    let skip = (chance < 12).then(|| Skip::Skipped {
        reason: "needs hardware that no sandbox has".to_owned(),
    });
    let unprepared = match chance {
        12..20 => Some(Unprepared::Broken {
            reason: UnpreparedReason::Unknown,
            message: "its manifest names a file that is not in the package".to_owned(),
        }),
        20..34 => Some(Unprepared::PrepareFail {
            reason: UnpreparedReason::Unknown,
            message: format!("no version of `{}-sys` fits", word(n)),
        }),
        _ => None,
    };
    let state = if let Some(why) = unprepared {
        TierState::Finished(Box::new(JobRecord::unprepared(why, usage(n, 50))))
    } else if pick(n, 21, 5_000) == 0 {
        TierState::Error("the sandbox could not be made".to_owned())
    } else {
        let mut story = story(n, &krate, &lib);
        if n == 7 {
            let evil = Diagnostic {
                message: HOSTILE.to_owned(),
                rendered: format!(
                    "error: {HOSTILE}\n --> src/lib.rs:1:1\n  |\n1 | {HOSTILE}\n  | ^^^ {HOSTILE}\n"
                ),
                place: Some(format!("src/{HOSTILE}:1")),
                ..error(
                    PackageRef {
                        name: krate.name.to_string(),
                        version: None,
                    },
                    true,
                    &lib,
                    1,
                )
            };
            let bad = || Told {
                status: UnitStatus::Fail,
                reason: Some(Reason::CompilerError {
                    codes: ["E0425".to_owned()].into(),
                }),
                error: Some(evil.clone()),
            };
            let good = || Told {
                status: UnitStatus::Pass,
                reason: None,
                error: None,
            };
            story = vec![
                (Side::Candidate, bad()),
                (Side::Baseline, good()),
                (Side::Candidate, bad()),
                (Side::Baseline, good()),
            ];
        }
        let runs = (1..)
            .zip(&story)
            .map(|(nth, (side, told))| run(n, nth, *side, &lib, told));
        TierState::Finished(Box::new(JobRecord {
            schema: JOB_RECORD_SCHEMA,
            compare: Compare::default(),
            tests_skipped: false,
            unprepared: None,
            lockfiles: vec![Lockfile {
                origin: LockfileOrigin::Fresh,
                dev_dependencies: false,
                side: None,
                sha256: format!("{:016x}", mix(n)).repeat(4),
                text: format!(
                    "version = 4\n\n[[package]]\nname = \"{}\"\nversion = \"{}\"\n",
                    krate.name, krate.version
                ),
            }],
            repository: None,
            notes: Vec::new(),
            runs: runs.collect(),
            preparation: usage(n, 60),
        }))
    };
    let tiers = if skip.is_some() {
        Vec::new()
    } else {
        vec![Tier {
            tier: Scope::Lib,
            attempts: 1 + u32::from(pick(n, 22, 200) == 0),
            state,
        }]
    };
    Entry {
        plan: PlanEntry {
            krate,
            skip,
            options: CrateOptions::default(),
        },
        tiers,
    }
}

/// The experiment, without its entries.
pub fn input(crates: u64) -> Input {
    let info = |version: &str| ToolchainInfo {
        rustc: format!(
            "rustc {version} (0123456789 2026-05-19)\nbinary: rustc\nhost: x86_64-unknown-linux-gnu\nrelease: {version}\n"
        ),
        cargo: format!("cargo {version} (0123456789 2026-05-19)\n"),
    };
    let popularity = |n: u64| Popularity {
        downloads: Some(pick(n, 30, 1 << (4 + pick(n, 31, 24)))),
        dependents: (0..pick(n, 32, 1 << pick(n, 33, 9)))
            .map(|k| u32::try_from(pick(n ^ k, 34, crates)).unwrap_or(0))
            .collect(),
    };
    // The most used have a weight; the list of a real run has all crates.
    let known = (0..crates.min(20_000)).map(|n| (name(n), popularity(n)));
    Input {
        experiment: Experiment {
            name: ExperimentName::new(format!("synthetic-{crates}")).expect("valid"),
            selection: format!("top-{crates}"),
            seed: 1,
            config: Config {
                baseline: "stable".parse().expect("valid"),
                candidate: "beta".parse().expect("valid"),
                mode: Mode::CheckOnly,
                scope: Scope::Lib,
                lockfile: LockfilePolicy::Auto,
                baseline_runs: BaselineRuns::OnFailure,
                cap_lints: CapLints::Warn,
                compare: Compare::default(),
                confirmations: 1,
                limits: Limits::default(),
            },
            created: "2026-05-20T10:00:00Z".parse().expect("valid"),
        },
        started: Some("2026-05-20T10:00:01Z".parse().expect("valid")),
        finished: Some("2026-05-22T16:30:00Z".parse().expect("valid")),
        baseline: Some(info("1.95.0")),
        candidate: Some(info("1.96.0-beta.3")),
        sandbox: Some("native".to_owned()),
        registry: Some(RegistryInfo {
            index: "https://index.example/".to_owned(),
            public: true,
            web: Some("https://registry.example".to_owned()),
        }),
        image: None,
        runtime: None,
        denylist: None,
        denylist_used: None,
        snapshot: Some("2026-05-19T02:00:31Z".to_owned()),
        popularity: known.collect(),
        traffic: Some(
            serde_json::json!({"index_requests": 1, "downloads": crates, "from_cache": crates * 3}),
        ),
        entries: Vec::new(),
    }
}
