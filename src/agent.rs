//! `ejecta agent`: runs the jobs of a server, whichever experiments they are of.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ejecta_agent::client::Client;
use ejecta_agent::contexts::{Machine, OnDemand};
use ejecta_agent::error::AgentError;
use ejecta_agent::fetch::GitStore;
use ejecta_agent::spool::Spool;
use ejecta_agent::worker::{self, Worker, WorkerEvent, WorkerOptions};
use ejecta_core::capability::{Capabilities, MEMORY_MIB};
use tokio_util::sync::CancellationToken;

use crate::cli::AgentArgs;
use crate::error::Failure;
use crate::exit::Exit;
use crate::http;
use crate::run::repositories::{self, Repositories};
use crate::run::sandbox::Wish;
use crate::run::{self, machine};
use crate::server::config::secret;

/// The longest pause between two tries to reach the server at the start.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Works until it is told to stop; then gives back what it has not finished.
///
/// # Errors
/// [`Failure`] when this machine or the token is not fit for it.
pub async fn agent(args: &AgentArgs) -> Result<Exit, Failure> {
    let token = secret(&args.server_token)?;
    let base = http::base(&args.server)?;
    let authority = http::authority(args.ca_file.as_deref())?;
    let client = Client::trusting(&base, token, authority.as_deref())?;
    let home = Home::take(&home_dir(args)?)?;
    let at_once = args.jobs.unwrap_or_else(run::processors);
    let capabilities = capabilities(&args.capabilities, at_once)?;
    let (store_dir, registry) = machine::open_registry(&args.registry)?;
    run::clear(&home.work())?;
    let opened = Repositories::new(Wish::of(&args.sandbox), &home.dir, &store_dir);
    let repositories::Opened {
        chosen,
        store: repositories,
    } = opened.into_opened(&home.dir).await?;
    for note in &chosen.notes {
        tracing::warn!("{note}");
    }
    let stop = CancellationToken::new();
    let signals = run::interrupts(stop.clone());
    let sandbox = Arc::clone(&chosen.sandbox);
    let ended = work(
        Setting {
            args,
            client,
            home: &home,
            at_once,
            capabilities,
            store: machine::open_store(&store_dir, registry)?,
            commits: machine::commits(&args.toolchains, &store_dir),
            repositories,
            sandbox: chosen.sandbox,
            description: chosen.description,
        },
        &stop,
    )
    .await;
    signals.abort();
    for failure in run::leave(&*sandbox, &home.work()).await {
        tracing::warn!(%failure, "something may be left behind, until the next start");
    }
    ended?;
    tracing::info!("stopped");
    Ok(Exit::Nothing)
}

/// What an agent works with.
struct Setting<'a> {
    args: &'a AgentArgs,
    client: Client,
    home: &'a Home,
    at_once: u32,
    capabilities: Capabilities,
    store: ejecta_registry::Store,
    commits: ejecta_agent::toolchain::Commits,
    repositories: GitStore,
    sandbox: Arc<dyn ejecta_agent::sandbox::Sandbox>,
    description: String,
}

async fn work(setting: Setting<'_>, stop: &CancellationToken) -> Result<(), Failure> {
    let spool = Spool::open(&setting.home.spool(setting.args))?;
    let Some(name) = begin(&setting.client, &spool, stop).await? else {
        return Ok(());
    };
    tracing::info!(
        agent = name, jobs = setting.at_once, capabilities = %setting.capabilities,
        sandbox = setting.description, "working for {}", setting.args.server
    );
    let contexts = OnDemand::new(Machine {
        client: setting.client.clone(),
        store: setting.store,
        repositories: setting.repositories,
        commits: setting.commits,
        sandbox: setting.sandbox,
        description: setting.description,
        work: setting.home.work(),
        patches: setting.home.dir.join("patches"),
        cargo_jobs: run::cargo_jobs(run::processors(), setting.at_once),
    });
    let options = WorkerOptions {
        name,
        capabilities: setting.capabilities,
        jobs: setting.at_once,
        until_done: false,
    };
    let worker = Worker::new(
        setting.client,
        spool,
        Arc::new(contexts),
        options,
        Arc::new(tell),
    );
    worker.run(stop).await?;
    Ok(())
}

/// Asks the server who we are, and hands in what an earlier process had finished; as long as it
/// takes to reach the server. `None` when it is time to stop.
async fn begin(
    client: &Client,
    spool: &Spool,
    stop: &CancellationToken,
) -> Result<Option<String>, Failure> {
    let mut pause = Duration::from_millis(500);
    loop {
        let begun = async {
            let me = client.me().await?;
            let handed_in = worker::flush_spool(client, spool).await?;
            Ok::<_, AgentError>((me, handed_in))
        };
        let error = match begun.await {
            Ok((me, handed_in)) => {
                if handed_in > 0 {
                    tracing::info!(handed_in, "handed in what was finished before");
                }
                let name = me.agent.ok_or_else(|| {
                    Failure::input("this token is no agent's")
                        .hint("`ejecta token create --agent NAME` makes one")
                })?;
                return Ok(Some(name));
            }
            Err(error) if error.class() == ejecta_agent::sandbox::ErrorClass::Transient => error,
            Err(error) => return Err(error.into()),
        };
        tracing::warn!(%error, "cannot begin yet, trying again");
        tokio::select! {
            () = stop.cancelled() => return Ok(None),
            () = tokio::time::sleep(worker::jittered(pause)) => {}
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn tell(event: WorkerEvent) {
    match event {
        WorkerEvent::Started { job } => tracing::info!(%job, "started"),
        WorkerEvent::Ended { job } => tracing::info!(%job, "ended"),
        WorkerEvent::Preparing { job } => tracing::debug!(%job, "preparing"),
        WorkerEvent::Running { job, side, nth } => tracing::debug!(%job, %side, nth, "running"),
        WorkerEvent::Failed { job, error } => tracing::warn!(%job, error, "failed"),
    }
}

/// The directory of an agent, held against other processes.
struct Home {
    dir: PathBuf,
    _lock: std::fs::File,
}

impl Home {
    fn take(dir: &Path) -> Result<Self, Failure> {
        let shown = dir.display();
        let wrong = |e: std::io::Error| Failure::to(format!("use `{shown}`: {e}"));
        fs_err::create_dir_all(dir).map_err(wrong)?;
        let dir = fs_err::canonicalize(dir).map_err(wrong)?;
        let lock = std::fs::File::create(dir.join(".lock")).map_err(wrong)?;
        if lock.try_lock().is_err() {
            return Err(
                Failure::input(format!("`{shown}` is in use by another agent"))
                    .hint("give each agent of a machine a `--dir` of its own"),
            );
        }
        Ok(Self { dir, _lock: lock })
    }

    /// Where jobs work; emptied at the start.
    fn work(&self) -> PathBuf {
        self.dir.join("work")
    }

    /// Where finished results wait.
    fn spool(&self, args: &AgentArgs) -> PathBuf {
        args.spool.clone().unwrap_or_else(|| self.dir.join("spool"))
    }
}

fn home_dir(args: &AgentArgs) -> Result<PathBuf, Failure> {
    if let Some(dir) = &args.dir {
        return Ok(dir.clone());
    }
    Ok(machine::store_dir(&args.registry)?.join("agent"))
}

/// What this machine can do, and what its operator says.
fn capabilities(said: &[String], at_once: u32) -> Result<Capabilities, Failure> {
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    let mut all = vec![
        format!("os={os}"),
        format!("arch={arch}"),
        format!("target={}", target(arch)),
    ];
    all.extend(memory_mib().map(|mib| format!("{MEMORY_MIB}={}", mib / u64::from(at_once.max(1)))));
    for text in said {
        let text = match text.contains('=') {
            true => text.clone(),
            false => format!("{text}=yes"),
        };
        let name = text.split_once('=').map_or("", |(name, _)| name);
        // What the operator says counts.
        all.retain(|own| !own.starts_with(&format!("{name}=")) || said.contains(own));
        all.push(text);
    }
    Capabilities::parse(all.iter().map(String::as_str))
        .map_err(|error| Failure::input(format!("`--capability`: {error}")))
}

/// The target that this program was built for.
fn target(arch: &str) -> String {
    let environment = if cfg!(target_env = "musl") {
        "musl"
    } else {
        "gnu"
    };
    format!("{arch}-unknown-linux-{environment}")
}

/// Memory of this machine, or of the control group that this process is in, in MiB.
fn memory_mib() -> Option<u64> {
    let machine = fs_err::read_to_string("/proc/meminfo").ok()?;
    let machine = machine.lines().find_map(|line| {
        let kib = line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?;
        kib.trim().parse::<u64>().ok()
    })? / 1024;
    let group = [
        "/sys/fs/cgroup/memory.max",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    ];
    let group = group.iter().find_map(|file| {
        let text = fs_err::read_to_string(file).ok()?;
        text.trim().parse::<u64>().ok()
    });
    Some(group.map_or(machine, |bytes| machine.min(bytes >> 20)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_operator_says_of_an_agent_counts() {
        let of = |said: &[&str]| {
            let said: Vec<String> = said.iter().map(ToString::to_string).collect();
            capabilities(&said, 2)
        };
        let own = of(&[]).expect("valid");
        assert_eq!(own.get("os"), Some("linux"));
        assert!(own.memory_mib().is_some_and(|mib| mib > 0));
        let said = of(&["gpu", "os=other", "memory-mib=123"]).expect("valid");
        assert_eq!(said.get("gpu"), Some("yes"));
        assert_eq!(said.get("os"), Some("other"));
        assert_eq!(said.memory_mib(), Some(123));
        for wrong in ["a b=c", "=x", "memory-mib=much", "x="] {
            assert!(of(&[wrong]).is_err(), "{wrong}");
        }
        assert!(of(&["a=1", "a=2"]).is_err(), "twice");
    }
}
