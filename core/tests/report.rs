//! Reports of a hand-made experiment: what people and programs read, word for word.

mod fixture;

use ejecta_core::compare::Verdict;
use ejecta_core::experiment::Compare;
use ejecta_core::report::model::{CrateResult, Results, ResultsError, SideOutcome, model};
use ejecta_core::report::{html, junit, markdown, text};

fn terminal(results: &Results) -> String {
    let lines = text::lines(results);
    let tone = |l: &text::Line| format!("{:<6}{}\n", format!("{:?}", l.tone), l.text);
    lines.iter().map(tone).collect()
}

#[test]
fn the_page() {
    insta::assert_snapshot!(html::render(&model(&fixture::whole())));
}

#[test]
fn the_summary() {
    insta::assert_snapshot!(markdown::render(&model(&fixture::whole())));
}

#[test]
fn the_test_cases() {
    insta::assert_snapshot!(junit::render(&model(&fixture::whole())));
}

/// One test case a crate, with the counts that the suite says, and text as it was.
#[test]
fn test_cases_are_well_formed() {
    let results = model(&fixture::whole());
    let text = junit::render(&results);
    let document = roxmltree::Document::parse(&text).expect("well-formed");
    let suite = document.root_element().first_element_child().expect("one");
    let elements = |name: &str| {
        let all = document.descendants();
        all.filter(|n| n.has_tag_name(name)).count().to_string()
    };
    for (attribute, element) in [
        ("tests", "testcase"),
        ("failures", "failure"),
        ("errors", "error"),
        ("skipped", "skipped"),
    ] {
        assert_eq!(
            suite.attribute(attribute),
            Some(&*elements(element)),
            "{element}"
        );
    }
    assert_eq!(elements("testcase"), results.crates.len().to_string());
    assert_eq!(
        elements("failure"),
        results.total(Verdict::Regressed).to_string()
    );
    let failures = document.descendants().filter(|n| n.has_tag_name("failure"));
    let messages: Vec<&str> = failures.filter_map(|n| n.text()).collect();
    assert!(
        messages[2].contains("<script>alert(1)</script> \"'& |"),
        "{messages:?}"
    );
    assert!(messages[2].contains("\\u{1b}[31mred"), "{messages:?}");
}

#[test]
fn the_lines_in_a_terminal() {
    insta::assert_snapshot!(terminal(&model(&fixture::whole())));
}

#[test]
fn the_results() {
    insta::assert_snapshot!(model(&fixture::whole()).to_json());
}

#[test]
fn a_quiet_experiment_says_so() {
    let results = model(&fixture::quiet());
    assert!(results.experiment.complete);
    insta::assert_snapshot!(terminal(&results), @r"
    Good  0 regressed; 100 % of 2 crates compared
    Plain 2 test-pass
    ");
    insta::assert_snapshot!(markdown::render(&results));
    let page = html::render(&results);
    assert!(
        page.contains("<h1 class=\"good\">0 regressed</h1>"),
        "{page}"
    );
    assert!(page.contains("No crate regressed."), "{page}");
    assert!(page.contains("100 % of 2 crates compared"), "{page}");
    assert!(!page.contains("incomplete"), "{page}");
}

#[test]
fn every_verdict_is_there() {
    let results = model(&fixture::whole());
    for verdict in Verdict::ALL {
        assert!(results.total(verdict) > 0, "{verdict}");
        assert!(results.with_verdict(verdict).next().is_some(), "{verdict}");
    }
    let all: u32 = results.totals.values().sum();
    assert_eq!(all as usize, results.crates.len());
}

fn verdict_and_sides(
    results: &Results,
    name: &str,
) -> (Verdict, bool, Option<SideOutcome>, Option<SideOutcome>) {
    let krate = results
        .crates
        .iter()
        .find(|c| c.name.as_str() == name)
        .expect("in the fixture");
    let outcome = |side: &Option<_>| {
        let side: &Option<ejecta_core::report::model::SideResult> = side;
        side.as_ref().map(|s| s.outcome)
    };
    (
        krate.verdict,
        krate.covered,
        outcome(&krate.baseline),
        outcome(&krate.candidate),
    )
}

#[test]
fn crates_have_the_verdict_and_the_sides_of_their_runs() {
    use SideOutcome::{BuildFail, Skipped, TestFail, TestPass};
    let results = model(&fixture::whole());
    let table = [
        (
            "uses-time",
            Verdict::Regressed,
            true,
            Some(TestPass),
            Some(BuildFail),
        ),
        (
            "uses-time-too",
            Verdict::Regressed,
            true,
            Some(TestPass),
            Some(BuildFail),
        ),
        (
            "hungry",
            Verdict::SpuriousRegressed,
            true,
            Some(TestPass),
            Some(BuildFail),
        ),
        (
            "fickle",
            Verdict::Flaky,
            true,
            Some(TestPass),
            Some(BuildFail),
        ),
        (
            "mended",
            Verdict::Fixed,
            true,
            Some(BuildFail),
            Some(TestPass),
        ),
        (
            "slow",
            Verdict::SpuriousFixed,
            true,
            Some(BuildFail),
            Some(TestPass),
        ),
        (
            "rusty",
            Verdict::BuildFail,
            false,
            Some(BuildFail),
            Some(BuildFail),
        ),
        (
            "untested",
            Verdict::TestFail,
            true,
            Some(TestFail),
            Some(TestFail),
        ),
        ("devless", Verdict::TestSkipped, true, None, None),
        ("itoa", Verdict::TestPass, true, None, Some(TestPass)),
        ("gone", Verdict::PrepareFail, false, None, None),
        (
            "unstable",
            Verdict::Skipped,
            false,
            Some(Skipped),
            Some(TestPass),
        ),
        ("bomb", Verdict::Broken, false, None, None),
        ("known-broken", Verdict::Broken, false, None, None),
        ("wants-gpu", Verdict::Skipped, false, None, None),
        ("unlucky", Verdict::Error, true, None, None),
        ("waiting", Verdict::Unknown, true, None, None),
    ];
    for (name, verdict, covered, baseline, candidate) in table {
        assert_eq!(
            verdict_and_sides(&results, name),
            (verdict, covered, baseline, candidate),
            "{name}"
        );
    }
    let covered = results.crates.iter().filter(|c| c.covered).count();
    assert_eq!(
        results.coverage,
        covered as f64 / results.crates.len() as f64
    );
    assert_eq!(results.not_covered.len() + covered, results.crates.len());
}

#[test]
fn a_limit_is_told_with_its_value_and_how_far_the_run_came() {
    let results = model(&fixture::whole());
    let krate = |name: &str| {
        let mut crates = results.crates.iter();
        crates.find(|c| c.name.as_str() == name).expect("there")
    };
    let hungry = krate("hungry");
    let own = hungry.limits.expect("limits of its own");
    assert_eq!(own.memory_bytes, Some(8_192 << 20));
    let stops = |name: &str| -> Vec<String> {
        let runs = krate(name).tiers.iter().flat_map(|t| &t.runs);
        runs.filter_map(|r| r.limit)
            .map(|l| l.to_string())
            .collect()
    };
    assert_eq!(stops("hungry"), ["oom (limit 8192 MiB, peak 8191 MiB)"; 2]);
    assert_eq!(stops("slow"), ["timeout (limit 900 s, peak 900 s)"; 2]);
    assert_eq!(stops("rusty"), [""; 0]);
    let page = html::render(&results);
    assert!(page.contains("stopped at a limit: oom (limit 8192 MiB, peak 8191 MiB)"));
}

#[test]
fn crates_with_one_cause_are_one_cluster() {
    let results = model(&fixture::whole());
    assert_eq!(results.clusters.len(), 2);
    let first = &results.clusters[0];
    let root = first.root.as_ref().expect("one package fails");
    assert_eq!(root.to_string(), "time 0.3.20");
    assert_eq!(first.crates.len(), 2);
    for krate in results.with_verdict(Verdict::Regressed) {
        let id = krate.cluster.as_ref().expect("regressed");
        let cluster = results.clusters.iter().find(|c| c.id == *id);
        assert!(cluster.is_some_and(|c| c.crates.contains(&krate.id)));
    }
}

#[test]
fn results_are_read_back_as_they_were_written() {
    for input in [fixture::whole(), fixture::quiet()] {
        let results = model(&input);
        let text = results.to_json();
        let again = Results::parse(&text).expect("just written");
        assert_eq!(again.to_json(), text);
        assert_eq!(html::render(&again), html::render(&results));
    }
}

#[test]
fn results_of_the_first_schema_are_read() {
    let old = Results::parse(include_str!("data/results-1.json")).expect("schema 1 for ever");
    assert_eq!(old.crates.len(), 19);
    assert_eq!(old.total(Verdict::Regressed), 3);
    assert_eq!(old.clusters.len(), 2);
    assert!(html::render(&old).contains("3 regressed"));
}

#[test]
fn other_files_are_refused_with_the_reason() {
    let text = model(&fixture::quiet()).to_json();
    let newer = text.replacen("\"schema\": 1", "\"schema\": 2", 1);
    let e = Results::parse(&newer).expect_err("another schema");
    assert!(matches!(e, ResultsError::Schema { found: 2 }));
    insta::assert_snapshot!(e, @"results of schema 2, and this version of ejecta reads schema 1");
    let more = text.replacen("\"schema\": 1,", "\"schema\": 1, \"more\": 1,", 1);
    let e = Results::parse(&more)
        .expect_err("an unknown field")
        .to_string();
    assert!(e.contains("unknown field `more`"), "{e}");
    assert!(Results::parse("{}").is_err());
    assert!(Results::parse("no JSON").is_err());
}

/// The bytes outside of tags' own text that a hostile string must never bring in.
#[test]
fn nothing_from_outside_is_obeyed() {
    let results = model(&fixture::whole());
    let page = html::render(&results);
    assert!(!page.contains("<script"), "escaped all through");
    assert!(!page.contains("javascript:y\""), "in no link");
    assert!(!page.contains("\"'& "), "attributes end where they should");
    let texts = [page, markdown::render(&results), terminal(&results)];
    for text in &texts {
        let obeyed = |c: char| (c.is_control() && c != '\n' && c != '\t') || c == '\u{202e}';
        assert!(!text.contains(obeyed), "{text}");
    }
    let json = results.to_json();
    assert!(!json.contains('\u{1b}'), "JSON escapes control characters");
}

#[test]
fn pages_ask_nobody_for_anything() {
    let page = html::render(&model(&fixture::whole()));
    for request in [
        "http://", "https://", "url(", "@import", "src=", "<link", "style=",
    ] {
        assert!(!page.contains(request), "{request}");
    }
    assert!(page.contains("default-src &#39;none&#39;; style-src &#39;sha256-"));
}

#[test]
fn links_to_logs_are_percent_encoded() {
    let results = model(&fixture::whole());
    let href = "logs/uses-time-too-2.0.9%2Bzstd.1.5.5/lib-1-candidate.log";
    assert!(html::render(&results).contains(&format!("href=\"{href}\"")));
    assert!(markdown::render(&results).contains(&format!("]({href})")));
}

#[test]
fn an_unsafe_log_name_is_no_path() {
    let mut input = fixture::quiet();
    for tier in &mut input.entries[0].tiers {
        if let ejecta_core::report::TierState::Finished(record) = &mut tier.state {
            record.runs[0].log = "../../etc/passwd".to_owned();
        }
    }
    let results = model(&input);
    let candidate = results.crates[0].candidate.as_ref().expect("it ran");
    assert_eq!(candidate.log, None);
}

#[test]
fn the_command_does_the_same_again() {
    let command = |results: &Results| {
        let page = html::render(results);
        let (_, rest) = page.split_once("Run it again</h2>").expect("a section");
        let (_, rest) = rest.split_once("<pre ").expect("the command");
        let (_, rest) = rest.split_once('>').expect("the command");
        let (command, _) = rest.split_once("</pre>").expect("its end");
        command.to_owned()
    };
    let mut results = model(&fixture::quiet());
    let e = &mut results.experiment;
    e.selection = "demo".to_owned();
    let usual = "ejecta run --baseline 1.95.0 --candidate &#39;nightly+rustflags=-D warnings&#39; \
                 --crates demo --mode check-only --scope all --lockfile auto \
                 --baseline-runs on-failure --cap-lints warn";
    assert_eq!(command(&results), format!("{usual} --seed 7"));
    let e = &mut results.experiment;
    e.compare = Compare::Warnings;
    e.confirmations = 3;
    e.limits.memory_bytes = 512 << 20;
    e.limits.wall_seconds = 60;
    let registry = e.registry.as_mut().expect("in the fixture");
    registry.public = false;
    e.image = Some("debian:12".to_owned());
    e.runtime = Some("runsc".to_owned());
    e.denylist = Some("our list.toml".to_owned());
    assert_eq!(
        command(&results),
        format!(
            "{usual} --compare warnings --confirmations 3 --memory 512 --timeout 60 \
             --registry https://index.example/ --image debian:12 --runtime runsc \
             --denylist &#39;our list.toml&#39; --seed 7"
        )
    );
}

#[test]
fn steps_that_say_more_than_units_are_told() {
    let mut results = model(&fixture::whole());
    let mut crates = results.crates.iter();
    let at = crates
        .position(|c| c.name.as_str() == "tested")
        .expect("there");
    let page = html::render(&results);
    assert!(
        page.contains("<p>tests: 11 passed, 1 failed, 2 ignored</p>"),
        "{page}"
    );
    assert!(page.contains("<p>failed: tests::rounds</p><p>warnings: 2 dead_code</p>"));
    assert_eq!(
        page.matches("<details class=\"steps\">").count(),
        1,
        "of one crate"
    );

    results.crates[at].verdict = Verdict::Regressed;
    let id = results.crates[at].id.clone();
    results.crates[at].cluster = Some(results.clusters[0].id.clone());
    results.clusters[0].crates.push(id);
    let summary = markdown::render(&results);
    let step = "  - in step `test`: `tests fail; fails: lib x (test); \
                tests: 11 passed, 1 failed, 2 ignored; failed: tests::rounds; \
                warnings: 2 dead_code`\n";
    assert!(summary.contains(step), "{summary}");
    assert!(!summary.contains("in step `doctest`"), "it passes");

    let run = &mut results.crates[at].tiers[0].runs[0];
    run.features = ["never_type", "test"].map(str::to_owned).into();
    let page = html::render(&results);
    assert!(page.contains("<p>features: never_type, test</p>"), "{page}");
}

#[test]
fn notes_are_told_on_the_page_and_in_a_terminal() {
    let mut results = model(&fixture::whole());
    let note = "the patch of <b>x</b>\nis not used".to_owned();
    let with_two_tiers = |k: &&mut CrateResult| k.tiers.len() == 2;
    for krate in results.crates.iter_mut().filter(with_two_tiers).take(7) {
        for tier in &mut krate.tiers {
            tier.notes = vec![note.clone()];
        }
    }
    let page = html::render(&results);
    let on_page = "<p>note: the patch of &#60;b&#62;x&#60;/b&#62;\nis not used</p>";
    assert_eq!(page.matches(on_page).count(), 7, "each crate says it once");
    let lines: Vec<String> = text::lines(&results).into_iter().map(|l| l.text).collect();
    let told: Vec<&String> = lines.iter().filter(|l| l.starts_with("note: ")).collect();
    assert_eq!(told.len(), 6, "{told:#?}");
    let first = format!(
        "note: {}: the patch of <b>x</b> is not used",
        results
            .crates
            .iter()
            .find(|k| !k.tiers.is_empty() && !k.tiers[0].notes.is_empty())
            .expect("one")
            .id
    );
    assert_eq!(*told[0], first);
    assert_eq!(told[5], "note: and 2 more, in results.json");
}
