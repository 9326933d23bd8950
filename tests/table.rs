//! The table of outcomes, `tests/crates/outcomes.toml`: every fixture crate in every mode and scope,
//! on Docker. `results.json`, the files of the reference runner, `summary.md` and `index.html` must
//! all say what the table says.

use std::collections::BTreeMap;

use ejecta_test_support::{
    ExpectedCrate, Lab, check_page, check_summary, crates_dir, docker_or_skip,
};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::Value;

/// The whole table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    denylist: String,
    reference: Reference,
    /// Crate by crate: a cell for each condition; see the head of the file.
    crates: BTreeMap<String, BTreeMap<String, String>>,
}

/// Where the reference runner has other words.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reference {
    /// What it calls a crate that passes, by mode or by mode and scope.
    pass: BTreeMap<String, String>,
    /// What it calls a reason, by the kind of ours.
    reasons: BTreeMap<String, String>,
    /// What it calls a verdict.
    verdicts: BTreeMap<String, String>,
    /// What it says of both runs where nothing could be tried, by our verdict and reason.
    unprepared: BTreeMap<String, String>,
}

/// A mode in a scope.
#[derive(Debug, Clone, Copy)]
struct Column<'a> {
    mode: &'a str,
    scope: &'a str,
}

impl Column<'_> {
    /// The entry for this column: that of the mode and scope, else of the mode, of the scope, or
    /// the general one.
    fn of(self, row: &BTreeMap<String, String>) -> Option<&str> {
        let both = format!("{}.{}", self.mode, self.scope);
        [&both, self.mode, self.scope, "always"]
            .into_iter()
            .find_map(|key| row.get(key).map(String::as_str))
    }
}

/// `verdict | baseline | candidate | coverage`, of which the last is only there for a crate that
/// does not count, as `not covered`; `verdict:reason` of a crate that could not be tried.
fn cell(krate: &Value) -> String {
    let covered = if krate["covered"] == true {
        ""
    } else {
        " | not covered"
    };
    let verdict = text(&krate["verdict"]);
    let verdict = match krate["reason"]["kind"].as_str() {
        Some(reason) if ["broken", "prepare-fail"].contains(&verdict) => {
            format!("{verdict}:{reason}")
        }
        _ => verdict.to_owned(),
    };
    format!(
        "{verdict} | {} | {}{covered}",
        side(&krate["baseline"]),
        side(&krate["candidate"])
    )
}

/// `outcome`, or `outcome:reason(what)`.
fn side(side: &Value) -> String {
    if side.is_null() {
        return "-".to_owned();
    }
    let outcome = text(&side["outcome"]);
    let reason = &side["reason"];
    let Some(kind) = reason["kind"].as_str() else {
        return outcome.to_owned();
    };
    let joined = |key: &str| {
        let all = reason[key].as_array().into_iter().flatten();
        let all: Vec<String> = all
            .map(|item| match item.as_str() {
                Some(text) => text.to_owned(),
                None => format!("reg/{}/{}", text(&item["name"]), text(&item["version"])),
            })
            .collect();
        all.join(", ")
    };
    match kind {
        "compiler-error" => format!("{outcome}:{kind}({})", joined("codes")),
        "depends-on" => format!("{outcome}:{kind}({})", joined("packages")),
        "missing-system-library" => format!("{outcome}:{kind}({})", joined("names")),
        "limit" => format!("{outcome}:{}", text(&reason["limit"])),
        "environment" => format!("{outcome}:{}", text(&reason["need"])),
        _ => format!("{outcome}:{kind}"),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}

impl Table {
    fn read() -> Self {
        let path = crates_dir().join("outcomes.toml");
        let text = fs_err::read_to_string(path).expect("a readable table");
        toml::from_str(&text).expect("a table")
    }

    /// What the reference runner calls `verdict` of ours.
    fn reference_verdict(&self, column: Column<'_>, verdict: &str) -> String {
        if let Some((own, _)) = self.unprepared(verdict) {
            return own.to_owned();
        }
        let own = self.reference.verdicts.get(verdict);
        match own {
            Some(own) => own.clone(),
            None => self.reference_pass(column, verdict),
        }
    }

    /// What the reference runner says of a crate that could not be tried: a verdict and a reason.
    fn unprepared(&self, verdict: &str) -> Option<(&str, &str)> {
        self.reference.unprepared.get(verdict)?.split_once(':')
    }

    fn reference_pass(&self, column: Column<'_>, word: &str) -> String {
        match (word, column.of(&self.reference.pass)) {
            ("test-pass", Some(own)) => own.to_owned(),
            _ => word.to_owned(),
        }
    }

    /// What the reference runner calls one side of ours.
    fn reference_side(&self, column: Column<'_>, verdict: &str, side: &str) -> String {
        let Some((outcome, reason)) = side.split_once(':') else {
            return match (verdict, side) {
                ("test-skipped", "test-pass") => "test-skipped".to_owned(),
                _ => self.reference_pass(column, side),
            };
        };
        if outcome == "skipped" {
            return outcome.to_owned();
        }
        let kind = reason.split('(').next().unwrap_or(reason);
        let own = self.reference.reasons.get(reason);
        let own = own.or_else(|| self.reference.reasons.get(kind));
        format!("{outcome}:{}", own.map_or(reason, String::as_str))
    }

    /// Runs every crate in one mode and scope, and compares all that is written.
    fn holds(&self, column: Column<'_>) {
        if !docker_or_skip() {
            return;
        }
        let lab = Lab::new(env!("CARGO_BIN_EXE_ejecta"));
        let denylist = lab.write("denylist.toml", &self.denylist);
        let names: Vec<&str> = self.crates.keys().map(String::as_str).collect();
        let candidate = "stable+rustflags=--cfg planted+rustdocflags=--cfg planted";
        let ended = lab.run(
            "out",
            &[
                "--mode",
                column.mode,
                "--scope",
                column.scope,
                "--crates",
                &format!("list:{}", names.join(",")),
                "--candidate",
                candidate,
                "--memory",
                "1024",
                "--denylist",
                denylist.to_str().expect("UTF-8"),
            ],
        );
        let told = format!("{}\n{}", ended.stdout, ended.stderr);
        let results = lab.results("out");
        let found: BTreeMap<String, String> = results["crates"]
            .as_array()
            .expect("an array")
            .iter()
            .map(|krate| (text(&krate["name"]).to_owned(), cell(krate)))
            .collect();
        let mut wrong = String::new();
        for (name, row) in &self.crates {
            let expected = column.of(row).unwrap_or("nothing");
            let is = found.get(name).map_or("nothing", String::as_str);
            if is != expected {
                wrong.push_str(&format!(
                    "[crates.{name}]\n\"{}.{}\" = \"{is}\"\n# expected: {expected}\n",
                    column.mode, column.scope
                ));
            }
        }
        assert!(wrong.is_empty(), "{wrong}\n{told}");
        assert_eq!(found.len(), self.crates.len());
        let rows: Vec<ExpectedCrate<'_>> = found
            .iter()
            .map(|(name, cell)| ExpectedCrate {
                name,
                verdict: cell.split([' ', ':']).next().unwrap_or_default(),
                covered: !cell.ends_with("not covered"),
            })
            .collect();
        let regressed = rows.iter().any(|row| row.verdict == "regressed");
        assert_eq!(ended.code, Some(i32::from(regressed)), "{told}");
        check_summary(&lab.read("out", "summary.md"), &rows);
        check_page(&lab.read("out", "one-page.html"), &rows);
        self.check_reference(column, &lab, &found);
        lab.nothing_left("out");
    }

    /// The files of the reference runner.
    fn check_reference(&self, column: Column<'_>, lab: &Lab, found: &BTreeMap<String, String>) {
        let ended = lab.ejecta([
            "report",
            "out",
            "--format",
            "crater-json",
            "--out",
            "crater",
        ]);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let written = lab.results("crater");
        let crates = written["crates"].as_array().expect("an array");
        assert_eq!(crates.len(), found.len());
        for krate in crates {
            let name = text(&krate["krate"]["Registry"]["name"]);
            let mut cell = found[name].split(" | ");
            let verdict = cell.next().unwrap_or_default();
            assert_eq!(
                text(&krate["res"]),
                self.reference_verdict(column, verdict),
                "{name}"
            );
            for (n, side) in cell.take(2).enumerate() {
                let run = &krate["runs"][n];
                let expected = match self.unprepared(verdict) {
                    Some((own, reason)) => format!("{own}:{reason}"),
                    None if side == "-" => continue,
                    None => self.reference_side(column, verdict, side),
                };
                assert_eq!(text(&run["res"]), expected, "{name}, run {n}");
                // An address: `%2B` is a `+` in the file's name.
                let log = format!("{}/log.txt", text(&run["log"]));
                let log = percent_decode_str(&log).decode_utf8().expect("UTF-8");
                let file = lab.path("crater").join(&*log);
                assert!(file.is_file(), "{name}: {}", file.display());
            }
        }
    }
}

/// Declares a test for each mode, in both scopes.
macro_rules! modes {
    ($($name:ident: $mode:literal),* $(,)?) => {$(
        #[test]
        fn $name() {
            let table = Table::read();
            for scope in ["lib", "all"] {
                table.holds(Column { mode: $mode, scope });
            }
        }
    )*};
}

modes! {
    build_and_test: "build-and-test",
    build_only: "build-only",
    check_only: "check-only",
    clippy: "clippy",
    rustdoc: "rustdoc",
    fix: "fix",
    unstable_features: "unstable-features",
}

#[test]
fn every_fixture_is_in_the_table_or_needed_by_one() {
    let table = Table::read();
    // Releases of a dependency, what a test of its own is about, and what is no crate.
    let others = [
        "drifting-1.0.0",
        "drifting-1.1.0",
        "hostile",
        "leaf",
        "outcomes.toml",
        "planted-leaf",
        "planted-warning",
        "test-hangs",
        "yanked-leaf",
    ];
    let all = fs_err::read_dir(crates_dir()).expect("a readable directory");
    for entry in all {
        let name = entry.expect("a readable entry").file_name();
        let name = name.to_str().expect("UTF-8");
        assert!(
            table.crates.contains_key(name) || others.contains(&name),
            "`{name}` has no expected outcome"
        );
    }
}
