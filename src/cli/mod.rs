//! The command line: what can be said, and the help for it.

mod fleet;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use ejecta_core::client::Choices;
use ejecta_core::experiment::{BaselineRuns, CapLints, Compare, ExperimentName, LockfilePolicy};
use ejecta_core::mode::{Mode, Scope};
use ejecta_core::toolchain::ToolchainSpec;

pub use fleet::*;

/// Finds what a Rust toolchain broke: builds crates with two toolchains, each crate in a sandbox of
/// its own, and reports the difference.
#[derive(Debug, Parser)]
#[command(
    name = "ejecta",
    version,
    propagate_version = true,
    max_term_width = 100
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// What is logged to standard error: error, warn, info, debug, trace, or a filter such as
    /// `ejecta_agent=debug` [default: info for server and agent, else warn]
    #[arg(
        long,
        global = true,
        value_name = "FILTER",
        env = "EJECTA_LOG",
        display_order = 900
    )]
    pub log: Option<String>,
}

impl Cli {
    /// What is logged.
    pub fn log_filter(&self) -> &str {
        match (&self.log, &self.command) {
            (Some(filter), _) => filter,
            (None, Command::Server(_) | Command::Agent(_)) => "info",
            (None, _) => "warn",
        }
    }

    /// How it is logged.
    pub fn log_format(&self) -> LogFormat {
        match &self.command {
            Command::Server(args) => args.logging.format,
            Command::Agent(args) => args.logging.format,
            _ => LogFormat::Text,
        }
    }

    /// What the process is called in traces, and the collector that they go to.
    pub fn traces(&self) -> Option<(&'static str, &str)> {
        let (service, logging) = match &self.command {
            Command::Server(args) => ("ejecta-server", &args.logging),
            Command::Agent(args) => ("ejecta-agent", &args.logging),
            _ => return None,
        };
        // An empty variable is none, says OpenTelemetry's specification of them.
        let address = logging
            .otlp
            .as_deref()
            .filter(|address| !address.is_empty());
        address.map(|address| (service, address))
    }
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run an experiment on this machine, and leave a report
    Run(Box<RunArgs>),
    /// Write a report anew, or print it in one of its forms
    Report(ReportArgs),
    /// Say which regressions of an experiment are new, gone, or unchanged since an earlier one
    Compare(CompareArgs),
    /// Run one crate of earlier results again, as it was, and show both sides
    Replay(Box<ReplayArgs>),
    /// Say which crates a selection means, without building anything
    Crates(CratesArgs),
    /// Work with denylists
    #[command(subcommand)]
    Denylist(DenylistCommand),
    /// Serve a fleet: keep experiments, hand out jobs, write reports
    Server(ServerArgs),
    /// Run jobs for a server
    Agent(Box<AgentArgs>),
    /// Make, list and take back tokens for a server
    #[command(subcommand)]
    Token(TokenCommand),
    /// Make experiments on a server, and look after them
    #[command(subcommand)]
    Experiment(ExperimentCommand),
    /// Print a shell's completions
    Completions(CompletionsArgs),
}

/// What an experiment is, whoever runs it.
#[derive(Debug, Clone, Args)]
pub struct ChoiceArgs {
    /// The toolchain that is known to be good
    #[arg(long, value_name = "TOOLCHAIN", default_value = "stable")]
    pub baseline: ToolchainSpec,
    /// The toolchain under test
    ///
    /// A toolchain is a name that rustup knows (installed on demand), `path:DIRECTORY`, or a commit
    /// of the compiler: `master#SHA` or `try#SHA`. Then, if wanted and in any order,
    /// `+target=TARGET`, `+rustflags=FLAGS`, `+rustdocflags=FLAGS`, `+cargoflags=FLAGS`, and
    /// `+patch=CRATE=URL=BRANCH` or `+patch=CRATE=path:DIRECTORY` as often as there are crates to
    /// patch.
    #[arg(long, value_name = "TOOLCHAIN", default_value = "nightly")]
    pub candidate: ToolchainSpec,
    /// Which crates: `demo`, `full`, `top-N`, `random-N`, `dependents:NAME`, `list:NAME,ORG/REPO`,
    /// `local:DIRECTORY`, `results.json:VERDICT`, or the file or address of a list
    ///
    /// `ejecta crates --help` says what each means.
    #[arg(long, value_name = "SELECTION", default_value = "demo")]
    pub crates: String,
    /// What is done with each crate: `check-only`, `build-only`, `build-and-test`, `clippy`,
    /// `rustdoc`, `fix`, or `unstable-features`
    #[arg(long, value_name = "MODE", default_value_t = Mode::CheckOnly)]
    pub mode: Mode,
    /// What part of each crate: `lib` (libraries and binaries), or `all` (then tests, examples and
    /// benches too)
    #[arg(long, value_name = "SCOPE", default_value_t = Scope::Lib)]
    pub scope: Scope,
    /// Which lockfile both sides use: `auto` (the published one for programs, a fresh one for
    /// libraries), `published`, or `fresh`
    #[arg(long, value_name = "POLICY", default_value_t = LockfilePolicy::Auto)]
    pub lockfile: LockfilePolicy,
    /// When the baseline runs: `on-failure` of the candidate, or `always` (finds what the candidate
    /// fixed, too)
    #[arg(long, value_name = "WHEN", default_value_t = BaselineRuns::OnFailure)]
    pub baseline_runs: BaselineRuns,
    /// Cap lints at `forbid` (no cap), `warn`, or `allow`
    ///
    /// The default is `warn`, so that a crate that denies warnings does not regress for a new one;
    /// it is `forbid` in mode `clippy`, and where a toolchain's own flags deny or forbid a lint.
    #[arg(long, value_name = "LEVEL")]
    pub cap_lints: Option<CapLints>,
    /// What makes a difference: `outcomes` (what fails with one toolchain only), or `warnings` (of
    /// which one toolchain has more, too)
    #[arg(long, value_name = "WHAT", default_value_t = Compare::Outcomes)]
    pub compare: Compare,
    /// How often a difference is run again, on both sides, before it counts
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10))]
    pub confirmations: u32,
    /// Memory of one sandbox, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 4096, value_parser = clap::value_parser!(u64).range(64..=4_194_304))]
    pub memory: u64,
    /// Wall-clock time of one step, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 900, value_parser = clap::value_parser!(u64).range(1..=604_800))]
    pub timeout: u64,
    /// The order of the crates, and what `random-N` draws by
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
}

impl ChoiceArgs {
    /// All but the crates and their order.
    pub fn choices(&self) -> Choices {
        Choices {
            baseline: self.baseline.clone(),
            candidate: self.candidate.clone(),
            mode: self.mode,
            scope: self.scope,
            lockfile: self.lockfile,
            baseline_runs: self.baseline_runs,
            cap_lints: self.cap_lints,
            compare: self.compare,
            confirmations: self.confirmations,
            memory_mib: self.memory,
            timeout_seconds: self.timeout,
        }
    }
}

/// Where crates run.
#[derive(Debug, Clone, Args)]
pub struct SandboxArgs {
    /// How crates are isolated
    #[arg(long, value_enum, default_value_t = SandboxChoice::Auto)]
    pub sandbox: SandboxChoice,
    /// The userland inside Docker; without it, this machine's own /usr, read-only
    #[arg(long, value_name = "IMAGE")]
    pub image: Option<String>,
    /// Another OCI runtime of the Docker daemon, such as runsc
    #[arg(long, value_name = "RUNTIME")]
    pub runtime: Option<String>,
}

/// `ejecta run`.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = RUN_EXAMPLES)]
pub struct RunArgs {
    #[command(flatten)]
    pub choices: ChoiceArgs,
    #[command(flatten)]
    pub sandbox: SandboxArgs,
    /// Crates at once [default: the number of processors]
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub jobs: Option<u32>,
    /// Reviewed exclusions, in place of the list that comes with ejecta
    #[arg(long, value_name = "FILE")]
    pub denylist: Option<PathBuf>,
    #[command(flatten)]
    pub registry: RegistryArgs,
    #[command(flatten)]
    pub toolchains: ToolchainArgs,
    /// The experiment's name [default: run-DATE-TIME]
    #[arg(long, value_name = "NAME")]
    pub name: Option<ExperimentName>,
    /// The directory for the report and all else of the experiment [default: ejecta-out/NAME]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Go on with the interrupted experiment in --out, as it was started
    #[arg(
        long,
        requires = "out",
        conflicts_with_all = [
            "baseline", "candidate", "crates", "mode", "scope", "lockfile", "baseline_runs",
            "cap_lints", "compare", "confirmations", "memory", "timeout", "denylist", "seed", "name", "url",
            "database", "image", "runtime",
        ],
    )]
    pub resume: bool,
    /// How progress and the result are told: for people, or as one JSON object a line on standard
    /// output
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = MessageFormat::Human)]
    pub message_format: MessageFormat,
}

const RUN_EXAMPLES: &str = "\
Exit codes:
  0    nothing regressed
  1    something regressed
  2    the command line, a file or this machine's set-up is wrong; nothing was built
  3    not complete, through a fault of ejecta or of the machine; `--resume` tries again
  130  interrupted; `--resume` goes on

Examples:
  ejecta run                                             twelve crates, stable against nightly
  ejecta run --candidate beta --crates list:serde,regex@1.11.1 --scope all
  ejecta run --candidate 'nightly+rustflags=-Zthreads=4' --crates crates.txt
  ejecta run --baseline stable --candidate path:../rust/build/host/stage1 --crates local:.
  ejecta run --baseline master#SHA --candidate try#SHA --crates top-1000
  ejecta run --baseline stable --candidate 'stable+patch=serde=path:../serde/serde' \\
      --crates dependents:serde";

/// Where crates come from, for every command that needs some.
#[derive(Debug, Clone, Args)]
pub struct RegistryArgs {
    /// The sparse index of another registry, in place of the public one
    #[arg(long = "registry", value_name = "URL")]
    pub url: Option<String>,
    /// A file with the registry's token; else it is taken from EJECTA_REGISTRY_TOKEN
    ///
    /// It is sent only to the registry's own servers, and only when the registry asks for a login.
    /// It is kept nowhere: `--resume` needs it again.
    #[arg(long = "registry-token-file", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// The list of all crates: a database dump on disk, or a checkout of the index, in place of the
    /// dump that the registry offers
    #[arg(long, value_name = "PATH")]
    pub database: Option<PathBuf>,
    /// Where sources and index entries are kept, shared by all experiments
    /// [default: the user's cache directory]
    #[arg(long, value_name = "DIR", env = "EJECTA_STORE")]
    pub store: Option<PathBuf>,
}

/// Where the compilers of commits come from, and how many are kept.
#[derive(Debug, Clone, Args)]
pub struct ToolchainArgs {
    /// Where `master#` and `try#` toolchains are downloaded from [default: the Rust project's builds]
    #[arg(long, value_name = "URL", env = "EJECTA_TOOLCHAIN_SERVER")]
    pub toolchain_server: Option<String>,
    /// How many GiB of downloaded toolchains are kept in the store; those that were not used for
    /// longest go first, and none that is in use
    #[arg(long, value_name = "GIB", default_value_t = 20)]
    pub toolchain_cache: u64,
}

/// `--sandbox`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SandboxChoice {
    /// Docker where it answers, else namespaces; the run says which
    Auto,
    /// A Docker container for each
    Docker,
    /// Namespaces of this machine, for which no daemon and no root is needed
    Native,
}

/// `--message-format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MessageFormat {
    /// A progress bar in a terminal, plain lines elsewhere
    Human,
    /// One JSON object a line
    Json,
}

/// `ejecta report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// The directory of an experiment, or a published `results.json`
    #[arg(value_name = "DIR|RESULTS")]
    pub from: PathBuf,
    /// Print it in this form, rather than write the whole report beside the results
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub format: Option<ReportFormat>,
    /// Write it into this directory: the form, or without one the whole report, with its logs
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// An earlier experiment of the same line of candidates, its report or its `results.json`: root
    /// causes that it had are told apart from new ones; may be given often, the first one first
    #[arg(long, value_name = "DIR|RESULTS", conflicts_with = "format")]
    pub earlier: Vec<PathBuf>,
}

/// `ejecta report --format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// One page
    Html,
    /// `results.json`, as docs/results.md describes it
    Json,
    /// A summary
    Markdown,
    /// What `ejecta run` prints at the end
    Text,
    /// Test results, one test case a crate
    Junit,
    /// The files of rust-lang/crater, for its readers: `results.json`, `config.json`,
    /// `retry-regressed-list.txt` and the logs (printed: only the first)
    CraterJson,
}

/// `ejecta compare`.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// The earlier experiment: a directory with a `results.json`, or such a file
    #[arg(value_name = "EARLIER")]
    pub earlier: PathBuf,
    /// The later one
    #[arg(value_name = "LATER")]
    pub later: PathBuf,
    /// How it is printed
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = CompareFormat::Markdown)]
    pub format: CompareFormat,
    /// Write a page, `compare.json` and `compare.md` into this directory, rather than print
    #[arg(long, value_name = "DIR", conflicts_with = "format")]
    pub out: Option<PathBuf>,
}

/// `ejecta compare --format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CompareFormat {
    /// A summary
    Markdown,
    /// One JSON object
    Json,
}

/// `ejecta replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// The directory of an experiment or its report, or its `results.json`
    #[arg(value_name = "RESULTS")]
    pub results: PathBuf,
    /// The crate, as the report names it: NAME-VERSION, or NAME where there is one of that name
    #[arg(value_name = "CRATE")]
    pub krate: String,
    /// How the crate is isolated
    #[arg(long, value_enum, default_value_t = SandboxChoice::Auto)]
    pub sandbox: SandboxChoice,
    /// The directory for what comes of it [default: ejecta-out/replay-CRATE]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    pub registry: RegistryArgs,
    #[command(flatten)]
    pub toolchains: ToolchainArgs,
}

/// `ejecta crates`.
#[derive(Debug, Args)]
pub struct CratesArgs {
    /// The selection
    #[arg(long_help = SELECTIONS)]
    pub selection: String,
    /// What `random-N` draws by
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// How they are printed
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = CratesFormat::Text)]
    pub format: CratesFormat,
    #[command(flatten)]
    pub registry: RegistryArgs,
}

const SELECTIONS: &str = "\
The selection:
  demo                       a dozen small, popular crates
  full                       every crate of the registry that has a usable release
  top-N                      the N most downloaded crates, the most downloaded first
  random-N                   N crates, drawn by `--seed`
  dependents:NAME            the crates whose newest release needs NAME, to run or to
                             build; what only tests, examples and benches need does not
                             count
  dependents:NAME@VERSION    only those that take this version of it
  dependents:NAME:all        those that depend on such a crate too, and so on
  list:NAME,NAME@VERSION     releases; without a version the newest that is not yanked
  list:ORG/REPO,URL@REV      git repositories, perhaps at a branch, tag or commit
  FILE, http(s)://ADDRESS    such a list, an entry a line; `#` starts a comment
  local:DIRECTORY            a crate, or a folder of crates
  results.json:VERDICT       the crates of earlier results that have this verdict (or one
                             of several, with commas), with their exact versions";

/// `ejecta crates --format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CratesFormat {
    /// A list, as `--crates FILE` reads it
    Text,
    /// One JSON object, with checksums and sources
    Json,
}

/// `ejecta denylist`.
#[derive(Debug, Subcommand)]
pub enum DenylistCommand {
    /// Check a denylist, and say how many crates it names
    Check {
        /// The file
        #[arg(default_value = "denylist.toml")]
        file: PathBuf,
    },
}

/// `ejecta completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// Which shell
    pub shell: clap_complete::Shell,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn resuming_takes_no_other_choices() {
        let parse = |args: &[&str]| Cli::try_parse_from([&["ejecta", "run"], args].concat());
        assert!(parse(&["--resume", "--out", "x"]).is_ok());
        assert!(parse(&["--resume", "--out", "x", "--jobs", "3"]).is_ok());
        assert!(parse(&["--resume"]).is_err());
        assert!(parse(&["--resume", "--out", "x", "--seed", "2"]).is_err());
    }
}
