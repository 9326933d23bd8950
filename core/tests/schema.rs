//! `docs/results.schema.json` says what `results.json` holds: whatever is written fits it, and it
//! has every field and every word of the types, and no other.

mod fixture;

use std::collections::BTreeSet;

use boon::{Compiler, SchemaIndex, Schemas};
use ejecta_core::cluster::CauseKind;
use ejecta_core::compare::{Tally, UnitComparison, UnitVerdict, Verdict};
use ejecta_core::denylist::DenylistUsed;
use ejecta_core::experiment::{BaselineRuns, CapLints, Compare, LockfilePolicy};
use ejecta_core::git::{Commit, GitUrl};
use ejecta_core::krate::Source;
use ejecta_core::limits::{Bound, LimitHit, LimitStop, Limits};
use ejecta_core::mode::{Mode, Scope};
use ejecta_core::outcome::{
    LockfileOrigin, Need, PackageRef, Reason, Side, TestCounts, UnitKey, UnitKind, UnitOutcome,
    UnitStatus, UnpreparedReason,
};
use ejecta_core::overrides::LimitOverrides;
use ejecta_core::report::model::{
    ClusterResult, Cost, CrateResult, ErrorLine, ExperimentInfo, LockfileInfo, NotCovered,
    RegistryInfo, Results, RunResult, SideOutcome, SideResult, StepResult, TierResult, Toolchain,
    model,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

const SCHEMA: &str = include_str!("../../docs/results.schema.json");
const WORDS: &str = include_str!("../../docs/results.md");

/// What to do where a field or a word has joined.
const MEND: &str = "say it in docs/results.schema.json and docs/results.md, too";

fn schema() -> Value {
    serde_json::from_str(SCHEMA).expect("JSON")
}

fn compiled() -> (Schemas, SchemaIndex) {
    let mut schemas = Schemas::new();
    let mut compiler = Compiler::new();
    compiler.enable_format_assertions();
    compiler
        .add_resource("results", schema())
        .expect("a schema");
    let index = compiler.compile("results", &mut schemas);
    let index = index.expect("a valid schema");
    (schemas, index)
}

/// What does not fit; empty where all does.
fn wrong(value: &Value) -> String {
    let (schemas, index) = compiled();
    let checked = schemas.validate(value, index);
    checked.err().map_or(String::new(), |e| format!("{e:#}"))
}

fn as_value(results: &Results) -> Value {
    serde_json::from_str(&results.to_json()).expect("JSON")
}

#[test]
fn what_is_written_fits() {
    for input in [fixture::whole(), fixture::quiet()] {
        assert_eq!(wrong(&as_value(&model(&input))), "");
    }
    let old: Value = serde_json::from_str(include_str!("data/results-1.json")).expect("JSON");
    assert_eq!(wrong(&old), "", "a file of an earlier version");
}

#[test]
fn what_is_no_result_does_not_fit() {
    let good = as_value(&model(&fixture::whole()));
    let break_it = |change: fn(&mut Value)| {
        let mut value = good.clone();
        change(&mut value);
        wrong(&value)
    };
    assert_ne!(break_it(|v| v["schema"] = json!(2)), "");
    assert_ne!(break_it(|v| v["more"] = json!(1)), "");
    assert_ne!(break_it(|v| v["crates"][0]["verdict"] = json!("fine")), "");
    assert_ne!(break_it(|v| v["coverage"] = json!(1.5)), "");
    assert_ne!(break_it(|v| v["experiment"]["started"] = json!("noon")), "");
    let without = break_it(|v| {
        v["crates"][0]
            .as_object_mut()
            .expect("a crate")
            .remove("id");
    });
    assert!(without.contains("id"), "{without}");
}

/// Every reason, every need, every limit and every kind of source, where each may stand.
#[test]
fn everything_that_can_be_said_fits() {
    let package = PackageRef {
        name: "time".to_owned(),
        version: None,
    };
    let words = || BTreeSet::from(["E0308".to_owned()]);
    let mut reasons = vec![
        Reason::Ice {
            package: package.clone(),
        },
        Reason::CompilerError { codes: words() },
        Reason::DependsOn {
            packages: [package.clone()].into(),
        },
        Reason::BuildScript,
        Reason::TestsFailed,
        Reason::CompilerDiagnosticChange,
        Reason::MissingSystemLibrary { names: words() },
        Reason::RustVersion {
            package,
            required: "1.96".to_owned(),
        },
        Reason::NewWarnings { codes: words() },
        Reason::NeedsNightly,
        Reason::Unknown,
    ];
    reasons.extend(Need::ALL.map(|need| Reason::Environment { need }));
    let limits: Vec<LimitHit> = variants::<LimitHit>().iter().map(|w| read(w)).collect();
    reasons.extend(limits.iter().map(|limit| Reason::Limit { limit: *limit }));
    let mut results = model(&fixture::quiet());
    for reason in reasons {
        let kind = format!("{reason:?}");
        let side = results.crates[0].candidate.as_mut().expect("it ran");
        side.reason = Some(reason);
        assert_eq!(wrong(&as_value(&results)), "", "{kind}");
    }
    let kinds = expected::<UnpreparedReason>(json!({"kind": "?"}));
    for kind in kinds {
        let given = match kind.as_str() {
            "limit" => json!({"kind": "limit", "limit": "oom"}),
            _ => json!({"kind": kind}),
        };
        let reason: UnpreparedReason = serde_json::from_value(given).expect(&kind);
        results.crates[0].reason = Some(reason);
        results.crates[0].tiers[0].reason = Some(reason);
        assert_eq!(wrong(&as_value(&results)), "", "{kind}");
    }
    let sources = [
        Source::Git {
            url: GitUrl::new("https://host/a/b").expect("valid"),
            commit: Commit::new(&"a".repeat(40)).expect("hex"),
            path: String::new(),
        },
        Source::Local {
            path: "/x".to_owned(),
            root: Some("/".to_owned()),
        },
    ];
    for source in sources {
        results.crates[0].source = source;
        assert_eq!(wrong(&as_value(&results)), "");
    }
}

fn read<T: DeserializeOwned>(word: &str) -> T {
    serde_json::from_value(json!(word)).expect("one of its variants")
}

/// The words that an error of serde lists after "expected": all fields, or all variants.
fn expected<T: DeserializeOwned>(given: Value) -> BTreeSet<String> {
    let error = serde_json::from_value::<T>(given)
        .err()
        .expect("`?` is nothing")
        .to_string();
    let (_, list) = error.split_once("expected").unwrap_or((&error, ""));
    let words = list.split('`').skip(1).step_by(2);
    words.map(str::to_owned).collect()
}

fn fields<T: DeserializeOwned>() -> BTreeSet<String> {
    expected::<T>(json!({"?": 0}))
}

fn variants<T: DeserializeOwned>() -> BTreeSet<String> {
    expected::<T>(json!("?"))
}

fn keys(value: &Value) -> BTreeSet<String> {
    let keys = value.as_object().expect("an object").keys();
    keys.cloned().collect()
}

fn strings(value: &Value) -> BTreeSet<String> {
    let all = value.as_array().expect("an array").iter();
    all.map(|v| v.as_str().expect("text").to_owned()).collect()
}

#[test]
fn the_schema_has_every_field_and_no_other() {
    let schema = schema();
    let table = [
        ("ExperimentInfo", fields::<ExperimentInfo>()),
        ("Toolchain", fields::<Toolchain>()),
        ("RegistryInfo", fields::<RegistryInfo>()),
        ("DenylistUsed", fields::<DenylistUsed>()),
        ("Limits", fields::<Limits>()),
        ("LimitOverrides", fields::<LimitOverrides>()),
        ("NotCovered", fields::<NotCovered>()),
        ("ClusterResult", fields::<ClusterResult>()),
        ("PackageRef", fields::<PackageRef>()),
        ("CrateResult", fields::<CrateResult>()),
        ("SideResult", fields::<SideResult>()),
        ("LimitStop", fields::<LimitStop>()),
        ("UnitKey", fields::<UnitKey>()),
        ("UnitOutcome", fields::<UnitOutcome>()),
        ("UnitComparison", fields::<UnitComparison>()),
        ("Tally", fields::<Tally>()),
        ("ErrorLine", fields::<ErrorLine>()),
        ("TierResult", fields::<TierResult>()),
        ("LockfileInfo", fields::<LockfileInfo>()),
        ("Cost", fields::<Cost>()),
        ("RunResult", fields::<RunResult>()),
        ("StepResult", fields::<StepResult>()),
        ("TestCounts", fields::<TestCounts>()),
    ];
    assert_eq!(keys(&schema["properties"]), fields::<Results>());
    let mut seen: BTreeSet<String> = BTreeSet::new();
    for (name, fields) in table {
        assert_eq!(
            keys(&schema["$defs"][name]["properties"]),
            fields,
            "{name}: {MEND}"
        );
        seen.insert(name.to_owned());
    }
    let objects = schema["$defs"].as_object().expect("definitions");
    let objects = objects.iter().filter(|(_, d)| d["type"] == "object");
    let objects: BTreeSet<String> = objects.map(|(name, _)| name.clone()).collect();
    assert_eq!(seen, objects, "each definition is compared with its type");
}

#[test]
fn the_schema_has_every_word_and_no_other() {
    let schema = schema();
    let table = [
        ("/$defs/Verdict", variants::<Verdict>()),
        ("/$defs/Mode", variants::<Mode>()),
        ("/$defs/Scope", variants::<Scope>()),
        ("/$defs/SideOutcome", variants::<SideOutcome>()),
        ("/$defs/Need", variants::<Need>()),
        ("/$defs/LimitHit", variants::<LimitHit>()),
        ("/$defs/UnitStatus", variants::<UnitStatus>()),
        (
            "/$defs/ClusterResult/properties/kind",
            variants::<CauseKind>(),
        ),
        (
            "/$defs/ExperimentInfo/properties/lockfile",
            variants::<LockfilePolicy>(),
        ),
        (
            "/$defs/ExperimentInfo/properties/baseline_runs",
            variants::<BaselineRuns>(),
        ),
        (
            "/$defs/ExperimentInfo/properties/cap_lints",
            variants::<CapLints>(),
        ),
        (
            "/$defs/ExperimentInfo/properties/compare",
            variants::<Compare>(),
        ),
        ("/$defs/LimitStop/properties/bound", variants::<Bound>()),
        ("/$defs/UnitKey/properties/kind", variants::<UnitKind>()),
        (
            "/$defs/UnitComparison/properties/verdict",
            variants::<UnitVerdict>(),
        ),
        (
            "/$defs/LockfileInfo/properties/origin",
            variants::<LockfileOrigin>(),
        ),
        ("/$defs/RunResult/properties/side", variants::<Side>()),
    ];
    let enums = SCHEMA.matches("\"enum\":").count();
    assert_eq!(enums, table.len(), "each enum is compared with its type");
    for (at, words) in table {
        let of = schema.pointer(at).expect(at);
        assert_eq!(strings(&of["enum"]), words, "{at}: {MEND}");
    }
    let totals = &schema["properties"]["totals"];
    assert_eq!(strings(&totals["required"]), variants::<Verdict>());
    assert_eq!(keys(&totals["properties"]), variants::<Verdict>());
}

/// Enums with fields: their kinds, and the fields of each.
#[test]
fn the_schema_has_every_kind_and_no_other() {
    fn check<T: DeserializeOwned>(schema: &Value, name: &str) {
        let alternatives = schema["$defs"][name]["oneOf"].as_array().expect(name);
        let kind = |of: &Value| {
            of["properties"]["kind"]["const"]
                .as_str()
                .map(str::to_owned)
        };
        let kinds: BTreeSet<String> = alternatives.iter().filter_map(kind).collect();
        assert_eq!(kinds, expected::<T>(json!({"kind": "?"})), "{name}");
        for of in alternatives {
            let kind = kind(of).expect("a kind");
            let mut properties = keys(&of["properties"]);
            properties.remove("kind");
            let given = json!({"kind": kind, "?": 0});
            // A kind without fields ignores whatever else is there.
            let fields = match serde_json::from_value::<T>(given.clone()) {
                Ok(_) => BTreeSet::new(),
                Err(_) => expected::<T>(given),
            };
            assert_eq!(properties, fields, "{name} {kind}");
        }
    }
    let schema = schema();
    check::<Source>(&schema, "Source");
    check::<Reason>(&schema, "Reason");
    check::<UnpreparedReason>(&schema, "UnpreparedReason");
}

/// The page in words leaves out nothing.
#[test]
fn every_field_is_described_in_words() {
    fn collect(value: &Value, names: &mut BTreeSet<String>) {
        if let Some(properties) = value.get("properties") {
            names.extend(keys(properties));
        }
        match value {
            Value::Object(map) => map.values().for_each(|v| collect(v, names)),
            Value::Array(all) => all.iter().for_each(|v| collect(v, names)),
            _ => {}
        }
    }
    let mut names = BTreeSet::new();
    collect(&schema(), &mut names);
    let missing: Vec<&String> = names
        .iter()
        .filter(|name| !WORDS.contains(&format!("`{name}`")))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// The example in the page is one.
#[test]
fn the_example_fits() {
    let (_, rest) = WORDS.split_once("```json\n").expect("an example");
    let (example, _) = rest.split_once("```").expect("its end");
    let value: Value = serde_json::from_str(example).expect("JSON");
    assert_eq!(wrong(&value), "");
    Results::parse(example).expect("it is read");
}
