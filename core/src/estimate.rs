//! When experiments will probably start and end, from what was measured.
//!
//! The model is the rule of [`crate::queue::share`]: what has a higher priority comes first, and
//! experiments of one priority share the fleet evenly. Sizes are jobs, and the fleet's rate is jobs
//! a second as measured; nothing is guessed where nothing was measured.

use jiff::{SignedDuration, Timestamp};

/// An experiment that runs or waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ahead {
    /// Higher comes first.
    pub priority: i32,
    /// Whether a job of it was granted.
    pub started: bool,
    /// Jobs that are queued or leased.
    pub unfinished: u64,
}

/// What is to be expected of an experiment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Estimate {
    /// When its first job will be granted; `None` where it has been, or nobody knows.
    pub starts: Option<Timestamp>,
    /// When its last job will have ended; `None` where nobody knows.
    pub ends: Option<Timestamp>,
}

/// Jobs a second of something that finished `jobs` between two times; `None` where that says
/// nothing: no job, or less than a second.
pub fn rate(jobs: u64, from: Timestamp, to: Timestamp) -> Option<f64> {
    let seconds = to.duration_since(from).as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    let jobs = jobs as f64;
    (jobs > 0.0 && seconds >= 1.0).then(|| jobs / seconds)
}

/// What is to be expected of each of `all`, where the fleet does `rate` jobs a second.
pub fn estimates(all: &[Ahead], rate: Option<f64>, now: Timestamp) -> Vec<Estimate> {
    all.iter()
        .map(|one| estimate(one, all, rate, now))
        .collect()
}

fn estimate(one: &Ahead, all: &[Ahead], rate: Option<f64>, now: Timestamp) -> Estimate {
    let Some(rate) = rate.filter(|rate| *rate > 0.0) else {
        return Estimate::default();
    };
    let sum = |of: &dyn Fn(&&Ahead) -> bool, size: &dyn Fn(&Ahead) -> u64| -> u64 {
        let sizes = all.iter().filter(of).map(size);
        sizes.fold(0, u64::saturating_add)
    };
    let first = sum(&|other| other.priority > one.priority, &|other| {
        other.unfinished
    });
    // While two share, both get on at the same pace: until this one ends, the other has done no
    // more than it.
    let shared = sum(&|other| other.priority == one.priority, &|other| {
        other.unfinished.min(one.unfinished)
    });
    let after = |jobs: u64| {
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let seconds = jobs as f64 / rate;
        let wait = SignedDuration::try_from_secs_f64(seconds.ceil()).ok()?;
        now.checked_add(wait).ok()
    };
    Estimate {
        starts: if one.started { None } else { after(first) },
        ends: after(first.saturating_add(shared)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).expect("in range")
    }

    fn ahead(priority: i32, started: bool, unfinished: u64) -> Ahead {
        Ahead {
            priority,
            started,
            unfinished,
        }
    }

    #[test]
    fn rates_need_something_measured() {
        assert_eq!(rate(10, at(0), at(5)), Some(2.0));
        assert_eq!(rate(0, at(0), at(5)), None);
        assert_eq!(rate(10, at(0), at(0)), None);
        assert_eq!(rate(10, at(5), at(0)), None);
    }

    #[test]
    fn experiments_of_one_priority_share_and_higher_ones_come_first() {
        // Ten jobs a second: (starts, ends), in seconds from now.
        type Expected = (Option<i64>, Option<i64>);
        let table: &[(&[Ahead], &[Expected])] = &[
            (&[], &[]),
            (&[ahead(0, true, 100)], &[(None, Some(10))]),
            (&[ahead(0, false, 100)], &[(Some(0), Some(10))]),
            // The small one has half of the fleet, and then the large one all of it.
            (
                &[ahead(0, true, 1000), ahead(0, false, 10)],
                &[(None, Some(101)), (Some(0), Some(2))],
            ),
            // What is more important is over before the rest goes on.
            (
                &[
                    ahead(0, true, 1000),
                    ahead(5, false, 100),
                    ahead(-1, false, 10),
                ],
                &[
                    (None, Some(110)),
                    (Some(0), Some(10)),
                    (Some(110), Some(111)),
                ],
            ),
            (&[ahead(0, true, 0)], &[(None, Some(0))]),
        ];
        for (all, expected) in table {
            let found: Vec<Expected> = estimates(all, Some(10.0), at(0))
                .into_iter()
                .map(|e| {
                    let seconds =
                        |t: Option<Timestamp>| t.map(|t| t.as_second() - at(0).as_second());
                    (seconds(e.starts), seconds(e.ends))
                })
                .collect();
            assert_eq!(&found, expected, "{all:?}");
        }
    }

    #[test]
    fn without_a_rate_nothing_is_said_and_nothing_overflows() {
        let all = [ahead(0, false, u64::MAX), ahead(1, false, u64::MAX)];
        assert_eq!(estimates(&all, None, at(0)), [Estimate::default(); 2]);
        assert_eq!(estimates(&all, Some(0.0), at(0)), [Estimate::default(); 2]);
        assert_eq!(
            estimates(&all, Some(1e-300), at(0))[0],
            Estimate::default(),
            "beyond all times"
        );
    }
}
