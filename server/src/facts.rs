//! The names of the facts that are kept beside an experiment ([`crate::store::Store::facts`]).

/// The choices of a command line or a server that a report tells and that a later run goes on
/// with: the registry, the userland, and their like.
pub const SETUP: &str = "setup";
/// When work on it started.
pub const STARTED: &str = "started";
/// When the last job ended.
pub const FINISHED: &str = "finished";
/// What the baseline said of itself.
pub const BASELINE: &str = "baseline";
/// What the candidate said of itself.
pub const CANDIDATE: &str = "candidate";
/// The patched libraries of both sides, with their commits.
pub const PATCHES: &str = "patches";
/// The sandbox, for people.
pub const SANDBOX: &str = "sandbox";
/// Which state of the registry the crates were chosen from.
pub const SNAPSHOT: &str = "snapshot";
/// Which denylist counted when the plan was made.
pub const DENYLIST: &str = "denylist";
/// What the crates mean to others, as JSON in a text: it is long, and seldom read.
pub const POPULARITY: &str = "popularity";
/// Requests to the registry, of all runs together.
pub const TRAFFIC: &str = "traffic";
/// Whether the denylist did not count when the plan was made.
pub const IGNORES_DENYLIST: &str = "ignores-denylist";
/// Who writes the report, and when they were last alive.
pub const REPORTER: &str = "reporter";
/// Where the report is.
pub const REPORT: &str = "report";
/// The root causes in the report, as far as later experiments have to know them.
pub const CAUSES: &str = "causes";
/// Why it is aborted or failed, or what keeps it from getting on, for people.
pub const PROBLEM: &str = "problem";
/// What whoever asked for it can do about that, for people.
pub const REMEDY: &str = "remedy";
/// The agents that say that nobody can run it.
pub const IMPOSSIBLE: &str = "impossible";
