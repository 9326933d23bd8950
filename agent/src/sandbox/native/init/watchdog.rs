//! What stands in for cgroups: a thread of the first process that looks at `/proc`.
//!
//! It sees what the kernel shows of the PID namespace, which no process inside can change. What
//! grows and shrinks between two looks it does not see.

use std::fs;
use std::io;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::say;
use crate::sandbox::native::wire::{Instead, Report};

/// Between two looks, at least.
const PERIOD: Duration = Duration::from_millis(20);
/// How many times as long as a look took we wait before the next.
const REST: u32 = 8;
/// Between two reports.
const REPORT_PERIOD: Duration = Duration::from_millis(100);
/// Nanoseconds of a tick of the figures in `/proc`, the same on every machine.
const TICK_NS: u64 = 10_000_000;
/// File systems in memory, which belong to no process.
const IN_MEMORY: [&str; 2] = ["/tmp", "/dev/shm"];

/// A watchdog that runs until the process ends.
pub(super) struct Watchdog(());

/// Starts it where there is something to watch or measure.
pub(super) fn start(instead: &Instead, control: &UnixStream) -> io::Result<Option<Watchdog>> {
    if !instead.measure {
        return Ok(None);
    }
    let control = control.try_clone()?;
    let limit = instead.memory_bytes;
    thread::Builder::new()
        .name("watchdog".to_owned())
        .stack_size(256 * 1024)
        .spawn(move || watch(limit, &control))?;
    Ok(Some(Watchdog(())))
}

/// Processes and threads besides the first process.
pub(super) fn tasks() -> u32 {
    look().iter().map(|process| process.tasks).sum()
}

fn watch(limit: Option<u64>, control: &UnixStream) {
    let mut rest = PERIOD;
    let mut reported = Instant::now();
    loop {
        thread::sleep(rest);
        let started = Instant::now();
        let processes = look();
        if let Some(limit) = limit
            && is_over(&processes, limit)
            && kill_largest(&processes)
        {
            // Without a listener the process is about to end.
            let _ = say(control, &Report::KilledForMemory);
        }
        if started.duration_since(reported) >= REPORT_PERIOD {
            let report = Report::Sample {
                cpu_ns: cpu_ns(&processes),
                tasks: processes.iter().map(|process| process.tasks).sum(),
            };
            let _ = say(control, &report);
            reported = started;
        }
        rest = PERIOD.max(started.elapsed() * REST);
    }
}

/// One process, as the kernel shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Process {
    pid: i32,
    /// Its CPU time and that of its children that have ended, in ticks.
    ticks: u64,
    tasks: u32,
    /// Bytes that are in no file.
    memory: u64,
}

/// All processes besides the first.
fn look() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != 1)
        .filter_map(process)
        .collect()
}

/// `None` when it is gone.
fn process(pid: i32) -> Option<Process> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let status = fs::read(format!("/proc/{pid}/status")).ok()?;
    let stat = parse_stat(&String::from_utf8_lossy(&stat))?;
    let memory = sum_of(
        &String::from_utf8_lossy(&status),
        &["RssAnon:", "RssShmem:", "VmSwap:"],
    );
    Some(Process {
        pid,
        ticks: stat.own_ticks + stat.children_ticks,
        tasks: stat.tasks,
        memory,
    })
}

/// What `/proc/PID/stat` says of a process.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    /// CPU time of its own, in ticks.
    own_ticks: u64,
    /// CPU time of its children that have ended and were waited for, in ticks.
    children_ticks: u64,
    tasks: u32,
}

/// Reads `/proc/PID/stat`; the name in it may hold anything.
fn parse_stat(stat: &str) -> Option<Stat> {
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    // The state, after the name, is the third field of the manual page's.
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(Stat {
        own_ticks: field(14)? + field(15)?,
        children_ticks: field(16)? + field(17)?,
        tasks: u32::try_from(field(20)?).ok()?,
    })
}

/// Bytes of the named lines, which are in KiB.
fn sum_of(text: &str, names: &[&str]) -> u64 {
    text.lines()
        .filter_map(|line| {
            let name = names.iter().find(|name| line.starts_with(**name))?;
            let value = line[name.len()..].trim().strip_suffix(" kB")?;
            value.trim().parse::<u64>().ok()
        })
        .sum::<u64>()
        .saturating_mul(1024)
}

/// Whether all together have more memory than `limit`. Memory that is shared is counted once
/// where the quick sum says that it could be too much.
fn is_over(processes: &[Process], limit: u64) -> bool {
    let files: u64 = IN_MEMORY.iter().filter_map(|path| used(path)).sum();
    let quick: u64 = processes.iter().map(|process| process.memory).sum();
    if quick.saturating_add(files) <= limit {
        return false;
    }
    let exact: u64 = processes.iter().map(share).sum();
    exact.saturating_add(files) > limit
}

/// A process's share of the memory that it has.
fn share(process: &Process) -> u64 {
    let path = format!("/proc/{}/smaps_rollup", process.pid);
    match fs::read_to_string(path) {
        Ok(text) => sum_of(&text, &["Pss_Anon:", "Pss_Shmem:", "SwapPss:"]),
        // It hides, or has just ended.
        Err(_) => process.memory,
    }
}

fn used(path: &str) -> Option<u64> {
    let found = rustix::fs::statvfs(path).ok()?;
    Some((found.f_blocks.saturating_sub(found.f_bfree)).saturating_mul(found.f_frsize))
}

fn kill_largest(processes: &[Process]) -> bool {
    let largest = processes.iter().max_by_key(|process| process.memory);
    let pid = largest.and_then(|process| Pid::from_raw(process.pid));
    pid.is_some_and(|pid| kill_process(pid, Signal::KILL).is_ok())
}

/// CPU time of all that ran so far: orphans and the step are this process's children. What this
/// process itself uses, for watching, is no progress of the step's.
fn cpu_ns(processes: &[Process]) -> u64 {
    let ours = fs::read_to_string("/proc/self/stat").ok();
    let ended = ours
        .and_then(|stat| parse_stat(&stat))
        .map_or(0, |stat| stat.children_ticks);
    let alive: u64 = processes.iter().map(|process| process.ticks).sum();
    (ended + alive).saturating_mul(TICK_NS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_whatever_a_process_calls_itself() {
        let stat = "7 (a) R 1 (b)) S 1 7 7 0 -1 4194560 100 0 0 0 11 12 13 14 20 0 5 0 99 1 2";
        let read = Stat {
            own_ticks: 23,
            children_ticks: 27,
            tasks: 5,
        };
        assert_eq!(parse_stat(stat), Some(read));
        assert_eq!(parse_stat("7 (short) S 1"), None);
        assert!(process(std::process::id().cast_signed()).unwrap().memory > 0);
        assert_eq!(process(0), None);
    }

    #[test]
    fn memory_is_what_is_in_no_file() {
        let status = "VmRSS:\t 900 kB\nRssAnon:\t  10 kB\nRssFile:\t 800 kB\nRssShmem:\t 2 kB\n";
        assert_eq!(sum_of(status, &["RssAnon:", "RssShmem:"]), 12 * 1024);
        assert_eq!(sum_of("RssAnon: much\n", &["RssAnon:"]), 0);
    }
}
