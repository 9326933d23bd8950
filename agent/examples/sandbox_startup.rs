//! What a sandbox costs: both backends in turn, each run a fresh instance with one step that does
//! nothing, from its making to its end.
//!
//! `cargo run --release -p ejecta-agent --example sandbox_startup [RUNS]`, on a quiet machine: what
//! a daemon spends is only seen in the processor time of the whole machine.

#![expect(clippy::print_stdout, reason = "it is what it is for")]

use std::time::{Duration, Instant};

use ejecta_agent::sandbox::docker::{DockerOptions, DockerSandbox};
use ejecta_agent::sandbox::native::{INIT_ARGUMENT, NativeOptions, NativeSandbox, init_main};
use ejecta_agent::sandbox::{Command, Exit, LineSink, Sandbox, SandboxSpec, Stream};
use ejecta_core::limits::Limits;
use nix::sys::resource::{UsageWho, getrusage};

/// Runs of each backend, unless the command line says how many.
const RUNS: usize = 20;
/// A tick of the kernel's figures.
const TICK: Duration = Duration::from_millis(10);

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.next_if(|first| first == INIT_ARGUMENT).is_some() {
        std::process::exit(init_main(arguments));
    }
    let runs = arguments.next().map_or(Ok(RUNS), |runs| runs.parse())?;
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(compare(runs))
}

async fn compare(runs: usize) -> Result<()> {
    let native = NativeSandbox::open(NativeOptions::default()).await;
    let docker = DockerSandbox::connect(DockerOptions::default()).await;
    let mut sandboxes: Vec<Box<dyn Sandbox>> = Vec::new();
    match docker {
        Ok(docker) => sandboxes.push(Box::new(docker)),
        Err(error) => println!("without docker: failed to {error}"),
    }
    match native {
        Ok(native) => sandboxes.push(Box::new(native)),
        Err(error) => println!("without native: failed to {error}"),
    }
    let mut costs: Vec<Vec<Cost>> = sandboxes.iter().map(|_| Vec::new()).collect();
    for _ in 0..runs {
        for (sandbox, costs) in sandboxes.iter().zip(&mut costs) {
            costs.push(measure(sandbox.as_ref()).await?);
        }
    }
    println!("{runs} runs each, in turn; per run:");
    println!("backend   wall, median   CPU of us and ours   CPU of the machine");
    for (sandbox, costs) in sandboxes.iter().zip(&mut costs) {
        costs.sort_by_key(|cost| cost.wall);
        let mean = |of: fn(&Cost) -> Duration| {
            let sum: Duration = costs.iter().map(of).sum();
            milliseconds(sum / u32::try_from(costs.len().max(1)).unwrap_or(u32::MAX))
        };
        println!(
            "{:7}   {:>9} ms   {:>15} ms   {:>15} ms",
            sandbox.name(),
            milliseconds(
                costs
                    .get(costs.len() / 2)
                    .map_or(Duration::ZERO, |c| c.wall)
            ),
            mean(|cost| cost.own),
            mean(|cost| cost.machine),
        );
        sandbox.shutdown().await?;
    }
    Ok(())
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1000.0)
}

/// What one run cost.
struct Cost {
    wall: Duration,
    /// Processor time of this process and of what it started.
    own: Duration,
    /// Processor time of everything on the machine, in ticks.
    machine: Duration,
}

async fn measure(sandbox: &dyn Sandbox) -> Result<Cost> {
    let (started, own, machine) = (Instant::now(), own()?, machine()?);
    let spec = SandboxSpec {
        name: "startup".to_owned(),
        mounts: Vec::new(),
        limits: Limits::default(),
    };
    let command = Command {
        argv: vec!["/usr/bin/true".to_owned()],
        env: Vec::new(),
        cwd: "/".to_owned(),
    };
    let mut instance = sandbox.create(&spec).await?;
    let run = instance.run(&command, &mut Nowhere).await?;
    instance.destroy().await?;
    if run.exit != Exit::Code(0) {
        return Err(format!("the step ended with {:?}", run.exit).into());
    }
    Ok(Cost {
        wall: started.elapsed(),
        own: self::own()?.saturating_sub(own),
        machine: self::machine()?.saturating_sub(machine),
    })
}

struct Nowhere;

impl LineSink for Nowhere {
    fn line(&mut self, _stream: Stream, _line: &[u8]) {}
}

fn own() -> Result<Duration> {
    let mut sum = Duration::ZERO;
    for who in [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN] {
        let usage = getrusage(who)?;
        for time in [usage.user_time(), usage.system_time()] {
            let microseconds = time.tv_sec() * 1_000_000 + time.tv_usec();
            sum += Duration::from_micros(u64::try_from(microseconds)?);
        }
    }
    Ok(sum)
}

/// All but the idle time of all processors.
fn machine() -> Result<Duration> {
    let stat = std::fs::read_to_string("/proc/stat")?;
    let all = stat.lines().next().unwrap_or_default();
    let ticks = all.split_ascii_whitespace().skip(1).map(str::parse);
    let ticks: Vec<u32> = ticks.collect::<std::result::Result<_, _>>()?;
    // Idle, and waiting for disks, are the fourth and the fifth.
    let busy = ticks.iter().take(8).enumerate();
    let busy: u32 = busy
        .filter(|(n, _)| !matches!(n, 3 | 4))
        .map(|(_, t)| t)
        .sum();
    Ok(TICK * busy)
}
