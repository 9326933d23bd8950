//! The rules of the queue: whose job is next, and what becomes of one that came back.
//!
//! Values in, values out: stores hold the queue and carry these rules out.

use crate::compare;
use crate::job;
use crate::limits::LimitHit;
use crate::outcome::{JobRecord, Reason};

/// How many leases of a job have to expire before the job is held to be what kills its agents.
pub const QUARANTINE_AFTER: u32 = 3;

/// The largest size class of a job.
pub const MAX_SIZE: u32 = 3;

/// An experiment that wants jobs to be granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Higher comes first.
    pub priority: i32,
    /// Its place in the order of creation.
    pub order: i64,
    /// Jobs that agents have now.
    pub in_flight: u64,
    /// Jobs that wait.
    pub waiting: u64,
}

/// Shares `slots` out: says for each experiment (by its index) how many jobs it is granted.
///
/// The highest priority that has anything waiting takes all it can. Experiments of the same
/// priority take turns: each slot goes to the one with the fewest jobs in flight, the older one
/// where two have as many. So a small experiment beside a full one has half of the fleet until it
/// is done, and what it does not need the other has.
pub fn share(slots: u64, standings: &[Standing]) -> Vec<u64> {
    let mut granted = vec![0; standings.len()];
    for _ in 0..slots {
        let next = standings
            .iter()
            .enumerate()
            .filter(|(at, s)| granted[*at] < s.waiting)
            .min_by_key(|(at, s)| {
                let in_flight = s.in_flight.saturating_add(granted[*at]);
                (std::cmp::Reverse(s.priority), in_flight, s.order)
            });
        let Some((at, _)) = next else {
            break;
        };
        granted[at] += 1;
    }
    granted
}

/// What becomes of a job whose agent fell silent or stuck.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterLoss {
    /// It waits again.
    Requeue,
    /// Its attempts are used up.
    GiveUp,
    /// It was there each time that an agent fell silent: no agent gets it any more.
    Quarantine,
}

/// Decides on a job that was granted `attempts` times, whose lease was lost `losses` times, this
/// one included.
pub fn after_loss(attempts: u32, losses: u32) -> AfterLoss {
    if losses >= QUARANTINE_AFTER {
        AfterLoss::Quarantine
    } else if job::may_retry(attempts) {
        AfterLoss::Requeue
    } else {
        AfterLoss::GiveUp
    }
}

/// What is told of a job that was quarantined after `losses` losses with `agents`.
pub fn quarantine_message(losses: u32, agents: &[String]) -> String {
    let names: Vec<String> = agents.iter().map(|name| format!("`{name}`")).collect();
    format!(
        "quarantined: {losses} agents fell silent while they had it ({})",
        names.join(", ")
    )
}

/// Memory of a job in size class `size` whose own bound is `bytes`: it doubles with each class.
pub fn memory_in_class(bytes: u64, size: u32) -> u64 {
    bytes.saturating_mul(1 << size.min(MAX_SIZE))
}

/// The largest size class for which an agent has the memory, where a job of class 0 is bounded by
/// `bytes`. An agent that says nothing of its memory gets jobs of class 0 only.
pub fn largest_class(bytes: u64, memory_mib: Option<u64>) -> u32 {
    const MIB: u64 = 1024 * 1024;
    let has = memory_mib.unwrap_or(0).saturating_mul(MIB);
    (1..=MAX_SIZE)
        .rev()
        .find(|size| memory_in_class(bytes, *size) <= has)
        .unwrap_or(0)
}

/// Whether a run that decides the verdict ended for want of memory, so that the job is worth
/// another try with more.
pub fn ran_out_of_memory(record: &JobRecord) -> bool {
    let (baselines, candidates) = compare::deciding_runs(&record.runs);
    baselines.iter().chain(&candidates).any(
        |run| matches!(run.reason(), Some(Reason::Limit { limit, .. }) if *limit == LimitHit::Oom),
    )
}

/// Whether a job goes to another agent than `agent`, which failed it: only where one is alive that
/// could take it and has not failed it.
///
/// `failed` are the agents that failed the job, `able` those that are alive and fit.
pub fn is_for_others(agent: &str, failed: &[String], able: &[String]) -> bool {
    failed.iter().any(|name| name == agent)
        && able
            .iter()
            .any(|name| name != agent && !failed.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(priority: i32, order: i64, in_flight: u64, waiting: u64) -> Standing {
        Standing {
            priority,
            order,
            in_flight,
            waiting,
        }
    }

    #[test]
    fn slots_are_shared_fairly() {
        let table: &[(u64, &[Standing], &[u64])] = &[
            (5, &[], &[]),
            (5, &[standing(0, 1, 0, 3)], &[3]),
            // Two take turns, the older one first.
            (3, &[standing(0, 1, 0, 99), standing(0, 2, 0, 99)], &[2, 1]),
            // A new one catches up with one that has the fleet.
            (
                8,
                &[standing(0, 1, 100, 9999), standing(0, 2, 0, 4)],
                &[4, 4],
            ),
            (8, &[standing(0, 1, 4, 9999), standing(0, 2, 0, 9)], &[2, 6]),
            // Priority first, and what it leaves goes down.
            (
                5,
                &[
                    standing(0, 1, 0, 9),
                    standing(7, 2, 50, 2),
                    standing(-1, 3, 0, 9),
                ],
                &[3, 2, 0],
            ),
        ];
        for (slots, standings, expected) in table {
            assert_eq!(&share(*slots, standings), expected, "{slots} {standings:?}");
        }
    }

    #[test]
    fn a_job_that_outlives_its_agents_is_quarantined() {
        let table = [
            (1, 1, AfterLoss::Requeue),
            (2, 2, AfterLoss::Requeue),
            (3, 3, AfterLoss::Quarantine),
            (3, 1, AfterLoss::GiveUp),
            (9, 2, AfterLoss::GiveUp),
            (9, 9, AfterLoss::Quarantine),
        ];
        for (attempts, losses, expected) in table {
            assert_eq!(
                after_loss(attempts, losses),
                expected,
                "{attempts} {losses}"
            );
        }
        let message = quarantine_message(3, &["a".to_owned(), "b".to_owned()]);
        assert_eq!(
            message,
            "quarantined: 3 agents fell silent while they had it (`a`, `b`)"
        );
    }

    #[test]
    fn classes_double() {
        let gib = 1 << 30;
        let table = [
            (None, 0),
            (Some(1024), 0),
            (Some(2047), 0),
            (Some(2048), 1),
            (Some(8191), 2),
            (Some(8192), 3),
            (Some(u64::MAX), 3),
        ];
        for (memory, class) in table {
            assert_eq!(largest_class(gib, memory), class, "{memory:?}");
        }
        assert_eq!(memory_in_class(gib, 2), 4 * gib);
        assert_eq!(memory_in_class(u64::MAX, 1), u64::MAX);
    }

    #[test]
    fn a_job_leaves_an_agent_that_failed_it_only_for_another() {
        let names =
            |text: &str| -> Vec<String> { text.split_whitespace().map(String::from).collect() };
        let table = [
            ("a", "", "a b", false),
            ("a", "a", "a b", true),
            ("a", "a", "a", false),
            ("a", "a", "", false),
            ("a", "a b", "a b", false),
            ("c", "a b", "a b c", false),
            ("a", "a b", "a b c", true),
        ];
        for (agent, failed, able, others) in table {
            assert_eq!(
                is_for_others(agent, &names(failed), &names(able)),
                others,
                "{agent}: {failed}: {able}"
            );
        }
    }
}
