//! Draws the conclusions of a report, once: from the records of an experiment to its model.

use std::collections::{BTreeMap, BTreeSet};

use super::model::{
    ClusterResult, Cost, CrateResult, ErrorLine, ExperimentInfo, LockfileInfo, NotCovered, Results,
    RunResult, SCHEMA, SideOutcome, SideResult, StepResult, TierResult, Toolchain,
};
use super::overall::Overall;
use super::{Entry, Input, Popularity, Tier, TierState, words};
use crate::cluster::{self, Cause, Weight};
use crate::compare::{self, UnitComparison, Verdict};
use crate::experiment::Experiment;
use crate::krate::{Crate, CrateId, CrateName};
use crate::limits::{LimitStop, Limits, Usage};
use crate::log::clean;
use crate::mode::Scope;
use crate::outcome::{
    Diagnostic, JobRecord, Reason, Run, Side, StepOutcome, UnitOutcome, UnitStatus, Unprepared,
};
use crate::package::is_address;
use crate::plan::Skip;
use crate::protocol::LogFile;
use crate::toolchain::{ToolchainInfo, ToolchainSpec};

/// Makes the model of a report.
pub fn model(input: &Input) -> Results {
    let mut collector = Collector::new(&input.experiment);
    let mut crates: Vec<CrateResult> = Vec::with_capacity(input.entries.len());
    for entry in &input.entries {
        crates.push(collector.add(entry));
    }
    let clusters = collector.clusters(&input.popularity);
    let of = members(&clusters);
    for krate in &mut crates {
        krate.cluster = of.get(&krate.id).map(|id| (*id).clone());
    }
    let not_covered: Vec<NotCovered> = crates.iter().filter_map(NotCovered::of).collect();
    let overall = Overall::of(&crates);
    Results {
        schema: SCHEMA,
        experiment: experiment_info(input, overall.complete()),
        totals: overall.totals.clone(),
        coverage: overall.coverage(),
        not_covered,
        clusters,
        crates,
        registry: input.traffic.clone(),
    }
}

/// Draws the conclusions crate by crate, as entries come, and remembers of each only what the
/// clusters are made of: little more than the errors of those that regressed.
#[derive(Debug)]
pub struct Collector {
    scope: Scope,
    limits: Limits,
    causes: Vec<(CrateId, Vec<Cause>)>,
    names: BTreeMap<CrateId, CrateName>,
}

impl Collector {
    /// For the entries of an experiment.
    pub fn new(experiment: &Experiment) -> Self {
        Self {
            scope: experiment.config.scope,
            limits: experiment.config.limits.clone(),
            causes: Vec::new(),
            names: BTreeMap::new(),
        }
    }

    /// What came of a crate. Its cluster is not known yet.
    pub fn add(&mut self, entry: &Entry) -> CrateResult {
        let (result, causes) = krate(entry, self.scope, &self.limits);
        if !causes.is_empty() {
            self.names.insert(result.id.clone(), result.name.clone());
            self.causes.push((result.id.clone(), causes));
        }
        result
    }

    /// The clusters of all crates that were added.
    pub fn clusters(self, popularity: &BTreeMap<CrateName, Popularity>) -> Vec<ClusterResult> {
        let names = self.names;
        let weight = |id: &CrateId| {
            let known = names.get(id).and_then(|name| popularity.get(name));
            known.map_or_else(Weight::default, |known| Weight {
                dependents: Some(known.dependents.len() as u64),
                downloads: known.downloads,
            })
        };
        cluster::group_weighted(self.causes, weight)
            .into_iter()
            .map(|cluster| cluster_result(cluster, &names, popularity))
            .collect()
    }
}

/// The cluster of each crate that has one.
pub fn members(clusters: &[ClusterResult]) -> BTreeMap<&CrateId, &cluster::ClusterId> {
    clusters
        .iter()
        .flat_map(|c| c.crates.iter().map(move |krate| (krate, &c.id)))
        .collect()
}

impl NotCovered {
    /// The entry of a crate that does not count for the coverage.
    pub fn of(krate: &CrateResult) -> Option<Self> {
        (!krate.covered).then(|| Self {
            id: krate.id.clone(),
            why: words::why_not_covered(krate),
        })
    }
}

/// What was compared, as results tell it.
pub fn experiment_info(input: &Input, complete: bool) -> ExperimentInfo {
    let experiment = &input.experiment;
    let config = &experiment.config;
    let toolchain = |spec: &ToolchainSpec, info: Option<&ToolchainInfo>| Toolchain {
        spec: spec.clone(),
        rustc: info.map(|i| i.rustc.clone()),
        cargo: info.map(|i| i.cargo.clone()),
    };
    ExperimentInfo {
        name: experiment.name.clone(),
        selection: experiment.selection.clone(),
        baseline: toolchain(&config.baseline, input.baseline.as_ref()),
        candidate: toolchain(&config.candidate, input.candidate.as_ref()),
        mode: config.mode,
        scope: config.scope,
        seed: experiment.seed,
        lockfile: config.lockfile,
        baseline_runs: config.baseline_runs,
        cap_lints: config.cap_lints,
        compare: config.compare,
        confirmations: config.confirmations,
        limits: config.limits.clone(),
        registry: input.registry.clone(),
        snapshot: input.snapshot.clone(),
        sandbox: input.sandbox.clone(),
        image: input.image.clone(),
        runtime: input.runtime.clone(),
        denylist: input.denylist.clone(),
        denylist_used: input.denylist_used.clone(),
        created: Some(experiment.created),
        started: input.started,
        finished: input.finished,
        complete,
    }
}

fn cluster_result(
    cluster: cluster::Cluster,
    names: &BTreeMap<CrateId, CrateName>,
    popularity: &BTreeMap<CrateName, Popularity>,
) -> ClusterResult {
    ClusterResult {
        dependents: count_dependents(&cluster, names, popularity),
        id: cluster.id,
        kind: cluster.cause.kind,
        signature: cluster.cause.signature,
        place: cluster.cause.place.as_deref().map(clean),
        code: cluster.cause.code,
        root: cluster.root,
        crates: cluster.crates,
        also: cluster.also,
        related: cluster.related,
        downloads: cluster.weight.downloads,
        rendered: cluster.cause.error.map(|e| clean(&e.rendered)),
    }
}

/// How many crates depend on any crate of a cluster: each once, however many it depends on.
fn count_dependents(
    cluster: &cluster::Cluster,
    names: &BTreeMap<CrateId, CrateName>,
    popularity: &BTreeMap<CrateName, Popularity>,
) -> Option<u64> {
    if popularity.is_empty() {
        return None;
    }
    let all: BTreeSet<u32> = cluster
        .crates
        .iter()
        .filter_map(|id| popularity.get(names.get(id)?))
        .flat_map(|known| known.dependents.iter().copied())
        .collect();
    Some(all.len() as u64)
}

/// A crate, and the causes where it regressed.
fn krate(entry: &Entry, scope: Scope, limits: &Limits) -> (CrateResult, Vec<Cause>) {
    let krate = &entry.plan.krate;
    let options = &entry.plan.options;
    let limits = options.limits(limits);
    let skipped = entry.plan.skip.as_ref();
    let planned: &[Scope] = if skipped.is_some() {
        &[]
    } else {
        scope.tiers()
    };
    let jobs: Vec<Option<&Tier>> = planned
        .iter()
        .map(|scope| entry.tiers.iter().find(|t| t.tier == *scope))
        .collect();
    let tiers: Vec<TierResult> = planned
        .iter()
        .zip(&jobs)
        .map(|(scope, job)| tier(&krate.id(), *scope, *job, &limits))
        .collect();
    let verdict = verdict(skipped, &tiers);
    let at = tiers.iter().position(|t| t.verdict == verdict);
    let at = at.unwrap_or(tiers.len().saturating_sub(1));
    let record = jobs.get(at).copied().flatten().and_then(record_of);
    let deciding = tiers.get(at);
    let told = deciding.into_iter().chain(&tiers);
    let told = told.into_iter().find(|t| t.message.is_some());
    let side = |side| {
        let result = side_result(record?, side, deciding?, verdict)?;
        Some(with_costs(result, side, &tiers))
    };
    let result = CrateResult {
        id: krate.id(),
        name: krate.name.clone(),
        version: krate.version.clone(),
        source: krate.source.clone(),
        repository: repository(record),
        verdict,
        covered: tiers.iter().any(|t| t.covered),
        baseline: side(Side::Baseline),
        candidate: side(Side::Candidate),
        units: deciding.map_or_else(Vec::new, |t| t.units.clone()),
        cluster: None,
        lockfile_sha256: deciding
            .and_then(|t| t.lockfile.as_ref())
            .map(|l| l.sha256.clone()),
        attempts: tiers.iter().map(|t| t.attempts).max().unwrap_or(0),
        skip: skipped.map(|s| clean(s.reason())),
        limits: (!options.limits.is_empty()).then_some(options.limits),
        message: told.and_then(|t| t.message.clone()),
        reason: told.and_then(|t| t.reason),
        tiers,
    };
    let causes = record.map_or_else(Vec::new, |record| causes(krate, record, &result));
    (result, causes)
}

/// An agent's word of it counts as little as the author's.
fn repository(record: Option<&JobRecord>) -> Option<String> {
    let address = record?.repository.as_ref();
    address.filter(|text| is_address(text)).cloned()
}

fn verdict(skipped: Option<&Skip>, tiers: &[TierResult]) -> Verdict {
    match (skipped, tiers) {
        (Some(Skip::Skipped { .. }), _) => Verdict::Skipped,
        (Some(Skip::Broken { .. }), _) => Verdict::Broken,
        (None, [lib, rest @ ..]) => {
            compare::merge_tiers(lib.verdict, rest.first().map(|t| t.verdict))
        }
        (None, []) => Verdict::Unknown,
    }
}

fn causes(krate: &Crate, record: &JobRecord, result: &CrateResult) -> Vec<Cause> {
    if result.verdict != Verdict::Regressed {
        return Vec::new();
    }
    let (baselines, candidates) = compare::deciding_runs(&record.runs);
    let failed = |run: &&&Run| !run.passed() || run.reason().is_some();
    candidates.iter().find(failed).map_or_else(Vec::new, |run| {
        cluster::causes(krate, run, &baselines, &result.units)
    })
}

fn record_of(tier: &Tier) -> Option<&JobRecord> {
    match &tier.state {
        TierState::Finished(record) => Some(record),
        TierState::Unfinished | TierState::Error(_) => None,
    }
}

fn tier(id: &CrateId, scope: Scope, tier: Option<&Tier>, limits: &Limits) -> TierResult {
    let empty = TierResult {
        tier: scope,
        verdict: Verdict::Unknown,
        covered: false,
        attempts: tier.map_or(0, |t| t.attempts),
        units: Vec::new(),
        lockfile: None,
        preparation: None,
        runs: Vec::new(),
        message: None,
        reason: None,
        notes: Vec::new(),
    };
    match tier.map(|t| &t.state) {
        None | Some(TierState::Unfinished) => empty,
        Some(TierState::Error(message)) => TierResult {
            verdict: Verdict::Error,
            message: Some(clean(message)),
            ..empty
        },
        Some(TierState::Finished(record)) => {
            let judged = compare::judge_job(record);
            TierResult {
                verdict: judged.verdict,
                covered: judged.covered,
                units: judged.units,
                lockfile: lockfile(record),
                preparation: Some(cost(std::slice::from_ref(&&record.preparation))),
                runs: record
                    .runs
                    .iter()
                    .map(|r| run(r, id, scope, limits))
                    .collect(),
                message: record.unprepared.as_ref().map(|u| clean(u.message())),
                reason: record.unprepared.as_ref().and_then(Unprepared::reason),
                notes: record.notes.iter().map(|note| clean(note)).collect(),
                ..empty
            }
        }
    }
}

/// The lockfile of the variant of the manifest that the verdict stands on.
fn lockfile(record: &JobRecord) -> Option<LockfileInfo> {
    let (_, candidates) = compare::deciding_runs(&record.runs);
    let variant = candidates.first().map(|run| run.dev_dependencies);
    let lockfiles = || record.lockfiles.iter().rev();
    let shared = || lockfiles().filter(|l| l.side.is_none());
    let found = shared()
        .find(|l| Some(l.dev_dependencies) == variant)
        .or_else(|| shared().next())?;
    let own = lockfiles().filter(|l| l.dev_dependencies == found.dev_dependencies);
    Some(LockfileInfo {
        origin: found.origin,
        dev_dependencies: found.dev_dependencies,
        sha256: found.sha256.clone(),
        own: own
            .filter_map(|l| Some((l.side?, l.sha256.clone())))
            .collect(),
    })
}

fn run(run: &Run, id: &CrateId, scope: Scope, limits: &Limits) -> RunResult {
    let usages: Vec<&Usage> = run.steps.iter().map(|s| &s.usage).collect();
    RunResult {
        side: run.side,
        dev_dependencies: run.dev_dependencies,
        passed: run.passed(),
        reason: run.reason().cloned(),
        limit: limit_stop(run, limits),
        cost: cost(&usages),
        features: run.features.iter().map(|f| clean(f)).collect(),
        steps: run.steps.iter().map(step).collect(),
        log: log_path(run, id, scope),
    }
}

fn step(step: &StepOutcome) -> StepResult {
    let failed_tests = step.diagnostics.iter().filter_map(|d| d.test.as_deref());
    StepResult {
        step: step.step.clone(),
        passed: step.exit.success(),
        reason: step.reason.clone(),
        units: step.units.clone(),
        warnings: step.warnings.clone(),
        tests: step.tests,
        failed_tests: failed_tests.map(clean).collect(),
        duration_ms: step.usage.wall_ms,
        cpu_ms: step.usage.cpu_ms,
    }
}

/// The limit that is a run's reason.
fn limit_stop(run: &Run, limits: &Limits) -> Option<LimitStop> {
    let step = run.steps.iter().find(|s| s.reason.is_some())?;
    match step.reason {
        Some(Reason::Limit { limit }) => Some(LimitStop::new(limit, limits, &step.usage)),
        _ => None,
    }
}

fn cost(usages: &[&Usage]) -> Cost {
    let usages = || usages.iter();
    Cost {
        duration_ms: usages().map(|u| u.wall_ms).sum(),
        cpu_ms: usages().map(|u| u.cpu_ms).sum(),
        peak_memory_bytes: usages().filter_map(|u| u.peak_memory_bytes).max(),
        disk_bytes: usages().filter_map(|u| u.disk_bytes).max(),
        disk_inodes: usages().filter_map(|u| u.disk_inodes).max(),
        output_bytes: usages().map(|u| u.output_bytes).max().unwrap_or(0),
    }
}

/// Where the log of a run is, relative to the report; `None` where its name is not safe in a path.
fn log_path(run: &Run, id: &CrateId, scope: Scope) -> Option<String> {
    LogFile::name_is_safe(&run.log).then(|| format!("logs/{id}/{scope}-{}.log", run.log))
}

/// One side in the tier that decides, without the costs of the other tiers.
fn side_result(
    record: &JobRecord,
    side: Side,
    tier: &TierResult,
    verdict: Verdict,
) -> Option<SideResult> {
    let (baselines, candidates) = compare::deciding_runs(&record.runs);
    let (runs, others) = match side {
        Side::Baseline => (baselines, candidates),
        Side::Candidate => (candidates, baselines),
    };
    let shown = runs.iter().find(|r| !r.passed()).or(runs.first())?;
    let at = record.runs.iter().position(|r| std::ptr::eq(r, *shown))?;
    let units = &tier.units;
    let outcome = match side_outcome(shown, units) {
        // The library passed in its own tier: what fails is only seen by the crate's developers.
        SideOutcome::BuildFail if verdict == Verdict::TestFail => SideOutcome::TestFail,
        outcome => outcome,
    };
    Some(SideResult {
        outcome,
        reason: shown.reason().cloned(),
        limit: tier.runs[at].limit,
        units: units
            .iter()
            .filter_map(|u| {
                Some(UnitOutcome {
                    unit: u.unit.clone(),
                    status: shown.unit_status(&u.unit)?,
                })
            })
            .collect(),
        error: cluster::first_error(&news(shown, &others)).map(error_line),
        runs: 0,
        duration_ms: 0,
        cpu_ms: None,
        log: tier.runs[at].log.clone(),
    })
}

/// A run without the tests that fail on the other side as well, where it has others: what is new
/// says more.
fn news(shown: &Run, others: &[&Run]) -> Run {
    let known = |d: &Diagnostic| {
        let same = |o: &Diagnostic| o.unit == d.unit && o.test == d.test;
        let mut others = others.iter().flat_map(|r| &r.steps);
        d.test.is_some() && others.any(|s| s.diagnostics.iter().any(same))
    };
    let mut run = shown.clone();
    let all = || shown.steps.iter().flat_map(|s| &s.diagnostics);
    if all().any(|d| d.test.is_some() && !known(d)) {
        for step in &mut run.steps {
            step.diagnostics.retain(|d| !known(d));
        }
    }
    run
}

fn side_outcome(run: &Run, units: &[UnitComparison]) -> SideOutcome {
    let statuses = |primary: bool| {
        units
            .iter()
            .filter(move |u| u.unit.is_primary() == primary)
            .filter_map(|u| run.unit_status(&u.unit))
    };
    let bad = |s: UnitStatus| matches!(s, UnitStatus::Fail | UnitStatus::Blocked);
    let refused = |s| matches!(s, UnitStatus::NeedsNightly | UnitStatus::NeedsNewerRust);
    let too_old = matches!(run.reason(), Some(Reason::RustVersion { .. }));
    if run.passed() {
        SideOutcome::TestPass
    } else if statuses(true).any(bad) {
        SideOutcome::BuildFail
    } else if statuses(true).any(refused) || (units.is_empty() && too_old) {
        SideOutcome::Skipped
    } else if statuses(true).next().is_some() || statuses(false).any(bad) {
        SideOutcome::TestFail
    } else {
        SideOutcome::BuildFail
    }
}

fn error_line(error: &Diagnostic) -> ErrorLine {
    ErrorLine {
        package: error.package.clone(),
        unit: error.unit.clone(),
        code: error.code.clone(),
        message: clean(error.message.lines().next().unwrap_or("")),
        place: error.place.as_deref().map(clean),
        test: error.test.as_deref().map(clean),
    }
}

fn with_costs(mut result: SideResult, side: Side, tiers: &[TierResult]) -> SideResult {
    let runs = || {
        tiers
            .iter()
            .flat_map(|t| &t.runs)
            .filter(|r| r.side == side)
    };
    result.runs = u32::try_from(runs().count()).unwrap_or(u32::MAX);
    result.duration_ms = runs().map(|r| r.cost.duration_ms).sum();
    result.cpu_ms = runs().map(|r| r.cost.cpu_ms).sum();
    result
}
