//! What the bot says, word for word; and that nothing from outside calls anybody, hides anything,
//! or makes a comment too long.

use std::collections::BTreeMap;

use ejecta_core::compare::Verdict;
use proptest::prelude::*;
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use super::*;
use crate::bot::command::parse;
use crate::bot::summary::{Cluster, CrateLine, Summary};

fn answers() -> Answers {
    Answers {
        name: "ejecta".to_owned(),
        web: Some("https://ejecta.example".to_owned()),
        docs: Some("https://ejecta.example/docs/bot.html".to_owned()),
        contact: Some("@example/infra".to_owned()),
    }
}

fn name(text: &str) -> ExperimentName {
    text.parse().expect("a name")
}

fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

fn about() -> About {
    About {
        baseline: "master#aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa".to_owned(),
        candidate: "try#bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb".to_owned(),
        mode: "check-only".to_owned(),
        scope: "all".to_owned(),
        crates: "full".to_owned(),
        found: Some(Found {
            merge: "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb".to_owned(),
            built: Some("cccccccccccccccccccccccccccccccccccccccc".to_owned()),
            head: "dddddddddddddddddddddddddddddddddddddddd".to_owned(),
        }),
    }
}

fn queued(place: u32) -> Queued {
    Queued {
        name: name("pr-1"),
        place,
        starts: Some(at("2026-11-21T14:05:00Z")),
        problem: None,
    }
}

fn krate(n: usize) -> CrateLine {
    CrateLine {
        name: format!("crate-{n} 1.0.{n}"),
        what: "error[E0308]: mismatched types".to_owned(),
        log: Some(format!(
            "https://ejecta.example/ex/pr-1/logs/crate-{n}/lib-3.log"
        )),
    }
}

fn cluster(title: &str, crates: usize) -> Cluster {
    Cluster {
        title: title.to_owned(),
        root: "shared 0.3.1".to_owned(),
        crates,
        listed: (0..crates).map(krate).collect(),
        dependents: Some(340),
        error: Some(
            "error[E0308]: mismatched types\n --> src/lib.rs:3:5\n  |\n3 |     1u8\n".to_owned(),
        ),
    }
}

fn summary(clusters: Vec<Cluster>) -> Summary {
    let regressed = clusters.iter().map(|c| c.crates).sum::<usize>();
    let regressed = u32::try_from(regressed).expect("few");
    Summary {
        totals: BTreeMap::from([
            (Verdict::Regressed, regressed),
            (Verdict::TestPass, 900),
            (Verdict::Fixed, 2),
            (Verdict::Flaky, 1),
        ]),
        coverage: "97.5 % of 1000 crates compared".to_owned(),
        incomplete: None,
        clusters,
        more_clusters: 0,
        doubtful: vec![krate(77)],
        report: Some("https://ejecta.example/ex/pr-1/".to_owned()),
    }
}

#[test]
fn an_experiment_waits() {
    insta::assert_snapshot!(answers().queued(&queued(2), &about()));
}

#[test]
fn what_keeps_an_experiment_from_getting_on_is_said() {
    let problem = Some("the agent `one` cannot run it: failed to download `x`: timed out\n@all");
    let running = answers().running(&name("pr-1"), &about(), (5, 2000), None, problem);
    insta::assert_snapshot!("hindered", running);
}

#[test]
fn an_experiment_runs() {
    let ends = Some(at("2026-11-22T01:00:00Z"));
    insta::assert_snapshot!(answers().running(&name("pr-1"), &about(), (512, 2000), ends, None));
    let mut same = about();
    same.found = same.found.map(|found| Found {
        head: found.built.clone().expect("given"),
        ..found
    });
    let early = answers().running(&name("pr-1"), &same, (0, 2000), None, None);
    assert!(early.starts_with(":construction: Experiment **`pr-1`** is running.\n"));
    assert!(!early.contains("moved on"), "{early}");
}

#[test]
fn an_early_verdict() {
    let summary = summary(vec![
        cluster("error[E0308]: mismatched types", 7),
        cluster("error: no rules", 1),
    ]);
    insta::assert_snapshot!(answers().early(&name("pr-1"), &summary));
}

#[test]
fn a_whole_verdict() {
    let summary = summary(vec![
        cluster("error[E0308]: mismatched types", 7),
        cluster("error: no rules", 1),
    ]);
    insta::assert_snapshot!(answers().completed(&name("pr-1"), &summary));
}

#[test]
fn nothing_regressed() {
    insta::assert_snapshot!(answers().completed(&name("pr-1"), &summary(Vec::new())));
}

#[test]
fn an_incomplete_experiment_says_so_and_does_not_celebrate() {
    let mut summary = summary(Vec::new());
    summary.incomplete = Some("incomplete: 3 crates were given up for an error of ours".to_owned());
    let text = answers().completed(&name("pr-1"), &summary);
    assert!(!text.contains("tada"), "{text}");
    assert!(
        text.contains(":warning: This experiment is `incomplete: 3 crates"),
        "{text}"
    );
}

#[test]
fn failures_say_who_has_to_act() {
    let act = [
        Act::Author("make a new try build: the artifacts of this one are gone".to_owned()),
        Act::Operators,
    ];
    let all =
        act.map(|act| answers().failed(&name("pr-1"), "failed to install `try#bbbb`: 404", &act));
    insta::assert_snapshot!(all.join("\n\n----\n\n"));
}

#[test]
fn small_answers() {
    let a = answers();
    let all = [
        a.pong(),
        a.edited(&queued(1)),
        a.aborted(&name("pr-1")),
        a.ended(&name("pr-1"), &about(), Stage::Aborted),
        a.ended(&name("pr-1"), &about(), Stage::Completed),
        a.ended(&name("pr-1"), &about(), Stage::Failed),
        a.early_superseded(&name("pr-1")),
        a.retried(&queued(3), &name("pr-0"), 17, Some(5)),
        a.retried(&queued(3), &name("pr-0"), 1, None),
        a.report_again(&name("pr-1")),
        a.acl_reloaded(12),
        a.acl_failed("failed to read team `x/y`: status 503", true),
        a.acl_failed("failed to read team `x/y`: status 503", false),
        a.not_allowed("mallory"),
        a.rights_unknown("mallory"),
        a.no_name(true),
        a.no_name(false),
        a.no_toolchains(&["start", "end"], "no try build was found in this thread"),
        a.no_toolchains(&["start"], "`x` is no merge commit"),
        a.broken("failed to write to the store: disk full"),
    ];
    insta::assert_snapshot!(all.join("\n\n----\n\n"));
}

#[test]
fn refusals() {
    let stage = |stage| Refusal::Stage {
        name: name("pr-1"),
        stage,
    };
    let all = [
        (Kind::Run, Refusal::NameTaken(name("pr-1"))),
        (Kind::Abort, Refusal::Unknown(name("pr-l"))),
        (Kind::Edit, stage(Stage::Running)),
        (Kind::Abort, stage(Stage::Completed)),
        (Kind::Retry, stage(Stage::Queued)),
        (Kind::RetryReport, stage(Stage::Running)),
        (Kind::Retry, Refusal::NothingToRetry(name("pr-1"))),
        (
            Kind::Run,
            Refusal::Invalid("no agent has `windows`".to_owned()),
        ),
        (
            Kind::Run,
            Refusal::Broken("failed to write to the store".to_owned()),
        ),
    ];
    let near = name("pr-1");
    let text = |(kind, refusal): &(Kind, Refusal)| {
        let guess = matches!(refusal, Refusal::Unknown(_)).then_some(&near);
        answers().refusal(*kind, refusal, guess)
    };
    let all: Vec<String> = all.iter().map(text).collect();
    insta::assert_snapshot!(all.join("\n\n----\n\n"));
}

#[test]
fn the_queue() {
    let entry = |n: &str, stage, thread: Option<&str>| QueueEntry {
        name: name(n),
        stage,
        priority: 5,
        thread: thread.map(|repo| crate::bot::model::Thread {
            repo: repo.parse().expect("a repository"),
            number: 12,
        }),
        done: 10,
        total: 40,
        expected: Some(at("2026-11-21T20:00:00Z")),
    };
    let entries = [
        entry("pr-12", Stage::Running, Some("rust-lang/rust")),
        entry("beta-1.99-1", Stage::Queued, None),
        entry("old", Stage::Reporting, None),
    ];
    insta::assert_snapshot!(answers().queue(&entries));
    assert!(answers().queue(&[]).contains("Nothing is running"));
    let many: Vec<QueueEntry> = (0..200)
        .map(|n| entry(&format!("e-{n}"), Stage::Queued, None))
        .collect();
    assert!(answers().queue(&many).contains("and 175 more."));
}

#[test]
fn the_help() {
    insta::assert_snapshot!(answers().help());
}

#[test]
fn mistakes() {
    let lines = [
        "",
        "chekc crates=full",
        "run crate=full",
        "run mode=chek-only",
        "run top-100",
        "abort p=1",
        "run start=stabel",
        "run crates=local:/etc",
        "run \"end=beta",
        "name=foo",
        "is `great` @example/everyone <b>",
    ];
    let text = |line: &&str| answers().mistake(&parse(line).expect_err(line));
    let all: Vec<String> = lines.iter().map(text).collect();
    insta::assert_snapshot!(all.join("\n\n----\n\n"));
}

#[test]
fn a_huge_verdict_fits_and_keeps_what_matters() {
    let clusters: Vec<Cluster> = (0..200)
        .map(|n| cluster(&format!("error[E{n:04}]: number {n}"), 400 - n))
        .collect();
    let mut summary = summary(clusters);
    summary.more_clusters = 1000;
    let text = answers().completed(&name("pr-1"), &summary);
    assert!(text.len() <= MAX_COMMENT - 256, "{}", text.len());
    for kept in [
        "E0000",
        "E0009",
        "Open the report",
        "1200 root causes",
        "And 1000 more root causes.",
        ":scissors:",
    ] {
        assert!(text.contains(kept), "{kept}");
    }
    let harmless = check(&text);
    assert_eq!(harmless, Ok(()));
    // The compiler's words of the largest cluster outlive the list of its crates.
    assert!(text.contains("The error"));
    assert!(!text.contains("Spurious or flaky"));
}

/// What a reader of Markdown makes of an answer: no mention outside of code but the operator's own,
/// no HTML but ours, no link but ours, no picture.
fn check(text: &str) -> Result<(), String> {
    let mut in_code = false;
    let (mut open, mut closed) = (0, 0);
    for event in Parser::new_ext(text, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH) {
        match event {
            Event::Start(Tag::CodeBlock(_)) => in_code = true,
            Event::End(TagEnd::CodeBlock) => in_code = false,
            Event::Text(text) if !in_code && text.replace("@example/infra", "").contains('@') => {
                return Err(format!("a mention: {text}"));
            }
            Event::Html(html) | Event::InlineHtml(html) => {
                let mut rest = html.to_string();
                open += html.matches("<details>").count();
                closed += html.matches("</details>").count();
                for ours in ["<details>", "</details>", "<summary>", "</summary>"] {
                    rest = rest.replace(ours, "");
                }
                if rest.contains('<') {
                    return Err(format!("HTML: {html}"));
                }
            }
            Event::Start(Tag::Link { dest_url, .. })
                if !dest_url.starts_with("https://ejecta.example") =>
            {
                return Err(format!("a link: {dest_url}"));
            }
            Event::Start(Tag::Image { dest_url, .. }) => {
                return Err(format!("a picture: {dest_url}"));
            }
            _ => {}
        }
    }
    if in_code || open != closed {
        return Err("something is left open".to_owned());
    }
    Ok(())
}

/// Text that tries to get out of wherever it stands.
fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("@everyone"),
        Just("`"),
        Just("``"),
        Just("```"),
        Just("````\n"),
        Just("~~~\n"),
        Just("\n"),
        Just("\n\n"),
        Just("<img src=x>"),
        Just("</details>"),
        Just("<!--"),
        Just("-->"),
        Just("|"),
        Just("\\"),
        Just("["),
        Just("](https://evil.example)"),
        Just("![x](https://evil.example/x.png)"),
        Just("https://evil.example"),
        Just("#1"),
        Just("* "),
        Just("    "),
        Just("\u{1b}[2J"),
        Just("\u{202e}"),
        Just("ä"),
        Just("word "),
        Just("> "),
        Just("\r\n"),
        Just("$$"),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn fuzz_nothing_from_outside_gets_out(text in hostile(), other in hostile()) {
        let a = answers();
        let mut cluster = cluster(&text, 7);
        cluster.root.clone_from(&other);
        cluster.error = Some(text.clone());
        for krate in &mut cluster.listed {
            krate.name.clone_from(&other);
            krate.what.clone_from(&text);
        }
        let mut summary = summary(vec![cluster]);
        summary.incomplete = Some(other.clone());
        let strange = About { baseline: text.clone(), candidate: other.clone(), mode: text.clone(), scope: other.clone(), crates: text.clone(), found: Some(Found { merge: text.clone(), built: Some(other.clone()), head: text.clone() }) };
        let mut said = vec![
            a.completed(&name("pr-1"), &summary),
            a.early(&name("pr-1"), &summary),
            a.queued(&queued(1), &strange),
            a.failed(&name("pr-1"), &text, &Act::Author(other.clone())),
            a.refusal(Kind::Run, &Refusal::Invalid(text.clone()), None),
            a.not_allowed(&text),
            a.rights_unknown(&other),
            a.broken(&text),
            a.acl_failed(&text, true),
        ];
        for line in [format!("{text}={other}"), format!("run {text}"), format!("run mode={text}"), format!("run start={text}")] {
            said.extend(parse(&line).err().map(|mistake| a.mistake(&mistake)));
        }
        for answer in said {
            prop_assert_eq!(check(&answer), Ok(()), "{}", answer);
            let obeyed = answer.contains(['\u{202e}', '\u{1b}']);
            prop_assert!(!obeyed, "{:?}", answer);
            prop_assert!(answer.len() <= MAX_COMMENT);
        }
    }
}
