//! Clocks that jump: the one by which people tell the time, under one process, forward and back.

use std::path::{Path, PathBuf};
use std::process::Command;

use jiff::{SignedDuration, Timestamp};

use crate::work::CRATES;
use crate::yard::Yard;

const AGENTS: [&str; 2] = ["one", "two"];

/// One job at a time each: work that lasts for longer than the jumps.
const SLOW: [&str; 2] = ["--jobs", "1"];

/// Tells the processes that load it another time (Debian's package `libfaketime`).
const LIBRARY: &str = "faketime/libfaketimeMT.so.1";

fn library() -> Option<PathBuf> {
    let dirs = fs_err::read_dir("/usr/lib").into_iter().flatten().flatten();
    let places = dirs.map(|dir| dir.path().join(LIBRARY));
    places
        .chain([Path::new("/usr/lib").join(LIBRARY)])
        .find(|file| file.is_file())
}

/// A clock that a test sets.
struct Clock {
    library: PathBuf,
    file: PathBuf,
}

impl Clock {
    fn new_or_skip(yard: &Yard) -> Option<Self> {
        let Some(library) = library() else {
            ejecta_test_support::skip(
                "EJECTA_REQUIRE_ROOT",
                "libfaketime (Debian's package `faketime`)",
            );
            return None;
        };
        let clock = Self {
            library,
            file: yard.fleet.lab.path("clock"),
        };
        clock.set(0);
        Some(clock)
    }

    /// Sets it that many seconds before or after the real one.
    fn set(&self, seconds: i64) {
        let new = self.file.with_extension("new");
        fs_err::write(&new, format!("{seconds:+}\n")).expect("writable");
        fs_err::rename(&new, &self.file).expect("writable");
    }

    /// Has a process go by it. Only what people call the time: what measures durations is left.
    fn give(&self, command: &mut Command) {
        command
            .env("LD_PRELOAD", &self.library)
            .env("FAKETIME_TIMESTAMP_FILE", &self.file)
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("FAKETIME_CACHE_DURATION", "1");
    }
}

/// Forward, back, and to the right time again, each until the process has said something by it, or
/// has no more to say.
fn jumps(yard: &mut Yard, clock: &Clock, process: &str) {
    let hour = 3600;
    let jumps = [[hour, -hour, 0], [-hour, hour, 0], [hour, 0, -hour]];
    // Early, so that there is much left to be said.
    yard.moment_up_to(CRATES / 6);
    for offset in yard.dice.one_of(&jumps) {
        let seen = leaps(yard, process);
        clock.set(offset);
        yard.until("a line by the new clock", |shown| {
            shown["state"] == "completed" || leaps(yard, process) > seen
        });
        std::thread::sleep(yard.dice.millis(0, 500));
    }
}

pub fn the_clock_of_the_server_jumps(yard: &mut Yard) {
    let Some(clock) = Clock::new_or_skip(yard) else {
        return;
    };
    let _server = yard.fleet.server_with(|command| clock.give(command));
    let _agents = AGENTS.map(|name| yard.fleet.agent(name, &SLOW));
    yard.begin();
    jumps(yard, &clock, "server");
    yard.check(&AGENTS);
    clock_was_seen(yard, "server");
}

pub fn the_clock_of_an_agent_jumps(yard: &mut Yard) {
    let Some(clock) = Clock::new_or_skip(yard) else {
        return;
    };
    let _server = yard.fleet.server();
    let address = yard.fleet.address();
    let _one = yard
        .fleet
        .agent_with(&address, "one", &SLOW, |command| clock.give(command));
    let _two = yard.fleet.agent("two", &SLOW);
    yard.begin();
    jumps(yard, &clock, "one");
    yard.check(&AGENTS);
    clock_was_seen(yard, "one");
}

/// How often a line of its log has a time more than half an hour from that of the line before.
fn leaps(yard: &Yard, process: &str) -> usize {
    let log = fs_err::read_to_string(yard.fleet.lab.path(format!("{process}.log")));
    let log = log.expect("a log");
    let times: Vec<Timestamp> = log
        .lines()
        .filter_map(|line| line.split(' ').next()?.parse().ok())
        .collect();
    let far =
        |pair: &&[Timestamp]| pair[0].duration_until(pair[1]).abs() > SignedDuration::from_mins(30);
    times.windows(2).filter(far).count()
}

/// Otherwise nothing was tested. Of any two jumps that follow one another, or come first, one is
/// back.
fn clock_was_seen(yard: &Yard, process: &str) {
    let (seen, logs) = (leaps(yard, process), || yard.logs());
    assert!(seen >= 2, "{seen} jumps of {process}{}", logs());
}
