//! What the jobs of a simulated agent come to.

use ejecta_core::krate::Crate;
use ejecta_core::limits::Usage;
use ejecta_core::outcome::{JobRecord, Unprepared, UnpreparedReason};
use ejecta_core::protocol::LogFile;
use ejecta_core::report::TierState;

use crate::synthetic;

/// The number of a synthetic crate, which is in its name.
pub fn number(krate: &Crate) -> u64 {
    let name = krate.name.to_string();
    let digits = name.rsplit(['-', '_']).next().unwrap_or("0");
    u64::from_str_radix(digits, 16).unwrap_or(0)
}

/// Numbers that look random and are the same in every run.
pub fn scatter(n: u64, salt: u64, least: u64, most: u64) -> u64 {
    let mixed = (n ^ salt.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    least + (mixed >> 32) % (most - least + 1)
}

/// The record of the nth crate.
pub fn record(n: u64) -> JobRecord {
    match synthetic::entry(n)
        .tiers
        .into_iter()
        .next()
        .map(|t| t.state)
    {
        Some(TierState::Finished(record)) => *record,
        // These are the few that are skipped there, or failed through us.
        _ => JobRecord::unprepared(
            Unprepared::Broken {
                reason: UnpreparedReason::Unknown,
                message: "its manifest names a file that is not in the package".to_owned(),
            },
            Usage::default(),
        ),
    }
}

/// A text as long as all logs may be, with what compilers say, which differs from line to line as
/// theirs does: it compresses as real logs do, to about a fifth.
pub fn long_log(bytes: usize) -> String {
    let mut text = String::with_capacity(bytes + 400);
    for n in 0.. {
        if text.len() >= bytes {
            break;
        }
        let (a, b, line) = (
            scatter(n, 1, 0, 0xffff),
            scatter(n, 2, 0, 999),
            scatter(n, 3, 1, 4000),
        );
        text += &match n % 3 {
            0 => format!(
                "    Checking crate-{a:x} v{}.{}.{}\n",
                b % 10,
                b / 10,
                a % 20
            ),
            1 => format!(
                "warning: unused variable: `value_{a:x}`\n   --> src/module_{b}/mod.rs:{line}:9\n     \
                 |\n{line:<4} |     let value_{a:x} = make_{b:x}({line}, \"{:x}\");\n     |         \
                 ^^^^^^^^^^ help: if this is intentional, prefix it with an underscore\n",
                a * b
            ),
            _ => format!(
                "       Fresh dependency_{:x} v{}.{}.{}\n",
                a ^ line,
                b % 7,
                line % 30,
                a % 9
            ),
        };
    }
    text
}

/// The logs that a record names, and that of the preparation; one of them has `kib`.
pub fn logs(record: &JobRecord, long: &str, n: u64, kib: u64) -> Vec<LogFile> {
    let bytes = usize::try_from(kib * 1024)
        .unwrap_or(usize::MAX)
        .min(long.len());
    let from = usize::try_from(scatter(n, 4, 0, 1 << 20)).unwrap_or(0) % (long.len() - bytes + 1);
    let mut logs = vec![LogFile {
        name: "0-prepare".to_owned(),
        text: format!("resolved {n}\n"),
    }];
    logs.extend(record.runs.iter().enumerate().map(|(at, run)| LogFile {
        name: run.log.clone(),
        text: match at {
            // The text is ASCII, so any part of it is a text.
            0 => long[from..from + bytes].to_owned(),
            _ => long[from..from + bytes.min(2000)].to_owned(),
        },
    }));
    logs
}
