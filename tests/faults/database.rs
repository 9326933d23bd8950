//! Databases that die: PostgreSQL as a server of its own; SQLite with the process that it is in.

use std::time::{Duration, Instant, SystemTime};

use crate::yard::{LEASE_MILLIS, Yard};

const AGENTS: [&str; 2] = ["one", "two"];

pub fn the_database_is_killed_while_it_writes(yard: &mut Yard) {
    let mut server = yard.fleet.server();
    let _agents = AGENTS.map(|name| yard.agent(name));
    yard.begin();
    for _ in 0..3 {
        yard.moment();
        match &yard.postgres {
            Some(postgres) => postgres.restart(),
            None => {
                until_it_writes(yard);
                server.kill();
                server = yard.fleet.server();
            }
        }
    }
    yard.check(&AGENTS);
    drop(server);
}

/// Returns while a transaction is being written, or just was.
fn until_it_writes(yard: &Yard) {
    let log = yard.fleet.lab.path("ejecta.db-wal");
    let written = || -> Option<(u64, SystemTime)> {
        let metadata = fs_err::metadata(&log).ok()?;
        Some((metadata.len(), metadata.modified().ok()?))
    };
    let (before, begun) = (written(), Instant::now());
    // Heartbeats alone are written several times in a lease.
    while written() == before && begun.elapsed() < Duration::from_millis(LEASE_MILLIS * 4) {
        std::thread::yield_now();
    }
}

pub fn the_database_is_away_for_longer_than_a_lease(yard: &mut Yard) {
    let mut server = yard.fleet.server();
    let _agents = AGENTS.map(|name| yard.agent(name));
    yard.begin();
    yard.moment();
    let away = yard.dice.millis(LEASE_MILLIS * 5 / 4, LEASE_MILLIS * 2);
    match &yard.postgres {
        Some(postgres) => {
            postgres.kill();
            std::thread::sleep(away);
            postgres.start_again();
        }
        None => {
            server.kill();
            std::thread::sleep(away);
            server = yard.fleet.server();
        }
    }
    yard.check(&AGENTS);
    no_work_was_taken_away(yard, &server.log());
}

/// Agents were alive all the time, and had time to say so: what they had begun stayed theirs. A
/// grant whose answer was lost with the server is nobody's, and may be taken away.
fn no_work_was_taken_away(yard: &Yard, server: &str) {
    let taken = server
        .lines()
        .filter(|line| line.contains("a lease was taken away"));
    for line in taken {
        let between = |from: &str, to: &str| {
            let rest = line.split_once(from).map(|(_, rest)| rest);
            rest.and_then(|rest| rest.split_once(to))
                .map(|(found, _)| found)
        };
        let job = between("job=", " agent=").expect("a job");
        let agent = between("agent=\"", "\"").expect("an agent");
        let log = fs_err::read_to_string(yard.fleet.lab.path(format!("{agent}.log")));
        let log = log.expect("a log");
        let begun = format!(" started job={job}");
        // Lines begin with their times.
        let had = log.lines().any(|own| own.ends_with(&begun) && own < line);
        assert!(!had, "{line}\n{log}");
    }
}
