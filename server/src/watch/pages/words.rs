//! Numbers and times, as people read them.

use jiff::Timestamp;

pub use ejecta_core::report::{count_of as counted, grouped as count};

/// `2026-11-21 16:20 UTC`.
pub fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// `2026-11-21T16:20:05Z`, for programs: HTML knows no smaller parts than thousandths.
pub fn stamp(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// What is left of the time until `end`: `about 3 h 5 min left`, `under 1 min left`.
pub fn left(now: Timestamp, end: Timestamp) -> String {
    let left = span(now, end);
    let about = if left.starts_with("under") {
        ""
    } else {
        "about "
    };
    format!("{about}{left} left")
}

/// The time between two moments in its two largest units: `3 d 4 h`, `12 min`; less than a minute
/// is `under 1 min`.
pub fn span(from: Timestamp, to: Timestamp) -> String {
    let minutes = to.duration_since(from).as_mins().max(0);
    let (days, hours, rest) = (minutes / 1440, minutes / 60 % 24, minutes % 60);
    match (days, hours, rest) {
        (0, 0, 0) => "under 1 min".to_owned(),
        (0, 0, m) => format!("{m} min"),
        (0, h, 0) => format!("{h} h"),
        (0, h, m) => format!("{h} h {m} min"),
        (d, 0, _) => format!("{d} d"),
        (d, h, _) => format!("{d} d {h} h"),
    }
}

/// A share of a whole, such as `12.3 %`; never `100 %` of what is not whole.
pub fn percent(part: u64, whole: u64) -> String {
    if whole == 0 || part >= whole {
        return "100 %".to_owned();
    }
    let tenths = u128::from(part) * 1000 / u128::from(whole);
    format!("{}.{} %", tenths / 10, tenths % 10)
}

/// A share of a whole in thousandths, as a length in a picture.
pub fn length(part: u64, whole: u64) -> String {
    let whole = u128::from(whole.max(1));
    let hundredths = u128::from(part) * 100_000 / whole;
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(count(number), text);
        }
        assert_eq!(counted(1, "job", "jobs"), "1 job");
        assert_eq!(counted(2000, "job", "jobs"), "2,000 jobs");
    }

    #[test]
    fn spans_have_two_units() {
        let from = Timestamp::from_second(1_800_000_000).expect("in range");
        for (seconds, text) in [
            (-5, "under 1 min"),
            (59, "under 1 min"),
            (60, "1 min"),
            (3_600, "1 h"),
            (3_660, "1 h 1 min"),
            (86_400, "1 d"),
            (100_000, "1 d 3 h"),
        ] {
            let to = Timestamp::from_second(1_800_000_000 + seconds).expect("in range");
            assert_eq!(span(from, to), text);
        }
        assert_eq!(time(from), "2027-01-15 08:00 UTC");
    }

    #[test]
    fn what_is_not_whole_is_not_all() {
        for (part, whole, text) in [
            (0, 3, "0.0 %"),
            (1, 3, "33.3 %"),
            (699_999, 700_000, "99.9 %"),
            (3, 3, "100 %"),
            (0, 0, "100 %"),
        ] {
            assert_eq!(percent(part, whole), text);
        }
        assert_eq!(length(1, 3), "333.33");
        assert_eq!(length(0, 0), "0.00");
    }
}
