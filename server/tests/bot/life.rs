//! Experiments from their queue to their end, as the thread tells them.

use std::collections::BTreeMap;

use ejecta_core::compare::Verdict;
use ejecta_server::bot::backend::{Act, News, Queued, Stage};
use ejecta_server::bot::summary::{Cluster, CrateLine, Summary};

use crate::talk::{REPO, Talk};

fn running(done: u64) -> News {
    News::Running {
        done,
        total: 2000,
        ends: Some("2026-11-21T18:00:00Z".parse().expect("a time")),
        problem: None,
    }
}

fn krate(n: usize) -> CrateLine {
    CrateLine {
        name: format!("leaf-{n} 0.1.{n}"),
        what: "error[E0277]: the trait bound is not satisfied".to_owned(),
        log: Some(format!(
            "https://ejecta.example/ex/pr-1/logs/leaf-{n}/lib-1.log"
        )),
    }
}

fn summary(crates: usize) -> Box<Summary> {
    let cluster = Cluster {
        title: "error[E0277]: the trait bound `_: Send` is not satisfied".to_owned(),
        root: "shared 1.2.3".to_owned(),
        crates,
        listed: (0..crates).map(krate).collect(),
        dependents: Some(12),
        error: Some(
            "error[E0277]: the trait bound `Rc<()>: Send` is not satisfied\n --> src/lib.rs:1:1\n"
                .to_owned(),
        ),
    };
    let regressed = u32::try_from(crates).expect("few");
    Box::new(Summary {
        totals: BTreeMap::from([(Verdict::Regressed, regressed), (Verdict::TestPass, 990)]),
        coverage: "99 % of 1000 crates compared".to_owned(),
        incomplete: None,
        clusters: if crates > 0 {
            vec![cluster]
        } else {
            Vec::new()
        },
        more_clusters: 0,
        doubtful: Vec::new(),
        report: Some("https://ejecta.example/ex/pr-1/".to_owned()),
    })
}

#[test]
fn from_the_queue_to_the_end() {
    let mut talk = Talk::with_try_build();
    talk.alice("@ejecta run");
    let queued = Queued {
        name: "pr-1".parse().expect("a name"),
        place: 1,
        starts: None,
        problem: None,
    };
    talk.news("pr-1", News::Moved(queued));
    talk.news("pr-1", running(0));
    talk.news("pr-1", running(512));
    insta::assert_snapshot!("half_way", talk.thread());
    talk.news("pr-1", News::LibFinished(summary(2)));
    insta::assert_snapshot!("early", talk.said()[1]);
    talk.news("pr-1", running(1500));
    talk.news("pr-1", News::Completed(summary(3)));
    insta::assert_snapshot!("the_end", talk.thread());
}

#[test]
fn news_told_twice_are_said_once() {
    let mut talk = Talk::with_try_build();
    talk.alice("@ejecta run");
    for _ in 0..3 {
        talk.news("pr-1", running(0));
        talk.news("pr-1", News::Completed(summary(0)));
    }
    assert_eq!(talk.said().len(), 2);
    assert!(talk.said()[1].contains("**no crate regressed**"));
    assert_eq!(talk.github.labels(REPO, 1), ["S-waiting-on-review"]);
}

#[test]
fn news_that_pile_up_are_one_edit() {
    let mut talk = Talk::with_try_build();
    talk.alice("@ejecta run");
    for done in 0..50 {
        talk.tells("pr-1", running(done));
    }
    talk.works().expect("a memory that works");
    assert_eq!(talk.github.hits("PATCH", "/comments/"), 1);
    assert!(talk.said()[0].contains("49 of 2000 jobs (2 %)"));
}

#[test]
fn a_failure_that_people_have_to_mend() {
    let mut talk = Talk::with_try_build();
    talk.alice("@ejecta run");
    talk.news("pr-1", running(0));
    let what = "failed to install `try#bbbb`: the artifacts are gone (404)".to_owned();
    let act = Act::Author("make a new try build, and run again".to_owned());
    talk.news("pr-1", News::Failed { what, act });
    insta::assert_snapshot!(talk.thread());
}

#[test]
fn a_report_that_fails_and_is_made_again() {
    let mut talk = Talk::with_try_build();
    talk.alice("@ejecta run");
    talk.coordinator.bring("pr-1", Stage::Failed);
    let what = "failed to publish the report: no space left".to_owned();
    let act = Act::Operators;
    talk.news("pr-1", News::Failed { what, act });
    talk.alice("@ejecta retry-report");
    talk.news("pr-1", News::Completed(summary(1)));
    let said = talk.said();
    // Who failed is completed now, in the same comment.
    assert!(said[1].contains("is completed"), "{}", said[1]);
    assert_eq!(said.len(), 3);
}

#[test]
fn aborted_from_elsewhere() {
    let mut talk = Talk::with_try_build();
    talk.alice("@ejecta run");
    talk.news("pr-1", News::Aborted);
    assert!(talk.said()[0].contains("was aborted"));
    assert_eq!(talk.github.labels(REPO, 1), ["S-waiting-on-review"]);
}

#[test]
fn aborted_from_the_thread() {
    let mut talk = Talk::with_try_build();
    talk.alice("@ejecta run");
    talk.alice("@ejecta abort");
    talk.news("pr-1", News::Aborted);
    insta::assert_snapshot!(talk.thread());
}

#[test]
fn a_verdict_too_long_for_a_comment() {
    let mut talk = Talk::with_try_build();
    talk.alice("@ejecta run");
    let mut long = summary(0);
    let template = summary(400).clusters.remove(0);
    long.clusters = vec![template; 200];
    long.totals.insert(Verdict::Regressed, 80_000);
    talk.news("pr-1", News::Completed(long));
    let said = talk.said();
    assert!(said[1].len() <= 65_536);
    assert!(
        said[1].contains("80000 crates regressed"),
        "{}",
        &said[1][..500]
    );
    assert!(said[1].contains(":scissors:"));
}

#[test]
fn the_bot_by_itself() {
    let mut talk = Talk::with_try_build();
    talk.writes(&crate::talk::alice(), 1, "@ejecta check");
    talk.runs_until(|talk| talk.said().len() == 1 && talk.memory.left_over() == 0);
    talk.tells("pr-1", News::Completed(summary(0)));
    talk.runs_until(|talk| talk.said().len() == 2 && talk.memory.left_over() == 0);
}
