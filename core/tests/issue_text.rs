//! Issues of a hand-made experiment, word for word, and what nothing from outside may do in them.

mod fixture;

use ejecta_core::cluster::CauseKind;
use ejecta_core::git::{Commit, GitUrl};
use ejecta_core::issue_text::{IssueText, LINK_PLACEHOLDER, issue};
use ejecta_core::krate::Source;
use ejecta_core::report::model::{Results, model};

fn results() -> Results {
    model(&fixture::whole())
}

fn text(issue: &IssueText) -> String {
    format!("{}\n\n{}", issue.title, issue.body)
}

/// The cluster whose root has this name.
fn of(results: &Results, root: &str, link: Option<&str>) -> IssueText {
    let is_it = |name: &str| name == root;
    let cluster = results
        .clusters
        .iter()
        .find(|c| c.root.as_ref().is_some_and(|r| is_it(&r.name)));
    issue(results, cluster.expect("in the fixture"), link)
}

#[test]
fn a_dependency_that_breaks_two_crates() {
    let link = "https://reports.example/x/#cluster-1";
    insta::assert_snapshot!(text(&of(&results(), "time", Some(link))));
}

#[test]
fn a_crate_of_a_repository_with_a_long_error() {
    let mut results = results();
    let cluster = &mut results.clusters[0];
    cluster.rendered = Some("line with ```` in it\n".repeat(100));
    let first = cluster.crates[0].clone();
    let krate = results.crates.iter_mut().find(|k| k.id == first);
    krate.expect("a crate").source = Source::Git {
        url: GitUrl::new("https://host.example/a/b").expect("valid"),
        commit: Commit::new(&"a".repeat(40)).expect("hex"),
        path: "crates/it".to_owned(),
    };
    insta::assert_snapshot!(text(&of(&results, "time", None)));
}

#[test]
fn many_crates_that_fail_in_themselves() {
    let mut results = results();
    let ids: Vec<_> = results.crates.iter().map(|k| k.id.clone()).collect();
    let cluster = &mut results.clusters[0];
    cluster.root = None;
    cluster.kind = CauseKind::Error;
    cluster.code = Some("static_mut_refs".to_owned());
    cluster.signature = "denied by the lint `static_mut_refs`".to_owned();
    cluster.also = ids
        .into_iter()
        .filter(|id| !cluster.crates.contains(id))
        .collect();
    cluster.also.truncate(2);
    let issue = issue(&results, &results.clusters[0], None);
    assert!(issue.body.ends_with(&format!("{LINK_PLACEHOLDER}\n")));
    insta::assert_snapshot!(text(&issue));
}

#[test]
fn nothing_from_outside_is_obeyed() {
    let results = results();
    let issue = of(&results, "hostile", Some("https://x/ > <script>\n## y"));
    let all = text(&issue);
    let obeyed = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    assert!(!all.contains(obeyed), "{all}");
    assert!(!issue.title.contains('\n'));
    assert!(
        issue
            .body
            .ends_with("The whole report: <https://x/script##y>\n")
    );
    let mut fence = None;
    let mut outside = Vec::new();
    for line in issue.body.lines() {
        let ticks = line.bytes().take_while(|b| *b == b'`').count();
        match fence {
            None if ticks >= 3 => fence = Some(ticks),
            Some(opened) if ticks >= opened && line.len() == ticks => fence = None,
            None => outside.push(line),
            Some(_) => {}
        }
    }
    assert_eq!(fence, None, "every fence is closed: {all}");
    let headings: Vec<&&str> = outside.iter().filter(|l| l.starts_with('#')).collect();
    assert_eq!(headings, [&"## How to reproduce", &"## Affected"], "{all}");
    assert!(
        !outside.iter().any(|l| l.contains("<script>alert")),
        "{all}"
    );
    insta::assert_snapshot!(all);
}

#[test]
fn a_quiet_experiment_has_nothing_to_file() {
    assert!(model(&fixture::quiet()).clusters.is_empty());
}
