//! What can be said to a fleet: a server, its agents, tokens, and experiments on a server.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand, ValueEnum};
use ejecta_core::compare::Verdict;
use ejecta_core::experiment::{CapLints, ExperimentName};
use ejecta_core::lifecycle::State;
use ejecta_core::mode::{Mode, Scope};
use ejecta_core::toolchain::ToolchainSpec;
use ejecta_server::auth::Permission;

use super::{ChoiceArgs, MessageFormat, RegistryArgs, SandboxArgs, ToolchainArgs};

/// `ejecta server`.
#[derive(Debug, Clone, Args)]
pub struct ServerArgs {
    /// The configuration, in TOML
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    #[command(flatten)]
    pub logging: LogArgs,
}

/// How a service logs.
#[derive(Debug, Clone, Args)]
pub struct LogArgs {
    /// How the log is written
    #[arg(
        long = "log-format",
        value_enum,
        value_name = "FORMAT",
        default_value_t = LogFormat::Text,
        env = "EJECTA_LOG_FORMAT",
        display_order = 901
    )]
    pub format: LogFormat,
    /// Send traces to the OpenTelemetry collector at this address, by OTLP over HTTP, such as
    /// http://127.0.0.1:4318
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "OTEL_EXPORTER_OTLP_ENDPOINT",
        display_order = 902
    )]
    pub otlp: Option<String>,
}

/// `--log-format`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people
    #[default]
    Text,
    /// One JSON object a line, with what was said as `message` and every field by its name
    Json,
}

/// `ejecta agent`.
#[derive(Debug, Clone, Args)]
pub struct AgentArgs {
    /// The server's address, such as `https://ejecta.example.org`
    #[arg(long, value_name = "URL", env = "EJECTA_SERVER")]
    pub server: String,
    /// A file with the agent's token, which also names the agent
    #[arg(long = "token-file", value_name = "FILE", env = "EJECTA_TOKEN_FILE")]
    pub server_token: PathBuf,
    /// A file with certificates to trust beside those of the system, in PEM
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Something that this agent can do or has, for experiments that ask for it; `os`, `arch`,
    /// `target` and `memory-mib` (of one job) are found out where they are not said
    #[arg(long = "capability", value_name = "NAME[=VALUE]")]
    pub capabilities: Vec<String>,
    /// Crates at once [default: the number of processors]
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub jobs: Option<u32>,
    /// The agent's own directory [default: `agent` in the store]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Where finished results wait until the server has them [default: `spool` in `--dir`]
    #[arg(long, value_name = "DIR")]
    pub spool: Option<PathBuf>,
    #[command(flatten)]
    pub sandbox: SandboxArgs,
    #[command(flatten)]
    pub registry: RegistryArgs,
    #[command(flatten)]
    pub toolchains: ToolchainArgs,
    #[command(flatten)]
    pub logging: LogArgs,
}

/// `ejecta token`.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token, and print it: it is shown only now
    Create(TokenCreateArgs),
    /// List tokens, without their secrets
    List {
        /// The server's configuration
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// How they are printed
        #[arg(long = "message-format", value_enum, value_name = "FORMAT", default_value_t = MessageFormat::Human)]
        format: MessageFormat,
    },
    /// Take a token back, for good
    Revoke {
        /// The token's id: its middle part, and what `list` shows first
        id: String,
        /// The server's configuration
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
}

/// `ejecta token create`.
#[derive(Debug, Clone, Args)]
pub struct TokenCreateArgs {
    /// The server's configuration
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// What the token allows: `agent` (run jobs), `submit` (create and change experiments), `admin`
    /// (that, and tokens), `read` (look)
    #[arg(
        long = "scope",
        value_name = "SCOPE",
        value_delimiter = ',',
        required_unless_present = "agent"
    )]
    pub scopes: Vec<Permission>,
    /// The name of the agent that it is for
    #[arg(long, value_name = "NAME")]
    pub agent: Option<String>,
    /// What it is for, for people
    #[arg(long, value_name = "TEXT")]
    pub label: Option<String>,
    /// In how many days it expires; 0 for never
    #[arg(long, value_name = "N", default_value_t = 365)]
    pub days: u32,
    /// Write the token into this new file, which only you can read, and print its id
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// How it is printed
    #[arg(long = "message-format", value_enum, value_name = "FORMAT", default_value_t = MessageFormat::Human)]
    pub format: MessageFormat,
}

/// The server of `ejecta experiment`.
#[derive(Debug, Clone, Args)]
pub struct ServerAddress {
    /// The server's address
    #[arg(long, value_name = "URL", env = "EJECTA_SERVER")]
    pub server: String,
    /// A file with a token of the scope `submit`, or `read` to look only
    #[arg(long, value_name = "FILE", env = "EJECTA_TOKEN_FILE")]
    pub token_file: PathBuf,
    /// A file with certificates to trust beside those of the system, in PEM
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// How answers are told: for people, or as one JSON object a line
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = MessageFormat::Human)]
    pub message_format: MessageFormat,
}

/// `ejecta experiment`.
#[derive(Debug, Subcommand)]
pub enum ExperimentCommand {
    /// Make an experiment, which waits for agents then
    Create(Box<CreateArgs>),
    /// List experiments, the newest first
    List(ListArgs),
    /// Say how far an experiment is
    Show {
        /// Its name
        name: ExperimentName,
        #[command(flatten)]
        address: ServerAddress,
    },
    /// Tell how an experiment gets on until it has ended, and end as `ejecta run` does
    Watch(WatchArgs),
    /// Change an experiment: while it is queued all of it, while it runs its priority and what it
    /// asks of agents
    Edit(Box<EditArgs>),
    /// End an experiment for good; what it has found is kept
    Abort {
        /// Its name
        name: ExperimentName,
        #[command(flatten)]
        address: ServerAddress,
    },
    /// Make an experiment over crates of an earlier one that have chosen verdicts
    Retry(RetryArgs),
    /// Have the report of an experiment written again
    Report {
        /// Its name
        name: ExperimentName,
        #[command(flatten)]
        address: ServerAddress,
    },
}

/// `ejecta experiment create`.
#[derive(Debug, Clone, Args)]
pub struct CreateArgs {
    /// The experiment's name
    pub name: ExperimentName,
    #[command(flatten)]
    pub choices: ChoiceArgs,
    /// Run what the server's denylist excludes, too
    #[arg(long)]
    pub ignore_denylist: bool,
    /// Higher comes first
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        allow_negative_numbers = true
    )]
    pub priority: i32,
    /// What agents must have, such as `arch=aarch64`, `memory-mib=8192`, or a name of your own
    #[arg(long, value_name = "NAME[=VALUE]")]
    pub require: Vec<String>,
    #[command(flatten)]
    pub address: ServerAddress,
}

/// `ejecta experiment list`.
#[derive(Debug, Clone, Args)]
pub struct ListArgs {
    /// Those in one of these states: queued, running, needs-report, generating-report, completed,
    /// aborted, failed
    #[arg(long, value_name = "STATE", value_delimiter = ',')]
    pub state: Vec<State>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub limit: u32,
    #[command(flatten)]
    pub address: ServerAddress,
}

/// `ejecta experiment watch`.
#[derive(Debug, Clone, Args)]
pub struct WatchArgs {
    /// Its name
    pub name: ExperimentName,
    /// How often it is asked for, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub every: u64,
    #[command(flatten)]
    pub address: ServerAddress,
}

/// `ejecta experiment edit`.
#[derive(Debug, Clone, Args)]
pub struct EditArgs {
    /// Its name
    pub name: ExperimentName,
    /// The toolchain that is known to be good
    #[arg(long, value_name = "TOOLCHAIN")]
    pub baseline: Option<ToolchainSpec>,
    /// The toolchain under test
    #[arg(long, value_name = "TOOLCHAIN")]
    pub candidate: Option<ToolchainSpec>,
    /// Which crates
    #[arg(long, value_name = "SELECTION")]
    pub crates: Option<String>,
    /// What is done with each crate
    #[arg(long, value_name = "MODE")]
    pub mode: Option<Mode>,
    /// What part of each crate
    #[arg(long, value_name = "SCOPE")]
    pub scope: Option<Scope>,
    /// Cap lints
    #[arg(long, value_name = "LEVEL")]
    pub cap_lints: Option<CapLints>,
    /// The order of the crates
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Whether the denylist does not count: `true` or `false`
    #[arg(long, value_name = "BOOL")]
    pub ignore_denylist: Option<bool>,
    /// Higher comes first
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub priority: Option<i32>,
    /// What agents must have, in place of what was asked before
    #[arg(long, value_name = "NAME[=VALUE]")]
    pub require: Vec<String>,
    #[command(flatten)]
    pub address: ServerAddress,
}

/// `ejecta experiment retry`.
#[derive(Debug, Clone, Args)]
pub struct RetryArgs {
    /// The experiment whose crates are tried again
    pub parent: ExperimentName,
    /// The name of the new one [default: the parent's, with `-retry`]
    #[arg(long, value_name = "NAME")]
    pub name: Option<ExperimentName>,
    /// The verdicts that are tried again [default: those worth it, as in
    /// `retry-regressed-list.txt`]
    #[arg(long, value_name = "VERDICT", value_delimiter = ',')]
    pub verdicts: Vec<VerdictName>,
    /// Its priority [default: the parent's]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub priority: Option<i32>,
    #[command(flatten)]
    pub address: ServerAddress,
}

/// A verdict on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerdictName(pub Verdict);

impl FromStr for VerdictName {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let known = || Verdict::ALL.map(Verdict::name).join(", ");
        let found = Verdict::ALL.into_iter().find(|v| v.name() == text);
        let found = found.map(Self);
        found.ok_or_else(|| format!("`{text}` is no verdict; there are: {}", known()))
    }
}
