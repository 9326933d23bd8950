//! Reads the fixtures, and makes causes of them as a job would.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use ejecta_core::cluster::{self, Cause};
use ejecta_core::compare;
use ejecta_core::krate::{Checksum, Crate, CrateId, CrateName, Source};
use ejecta_core::limits::Usage;
use ejecta_core::messages::StepReader;
use ejecta_core::outcome::{
    Diagnostic, PackageRef, Reason, Run, Side, StepExit, StepOutcome, UnitKey, UnitKind,
    UnitOutcome, UnitStatus,
};
use ejecta_core::package_id::PackageId;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// One fixture.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fixture {
    /// The name of its files.
    #[serde(skip)]
    pub name: String,
    /// What it shows.
    #[expect(dead_code, reason = "for those who read the file")]
    about: String,
    /// The crates.
    #[serde(rename = "crate")]
    krate: Vec<FixtureCrate>,
    /// The clusters that they make, in their order.
    pub cluster: Vec<Expected>,
    /// What the compilers said, by crate, by compilation.
    #[serde(skip)]
    said: BTreeMap<String, Vec<Vec<Value>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FixtureCrate {
    name: String,
    #[serde(default = "one")]
    version: String,
    /// What the compiler was given, or what it printed.
    #[serde(default)]
    compile: Vec<Compile>,
    /// Tests that failed.
    #[serde(default)]
    test: Vec<FailedTest>,
    /// What cargo wrote to standard error: crashes, mostly.
    #[serde(default)]
    stderr: String,
    /// Why the step failed, where no message says so.
    reason: Option<Reason>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Compile {
    /// A dependency with its version; the crate itself where there is none.
    package: Option<String>,
    /// `lib`, or a kind and a name, such as `bin tool`.
    #[serde(default = "lib")]
    unit: String,
    printed: Option<String>,
    // What follows is for `make.py`.
    source: Option<String>,
    #[serde(rename = "rustc")]
    _rustc: Option<String>,
    #[serde(rename = "args")]
    _args: Option<Vec<String>>,
    #[serde(rename = "edition")]
    _edition: Option<String>,
    #[serde(rename = "crate-type")]
    _crate_type: Option<String>,
    #[serde(rename = "emit")]
    _emit: Option<String>,
    #[serde(rename = "file")]
    _file: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FailedTest {
    name: String,
    message: String,
    #[serde(default)]
    printed: String,
}

/// A cluster that must be there.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// The package that fails; empty where there is no one.
    pub root: String,
    /// The code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The normalised message.
    #[serde(default)]
    pub signature: String,
    /// The file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// Crates, by name.
    pub crates: Vec<String>,
    /// Crates of other clusters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
    /// The first crates of the related clusters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub related: Vec<String>,
}

/// Changes that must make no difference.
#[derive(Debug, Default)]
pub struct Changes {
    /// Other lines, other directories.
    pub moved: bool,
    /// Other names of the crates.
    pub renamed: bool,
}

fn one() -> String {
    "1.0.0".to_owned()
}

fn lib() -> String {
    "lib".to_owned()
}

/// All fixtures, by name.
pub fn all() -> Vec<Fixture> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clusters");
    let mut all: Vec<Fixture> = std::fs::read_dir(directory)
        .expect("the directory of fixtures")
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.extension().is_some_and(|e| e == "toml"))
        .map(|path| read(&path))
        .collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

fn read(path: &Path) -> Fixture {
    let name = path.file_stem().expect("a file").to_string_lossy();
    let text = std::fs::read_to_string(path).expect("readable");
    let mut fixture: Fixture = toml::from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
    if let Ok(said) = std::fs::read_to_string(path.with_extension("json")) {
        fixture.said = serde_json::from_str(&said).unwrap_or_else(|e| panic!("{name}: {e}"));
    }
    fixture.name = name.into_owned();
    fixture
}

impl Fixture {
    /// The name of a crate.
    pub fn name_of(&self, id: &CrateId) -> String {
        let id_of = |k: &&FixtureCrate| format!("{}-{}", k.name, k.version) == id.as_str();
        self.krate
            .iter()
            .find(id_of)
            .expect("of the fixture")
            .name
            .clone()
    }

    /// The causes of every crate.
    pub fn causes(&self, changes: &Changes) -> Vec<(CrateId, Vec<Cause>)> {
        let dependencies: BTreeSet<&str> = self
            .krate
            .iter()
            .flat_map(|k| &k.compile)
            .filter_map(|c| c.package.as_deref()?.split(' ').next())
            .collect();
        self.krate
            .iter()
            .map(|krate| {
                let renamed = changes.renamed && !dependencies.contains(&*krate.name);
                let name = if renamed {
                    format!("other-{}", krate.name)
                } else {
                    krate.name.clone()
                };
                let mut outcome = self.step(krate, &name);
                if changes.moved {
                    outcome.diagnostics.iter_mut().for_each(elsewhere);
                }
                (id(krate), causes(&name, krate, outcome))
            })
            .collect()
    }

    /// Reads all that was said of a crate, under this name.
    fn step(&self, krate: &FixtureCrate, name: &str) -> StepOutcome {
        let root = format!("path+file:///ejecta/job/source#{name}@{}", krate.version);
        let mut reader = StepReader::new(PackageId::parse(&root));
        let mut said = self.said.get(&krate.name).into_iter().flatten();
        for compile in &krate.compile {
            let messages = match (&compile.printed, &compile.source) {
                (Some(printed), None) => vec![printed_message(printed)],
                (None, Some(_)) => said.next().expect("run make.py").clone(),
                _ => panic!("{}: either printed or source", self.name),
            };
            for message in messages {
                let line = cargo_message(&root, compile, &message).to_string();
                let line = line.replace(
                    &format!("`{}`", ident(&krate.name)),
                    &format!("`{}`", ident(name)),
                );
                reader.stdout(line.as_bytes());
            }
        }
        for line in krate.stderr.lines() {
            let line = line.replace("CRATE", name);
            reader.stderr(line.as_bytes());
        }
        let read = reader.finish("check", StepExit::Code(101), false, Usage::default());
        let mut outcome = read.outcome;
        let silent = krate.compile.is_empty() && krate.stderr.is_empty();
        if silent {
            outcome.diagnostics.clear();
        }
        outcome
            .diagnostics
            .extend(krate.test.iter().map(|t| failed_test(krate, t)));
        if let Some(reason) = &krate.reason {
            outcome.reason = Some(reason.clone());
        }
        outcome
    }
}

fn ident(name: &str) -> String {
    name.replace('-', "_")
}

fn id(krate: &FixtureCrate) -> CrateId {
    crate_of(&krate.name, krate).id()
}

fn crate_of(name: &str, krate: &FixtureCrate) -> Crate {
    Crate {
        name: CrateName::new(name).expect("a name"),
        version: krate.version.parse().expect("a version"),
        source: Source::Registry {
            checksum: Checksum::new("c".repeat(64)).expect("hex"),
        },
    }
}

/// A baseline where all is well, and the candidate.
fn causes(name: &str, krate: &FixtureCrate, outcome: StepOutcome) -> Vec<Cause> {
    let good = UnitOutcome {
        unit: unit(&ident(name), "lib"),
        status: UnitStatus::Pass,
    };
    let passing = |u: &UnitOutcome| UnitOutcome {
        status: UnitStatus::Pass,
        ..u.clone()
    };
    let mut units: Vec<UnitOutcome> = outcome.units.iter().map(passing).collect();
    if units.is_empty() {
        units.push(good);
    }
    let baseline = StepOutcome {
        exit: StepExit::Code(0),
        units,
        diagnostics: Vec::new(),
        reason: None,
        ..outcome.clone()
    };
    let run = |side, step| Run {
        side,
        dev_dependencies: false,
        keep_going: true,
        features: BTreeSet::new(),
        steps: vec![step],
        log: "1".to_owned(),
    };
    let (baseline, candidate) = (run(Side::Baseline, baseline), run(Side::Candidate, outcome));
    let units = compare::units(&[&baseline], &[&candidate]);
    cluster::causes(&crate_of(name, krate), &candidate, &[&baseline], &units)
}

fn unit(name: &str, text: &str) -> UnitKey {
    let (kind, name) = match text.split_once(' ') {
        None => (UnitKind::Lib, name),
        Some(("bin", name)) => (UnitKind::Bin, name),
        Some(("test", name)) => (UnitKind::Test, name),
        Some((other, _)) => panic!("no kind of unit: {other}"),
    };
    UnitKey {
        kind,
        name: name.to_owned(),
        harness: kind == UnitKind::Test,
    }
}

fn failed_test(krate: &FixtureCrate, test: &FailedTest) -> Diagnostic {
    Diagnostic {
        package: PackageRef {
            name: krate.name.clone(),
            version: krate.version.parse().ok(),
        },
        own: true,
        unit: unit(&krate.name, "test it"),
        code: None,
        message: test.message.clone(),
        place: None,
        rendered: test.printed.clone(),
        ice: false,
        test: Some(test.name.clone()),
    }
}

fn cargo_message(root: &str, compile: &Compile, message: &Value) -> Value {
    let (id, name) = match &compile.package {
        None => (
            root.to_owned(),
            root.rsplit(['#', '@']).nth(1).unwrap_or("x"),
        ),
        Some(package) => {
            let (name, version) = package.split_once(' ').expect("name and version");
            (
                format!("registry+https://r.invalid/index#{name}@{version}"),
                name,
            )
        }
    };
    let unit = unit(&ident(name), &compile.unit);
    json!({
        "reason": "compiler-message",
        "package_id": id,
        "manifest_path": "/ejecta/job/source/Cargo.toml",
        "target": {
            "kind": [unit.kind.name()],
            "crate_types": ["lib"],
            "name": unit.name,
            "src_path": "/ejecta/job/source/src/lib.rs",
            "edition": "2021",
            "doc": true,
            "doctest": true,
            "test": true,
        },
        "message": message,
    })
}

/// rustc's message from what it printed.
fn printed_message(printed: &str) -> Value {
    let first = printed.lines().next().expect("a headline");
    let (code, message) = match first.strip_prefix("error[") {
        Some(rest) => {
            let (code, message) = rest.split_once("]: ").expect("a code");
            (json!({"code": code, "explanation": null}), message)
        }
        None => {
            let message = first.strip_prefix("error: ").expect("an error");
            (Value::Null, message)
        }
    };
    let place = printed
        .lines()
        .find_map(|l| l.trim_start().strip_prefix("--> "));
    let spans: Vec<Value> = place
        .into_iter()
        .map(|place| {
            let mut parts = place.rsplitn(3, ':');
            let mut number = || parts.next().and_then(|n| n.parse::<u32>().ok()).expect("n");
            let (column, line) = (number(), number());
            json!({
                "file_name": parts.next().expect("a file"),
                "byte_start": 0, "byte_end": 1,
                "line_start": line, "line_end": line,
                "column_start": column, "column_end": column + 1,
                "is_primary": true, "text": [], "label": null,
                "suggested_replacement": null, "suggestion_applicability": null,
                "expansion": null,
            })
        })
        .collect();
    json!({
        "message": message, "code": code, "level": "error",
        "spans": spans, "children": [], "rendered": printed,
    })
}

/// The same error some lines further down, on another machine.
fn elsewhere(error: &mut Diagnostic) {
    if let Some((file, line)) = error.place.as_deref().and_then(|p| p.rsplit_once(':')) {
        let line: u32 = line.parse().expect("a line");
        error.place = Some(format!("{file}:{}", line + 1_000));
    }
    for text in [&mut error.message, &mut error.rendered] {
        *text = text
            .replace("/ejecta/job", "/srv/another/place")
            .replace(".rs:", ".rs:1")
            .replace("rustcXXXXXX", "rustcYYYYYY");
    }
}
