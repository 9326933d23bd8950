//! The first time that crates go by: counted, remembered in short, and kept on disk.

use std::collections::BTreeMap;
use std::io::BufReader;
use std::path::Path;

use ejecta_core::compare::Verdict;
use ejecta_core::job::LeaseId;
use ejecta_core::krate::CrateName;
use ejecta_core::mode::Scope;
use ejecta_core::report::model::{ClusterResult, CrateResult, ExperimentInfo, NotCovered};
use ejecta_core::report::overall::Overall;
use ejecta_core::report::pages::index::Index;
use ejecta_core::report::pages::{ALL_HAVE_PAGES, assets};
use ejecta_core::report::stream::{self, Head};
use ejecta_core::report::{Collector, Entry, Input, Popularity, TierState, experiment_info, junit};
use sha2::{Digest as _, Sha256};

use crate::PublishError;
use crate::error::io;
use crate::spool::{SpoolReader, SpoolWriter, Spooled};

/// All crates of a report, gone by once.
pub struct Gathered {
    pub(crate) experiment: ExperimentInfo,
    /// Root causes, the one that matters most first.
    pub clusters: Vec<ClusterResult>,
    /// Counts over all crates.
    pub overall: Overall,
    pub(crate) not_covered: Vec<NotCovered>,
    pub(crate) traffic: Option<serde_json::Value>,
    pub(crate) index: Index,
    pub(crate) junit: junit::Counts,
    pub(crate) generation: String,
    pub(crate) spool: SpoolReader,
}

/// Takes crates in, in the order of the plan.
pub struct Gathering {
    spool: SpoolWriter,
    overall: Overall,
    not_covered: Vec<NotCovered>,
    index: Index,
    junit: junit::Counts,
    digest: Sha256,
}

impl Gathering {
    /// Nothing yet.
    ///
    /// # Errors
    /// [`PublishError::Io`] when there is no room for temporary files.
    pub fn new() -> Result<Self, PublishError> {
        let mut digest = Sha256::new();
        for (path, _) in assets::all() {
            digest.update(path.as_bytes());
        }
        Ok(Self {
            spool: SpoolWriter::new()?,
            overall: Overall::new(),
            not_covered: Vec::new(),
            index: Index::default(),
            junit: junit::Counts::default(),
            digest,
        })
    }

    /// The next crate, from results.
    ///
    /// # Errors
    /// [`PublishError::Io`].
    pub fn add(&mut self, krate: CrateResult) -> Result<(), PublishError> {
        self.spool(&Spooled {
            krate,
            leases: Vec::new(),
            lockfiles: Vec::new(),
        })
    }

    /// The next crate, from its records: what the clusters need of it goes into `collector`.
    ///
    /// # Errors
    /// [`PublishError::Io`].
    pub fn add_entry(
        &mut self,
        collector: &mut Collector,
        entry: Entry,
        leases: Vec<(Scope, LeaseId)>,
    ) -> Result<(), PublishError> {
        let krate = collector.add(&entry);
        // Those of crates that may have a page: all of a small report, else not of what passed.
        let wanted = self.overall.crates < ALL_HAVE_PAGES || krate.verdict != Verdict::TestPass;
        let mut lockfiles = BTreeMap::new();
        for tier in entry.tiers.into_iter().filter(|_| wanted) {
            if let TierState::Finished(record) = tier.state {
                let texts = record.lockfiles.into_iter().map(|l| (l.sha256, l.text));
                lockfiles.extend(texts);
            }
        }
        self.spool(&Spooled {
            krate,
            leases,
            lockfiles: lockfiles.into_iter().collect(),
        })
    }

    /// All entries have gone by. Those of `input` itself play no role.
    ///
    /// # Errors
    /// [`PublishError::Io`].
    pub fn finish_entries(
        self,
        collector: Collector,
        input: &Input,
    ) -> Result<Gathered, PublishError> {
        let experiment = experiment_info(input, self.overall.complete());
        let popularity: &BTreeMap<CrateName, Popularity> = &input.popularity;
        let clusters = collector.clusters(popularity);
        self.finish(experiment, clusters, input.traffic.clone())
    }

    fn spool(&mut self, spooled: &Spooled) -> Result<(), PublishError> {
        let krate = &spooled.krate;
        self.overall.add(krate);
        self.not_covered.extend(NotCovered::of(krate));
        self.index.add(krate);
        self.junit.add(krate);
        let line = self.spool.add(spooled)?;
        self.digest.update(line);
        Ok(())
    }

    /// All crates have gone by.
    ///
    /// # Errors
    /// [`PublishError::Io`].
    pub fn finish(
        self,
        experiment: ExperimentInfo,
        clusters: Vec<ClusterResult>,
        traffic: Option<serde_json::Value>,
    ) -> Result<Gathered, PublishError> {
        let mut digest = self.digest;
        digest.update(experiment.name.as_str().as_bytes());
        let digest = digest.finalize();
        let generation = digest.iter().take(8).map(|b| format!("{b:02x}")).collect();
        Ok(Gathered {
            experiment,
            clusters,
            overall: self.overall,
            not_covered: self.not_covered,
            traffic,
            index: self.index,
            junit: self.junit,
            generation,
            spool: self.spool.finish()?,
        })
    }
}

impl Gathered {
    /// The crates of a file of results.
    ///
    /// # Errors
    /// [`PublishError`] when it cannot be read, or is none.
    pub fn of_file(path: &Path) -> Result<Self, PublishError> {
        let mut gathering = Gathering::new()?;
        let mut failed = None;
        let head = read_results(path, &mut |krate| {
            if failed.is_none() {
                failed = gathering.add(krate).err();
            }
        })?;
        match failed {
            Some(error) => Err(error),
            None => gathering.finish(head.experiment, head.clusters, head.registry),
        }
    }
}

/// Reads a file of results crate by crate.
///
/// # Errors
/// [`PublishError`] when it cannot be read, or is none.
pub fn read_results(path: &Path, each: &mut dyn FnMut(CrateResult)) -> Result<Head, PublishError> {
    let file = fs_err::File::open(path).map_err(io("read", path))?;
    let mut json = serde_json::Deserializer::from_reader(BufReader::with_capacity(1 << 17, file));
    let wrong = |source| PublishError::Results {
        path: path.display().to_string(),
        source,
    };
    let head = stream::read(&mut json, each).map_err(wrong)?;
    json.end().map_err(wrong)?;
    Ok(head)
}
