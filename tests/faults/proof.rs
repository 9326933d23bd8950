//! What a fleet leaves behind: the results in the store, the logs under their leases, the report.
//! Of two that did the same work all is the same but times, costs, attempts and names of leases.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use ejecta_core::experiment::ExperimentName;
use ejecta_core::job::LeaseId;
use ejecta_server::blobs::Blobs;
use ejecta_server::packs;
use ejecta_server::store::{
    self, Counts, EntryResult, JobState, News, PostgresStore, SqliteStore, Store,
};
use ejecta_test_support::Fleet;
use secrecy::SecretString;
use serde_json::Value;

use crate::work::CRATES;
use crate::yard::EXPERIMENT;

/// Fields of `results.json` that differ from run to run: times, costs, how often it was tried, and in
/// which sandbox.
const OF_THE_RUN: &[&str] = &[
    "attempts",
    "cost",
    "cpu_ms",
    "created",
    "disk_bytes",
    "disk_inodes",
    "duration_ms",
    "finished",
    "output_bytes",
    "peak_memory_bytes",
    "sandbox",
    "started",
];

/// What was left behind.
#[derive(Debug)]
pub struct Proof {
    counts: Counts,
    results: Vec<EntryResult>,
    news: Vec<News>,
    /// Of the logs that are kept: the experiment's crate and tier, and the leases.
    logs: BTreeMap<String, BTreeSet<String>>,
    report: Value,
    files: BTreeSet<String>,
    regressed: String,
}

impl Proof {
    /// Looks at all of it: at the store itself, which no server has to vouch for.
    pub fn collect(fleet: &Fleet, postgres: Option<&str>) -> Self {
        let lab = &fleet.lab;
        let name = ExperimentName::new(EXPERIMENT).expect("valid");
        let database = lab.path("ejecta.db");
        let (counts, results, news, logs) = fleet.network().within("client", || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.expect("a runtime starts").block_on(async {
                let store: Box<dyn Store> = match postgres {
                    Some(address) => {
                        let address = SecretString::from(address.to_owned());
                        Box::new(PostgresStore::open(&address, 2).await.expect("it opens"))
                    }
                    None => Box::new(SqliteStore::open(&database).await.expect("it opens")),
                };
                (
                    store.counts(&name).await.expect("counts"),
                    store::all_results(&*store, &name).await.expect("results"),
                    store.news(&name, 0, 10_000).await.expect("news"),
                    logs(&lab.path("blobs"), &name).await,
                )
            })
        });
        let report = format!("reports/{EXPERIMENT}");
        Self {
            counts,
            results,
            news,
            logs,
            report: without(fleet.results(EXPERIMENT), OF_THE_RUN),
            files: files(&lab.path(&report)).iter().map(|f| named(f)).collect(),
            regressed: lab.read(&report, "retry-regressed-list.txt"),
        }
    }

    /// Each job has one result, and the report is that of an undisturbed run.
    pub fn check(&self, undisturbed: &Self) {
        self.check_results();
        self.check_logs();
        let pretty = |value| serde_json::to_string_pretty(value).expect("JSON");
        let (found, expected) = (pretty(&self.report), pretty(&undisturbed.report));
        if found != expected {
            let differ = found.lines().zip(expected.lines()).find(|(a, b)| a != b);
            panic!("the report differs, first in {differ:?}:\n{found}");
        }
        assert_eq!(self.regressed, undisturbed.regressed);
        let differ: Vec<&String> = self
            .files
            .symmetric_difference(&undisturbed.files)
            .collect();
        assert!(differ.is_empty(), "files of one report: {differ:?}");
    }

    fn check_results(&self) {
        let tiers = &self.counts.tiers;
        assert_eq!(tiers.len(), 1, "{tiers:?}");
        let found = (tiers[0].queued, tiers[0].leased, tiers[0].finished);
        assert_eq!(found, (0, 0, CRATES as u64), "{tiers:?}");
        assert_eq!(tiers[0].errors, 0, "{:?}", self.results);
        assert_eq!(self.results.len(), CRATES);
        let mut leases = BTreeSet::new();
        for result in &self.results {
            let [tier] = &result.tiers[..] else {
                panic!("not one job: {result:?}");
            };
            assert!(
                matches!(tier.state, JobState::Finished { .. }),
                "{result:?}"
            );
            let lease = tier.lease.as_ref().expect("a result has a lease");
            assert!(leases.insert(lease.0.clone()), "twice: {result:?}");
        }
        let jobs: BTreeSet<String> = self.news.iter().map(|new| new.job.to_string()).collect();
        let told: BTreeSet<String> = self.news.iter().map(|new| new.lease.0.clone()).collect();
        assert_eq!((self.news.len(), jobs.len()), (CRATES, CRATES));
        assert_eq!(told, leases);
    }

    /// There are logs of the leases that won, and no others.
    fn check_logs(&self) {
        let of = |result: &EntryResult| {
            let tier = &result.tiers[0];
            let lease = tier.lease.as_ref().map(|lease| lease.0.clone());
            let place = format!("{}/{}", result.entry.krate.id(), tier.tier);
            (place, lease.into_iter().collect())
        };
        let expected: BTreeMap<String, BTreeSet<String>> = self.results.iter().map(of).collect();
        assert_eq!(self.logs, expected, "logs of other leases");
    }
}

/// What the experiment is for is in the proof of a run in peace: nothing is compared with nothing.
pub fn check_peace(proof: &Proof) {
    proof.check(proof);
    let totals = &proof.report["totals"];
    let found = ["regressed", "build-fail", "test-pass"].map(|verdict| totals[verdict].as_u64());
    assert_eq!(found, [Some(6), Some(2), Some(16)], "{totals}");
    assert_eq!(proof.regressed.lines().count(), 6, "{}", proof.regressed);
}

/// The leases of which there are logs, by job.
async fn logs(dir: &Path, of: &ExperimentName) -> BTreeMap<String, BTreeSet<String>> {
    let blobs = Blobs::directory(dir).expect("there");
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in files(&dir.join(of.as_str())) {
        let lease = file.rsplit('/').next().expect("a name");
        let lease = LeaseId(lease.trim_end_matches(".tar.zst").to_owned());
        let logs = packs::get(&blobs, of, &lease).await.expect("a pack");
        for log in logs.unwrap_or_else(|| panic!("no logs: {file}")).keys() {
            let [_, krate, log] = log.split('/').collect::<Vec<_>>()[..] else {
                panic!("no log: {log}");
            };
            let tier = log.split('-').next().expect("a tier");
            let leases = all.entry(format!("{krate}/{tier}")).or_default();
            leases.insert(lease.0.clone());
        }
    }
    all
}

/// A file of a report, without the part of its name that is made of what is in it: of times, too.
fn named(file: &str) -> String {
    match file.split('/').collect::<Vec<_>>()[..] {
        ["data", _, name] => format!("data/*/{name}"),
        _ => file.to_owned(),
    }
}

/// The files below a directory.
fn files(dir: &Path) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(next) = dirs.pop() {
        for entry in fs_err::read_dir(&next).expect("a directory") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                let below = path.strip_prefix(dir).expect("below it");
                all.insert(below.to_str().expect("text").to_owned());
            }
        }
    }
    all
}

/// A value without fields of these names, wherever they are.
fn without(value: Value, names: &[&str]) -> Value {
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .filter(|(name, _)| !names.contains(&name.as_str()))
            .map(|(name, value)| (name, without(value, names)))
            .collect(),
        Value::Array(items) => items.into_iter().map(|item| without(item, names)).collect(),
        other => other,
    }
}
