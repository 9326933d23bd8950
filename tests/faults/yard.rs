//! A fleet on hosts of its own, with its store, in which a test may break things.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use ejecta_test_support::{Fleet, Lab, LocalRegistry, Network, Postgres, Process};
use serde_json::Value;

use crate::dice::Dice;
use crate::proof::{self, Proof};
use crate::work;

/// What does not happen for so long does not happen.
const PATIENCE: Duration = Duration::from_secs(240);
/// How long leases hold here.
pub const LEASE_MILLIS: u64 = 5000;
/// The name of the experiment.
pub const EXPERIMENT: &str = "e";

/// The hosts, each with what runs on it under that name.
const HOSTS: &[&str] = &[
    "registry", "database", "server", "second", "proxy", "one", "two", "client",
];

/// Which store a fleet has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreKind {
    Sqlite,
    Postgres,
}

/// A fleet that is to be disturbed.
pub struct Yard {
    /// Its database, where that is a server. Its host goes with the fleet: it has to end before.
    pub postgres: Option<Postgres>,
    pub fleet: Fleet,
    pub dice: Dice,
    kind: StoreKind,
    selection: String,
    address: Option<String>,
}

impl Yard {
    /// A fleet for the test `name`, nothing of it started but registry and database; none, loudly,
    /// on a machine without what it takes.
    pub fn new_or_skip(kind: StoreKind, name: &str) -> Option<Self> {
        let network = Network::new_or_skip(HOSTS)?;
        let postgres = match kind {
            StoreKind::Sqlite => None,
            StoreKind::Postgres => Some(Postgres::on_host_or_skip(&network, "database")?),
        };
        let address = postgres.as_ref().map(Postgres::database);
        let listen = network.socket("registry", 8080);
        let registry = network.within("registry", || LocalRegistry::start_at(listen));
        let selection = work::publish(&registry);
        let lab = Lab::with_registry(env!("CARGO_BIN_EXE_ejecta"), registry);
        let more = format!(
            "[leases]\nseconds = {}\nretry_after_millis = 200\n",
            LEASE_MILLIS / 1000
        );
        Some(Self {
            postgres,
            fleet: Fleet::spread(lab, network, address.as_deref(), &more),
            dice: Dice::of_test(&format!("{name} ({kind:?})")),
            kind,
            selection,
            address,
        })
    }

    /// An agent that asks the first server, on the host of its name.
    pub fn agent(&self, name: &str) -> Process {
        self.fleet.agent(name, &["--jobs", "2"])
    }

    /// Makes the experiment.
    pub fn begin(&self) {
        let args = ["create", EXPERIMENT, "--crates", &self.selection];
        let more = [
            "--candidate",
            work::CANDIDATE,
            "--scope",
            "lib",
            "--seed",
            "7",
        ];
        let made = self.fleet.experiment(&[&args[..], &more].concat());
        assert_eq!(made.code, Some(0), "{made:?}");
    }

    /// The experiment as the first server shows it, if it answers.
    pub fn shown(&self) -> Option<Value> {
        let shown = self.fleet.ask(&format!("/api/v1/experiments/{EXPERIMENT}"));
        shown.filter(|shown| shown["state"].is_string())
    }

    /// Waits until the first server shows that it is so.
    pub fn until(&self, what: &str, is_so: impl Fn(&Value) -> bool) {
        let begun = Instant::now();
        let mut last = None;
        loop {
            if let Some(shown) = self.shown() {
                if is_so(&shown) {
                    return;
                }
                let state = shown["state"].as_str().unwrap_or_default();
                assert!(!matches!(state, "failed" | "aborted"), "{shown}");
                last = Some(shown);
            }
            let logs = || self.logs();
            assert!(begun.elapsed() < PATIENCE, "not {what}: {last:?}{}", logs());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits for a moment that the dice choose, in the first two thirds of the work.
    pub fn moment(&mut self) {
        self.moment_up_to(work::CRATES * 2 / 3);
    }

    /// Waits for a moment that the dice choose, when no more than so many results are there, or
    /// just after.
    pub fn moment_up_to(&mut self, most: usize) {
        let finished = self.dice.between(0, most as u64);
        self.until("a number of results", |shown| {
            shown["jobs"][0]["finished"].as_u64() >= Some(finished)
        });
        std::thread::sleep(self.dice.millis(0, 900));
    }

    /// Waits until all has ended, and checks that nothing shows that anything has happened.
    pub fn check(&self, agents: &[&str]) {
        self.completed();
        self.nothing_waits(agents);
        let proof = self.proof();
        let expected = undisturbed(self.kind);
        proof.check(expected);
    }

    /// Waits until the experiment is completed.
    pub fn completed(&self) {
        self.until("completed", |shown| shown["state"] == "completed");
    }

    fn proof(&self) -> Proof {
        Proof::collect(&self.fleet, self.address.as_deref())
    }

    /// All that was finished has been handed in.
    fn nothing_waits(&self, agents: &[&str]) {
        let begun = Instant::now();
        let waiting = |agent: &&str| {
            let spool = self.fleet.lab.path(agent).join("spool");
            fs_err::read_dir(spool).map_or(0, Iterator::count) > 0
        };
        while agents.iter().any(waiting) {
            assert!(begun.elapsed() < PATIENCE, "results wait{}", self.logs());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// What all processes have said, for those who look for what went wrong.
    pub fn logs(&self) -> String {
        let log = |host: &&str| {
            let file = self.fleet.lab.path(format!("{host}.log"));
            let text = fs_err::read_to_string(file).ok()?;
            Some(format!("\n---- {host}\n{text}"))
        };
        HOSTS.iter().filter_map(log).collect()
    }
}

/// What comes of the experiment in a fleet that is left in peace, with that store; found out once.
fn undisturbed(kind: StoreKind) -> &'static Proof {
    static SQLITE: OnceLock<Proof> = OnceLock::new();
    static POSTGRES: OnceLock<Proof> = OnceLock::new();
    let known = match kind {
        StoreKind::Sqlite => &SQLITE,
        StoreKind::Postgres => &POSTGRES,
    };
    known.get_or_init(|| {
        let yard = Yard::new_or_skip(kind, "undisturbed").expect("it was there before");
        let _server = yard.fleet.server();
        let _agents = ["one", "two"].map(|name| yard.agent(name));
        yard.begin();
        yard.completed();
        let proof = yard.proof();
        proof::check_peace(&proof);
        proof
    })
}
