//! Real logs of cargo, their differences and their first errors; and logs that want to take long.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::*;

macro_rules! log {
    ($name:literal) => {
        include_str!(concat!("../../tests/data/logs/", $name, ".log"))
    };
}

fn shown(diff: &LogDiff) -> String {
    let mut out = String::new();
    for hunk in &diff.hunks {
        let _ = writeln!(out, "@@ {}", hunk.command.as_deref().unwrap_or(""));
        for line in &hunk.lines {
            let mark = match line.side {
                LineSide::Both => ' ',
                LineSide::Baseline => '-',
                LineSide::Candidate => '+',
            };
            let _ = writeln!(out, "{mark}{:>4} {}", line.number, line.text);
        }
    }
    let _ = writeln!(out, "{} left out", diff.left_out);
    out
}

fn lines(log: &str) -> Option<String> {
    let range = first_error(log)?;
    let lines: Vec<&str> = log.lines().collect();
    Some(lines[range].join("\n"))
}

#[test]
fn a_compilation_that_fails() {
    let diff = diff(log!("check.baseline"), log!("check.candidate"));
    insta::assert_snapshot!(shown(&diff));
    insta::assert_snapshot!(lines(log!("check.candidate")).expect("an error"));
}

#[test]
fn a_test_that_fails() {
    let diff = diff(log!("test.baseline"), log!("test.candidate"));
    insta::assert_snapshot!(shown(&diff));
    insta::assert_snapshot!(lines(log!("test.candidate")).expect("a panic"));
}

#[test]
fn logs_that_say_the_same_do_not_differ() {
    for log in [
        log!("check.baseline"),
        log!("check.candidate"),
        log!("test.candidate"),
        "",
    ] {
        assert_eq!(diff(log, log), LogDiff::default());
    }
    assert_eq!(first_error(log!("check.baseline")), None);
    assert_eq!(first_error(""), None);
}

#[test]
fn order_times_hashes_and_progress_make_no_difference() {
    let a = "$ cargo check\n    Checking a v1.0.0\n    Checking b v1.0.0\nwarning: one\n --> a.rs:1\n\nwarning: two\n --> b.rs:1\n\n    Finished `dev` profile in 0.28s\n[exit status 0; 300 ms, 210 ms of CPU]\n";
    let b = "$ cargo check\n    Checking b v1.0.0\nwarning: two\n --> b.rs:1\n\nwarning: one\n --> a.rs:1\n\n    Finished `dev` profile in 1m 02s\n[exit status 0; 9300 ms, 2210 ms of CPU]\n";
    assert_eq!(diff(a, b), LogDiff::default());
    let a = "thread 'a' (12) panicked at /rustc/59807616e1fa2540724bfbac14d7976d7e4a3860/x.rs:1\nold at 0x7fff1234";
    let b = "thread 'a' (99) panicked at /rustc/e50aa6fba4e63ab34c72bf9acfd2c307c1155d1a/x.rs:1\nold at 0x7fff9999";
    assert_eq!(diff(a, b), LogDiff::default());
}

#[test]
fn a_block_that_is_there_more_often_is_a_difference() {
    let diff = diff(
        "error: a\n\nerror: b\n",
        "error: a\n\nerror: a\n\nerror: b\n",
    );
    assert_eq!(shown(&diff), "@@ \n+   3 error: a\n0 left out\n");
}

#[test]
fn changes_within_a_block_have_some_lines_around_them() {
    let block = |word: &str| format!("error: x\n1\n2\n3\n4\n{word}\n5\n6\n7\n8\n");
    let diff = diff(&block("old"), &block("new"));
    let expected =
        "@@ \n    3 2\n    4 3\n    5 4\n-   6 old\n+   6 new\n    7 5\n    8 6\n    9 7\n";
    assert_eq!(shown(&diff), format!("{expected}0 left out\n"));
}

#[test]
fn the_first_error_is_the_one_that_says_most() {
    let table = [
        (
            "error: could not compile `a`\n\nerror[E0308]: x\n --> a\n",
            Some(2..4),
        ),
        ("warning: w\n\nerror: could not compile `a`\n", Some(2..3)),
        ("test a ... ok\ntest b ... FAILED\nx\n", Some(1..2)),
        (
            "test b ... FAILED\n\nthread 'b' panicked at x:\nsaid\n",
            Some(2..4),
        ),
        (
            "\nthread 'rustc' panicked at compiler/a:1:2:\nno\nstack backtrace:\n   0: a\n             at b\n\nerror: the compiler unexpectedly panicked\n",
            Some(1..3),
        ),
        ("  (signal: 9, SIGKILL: kill)\n", Some(0..1)),
        ("all is well\n", None),
    ];
    for (log, expected) in table {
        assert_eq!(first_error(log), expected, "{log}");
    }
}

#[test]
fn errors_are_shown_before_anything_else_and_not_all() {
    let mut candidate = String::new();
    for n in 0..400 {
        let _ = writeln!(candidate, "said {n}\n");
    }
    candidate.push_str("error: at the end\n");
    let diff = diff("", &candidate);
    assert!(shown(&diff).contains("error: at the end"));
    let count: usize = diff.hunks.iter().map(|h| h.lines.len()).sum();
    assert!(count <= MAX_SHOWN);
    assert_eq!(diff.left_out + count, 401);
}

/// Hostile logs: large, and made to have no common order. Seconds without optimisation at most.
#[test]
fn hostile_logs_take_bounded_time_and_room() {
    let mut seed = 1_u64;
    let mut random = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        seed >> 40
    };
    let mut of = |kinds: u64, sep: &str| -> String {
        (0..120_000).fold(String::new(), |mut log, _| {
            let _ = write!(log, "line {}{sep}", random() % kinds);
            log
        })
    };
    let few = (of(7, "\n"), of(7, "\n"));
    let many = (of(100_000, "\n"), of(100_000, "\n"));
    let apart = (of(50, "\n\n"), of(90, "\n\n"));
    let endless = ("x".repeat(9 << 20), "ä".repeat(5 << 20));
    for (a, b) in [few, many, apart, endless] {
        let start = Instant::now();
        let diff = diff(&a, &b);
        assert!(diff.cut);
        let lines: usize = diff.hunks.iter().map(|h| h.lines.len()).sum();
        assert!(lines <= MAX_SHOWN);
        assert_eq!(first_error(&a), None);
        let took = start.elapsed();
        println!("{took:?}");
        assert!(took < Duration::from_secs(20), "{took:?}");
    }
}

#[test]
fn what_is_cut_keeps_the_numbers_of_lines() {
    let mut log = "filler of some length\n".repeat(150_000);
    log.push_str("error: the end\n");
    assert_eq!(first_error(&log), Some(150_000..150_001));
    let diff = diff("", &log);
    assert!(
        shown(&diff).contains("+150001 error: the end"),
        "{}",
        shown(&diff)
    );
}
