//! Experiments, plans and records to test with.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

use ejecta_core::experiment::{
    BaselineRuns, CapLints, Compare, Config, Experiment, ExperimentName, LockfilePolicy,
};
use ejecta_core::job::{JobId, LeaseId};
use ejecta_core::krate::{Checksum, Crate, CrateName, Source};
use ejecta_core::limits::{Limits, Usage};
use ejecta_core::mode::{Mode, Scope};
use ejecta_core::outcome::{
    JOB_RECORD_SCHEMA, JobRecord, Run, Side, StepExit, StepOutcome, UnitKey, UnitKind, UnitOutcome,
    UnitStatus, Unprepared, UnpreparedReason,
};
use ejecta_core::plan::{CrateOptions, PlanEntry, Skip};
use ejecta_server::store::{
    Beat, Beats, Claim, Claimed, Heartbeat, NewExperiment, Sighting, Store,
};
use jiff::Timestamp;

pub fn name(text: &str) -> ExperimentName {
    ExperimentName::new(text).expect("a valid name")
}

/// A moment, in seconds after some beginning.
pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).expect("in range")
}

pub fn experiment(called: &str, scope: Scope) -> Experiment {
    let toolchain = |spec: &str| spec.parse().expect("a valid toolchain");
    Experiment {
        name: name(called),
        selection: "demo".to_owned(),
        seed: 7,
        config: Config {
            baseline: toolchain("stable"),
            candidate: toolchain("nightly"),
            mode: Mode::CheckOnly,
            scope,
            lockfile: LockfilePolicy::Auto,
            baseline_runs: BaselineRuns::OnFailure,
            cap_lints: CapLints::Warn,
            compare: Compare::default(),
            confirmations: 1,
            limits: Limits::default(),
        },
        created: at(0),
    }
}

pub fn entry(called: &str) -> PlanEntry {
    PlanEntry {
        krate: Crate {
            name: CrateName::new(called).expect("a valid name"),
            version: semver::Version::new(1, 0, 0),
            source: Source::Registry {
                checksum: Checksum::new("a".repeat(64)).expect("hex"),
            },
        },
        skip: None,
        options: CrateOptions::default(),
    }
}

pub fn skipped(called: &str) -> PlanEntry {
    PlanEntry {
        skip: Some(Skip::Skipped {
            reason: "wants a GPU".to_owned(),
        }),
        ..entry(called)
    }
}

/// `c0`, `c1`, ... in this order.
pub fn plan(crates: usize) -> Vec<PlanEntry> {
    (0..crates).map(|n| entry(&format!("c{n}"))).collect()
}

/// A record that can be told from others.
pub fn record(mark: &str) -> JobRecord {
    let why = Unprepared::Broken {
        reason: UnpreparedReason::CargoToml,
        message: mark.to_owned(),
    };
    JobRecord::unprepared(why, Usage::default())
}

/// The record of a library that passes, with one run and its log.
pub fn passing() -> JobRecord {
    let unit = UnitKey {
        kind: UnitKind::Lib,
        name: "c".to_owned(),
        harness: false,
    };
    let step = StepOutcome {
        step: "check".to_owned(),
        exit: StepExit::Code(0),
        units: vec![UnitOutcome {
            unit,
            status: UnitStatus::Pass,
        }],
        diagnostics: Vec::new(),
        diagnostics_left_out: 0,
        warnings: BTreeMap::new(),
        tests: None,
        reason: None,
        usage: Usage::default(),
    };
    JobRecord {
        schema: JOB_RECORD_SCHEMA,
        compare: Compare::default(),
        tests_skipped: false,
        unprepared: None,
        lockfiles: Vec::new(),
        notes: Vec::new(),
        repository: None,
        runs: vec![Run {
            side: Side::Candidate,
            dev_dependencies: false,
            keep_going: true,
            features: BTreeSet::new(),
            steps: vec![step],
            log: "1-candidate".to_owned(),
        }],
        preparation: Usage::default(),
    }
}

/// Lease ids that were never used before.
pub fn leases(count: usize) -> Vec<LeaseId> {
    static USED: AtomicU64 = AtomicU64::new(0);
    let fresh = || USED.fetch_add(1, Ordering::Relaxed);
    (0..count)
        .map(|_| LeaseId(format!("lease-{}", fresh())))
        .collect()
}

/// How long leases hold in the tests of stores, in seconds.
pub const LEASE: i64 = 60;

/// Keeps an experiment that asks nothing of agents.
pub async fn create(store: &dyn Store, experiment: &Experiment, plan: &[PlanEntry]) {
    let new = NewExperiment::plain(experiment, plan);
    store.create(&new).await.expect("created");
}

/// Claims `slots` jobs at the second `now`.
pub async fn claim(store: &dyn Store, now: i64, slots: usize) -> Claimed {
    claim_as(store, "tester", "", now, slots).await
}

/// Claims as this agent, who can do this.
pub async fn claim_as(
    store: &dyn Store,
    agent: &str,
    capabilities: &str,
    now: i64,
    slots: usize,
) -> Claimed {
    store
        .claim(Claim {
            agent: agent.to_owned(),
            capabilities: capabilities.parse().expect("capabilities"),
            leases: leases(slots),
            now: at(now),
            until: at(now + LEASE),
            expired: at(now),
            without: Vec::new(),
            alive_since: at(now - LEASE),
        })
        .await
        .expect("claims")
}

/// A heartbeat of the one who claims, without progress, at the second `now`.
pub async fn beat(store: &dyn Store, leases: &[LeaseId], now: i64) -> Heartbeat {
    let beats: Vec<(LeaseId, Option<u64>)> = leases.iter().map(|l| (l.clone(), None)).collect();
    beat_as(store, "tester", &beats, now).await
}

/// Remembers that an agent was heard of.
pub async fn see(store: &dyn Store, agent: &str, capabilities: &str, now: i64) {
    let capabilities = capabilities.parse().expect("capabilities");
    let sighting = Sighting {
        agent: agent.to_owned(),
        capabilities: Some(capabilities),
        now: at(now),
    };
    store.see_agent(sighting).await.expect("kept");
}

/// How long a job may stay where it is in the tests of stores, in seconds.
pub const STUCK: i64 = 600;

/// A heartbeat with progress.
pub async fn beat_as(
    store: &dyn Store,
    agent: &str,
    leases: &[(LeaseId, Option<u64>)],
    now: i64,
) -> Heartbeat {
    let leases: Vec<Beat> = leases
        .iter()
        .map(|(lease, progress)| Beat {
            lease: lease.clone(),
            progress: *progress,
        })
        .collect();
    store
        .heartbeat(Beats {
            agent: agent.to_owned(),
            leases,
            now: at(now),
            until: at(now + LEASE),
            stuck_since: at(now - STUCK),
        })
        .await
        .expect("answers")
}

/// The jobs granted, such as `c0 lib`, with the attempt where it is not the first.
pub fn granted(claimed: &Claimed) -> Vec<String> {
    let describe = |job: &JobId, attempt: u32| {
        let krate = job.krate.as_str().trim_end_matches("-1.0.0");
        match attempt {
            1 => format!("{krate} {}", job.tier),
            n => format!("{krate} {} #{n}", job.tier),
        }
    };
    claimed
        .granted
        .iter()
        .map(|g| describe(&g.job(), g.attempt))
        .collect()
}
