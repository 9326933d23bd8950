//! Reads what `cargo test` and the test harnesses under it say, and makes failed tests of it.
//!
//! cargo says on standard error which program it starts and which failed; the programs say on
//! standard output which tests failed and why. The two streams come in any order relative to one
//! another, so each is read by itself, and they are put together at the end: the units that failed
//! are cargo's word alone, and the harnesses' only name the tests in them. This module knows
//! nothing of reasons.

use std::collections::{BTreeMap, BTreeSet};

use crate::outcome::{StepExit, TestCounts, UnitKey, UnitKind};

/// Failed tests that are kept of one step.
const MAX_FAILURES: usize = 200;
/// Bytes of what one failed test printed that are kept.
const MAX_OUTPUT_BYTES: usize = 6_000;
/// Lines of standard error that are kept of a program that names no failed test.
const MAX_TAIL_LINES: usize = 30;

/// A failed test, as its harness reported it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FailedTest {
    /// Its path, such as `tests::sums`, or file and line of a doctest.
    pub name: String,
    /// What it had printed, the panic included.
    pub output: String,
}

/// A failed unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FailedUnit {
    /// Which.
    pub unit: UnitKey,
    /// The tests that its harness named.
    pub tests: Vec<FailedTest>,
    /// How its process ended and the last that it wrote to standard error, where no test is named.
    pub words: String,
}

/// What came of a step that ran tests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TestReport {
    /// Units that were run to their end and did not fail.
    pub passed: BTreeSet<UnitKey>,
    /// Units that failed, in the order of their keys.
    pub failed: Vec<FailedUnit>,
    /// The tests of all units together, as far as their harnesses counted.
    pub counts: TestCounts,
}

/// One program's report on standard output: from `running 3 tests` to `test result: …`.
#[derive(Debug, Default)]
struct Section {
    failures: Vec<FailedTest>,
    bad: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Between two programs.
    Between,
    /// Where tests are told as they end.
    Progress,
    /// Where the output of failed tests is told.
    Output,
    /// Where failed tests are listed.
    List,
}

/// A program that cargo started.
#[derive(Debug, Default)]
struct Started {
    /// The name of its file; empty for doctests.
    file: String,
    tail: Vec<String>,
    /// cargo's words on how its process ended.
    ended: Option<String>,
}

/// Reads both streams, line by line.
#[derive(Debug)]
pub(crate) struct TestReader {
    place: Place,
    sections: Vec<Section>,
    failures: usize,
    counts: TestCounts,
    started: Vec<Started>,
    /// What cargo says to give for running a failed unit again: `--test x`.
    reruns: BTreeSet<Vec<String>>,
    /// Files of programs that did not exit successfully.
    failed_files: BTreeSet<String>,
    executables: BTreeMap<String, UnitKey>,
}

impl Default for TestReader {
    fn default() -> Self {
        Self {
            place: Place::Between,
            sections: Vec::new(),
            failures: 0,
            counts: TestCounts::default(),
            started: Vec::new(),
            reruns: BTreeSet::new(),
            failed_files: BTreeSet::new(),
            executables: BTreeMap::new(),
        }
    }
}

impl TestReader {
    /// Takes cargo's word on where the program of a unit is.
    pub(crate) fn executable(&mut self, unit: UnitKey, path: &str) {
        self.executables.insert(file_name(path).to_owned(), unit);
    }

    /// Takes a line of standard output that is no message of cargo's.
    pub(crate) fn stdout(&mut self, line: &str) {
        let may_begin = matches!(self.place, Place::Between | Place::Progress);
        if may_begin && begins(line) {
            self.sections.push(Section::default());
            self.place = Place::Progress;
            return;
        }
        match self.place {
            Place::Between => {}
            Place::Progress => match line {
                "failures:" => self.place = Place::Output,
                _ if line.starts_with("test result: ") => self.result(line),
                _ => {}
            },
            Place::Output => match line {
                "failures:" => self.place = Place::List,
                _ => self.output(line),
            },
            Place::List => {
                if line.starts_with("test result: ") {
                    self.result(line);
                } else if let Some(name) = line.strip_prefix("    ") {
                    self.failure(name);
                }
            }
        }
    }

    fn output(&mut self, line: &str) {
        let header = line.strip_prefix("---- ").and_then(|l| {
            let name = l.strip_suffix(" ----")?;
            Some(name.strip_suffix(" stdout").unwrap_or(name))
        });
        if let Some(name) = header {
            self.failure(name);
            return;
        }
        let Some(section) = self.sections.last_mut() else {
            return;
        };
        let has_room = |t: &&mut FailedTest| t.output.len() + line.len() < MAX_OUTPUT_BYTES;
        if let Some(test) = section.failures.last_mut().filter(has_room) {
            test.output.push_str(line);
            test.output.push('\n');
        }
    }

    fn failure(&mut self, name: &str) {
        // `should_panic` is said where tests are told as they end, and nowhere else.
        let name = crate::log::clean(name.trim());
        let Some(section) = self.sections.last_mut() else {
            return;
        };
        section.bad = true;
        let known = section.failures.iter().any(|t| t.name == name);
        if !known && self.failures < MAX_FAILURES {
            self.failures += 1;
            section.failures.push(FailedTest {
                name,
                output: String::new(),
            });
        }
    }

    /// Reads `test result: FAILED. 1 passed; 3 failed; 1 ignored; 0 measured; …`.
    fn result(&mut self, line: &str) {
        self.place = Place::Between;
        if let Some(section) = self.sections.last_mut() {
            section.bad |= line.starts_with("test result: FAILED");
        }
        let numbers = line.split("result: ").nth(1).unwrap_or("");
        let numbers = numbers.split_once(". ").map_or("", |(_, rest)| rest);
        for part in numbers.split("; ") {
            let Some((n, what)) = part.split_once(' ') else {
                continue;
            };
            let n: u32 = n.parse().unwrap_or(0);
            let total = match what {
                "passed" => &mut self.counts.passed,
                "failed" => &mut self.counts.failed,
                "ignored" => &mut self.counts.ignored,
                _ => continue,
            };
            *total = total.saturating_add(n);
        }
    }

    /// Takes a line of standard error.
    pub(crate) fn stderr(&mut self, line: &str) {
        if let Some(file) = started(line) {
            self.started.push(Started {
                file,
                ..Started::default()
            });
        } else if let Some(rerun) = rerun(line) {
            self.reruns.insert(rerun);
        } else if let Some((path, how)) = did_not_exit_successfully(line) {
            self.failed_files.insert(file_name(path).to_owned());
            if let Some(last) = self.started.last_mut() {
                last.ended = Some(how.to_owned());
            }
        } else if let Some(last) = self.started.last_mut() {
            last.tail.push(line.to_owned());
            if last.tail.len() > MAX_TAIL_LINES {
                last.tail.remove(0);
            }
        }
    }

    /// Whether a program was started at all.
    pub(crate) fn ran(&self) -> bool {
        !self.started.is_empty()
    }

    /// What came of the units in `plan`. Of all else cargo's words mean nothing: it was not asked
    /// to run it.
    pub(crate) fn finish(self, exit: StepExit, plan: &BTreeSet<UnitKey>) -> TestReport {
        let started: Vec<Option<UnitKey>> = self
            .started
            .iter()
            .map(|s| self.unit_of(&s.file, plan))
            .collect();
        let mut report = TestReport {
            counts: self.counts,
            ..TestReport::default()
        };
        let failed = match exit {
            StepExit::Code(0) => {
                report.passed.clone_from(plan);
                return report;
            }
            StepExit::Code(_) => self.failed_units(plan),
            // What was running when the step was stopped; whose turn had not come, nobody knows.
            StepExit::Signal(_) | StepExit::Limit(_) => {
                let mut failed = self.failed_units(plan);
                failed.extend(started.last().cloned().flatten());
                let reached = started.iter().flatten();
                report.passed = reached.filter(|u| !failed.contains(u)).cloned().collect();
                report.failed = self.with_tests(failed, &started);
                return report;
            }
        };
        if failed.is_empty() {
            return report;
        }
        report.passed = plan.difference(&failed).cloned().collect();
        report.failed = self.with_tests(failed, &started);
        report
    }

    fn failed_units(&self, plan: &BTreeSet<UnitKey>) -> BTreeSet<UnitKey> {
        let by_rerun = self.reruns.iter().filter_map(|words| asked(words, plan));
        let by_file = self.failed_files.iter();
        let by_file = by_file.filter_map(|file| self.unit_of(file, plan));
        let named: BTreeSet<UnitKey> = by_rerun.chain(by_file).collect();
        match (named.is_empty() && self.ran(), plan.first()) {
            (true, Some(only)) if plan.len() == 1 => [only.clone()].into(),
            _ => named,
        }
    }

    /// The unit whose program is called `file`: as cargo's messages say, or else as it names them
    /// after their target, with a hash.
    fn unit_of(&self, file: &str, plan: &BTreeSet<UnitKey>) -> Option<UnitKey> {
        if file.is_empty() {
            return plan.iter().find(|u| u.kind == UnitKind::DocTest).cloned();
        }
        if let Some(unit) = self.executables.get(file).filter(|u| plan.contains(u)) {
            return Some(unit.clone());
        }
        let stem = file.rsplit_once('-').map_or(file, |(stem, _)| stem);
        let mut fitting = plan.iter().filter(|u| u.name.replace('-', "_") == stem);
        fitting.next().filter(|_| fitting.next().is_none()).cloned()
    }

    /// Puts the tests that the harnesses named beside the units that cargo named. Where there is
    /// one report for each program that was started they belong together in their order; else those
    /// with failures belong to the failed units in theirs.
    fn with_tests(
        mut self,
        failed: BTreeSet<UnitKey>,
        started: &[Option<UnitKey>],
    ) -> Vec<FailedUnit> {
        let mut tests: BTreeMap<UnitKey, Vec<FailedTest>> = BTreeMap::new();
        let sections = std::mem::take(&mut self.sections);
        let in_step = sections.len() == started.len();
        let in_order = || started.iter().flatten().filter(|u| failed.contains(*u));
        let mut bad_before = 0;
        for (n, section) in sections.into_iter().enumerate() {
            if !section.bad {
                continue;
            }
            let unit = match started.get(n) {
                _ if failed.len() == 1 => failed.first(),
                Some(Some(unit)) if in_step => failed.get(unit),
                _ => in_order().nth(bad_before).or_else(|| failed.last()),
            };
            bad_before += 1;
            if let Some(unit) = unit {
                let of = tests.entry(unit.clone()).or_default();
                of.extend(section.failures);
            }
        }
        failed
            .into_iter()
            .map(|unit| {
                let at = started.iter().position(|s| s.as_ref() == Some(&unit));
                let program = at.and_then(|at| self.started.get(at));
                let ended = program.and_then(|p| p.ended.clone());
                let tail = program.map_or("", |_| "").to_owned();
                let tail = program.map_or(tail, |p| p.tail.join("\n"));
                let words = [ended.unwrap_or_default(), tail].join("\n");
                FailedUnit {
                    tests: tests.remove(&unit).unwrap_or_default(),
                    words: words.trim().to_owned(),
                    unit,
                }
            })
            .collect()
    }
}

/// Whether a harness begins: `running 3 tests`.
fn begins(line: &str) -> bool {
    let counted = line.strip_prefix("running ").and_then(|rest| {
        let n = rest.strip_suffix(" tests").or(rest.strip_suffix(" test"))?;
        n.parse::<u32>().ok()
    });
    counted.is_some()
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Reads `     Running unittests src/lib.rs (target/debug/deps/x-0123456789abcdef)`, older forms of
/// it, and `   Doc-tests x`: the file, empty for doctests.
fn started(line: &str) -> Option<String> {
    if line.starts_with("   Doc-tests ") {
        return Some(String::new());
    }
    let rest = line.strip_prefix("     Running ")?;
    let path = match rest.rsplit_once(" (") {
        Some((_, path)) => path.strip_suffix(')')?,
        None => rest.strip_prefix("unittests (").map_or(rest, |p| p),
    };
    Some(file_name(path.trim_end_matches(')')).to_owned())
}

/// Reads ``error: test failed, to rerun pass `-p x --lib` ``, and a line of the list at the end.
fn rerun(line: &str) -> Option<Vec<String>> {
    let said = match line.split_once("failed, to rerun pass ") {
        Some((before, said)) if before.starts_with("error: ") => said,
        Some(_) => return None,
        None => line
            .strip_prefix("    ")
            .filter(|l| l.starts_with(['`', '\'']))?,
    };
    let inner = said.trim().trim_matches(['`', '\'']);
    let mut words: Vec<String> = inner.split(' ').map(str::to_owned).collect();
    if words.first().is_some_and(|w| w == "-p") {
        words.drain(..2.min(words.len()));
    }
    words
        .first()
        .is_some_and(|w| w.starts_with("--"))
        .then_some(words)
}

/// Reads ``  process didn't exit successfully: `/x/deps/y-hash --quiet` (signal: 6, SIGABRT: …)``:
/// the path, and how it ended.
fn did_not_exit_successfully(line: &str) -> Option<(&str, &str)> {
    let rest = line.strip_prefix("  process didn't exit successfully: `")?;
    let (command, how) = rest.rsplit_once("` (")?;
    let path = command.split(' ').next().unwrap_or(command);
    Some((path, how.trim_end_matches(')')))
}

/// The unit of `plan` that `--test x` means.
fn asked(words: &[String], plan: &BTreeSet<UnitKey>) -> Option<UnitKey> {
    let kind = match words.first()?.as_str() {
        "--lib" => UnitKind::Lib,
        "--bin" => UnitKind::Bin,
        "--test" => UnitKind::Test,
        "--example" => UnitKind::Example,
        "--bench" => UnitKind::Bench,
        "--doc" => UnitKind::DocTest,
        _ => return None,
    };
    let name = words.get(1);
    plan.iter()
        .find(|u| u.kind == kind && name.is_none_or(|name| u.name == *name))
        .cloned()
}

#[cfg(test)]
#[path = "harness_tests.rs"]
mod tests;
