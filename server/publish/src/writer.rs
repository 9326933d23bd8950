//! The second time that crates go by: everything is rendered, and put.

use std::collections::{BTreeMap, BTreeSet};

use ejecta_core::cluster::ClusterId;
use ejecta_core::compare::Verdict;
use ejecta_core::job::LeaseId;
use ejecta_core::krate::{Crate, CrateId};
use ejecta_core::logdiff::{self, LogDiff};
use ejecta_core::mode::Scope;
use ejecta_core::outcome::Side;
use ejecta_core::report::model::{ClusterResult, CrateResult, Results, SCHEMA, SideResult};
use ejecta_core::report::pages::{
    self, ALL_HAVE_PAGES, BODIES, CLUSTER_ROWS, ClusterParts, CrateParts, Download, FirstSeen,
    MAX_MEMBERS, Site, assets, badge,
};
use ejecta_core::report::{html, junit, markdown, members, retry};
use tempfile::NamedTempFile;

use crate::archive::Archives;
use crate::error::io;
use crate::gather::Gathered;
use crate::lists::Lists;
use crate::logs::{LogReader, LogRef};
use crate::out::{Out, Text};
use crate::sink::ReportSink;
use crate::spool::Spooled;
use crate::{BADGE, JUNIT, ONE_PAGE, Options, PAGE, PublishError, Published, RESULTS, SUMMARY};

/// The longest log that is read for a page, in bytes; agents cut theirs at a million.
const MAX_LOG: usize = 4 << 20;

pub(crate) async fn write(
    gathered: Gathered,
    options: &Options,
    first_seen: BTreeMap<ClusterId, FirstSeen>,
    logs: &dyn LogReader,
    sink: &dyn ReportSink,
) -> Result<Published, PublishError> {
    let Gathered {
        experiment,
        clusters,
        overall,
        not_covered,
        traffic,
        index,
        junit,
        generation,
        mut spool,
    } = gathered;
    let site = Site {
        experiment: &experiment,
        overall: &overall,
        clusters: &clusters,
        not_covered: &not_covered,
        traffic: traffic.as_ref(),
        first_seen: &first_seen,
        has_earlier: !options.earlier.is_empty(),
        generation: &generation,
    };
    let digest = Results {
        schema: SCHEMA,
        experiment: experiment.clone(),
        totals: overall.totals.clone(),
        coverage: overall.coverage(),
        not_covered: not_covered.clone(),
        clusters: clusters.clone(),
        crates: Vec::new(),
        registry: traffic.clone(),
    };
    let out = Out {
        sink,
        encode: sink.keeps_encodings(),
        files: 0,
        bytes: 0,
    };
    for_data(&site, index, out, |out| Second {
        out,
        site,
        options,
        logs,
        digest,
        clusters_of: members(&clusters),
        wanted: wanted(&clusters),
        lists: Lists::new(&site),
        bodies: Vec::new(),
        has_bodies: false,
        retry: Vec::new(),
        archives: Archives::default(),
        missing_logs: 0,
        all_logs: 0,
    })
    .await?
    .run(&mut spool, junit)
    .await
}

/// Writes what needs no crates: the assets and the index. The index is dropped before crates go by.
async fn for_data<'a, T>(
    site: &Site<'_>,
    index: pages::index::Index,
    mut out: Out<'a>,
    then: impl FnOnce(Out<'a>) -> T,
) -> Result<T, PublishError> {
    for (path, content) in assets::all() {
        out.text(path, content.to_owned()).await?;
    }
    for (n, part) in index.render().enumerate() {
        out.data(site, &format!("names-{n}"), &part).await?;
    }
    let page = pages::all_crates(site, index.parts());
    out.text("crates.html", page).await?;
    drop(index);
    Ok(then(out))
}

/// The crates that the pages of clusters tell in full.
fn wanted(clusters: &[ClusterResult]) -> BTreeSet<&CrateId> {
    clusters.iter().flat_map(first_members).collect()
}

/// The crates of a cluster that its page tells in full.
fn first_members(cluster: &ClusterResult) -> impl Iterator<Item = &CrateId> {
    cluster.crates.iter().chain(&cluster.also).take(MAX_MEMBERS)
}

/// Everything that the second time needs.
struct Second<'a> {
    out: Out<'a>,
    site: Site<'a>,
    options: &'a Options,
    logs: &'a dyn LogReader,
    /// The results, with the crates that pages of clusters tell.
    digest: Results,
    clusters_of: BTreeMap<&'a CrateId, &'a ClusterId>,
    wanted: BTreeSet<&'a CrateId>,
    lists: Lists,
    /// Of crates without a page: what `crate.html` shows, and how many crates went by since.
    bodies: Vec<String>,
    has_bodies: bool,
    retry: Vec<Crate>,
    archives: Archives,
    missing_logs: u64,
    all_logs: u64,
}

impl Second<'_> {
    async fn run(
        mut self,
        spool: &mut crate::spool::SpoolReader,
        counts: junit::Counts,
    ) -> Result<Published, PublishError> {
        let site = self.site;
        let temporary = || NamedTempFile::new().map_err(io("make", "a temporary file"));
        let (results, cases) = (temporary()?, temporary()?);
        let mut results = Text::new(results);
        let mut cases = Text::new(cases);
        let (head, tail) = self.digest.json_around();
        results.add(&head)?;
        cases.add(&junit::head(site.experiment, counts))?;
        let mut place = 0;
        let mut leases = BTreeMap::new();
        while let Some(mut spooled) = spool.next()? {
            let krate = &mut spooled.krate;
            krate.cluster = self.clusters_of.get(&krate.id).map(|id| (*id).clone());
            place += 1;
            let end = if place == site.overall.crates {
                "\n"
            } else {
                ",\n"
            };
            results.add(&krate.to_json())?;
            results.add(end)?;
            cases.add(&junit::test_case_of(site.experiment, krate))?;
            self.krate(&spooled, place - 1).await?;
            if self.is_small() || self.wanted.contains(&spooled.krate.id) {
                leases.insert(spooled.krate.id.clone(), spooled.leases);
                self.digest.crates.push(spooled.krate);
            }
        }
        self.end_bodies(place).await?;
        results.add(&tail)?;
        cases.add(junit::TAIL)?;
        self.clusters(&leases).await?;
        let files = self.downloads(results.done()?, cases.done()?).await?;
        self.pages(&files).await
    }

    /// Whether all crates together are not too much for one page, and for memory.
    fn is_small(&self) -> bool {
        self.site.overall.crates <= ALL_HAVE_PAGES
    }

    /// All that one crate becomes.
    async fn krate(&mut self, spooled: &Spooled, place: u64) -> Result<(), PublishError> {
        let krate = &spooled.krate;
        let site = self.site;
        if retry::WORTH_A_RETRY.contains(&krate.verdict) {
            self.retry.push(retry::krate_of(krate));
        }
        let row = pages::list_row(&site, krate, place);
        self.list(Some(krate.verdict), &row).await?;
        if !krate.covered {
            let row = pages::not_compared_row(&site, krate, place);
            self.list(None, &row).await?;
        }
        self.all_logs_of(spooled).await?;
        if site.has_page(krate.verdict) {
            let lockfiles = self.lockfiles(spooled).await?;
            let (baseline, candidate) = (
                self.side_log(krate, Side::Baseline, &spooled.leases)
                    .await?,
                self.side_log(krate, Side::Candidate, &spooled.leases)
                    .await?,
            );
            let parts = CrateParts {
                baseline_log: baseline.as_deref(),
                candidate_log: candidate.as_deref(),
                lockfiles,
            };
            let page = pages::crate_page(&site, krate, &parts);
            self.out.text(&pages::crate_path(&krate.id), page).await?;
            self.bodies.push(String::new());
        } else {
            let body = pages::crate_body(&site, krate, &CrateParts::default());
            self.bodies.push(body);
            self.has_bodies = true;
        }
        if self.bodies.len() == BODIES {
            self.end_bodies(place + 1).await?;
        }
        Ok(())
    }

    async fn list(&mut self, key: Option<Verdict>, row: &str) -> Result<(), PublishError> {
        if let Some((path, page)) = self.lists.add(&self.site, key, row) {
            self.out.text(&path, page).await?;
        }
        Ok(())
    }

    /// Puts the part of those without a page that ends before `place`.
    async fn end_bodies(&mut self, place: u64) -> Result<(), PublishError> {
        let bodies = std::mem::take(&mut self.bodies);
        if bodies.iter().all(String::is_empty) {
            return Ok(());
        }
        let part = (place - 1) / BODIES as u64;
        let json = serde_json::to_string(&bodies).map_err(|e| io("write", "data")(e.into()))?;
        self.out
            .data(&self.site, &format!("crates-{part}"), &json)
            .await
    }

    /// Reads all logs of a crate, where anyone wants them.
    async fn all_logs_of(&mut self, spooled: &Spooled) -> Result<(), PublishError> {
        let krate = &spooled.krate;
        for tier in &krate.tiers {
            for path in tier.runs.iter().filter_map(|run| run.log.as_deref()) {
                self.all_logs += 1;
                if !self.options.publish_logs && !self.options.archives {
                    continue;
                }
                let log = LogRef {
                    krate: &krate.id,
                    tier: tier.tier,
                    path,
                    lease: lease(&spooled.leases, tier.tier),
                };
                let Some(text) = self.logs.log(log).await? else {
                    self.missing_logs += 1;
                    continue;
                };
                if crate::logs::below(std::path::Path::new(""), path).is_none() {
                    self.missing_logs += 1;
                    continue;
                }
                if self.options.archives {
                    self.archives.add(krate.verdict, path, &text)?;
                }
                if self.options.publish_logs {
                    self.out.text(path, text).await?;
                }
            }
        }
        Ok(())
    }

    /// The log that the outcome of a side is from, where the side says more than that it passed.
    async fn side_log(
        &self,
        krate: &CrateResult,
        side: Side,
        leases: &[(Scope, LeaseId)],
    ) -> Result<Option<String>, PublishError> {
        let path = krate.side(side).and_then(|s: &SideResult| s.log.as_deref());
        let Some(path) = path else { return Ok(None) };
        let tier = krate
            .tiers
            .iter()
            .find(|t| t.runs.iter().any(|r| r.log.as_deref() == Some(path)));
        let Some(tier) = tier else { return Ok(None) };
        let log = LogRef {
            krate: &krate.id,
            tier: tier.tier,
            path,
            lease: lease(leases, tier.tier),
        };
        let text = self.logs.log(log).await?;
        Ok(text.filter(|t| t.len() <= MAX_LOG))
    }

    /// Publishes the lockfiles of a crate that has a page; says whether all are there.
    async fn lockfiles(&mut self, spooled: &Spooled) -> Result<bool, PublishError> {
        for (sha256, text) in &spooled.lockfiles {
            let path = pages::lockfile_path(sha256);
            self.out.text(&path, text.clone()).await?;
        }
        if !spooled.lockfiles.is_empty() {
            return Ok(true);
        }
        let tiers = spooled.krate.tiers.iter();
        let named: Vec<String> = tiers
            .filter_map(|t| t.lockfile.as_ref())
            .flat_map(|l| std::iter::once(&l.sha256).chain(l.own.values()))
            .map(|sha256| pages::lockfile_path(sha256))
            .collect();
        for path in &named {
            let Some(text) = self.logs.file(path).await? else {
                return Ok(false);
            };
            self.out.text(path, text).await?;
        }
        Ok(!named.is_empty())
    }

    async fn clusters(&mut self, leases: &Leases) -> Result<(), PublishError> {
        let site = self.site;
        let told = self.digest.crates.iter().enumerate();
        let places: BTreeMap<CrateId, usize> = told.map(|(n, k)| (k.id.clone(), n)).collect();
        for cluster in site.clusters {
            let members: Vec<&CrateResult> = first_members(cluster)
                .filter_map(|id| Some(&self.digest.crates[*places.get(id)?]))
                .collect();
            let diff = self.difference(&members, leases).await?;
            let path = pages::cluster_path(&cluster.id);
            let link = self.options.address.as_ref().map(|a| format!("{a}{path}"));
            let page = pages::cluster_page(
                &site,
                &ClusterParts {
                    cluster,
                    members: &members,
                    diff: diff.as_ref().map(|(id, diff)| (id, diff)),
                    link: link.as_deref(),
                },
            );
            self.out.text(&path, page).await?;
        }
        let pages = site.clusters.len().div_ceil(CLUSTER_ROWS).max(1);
        for page in 1..=pages {
            let text = pages::clusters_page(&site, page);
            self.out.text(&pages::clusters_path(page), text).await?;
        }
        Ok(())
    }

    /// The smallest difference of the logs of the first crate that has both.
    async fn difference(
        &self,
        members: &[&CrateResult],
        leases: &Leases,
    ) -> Result<Option<(CrateId, LogDiff)>, PublishError> {
        for krate in members.iter().take(3) {
            let none = Vec::new();
            let leases = leases.get(&krate.id).unwrap_or(&none);
            let baseline = self.side_log(krate, Side::Baseline, leases).await?;
            let candidate = self.side_log(krate, Side::Candidate, leases).await?;
            if let (Some(baseline), Some(candidate)) = (baseline, candidate) {
                return Ok(Some((
                    krate.id.clone(),
                    logdiff::diff(&baseline, &candidate),
                )));
            }
        }
        Ok(None)
    }

    /// Puts what can be downloaded.
    async fn downloads(
        &mut self,
        results: NamedTempFile,
        cases: NamedTempFile,
    ) -> Result<Vec<Download>, PublishError> {
        let mut files = Vec::new();
        let mut add = |name: &str, what: &str, bytes| {
            files.push(Download {
                name: name.to_owned(),
                what: what.to_owned(),
                bytes,
            });
        };
        let bytes = self.out.file(RESULTS, &results).await?;
        add(RESULTS, "everything, for programs", bytes);
        let summary = markdown::render_of(&self.digest, self.site.overall);
        let bytes = self.out.text(SUMMARY, summary).await?;
        add(SUMMARY, "a summary, for a comment on a pull request", bytes);
        let list = retry::render(&std::mem::take(&mut self.retry));
        let bytes = self.out.text(retry::FILE, list).await?;
        add(retry::FILE, "crates that a second run may settle", bytes);
        let bytes = self.out.file(JUNIT, &cases).await?;
        add(JUNIT, "test results, one test case a crate", bytes);
        let bytes = self.out.text(BADGE, badge::svg(self.site.overall)).await?;
        add(BADGE, "a badge", bytes);
        if self.is_small() {
            let bytes = self.out.text(ONE_PAGE, html::render(&self.digest)).await?;
            add(
                ONE_PAGE,
                "all of it on one page that needs no other file",
                bytes,
            );
        }
        for archive in std::mem::take(&mut self.archives).finish()? {
            let bytes = self.out.file(&archive.name, &archive.file).await?;
            add(&archive.name, &archive.what, bytes);
        }
        Ok(files)
    }

    /// Puts the pages that lead to all others, the first of them last.
    async fn pages(mut self, files: &[Download]) -> Result<Published, PublishError> {
        let site = self.site;
        if self.has_bodies {
            self.out
                .text("crate.html", pages::crate_shell(&site))
                .await?;
        }
        let downloads = pages::downloads(&site, files);
        self.out.text("downloads.html", downloads).await?;
        self.out.sink.flush().await?;
        self.out.text(PAGE, pages::overview(&site)).await?;
        self.out.sink.flush().await?;
        self.out.sink.finished(&site.data()).await?;
        Ok(Published {
            overall: site.overall.clone(),
            files: self.out.files,
            bytes: self.out.bytes,
            missing_logs: self.missing_logs,
            logs: self.all_logs,
            digest: self.digest,
        })
    }
}

type Leases = BTreeMap<CrateId, Vec<(Scope, LeaseId)>>;

fn lease(leases: &[(Scope, LeaseId)], tier: Scope) -> Option<&LeaseId> {
    leases
        .iter()
        .find(|(of, _)| *of == tier)
        .map(|(_, lease)| lease)
}
