//! Reads what one cargo command says, line by line, and makes a [`StepOutcome`] and a log of it.
//!
//! Standard output holds cargo's JSON messages (and whatever a proc macro prints there); standard
//! error holds what cargo says to people. A line that is no message of cargo's goes into the log
//! and means nothing.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::diagnostic::{Diagnostic as RustcDiagnostic, DiagnosticLevel};
use cargo_metadata::{Artifact, Message, Target, TargetKind};

use crate::classify;
use crate::ice::{self, Crash, CrashReader};
use crate::limits::Usage;
use crate::log::LogBuffer;
use crate::mode::StepKind;
use crate::outcome::{
    Diagnostic, MAX_DIAGNOSTICS, NO_CODE, PackageRef, StepExit, StepOutcome, UnitKey, UnitKind,
    UnitOutcome, UnitStatus,
};
use crate::package_id::PackageId;
use crate::patterns::{Heard, Speaker};
use crate::script::{FailedScript, ScriptReader};
use crate::test_step::TestStep;

/// The longest rendered diagnostic that is kept, in characters.
const MAX_RENDERED_CHARS: usize = 6_000;
/// Lines of an error of cargo's own that are kept.
const MAX_ERROR_LINES: usize = 20;

/// Warnings of one step that are told apart.
const MAX_WARNINGS: usize = 20_000;

/// What cargo could not compile: the package, and the unit if it said so.
type NotCompiled = (String, Option<UnitKey>);

/// Reads the output of one cargo command.
#[derive(Debug)]
pub struct StepReader {
    root: PackageId,
    kind: StepKind,
    /// Set where tests are run.
    tests: Option<TestStep>,
    log: LogBuffer,
    /// What was built with the harness and is a test, and the doctests where there may be some.
    runnable: BTreeSet<UnitKey>,
    /// Code, place and message of the warnings about the crate itself.
    warnings: BTreeSet<(String, Option<String>, String)>,
    /// What the compiler and the linker said of the machine.
    heard: Heard,
    built: BTreeSet<UnitKey>,
    diagnostics: Vec<Diagnostic>,
    left_out: u32,
    /// Own targets with errors, as far as the messages tell: without the harness.
    erring: BTreeSet<(UnitKind, String)>,
    /// Versions of the packages that cargo spoke of, by name.
    versions: BTreeMap<String, BTreeSet<semver::Version>>,
    /// Units that cargo said it could not compile.
    not_compiled: Vec<NotCompiled>,
    /// Build scripts that failed.
    scripts: ScriptReader,
    crashes: CrashReader,
    /// The crashes of the compiler, each with what cargo had named last. Which unit and version
    /// that is, is known only once both streams are read: they come in any order.
    crashed: Vec<(Crash, Option<NotCompiled>)>,
    /// Whether the last thing that cargo gave up was a compilation, as `not_compiled` ends.
    gave_up_compiling: bool,
    /// The first error of cargo's own, and the lines after it.
    own_error: Vec<String>,
}

/// What was read of a step.
#[derive(Debug)]
pub struct StepRead {
    /// What came of it.
    pub outcome: StepOutcome,
    /// Its log.
    pub log: String,
    /// The units that a later step may run as tests.
    pub runnable: BTreeSet<UnitKey>,
}

impl StepReader {
    /// A reader for a command that compiles the package `root`.
    pub fn new(root: PackageId) -> Self {
        Self::of(root, StepKind::Compile, BTreeSet::new())
    }

    /// A reader for a command run on the package `root`; `plan` has the units that it runs, where
    /// it runs tests.
    pub fn of(root: PackageId, kind: StepKind, plan: BTreeSet<UnitKey>) -> Self {
        Self {
            root,
            kind,
            tests: kind.runs_tests().then(|| TestStep::new(plan)),
            runnable: BTreeSet::new(),
            warnings: BTreeSet::new(),
            heard: Heard::default(),
            log: LogBuffer::default(),
            built: BTreeSet::new(),
            diagnostics: Vec::new(),
            left_out: 0,
            erring: BTreeSet::new(),
            versions: BTreeMap::new(),
            not_compiled: Vec::new(),
            scripts: ScriptReader::default(),
            crashes: CrashReader::default(),
            crashed: Vec::new(),
            gave_up_compiling: false,
            own_error: Vec::new(),
        }
    }

    /// Takes one line of standard output, without its newline.
    pub fn stdout(&mut self, line: &[u8]) {
        let message = line
            .starts_with(b"{")
            .then(|| serde_json::from_slice::<Message>(line).ok())
            .flatten();
        match message {
            Some(Message::CompilerArtifact(artifact)) => {
                let package = self.package(&artifact.package_id.repr);
                if package == self.root {
                    self.artifact(&artifact);
                }
            }
            Some(Message::CompilerMessage(message)) => {
                let package = self.package(&message.package_id.repr);
                self.diagnostic(&package, &message.target, &message.message);
            }
            Some(Message::BuildScriptExecuted(script)) => {
                self.package(&script.package_id.repr);
            }
            Some(_) => {}
            None => {
                self.log.line(line);
                if let Some(tests) = &mut self.tests {
                    tests.stdout(&String::from_utf8_lossy(line));
                }
            }
        }
    }

    /// Takes cargo's word that a unit of the crate is there.
    fn artifact(&mut self, artifact: &Artifact) {
        let unit = unit_key(&artifact.target, artifact.profile.test);
        if let Some(tests) = &mut self.tests {
            if let Some(path) = artifact.executable.as_ref().filter(|_| tests.runs(&unit)) {
                tests.executable(unit, path.as_str());
            }
            return;
        }
        let documented =
            |path: &&cargo_metadata::camino::Utf8PathBuf| path.extension() == Some("html");
        if self.kind == StepKind::Doc && artifact.filenames.iter().find(documented).is_none() {
            return;
        }
        if artifact.target.test && artifact.profile.test && unit.kind != UnitKind::Bench {
            self.runnable.insert(unit.clone());
        }
        if artifact.target.doctest && unit.kind == UnitKind::Lib && !unit.harness {
            self.runnable.insert(UnitKey {
                kind: UnitKind::DocTest,
                name: unit.name.clone(),
                harness: true,
            });
        }
        self.built.insert(unit);
    }

    /// Takes one line of standard error, without its newline.
    pub fn stderr(&mut self, line: &[u8]) {
        self.log.line(line);
        let text = String::from_utf8_lossy(line);
        if self.scripts.line(&text) {
            return;
        }
        match &mut self.tests {
            Some(tests) => tests.stderr(&text),
            None => self.heard.line(Speaker::Compiler, &text),
        }
        if let Some(failed) = classify::could_not_compile(&text) {
            self.not_compiled.push(failed);
            self.gave_up_compiling = true;
            if let Some(crash) = self.crashes.take() {
                self.crashed(crash);
            }
        } else if let Some(package) = classify::failed_build_script(&text) {
            self.scripts.failed(package);
            self.gave_up_compiling = false;
        } else if let Some(crash) = ice::signal(&text).filter(|_| self.gave_up_compiling) {
            self.crashed(crash);
        } else {
            let begun = !self.own_error.is_empty() || text.starts_with("error: ");
            if begun && self.own_error.len() < MAX_ERROR_LINES {
                self.own_error.push(text.clone().into_owned());
            }
            // Tests may say anything; a crash of rustdoc's is the compiler's.
            if self.kind != StepKind::Test {
                self.crashes.line(&text);
            }
        }
    }

    /// What cargo itself could not do, where nothing was even tried: a manifest that it refuses,
    /// say. It stands for the crate's library, as nothing else is known of the crate.
    fn refusal(&mut self) {
        let Some((first, rest)) = self.own_error.split_first() else {
            return;
        };
        let mut message = first.trim_start_matches("error: ").to_owned();
        let mut causes = rest.iter().skip_while(|line| *line != "Caused by:");
        if let Some(cause) = causes.nth(1) {
            message = format!("{message}: {}", cause.trim());
        }
        let rendered = clip(&self.own_error.join("\n"));
        self.keep(Diagnostic {
            package: self.root.to_ref(),
            own: true,
            unit: self.with_library_name(UnitKey {
                kind: UnitKind::Lib,
                name: String::new(),
                harness: false,
            }),
            code: None,
            message,
            place: None,
            rendered,
            ice: false,
            test: None,
        });
    }

    fn crashed(&mut self, crash: Crash) {
        if self.crashed.len() < MAX_DIAGNOSTICS {
            let named = self.not_compiled.last().cloned();
            self.crashed.push((crash, named));
        }
    }

    /// Puts the crashes of the compiler before its messages, so that no number of these hides one.
    fn keep_crashes(&mut self) {
        let messages = std::mem::take(&mut self.diagnostics);
        for (crash, named) in std::mem::take(&mut self.crashed) {
            self.crash(crash, named);
        }
        messages.into_iter().for_each(|d| self.keep(d));
    }

    /// A crash of the compiler, in what cargo named last; in the crate's library where cargo has
    /// named nothing.
    fn crash(&mut self, crash: Crash, named: Option<NotCompiled>) {
        let is_named = named.is_some();
        let (name, unit) = named.unwrap_or_else(|| (self.root.name.clone(), None));
        let own = name == self.root.name;
        let unit = unit.unwrap_or_else(|| UnitKey {
            kind: UnitKind::Lib,
            name: String::new(),
            harness: false,
        });
        let package = if own {
            self.root.to_ref()
        } else {
            let version = self.version(&name);
            PackageRef { name, version }
        };
        let unit = if own {
            self.with_library_name(unit)
        } else {
            unit
        };
        if own && is_named {
            self.erring.insert((unit.kind, unit.name.clone()));
        }
        self.keep(Diagnostic {
            package,
            own,
            unit,
            code: None,
            message: crash.message,
            place: crash.place,
            rendered: clip(&crash.text),
            ice: true,
            test: None,
        });
    }

    /// Puts a line of our own into the log.
    pub fn note(&mut self, text: &str) {
        self.log.text(text);
    }

    fn package(&mut self, id: &str) -> PackageId {
        let package = PackageId::parse(id);
        // Path dependencies and patched libraries are built from directories, too.
        if package.local && package.name == self.root.name {
            return self.root.clone();
        }
        if let Some(version) = &package.version {
            let known = self.versions.entry(package.name.clone()).or_default();
            known.insert(version.clone());
        }
        package
    }

    fn diagnostic(&mut self, package: &PackageId, target: &Target, message: &RustcDiagnostic) {
        let rendered = message.rendered.as_deref().unwrap_or(&message.message);
        self.log.text(rendered);
        let ice = message.level == DiagnosticLevel::Ice;
        if classify::is_summary(&message.message) {
            return;
        }
        let own = *package == self.root;
        let place = message
            .spans
            .iter()
            .find(|s| s.is_primary)
            .map(|s| format!("{}:{}", in_package(package, &s.file_name), s.line_start));
        let code = message.code.as_ref().map(|c| c.code.clone());
        if message.level == DiagnosticLevel::Warning && own && self.warnings.len() < MAX_WARNINGS {
            let code = code.clone().unwrap_or_else(|| NO_CODE.to_owned());
            let text = message.message.clone();
            self.warnings.insert((code, place.clone(), text));
        }
        if message.level != DiagnosticLevel::Error && !ice {
            return;
        }
        if code.is_none() {
            self.heard.line(Speaker::Compiler, &message.message);
        }
        let unit = unit_key(
            target,
            matches!(unit_kind(target), UnitKind::Test | UnitKind::Bench),
        );
        if own {
            self.erring.insert((unit.kind, unit.name.clone()));
        }
        let diagnostic = Diagnostic {
            package: package.to_ref(),
            own,
            unit,
            code,
            message: message.message.clone(),
            place,
            rendered: if classify::is_linking(&message.message) {
                clip_middle(rendered)
            } else {
                clip(rendered)
            },
            ice,
            test: None,
        };
        self.keep(diagnostic);
    }

    fn keep(&mut self, diagnostic: Diagnostic) {
        // The library and its test harness have the same errors; once is enough.
        if self.diagnostics.contains(&diagnostic) {
            return;
        }
        if self.diagnostics.len() < MAX_DIAGNOSTICS {
            self.diagnostics.push(diagnostic);
        } else {
            self.left_out += 1;
        }
    }

    /// The version of a package that cargo spoke of, where it spoke of one only.
    fn version(&self, name: &str) -> Option<semver::Version> {
        let known = self.versions.get(name).filter(|v| v.len() == 1)?;
        known.first().cloned()
    }

    /// The failed units of the crate itself.
    ///
    /// Since 1.67 or so cargo names each unit that it could not compile; before, and where a
    /// compiler was killed, the targets with errors are all there is, and those variants of them
    /// (with and without the test harness) that were built are not the ones that failed.
    ///
    /// A unit that was built and is named all the same is another version of the crate among its
    /// own dev-dependencies, unless it has errors: then a proc macro forged the success.
    fn failed_units(&self) -> BTreeSet<UnitKey> {
        let mut failed: BTreeSet<UnitKey> = self
            .not_compiled
            .iter()
            .filter(|(package, _)| *package == self.root.name)
            .filter_map(|(_, unit)| unit.clone())
            .map(|unit| self.with_library_name(unit))
            .filter(|unit| !self.built.contains(unit) || self.has_errors(unit))
            .collect();
        for (kind, name) in &self.erring {
            let key = |harness| UnitKey {
                kind: *kind,
                name: name.clone(),
                harness,
            };
            if failed.contains(&key(true)) || failed.contains(&key(false)) {
                continue;
            }
            match kind {
                UnitKind::Test | UnitKind::Bench => failed.insert(key(true)),
                _ if self.kind == StepKind::Doc => failed.insert(key(false)),
                UnitKind::Lib | UnitKind::Bin if self.built.contains(&key(false)) => {
                    failed.insert(key(true))
                }
                _ => failed.insert(key(false)),
            };
        }
        failed
    }

    fn has_errors(&self, unit: &UnitKey) -> bool {
        self.erring.contains(&(unit.kind, unit.name.clone()))
    }

    /// Cargo says `(lib)` without the library's name, and there is one library at most.
    fn with_library_name(&self, mut unit: UnitKey) -> UnitKey {
        if matches!(unit.kind, UnitKind::Lib | UnitKind::BuildScript) {
            let known = |k: &&(UnitKind, String)| k.0 == unit.kind;
            unit.name = match self.erring.iter().find(known) {
                Some((_, name)) => name.clone(),
                None => match self.built.iter().find(|b| b.kind == unit.kind) {
                    Some(built) => built.name.clone(),
                    None if unit.kind == UnitKind::Lib => self.root.name.replace('-', "_"),
                    None => "build-script-build".to_owned(),
                },
            };
        }
        unit
    }

    /// Other packages that failed themselves: with errors, with a failed build script, or
    /// reported as not compiled.
    fn failed_dependencies(&self, scripts: &[FailedScript]) -> BTreeSet<PackageRef> {
        let scripts = scripts.iter().map(|s| s.package.clone());
        let erring = self
            .diagnostics
            .iter()
            .filter(|d| !d.own)
            .map(|d| d.package.clone());
        let mut failed: BTreeSet<PackageRef> = scripts
            .chain(erring)
            .filter(|p| p.name != self.root.name)
            .collect();
        for (package, _) in &self.not_compiled {
            if *package != self.root.name && !failed.iter().any(|f| f.name == *package) {
                failed.insert(PackageRef {
                    name: package.clone(),
                    version: self.version(package),
                });
            }
        }
        failed
    }

    /// The failure of a build script, for those who read of it.
    fn script_diagnostic(&self, script: &FailedScript) -> Diagnostic {
        let own = script.package.name == self.root.name;
        Diagnostic {
            package: if own {
                self.root.to_ref()
            } else {
                script.package.clone()
            },
            own,
            unit: UnitKey {
                kind: UnitKind::BuildScript,
                name: "build-script-build".to_owned(),
                harness: false,
            },
            code: None,
            message: crate::log::clean(&script.message()),
            place: None,
            rendered: clip(&script.lines.join("\n")),
            ice: false,
            test: None,
        }
    }

    /// Where cargo succeeded nothing failed, whatever a proc macro printed.
    fn forget_failures(&mut self) {
        self.erring.clear();
        self.not_compiled.clear();
        self.diagnostics.clear();
        self.left_out = 0;
    }

    /// The units, once all failures are known.
    fn units(&self) -> BTreeMap<UnitKey, UnitStatus> {
        let mut units: BTreeMap<UnitKey, UnitStatus> = self
            .built
            .iter()
            .map(|u| (u.clone(), UnitStatus::Pass))
            .collect();
        for unit in self.failed_units() {
            let status = if classify::needs_nightly(&self.diagnostics, &unit) {
                UnitStatus::NeedsNightly
            } else {
                UnitStatus::Fail
            };
            units.insert(unit, status);
        }
        units
    }

    /// Ends the step.
    ///
    /// `oom` says that a process was killed for memory although the step itself went on.
    pub fn finish(mut self, step: &str, exit: StepExit, oom: bool, usage: Usage) -> StepRead {
        let mut scripts = std::mem::take(&mut self.scripts).finish();
        if exit.success() {
            self.forget_failures();
            scripts.clear();
        } else {
            if let Some(crash) = self.crashes.take() {
                self.crashed(crash);
            }
            self.keep_crashes();
        }
        let of_scripts: Vec<_> = scripts.iter().map(|s| self.script_diagnostic(s)).collect();
        let mut units = self.units();
        let tested = self.tests.take().map(|tests| {
            units.retain(|unit, _| tests.runs(unit));
            tests.finish(exit, &self.root.to_ref())
        });
        let counts = tested.as_ref().and_then(|t| t.counts);
        let mut test_diagnostics = Vec::new();
        if let Some(tested) = tested {
            let compiled = std::mem::replace(&mut units, tested.units);
            units.extend(compiled);
            test_diagnostics = tested.diagnostics;
        }
        let failed_tests = !test_diagnostics.is_empty();
        let untried = self.diagnostics.is_empty()
            && self.not_compiled.is_empty()
            && of_scripts.is_empty()
            && !failed_tests;
        let mut rust_version = None;
        if untried && matches!(exit, StepExit::Code(code) if code != 0) {
            rust_version = classify::needs_newer_rust(&self.own_error);
            self.refusal();
        }
        of_scripts
            .into_iter()
            .chain(test_diagnostics)
            .for_each(|d| self.keep(d));
        let own_script = scripts.iter().find(|s| s.package.name == self.root.name);
        let others = scripts.iter().filter(|s| s.package.name != self.root.name);
        let evidence = classify::Evidence {
            exit,
            oom,
            units: &units,
            diagnostics: &self.diagnostics,
            failed_dependencies: &self.failed_dependencies(&scripts),
            own_script: own_script.map(|s| &s.heard),
            dependency_scripts: others.map(|s| (&s.package, &s.heard)).collect(),
            heard: &self.heard,
            rust_version,
        };
        let reason = classify::reason(&evidence);
        let mut warnings: BTreeMap<String, u32> = BTreeMap::new();
        for (code, ..) in self.warnings {
            *warnings.entry(code).or_default() += 1;
        }
        let outcome = StepOutcome {
            step: step.to_owned(),
            exit,
            units: units
                .into_iter()
                .map(|(unit, status)| UnitOutcome { unit, status })
                .collect(),
            diagnostics: self.diagnostics,
            diagnostics_left_out: self.left_out,
            warnings,
            tests: counts,
            reason,
            usage,
        };
        StepRead {
            outcome,
            log: self.log.into_text(),
            runnable: self.runnable,
        }
    }
}

/// The path of a file of `package` below the package's directory, which is named after it.
fn in_package<'a>(package: &PackageId, file: &'a str) -> &'a str {
    let Some(version) = package.version.as_ref().filter(|_| file.starts_with('/')) else {
        return file;
    };
    let directory = format!("/{}-{version}", package.name);
    let rest = file.split_once(&directory).map(|(_, rest)| rest);
    rest.and_then(|rest| rest.split_once('/'))
        .map_or(file, |(_, path)| path)
}

/// Beginning and end: what a linker says comes after its whole command line.
fn clip_middle(text: &str) -> String {
    let clean = crate::log::clean(text);
    let chars: Vec<char> = clean.chars().collect();
    if chars.len() <= MAX_RENDERED_CHARS {
        return clean;
    }
    let (head, tail) = (MAX_RENDERED_CHARS / 6, MAX_RENDERED_CHARS * 5 / 6);
    let head: String = chars[..head].iter().collect();
    let tail: String = chars[chars.len() - tail..].iter().collect();
    format!("{head}\n[cut]\n{tail}")
}

/// Text that is kept, without anything that a terminal would obey, and not longer than it may be.
pub(crate) fn clip(text: &str) -> String {
    let clean = crate::log::clean(text);
    match clean.char_indices().nth(MAX_RENDERED_CHARS) {
        None => clean,
        Some((at, _)) => format!("{}\n[cut]\n", &clean[..at]),
    }
}

fn unit_kind(target: &Target) -> UnitKind {
    for kind in &target.kind {
        match kind {
            TargetKind::Bin => return UnitKind::Bin,
            TargetKind::Test => return UnitKind::Test,
            TargetKind::Example => return UnitKind::Example,
            TargetKind::Bench => return UnitKind::Bench,
            TargetKind::CustomBuild => return UnitKind::BuildScript,
            _ => {}
        }
    }
    UnitKind::Lib
}

fn unit_key(target: &Target, harness: bool) -> UnitKey {
    let kind = unit_kind(target);
    let name = match kind {
        // Before 1.79 cargo calls a library as the manifest does, since then as rustc does.
        UnitKind::Lib => target.name.replace('-', "_"),
        _ => target.name.clone(),
    };
    UnitKey {
        kind,
        name,
        // Checked without a harness or with it, a test is the same thing to its readers.
        harness: harness || matches!(kind, UnitKind::Test | UnitKind::Bench),
    }
}

#[cfg(test)]
#[path = "messages_tests.rs"]
mod tests;
