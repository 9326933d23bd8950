//! A fleet that builds nothing: any number of agents with the real client and the real protocol
//! against a real server, to see what the server can take. `benches/fleet.sh` starts both.
//!
//! `prepare` puts an experiment and a token for each agent into the store; `run` is the fleet. Jobs
//! take the time that they are told to, and have the records of the synthetic experiments of the
//! report's bench; logs are as large as they are told to be.

mod agents;
mod figures;
mod prepare;
mod script;

/// The experiments of the report's bench, which never ran.
#[path = "../../server/publish/examples/report_scale/synthetic.rs"]
mod synthetic;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[derive(Parser)]
#[command(about = "Agents that build nothing, against a real server")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Puts an experiment, and tokens, into a store that no server has opened.
    Prepare {
        /// A file of SQLite, or the address of a PostgreSQL database.
        #[arg(long)]
        store: String,
        /// Crates, each with one job.
        #[arg(long)]
        crates: u64,
        /// Agents, each with a token.
        #[arg(long)]
        agents: u32,
        /// Where the tokens go, one a line, the one that reads first.
        #[arg(long)]
        tokens: PathBuf,
    },
    /// Works until no job is left, and prints one line of JSON.
    Run(RunArgs),
}

#[derive(clap::Args, Clone)]
struct RunArgs {
    /// The server's address.
    #[arg(long)]
    server: String,
    /// The server's process, whose memory and time are read.
    #[arg(long)]
    pid: u32,
    /// What `prepare` has written.
    #[arg(long)]
    tokens: PathBuf,
    /// The crates of the experiment.
    #[arg(long)]
    crates: u64,
    /// Jobs at once of each agent.
    #[arg(long, default_value_t = 1)]
    slots: u32,
    /// What a job takes, on average.
    #[arg(long, default_value_t = 800)]
    job_ms: u64,
    /// The least and the most that the log of a job has, in KiB before compression.
    #[arg(long, default_value_t = 20)]
    least_log_kib: u64,
    #[arg(long, default_value_t = 100)]
    most_log_kib: u64,
    /// Results for which one figure of the rate is printed.
    #[arg(long, default_value_t = 10_000)]
    window: u64,
    /// What the line is called.
    #[arg(long)]
    name: String,
}

/// How often the agents of a fleet send heartbeats, as real ones do.
const HEARTBEAT: Duration = Duration::from_secs(5);

#[tokio::main]
#[expect(clippy::print_stdout, reason = "this is what it is for")]
async fn main() -> Result<()> {
    match Args::parse().command {
        Command::Prepare {
            store,
            crates,
            agents,
            tokens,
        } => prepare::prepare(&store, crates, agents, &tokens).await,
        Command::Run(args) => {
            println!("{}", agents::run(args).await?);
            Ok(())
        }
    }
}
