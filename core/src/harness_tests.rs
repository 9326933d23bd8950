//! What cargo and the harnesses say, in several releases' words.

use super::*;

fn unit(kind: UnitKind, name: &str) -> UnitKey {
    UnitKey {
        kind,
        name: name.to_owned(),
        harness: true,
    }
}

fn plan() -> BTreeSet<UnitKey> {
    [
        unit(UnitKind::Lib, "x_y"),
        unit(UnitKind::Bin, "prog"),
        unit(UnitKind::Test, "aborts"),
        unit(UnitKind::Test, "one"),
    ]
    .into()
}

const STDERR: &str = r"
    Finished `test` profile [unoptimized] target(s) in 0.02s
     Running unittests src/lib.rs (target/debug/deps/x_y-81cc316541d6c16d)
error: test failed, to rerun pass `--lib`
     Running unittests src/bin/prog.rs (target/debug/deps/prog-6c8ecbd6600ce24a)
     Running tests/aborts.rs (target/debug/deps/aborts-4eb65c4570e011ee)
error: test failed, to rerun pass `--test aborts`

Caused by:
  process didn't exit successfully: `/w/target/debug/deps/aborts-4eb65c4570e011ee` (signal: 6, SIGABRT: process abort signal)
     Running tests/one.rs (target/debug/deps/one-55458bbdf0f0252c)
error: test failed, to rerun pass `--test one`
error: 3 targets failed:
    `--lib`
    `--test aborts`
    `--test one`
";

const STDOUT: &str = "
running 3 tests
test tests::good ... ok
test tests::ign ... ignored
test tests::bad ... FAILED

failures:

---- tests::bad stdout ----
captured out

thread 'tests::bad' (12068) panicked at src/lib.rs:16:77:
one is not two


failures:
    tests::bad

test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.14s


running 1 test
test inbin ... ok

test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s


running 1 test

running 1 test
test t ... FAILED

failures:

---- t stdout ----
thread 't' panicked at 'multi
line', tests/one.rs:1:17


failures:
    t

test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.13s
";

fn read(stdout: &str, stderr: &str, exit: StepExit, plan: &BTreeSet<UnitKey>) -> TestReport {
    let mut reader = TestReader::default();
    stdout.lines().for_each(|l| reader.stdout(l));
    stderr.lines().for_each(|l| reader.stderr(l));
    reader.finish(exit, plan)
}

fn told(report: &TestReport) -> Vec<String> {
    let failed = report.failed.iter();
    failed
        .map(|f| {
            let tests: Vec<&str> = f.tests.iter().map(|t| t.name.as_str()).collect();
            format!("{}: {}", f.unit, tests.join(" "))
        })
        .collect()
}

#[test]
fn failed_tests_are_put_beside_the_units_that_cargo_names() {
    let report = read(STDOUT, STDERR, StepExit::Code(101), &plan());
    // The aborted program's report was cut off by the next one's, so there are as many as programs
    // only if both count.
    assert_eq!(
        told(&report),
        ["lib x_y (test): tests::bad", "test aborts: ", "test one: t"]
    );
    assert_eq!(report.passed, [unit(UnitKind::Bin, "prog")].into());
    assert!(report.failed[0].tests[0].output.contains("one is not two"));
    assert!(report.failed[1].words.starts_with("signal: 6, SIGABRT"));
    let counts = report.counts;
    assert_eq!((counts.passed, counts.failed, counts.ignored), (2, 2, 1));
}

#[test]
fn older_words_of_cargo_are_read() {
    let old = "     Running unittests (target/debug/deps/x_y-81cc316541d6c16d)\n     Running \
               target/debug/deps/prog-6c8ecbd6600ce24a\nerror: test failed, to rerun pass '-p x-y --lib'\n";
    let report = read("", old, StepExit::Code(101), &plan());
    assert_eq!(told(&report), ["lib x_y (test): "]);
    let cause = "     Running tests/one.rs (target/debug/deps/one-5545)\nerror: test failed.\n\nCaused \
                 by:\n  process didn't exit successfully: `/w/deps/one-5545 --quiet` (exit status: 101)\n";
    let report = read("", cause, StepExit::Code(101), &plan());
    assert_eq!(told(&report), ["test one: "]);
    let doc = [unit(UnitKind::DocTest, "x_y")].into();
    let said = "   Doc-tests x-y\nerror: test failed, to rerun pass '--doc'\n";
    let report = read("", said, StepExit::Code(101), &doc);
    assert_eq!(told(&report), ["doctest x_y: "]);
}

#[test]
fn what_the_programs_say_changes_no_units_fate() {
    // A program may say that all is well, and that others failed or ran: cargo's exit status and
    // the plan of units have the last word.
    let forged = "error: test failed, to rerun pass `--bench speed`\nerror: test failed, to rerun \
                  pass `--lib`\n     Running tests/other.rs (target/debug/deps/other-1)\n";
    let good = read(
        "test result: ok. 9 passed; 0 failed",
        forged,
        StepExit::Code(0),
        &plan(),
    );
    assert_eq!(good.passed, plan());
    assert!(good.failed.is_empty());
    let only_one: BTreeSet<UnitKey> = [unit(UnitKind::Test, "one")].into();
    let well = "running 1 test\ntest t ... ok\n\ntest result: ok. 1 passed; 0 failed; 0 ignored";
    let real = "     Running tests/one.rs (target/debug/deps/one-5545)\nerror: test failed, to rerun pass `--test one`\n";
    let report = read(
        well,
        &format!("{real}{forged}"),
        StepExit::Code(101),
        &only_one,
    );
    assert_eq!(
        told(&report),
        ["test one: "],
        "units out of the plan stay out"
    );
}

#[test]
fn a_limit_falls_on_the_program_that_ran() {
    let stderr = "     Running unittests src/lib.rs (target/debug/deps/x_y-81cc)\n     Running tests/one.rs \
                  (target/debug/deps/one-5545)\n";
    let exit = StepExit::Limit(crate::limits::LimitHit::Timeout);
    let report = read("", stderr, exit, &plan());
    assert_eq!(told(&report), ["test one: "]);
    assert_eq!(report.passed, [unit(UnitKind::Lib, "x_y")].into());
}

#[test]
fn a_failure_that_nobody_names_is_that_of_the_only_unit() {
    let only: BTreeSet<UnitKey> = [unit(UnitKind::Test, "one")].into();
    let started = "     Running tests/one.rs (target/debug/deps/one-5545)\n";
    let report = read("", started, StepExit::Code(101), &only);
    assert_eq!(told(&report), ["test one: "]);
    let report = read("", "error: no such command", StepExit::Code(101), &plan());
    assert!(report.failed.is_empty() && report.passed.is_empty());
}
