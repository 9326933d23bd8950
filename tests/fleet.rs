//! A server and its agents as their users have them: real processes, both stores.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ejecta_test_support::{Fleet, Lab, Postgres, Treatment};
use serde_json::{Value, json};

#[path = "fleet/reports.rs"]
mod reports;

use reports::page;

const PLANTED: &str = "stable+rustflags=--cfg planted";

/// Runs a test over both stores.
macro_rules! over_both_stores {
    ($($name:ident)*) => {
        mod sqlite {
            $(#[test]
            fn $name() {
                super::$name(&super::fleet(None, ""));
            })*
        }
        mod postgres {
            $(#[test]
            fn $name() {
                if let Some(address) = ejecta_test_support::Postgres::database_or_skip() {
                    super::$name(&super::fleet(Some(&address), ""));
                }
            })*
        }
    };
}

over_both_stores! {
    an_experiment_from_its_making_to_its_report_and_a_retry
    what_waits_is_edited_aborted_and_told
    a_killed_server_and_a_killed_agent_lose_nothing
}

fn fleet(postgres: Option<&str>, more: &str) -> Fleet {
    Fleet::new(Lab::new(env!("CARGO_BIN_EXE_ejecta")), postgres, more)
}

fn create(fleet: &Fleet, name: &str, crates: &str, more: &[&str]) -> Value {
    let args = ["create", name, "--crates", crates, "--candidate", PLANTED];
    let (ended, mut lines) = fleet.experiment_json(&[&args, more].concat());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    lines.pop().expect("the experiment")
}

fn verdicts(results: &Value) -> Vec<(String, String)> {
    let crates = results["crates"].as_array().expect("crates");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let mut all: Vec<(String, String)> = crates
        .iter()
        .map(|krate| (text(&krate["name"]), text(&krate["verdict"])))
        .collect();
    all.sort();
    all
}

/// A sample of the metrics.
fn counted(fleet: &Fleet, sample: &str) -> f64 {
    let text = fleet.text("/metrics").expect("metrics");
    let value = text.lines().find_map(|line| line.strip_prefix(sample));
    value.expect(sample).trim().parse().expect("a number")
}

fn an_experiment_from_its_making_to_its_report_and_a_retry(fleet: &Fleet) {
    let server = fleet.server();
    let agents = ["one", "two"].map(|name| fleet.agent(name, &["--jobs", "1"]));
    let made = create(
        fleet,
        "first",
        "list:planted-lib,passes,has-dependency,leaf",
        &[],
    );
    assert_eq!(made["name"], "first");
    let (ended, told) = fleet.experiment_json(&["watch", "first", "--every", "1"]);
    let logs = || agents.each_ref().map(ejecta_test_support::Process::log);
    assert_eq!(ended.code, Some(1), "{ended:?} {:?}", logs());
    let last = told.last().expect("an end");
    assert_eq!(last["state"], "completed", "{last}");
    assert_eq!(last["verdicts"], json!({"regressed": 1, "test-pass": 3}));
    assert_eq!(last["problem"], Value::Null, "{last}");
    let report = format!("{}/reports/first/", fleet.address());
    assert_eq!(last["report"], report);

    let results = fleet.results("first");
    let expected = ["regressed", "test-pass"];
    let found = verdicts(&results);
    assert_eq!(found.len(), 4, "{found:?}");
    assert!(found.iter().all(|(_, v)| expected.contains(&v.as_str())));
    assert_eq!(results["experiment"]["complete"], true);
    let denylist = &results["experiment"]["denylist_used"];
    assert_eq!(denylist["name"], "the one that comes with Ejecta");
    let (_, overview) = page(fleet, "/reports/first/");
    let sha = denylist["sha256"].as_str().expect("a digest");
    assert!(overview.contains(&format!("SHA-256 {}", &sha[..12])));
    let sandbox = &results["experiment"]["sandbox"];
    assert!(
        sandbox.as_str().is_some_and(|s| s.starts_with("native")),
        "{sandbox}"
    );
    let rustc = &results["experiment"]["baseline"]["rustc"];
    assert!(
        rustc.as_str().is_some_and(|text| text.contains("LLVM")),
        "{rustc}"
    );
    let crates = results["crates"].as_array().expect("crates");
    let planted = crates.iter().find(|c| c["name"] == "planted-lib");
    let log = planted.expect("the crate")["candidate"]["log"].as_str();
    let log = fleet.lab.read("reports/first", log.expect("its log"));
    assert!(log.contains("error[E0308]"), "{log}");

    let (ended, retried) = fleet.experiment_json(&["retry", "first", "--verdicts", "regressed"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let retried = &retried[0];
    assert_eq!(
        (&retried["name"], &retried["parent"]),
        (&json!("first-retry"), &json!("first"))
    );
    let (ended, _) = fleet.experiment_json(&["watch", "first-retry", "--every", "1"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let again = verdicts(&fleet.results("first-retry"));
    assert_eq!(again, [("planted-lib".to_owned(), "regressed".to_owned())]);
    let (_, causes) = page(fleet, "/reports/first-retry/clusters.html");
    assert!(causes.contains("seen in first"), "{causes}");
    let nothing = fleet.experiment(&["retry", "first", "--verdicts", "flaky"]);
    assert!(
        nothing
            .stderr
            .contains("no crate of the experiment `first` is flaky"),
        "{nothing:?}"
    );

    let (_, listed) = fleet.experiment_json(&["list"]);
    let names: Vec<&Value> = listed.iter().map(|e| &e["name"]).collect();
    assert_eq!(names, ["first-retry", "first"]);
    // What the agents asked of the registry is told with their next claims.
    let begun = Instant::now();
    while counted(fleet, "ejecta_registry_requests_total{of=\"crate\"}") == 0.0 {
        assert!(begun.elapsed() < Duration::from_secs(60), "nothing is told");
        std::thread::sleep(Duration::from_millis(100));
    }
    for agent in agents {
        let (code, log) = agent.stop();
        assert_eq!(code, Some(0), "{log}");
    }
    let (code, log) = server.stop();
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("ERROR"), "{log}");
}

fn what_waits_is_edited_aborted_and_told(fleet: &Fleet) {
    let _server = fleet.server();
    create(fleet, "low", "list:passes", &[]);
    let high = create(
        fleet,
        "high",
        "list:leaf",
        &["--priority", "5", "--require", "gpu"],
    );
    assert_eq!(
        (&high["place"], &high["requirements"]),
        (&json!(1), &json!({"gpu": "yes"}))
    );
    assert_eq!(fleet.show("low")["place"], 2);
    let again = fleet.experiment(&["create", "low"]);
    assert_eq!(again.code, Some(2), "{again:?}");
    assert!(
        again
            .stderr
            .contains("there is an experiment `low` already"),
        "{again:?}"
    );

    let args = [
        "edit",
        "low",
        "--priority",
        "9",
        "--crates",
        "list:passes,leaf,warns",
    ];
    let (ended, edited) = fleet.experiment_json(&args);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(
        (&edited[0]["place"], &edited[0]["jobs"][0]["queued"]),
        (&json!(1), &json!(3))
    );
    let wrong = fleet.experiment(&["edit", "low", "--crates", "list:no-such-crate"]);
    assert!(wrong.stderr.contains("no-such-crate"), "{wrong:?}");
    assert_eq!(
        fleet.show("low")["jobs"][0]["queued"],
        3,
        "nothing was changed"
    );

    let (ended, aborted) = fleet.experiment_json(&["abort", "low"]);
    assert_eq!(
        (ended.code, &aborted[0]["state"]),
        (Some(0), &json!("aborted"))
    );
    assert!(
        aborted[0]["problem"]
            .as_str()
            .is_some_and(|p| p.starts_with("aborted by the token"))
    );
    let watched = fleet.experiment(&["watch", "low"]);
    assert_eq!(watched.code, Some(3), "{watched:?}");
    let again = fleet.experiment(&["abort", "low"]);
    assert!(
        again.stderr.contains("the experiment `low` is aborted"),
        "{again:?}"
    );
    let none = fleet.experiment(&["show", "none"]);
    assert!(
        none.stderr.contains("there is no experiment `none`"),
        "{none:?}"
    );

    for (crates, candidate, what) in [
        (
            "local:/srv/crates",
            "stable",
            "the directory `/srv/crates` is on one machine",
        ),
        (
            "demo",
            "path:/opt/rust",
            "the directory `/opt/rust` of `path:/opt/rust`",
        ),
    ] {
        let args = ["create", "x", "--crates", crates, "--candidate", candidate];
        let refused = fleet.experiment(&args);
        assert_eq!(refused.code, Some(2), "{refused:?}");
        assert!(refused.stderr.contains(what), "{refused:?}");
    }
    let reader = fleet.experiment_as("read", &["abort", "high"]);
    assert!(
        reader
            .stderr
            .contains("a token with the scope `submit` is needed"),
        "{reader:?}"
    );
    assert_eq!(fleet.experiment_as("read", &["show", "high"]).code, Some(0));
}

fn a_killed_server_and_a_killed_agent_lose_nothing(fleet: &Fleet) {
    let server = fleet.server();
    let mut agent = fleet.agent("one", &["--jobs", "1"]);
    create(
        fleet,
        "e",
        "list:passes,leaf,has-dependency,program,warns",
        &[],
    );
    fleet.wait("e", |e| e["jobs"][0]["finished"].as_u64() >= Some(1));
    server.kill();
    agent.wait_for_log("could not submit, trying again");
    let server = fleet.server();
    fleet.wait("e", |e| e["jobs"][0]["finished"].as_u64() >= Some(2));
    agent.kill();
    let _agent = fleet.agent("one", &["--jobs", "2"]);
    let (ended, told) = fleet.experiment_json(&["watch", "e", "--every", "1"]);
    assert_eq!(ended.code, Some(0), "{ended:?} {}", server.log());
    let last = told.last().expect("an end");
    assert_eq!(last["verdicts"], json!({"test-pass": 5}), "{last}");
    assert_eq!(verdicts(&fleet.results("e")).len(), 5);
}

#[test]
fn an_agent_that_is_told_to_stop_gives_its_jobs_back() {
    let fleet = fleet(None, "[leases]\nseconds = 3600\nretry_after_millis = 200\n");
    let _server = fleet.server();
    let agent = fleet.agent("one", &["--jobs", "2"]);
    create(
        &fleet,
        "e",
        "list:passes,leaf,has-dependency,program,warns",
        &["--scope", "all"],
    );
    fleet.wait("e", |e| e["jobs"][0]["leased"].as_u64() >= Some(1));
    let (code, log) = agent.stop();
    assert_eq!(code, Some(0), "{log}");
    let left = fleet.show("e");
    for tier in left["jobs"].as_array().expect("tiers") {
        assert_eq!(
            (&tier["leased"], &tier["errors"]),
            (&json!(0), &json!(0)),
            "{left}"
        );
    }
    let spool = fs_err::read_dir(fleet.lab.path("one/spool"));
    assert_eq!(spool.expect("a spool").count(), 0);
    assert!(
        !fleet.lab.path("one/work").exists(),
        "jobs left their directory"
    );
}

/// The lease of a result that was committed is over; whoever handed it in does not know that it
/// was.
#[test]
fn a_result_is_handed_in_until_an_answer_arrives() {
    const LOST: usize = 6;
    let fleet = fleet(None, "[leases]\nseconds = 2\nretry_after_millis = 200\n");
    let _server = fleet.server();
    let lost = AtomicUsize::new(0);
    let proxy = fleet.proxy(move |path| {
        let lose = path == "/api/v1/submit" && lost.fetch_add(1, Ordering::Relaxed) < LOST;
        match lose {
            true => Treatment::LoseAnswer,
            false => Treatment::Pass,
        }
    });
    let mut agent = fleet.agent_of(&proxy.address(), "one", &["--jobs", "1"]);
    create(&fleet, "e", "list:passes", &[]);
    let (ended, _) = fleet.experiment_json(&["watch", "e", "--every", "1"]);
    assert_eq!(ended.code, Some(0), "{ended:?} {}", agent.log());
    agent.wait_for_log("a lease is over");
    agent.wait_for_log("ended job=passes");
    assert_eq!(proxy.treated().len(), LOST, "{:?}", proxy.treated());
    let spool = fs_err::read_dir(fleet.lab.path("one/spool"));
    assert_eq!(spool.expect("a spool").count(), 0, "{}", agent.log());
}

#[test]
fn two_servers_share_one_database() {
    let Some(address) = Postgres::database_or_skip() else {
        return;
    };
    let fleet = fleet(Some(&address), "");
    let first = fleet.server();
    let (second, other) = fleet.another_server("second");
    let agents = [
        fleet.agent("one", &["--jobs", "1"]),
        fleet.agent_of(&other, "two", &["--jobs", "1"]),
    ];
    create(
        &fleet,
        "e",
        "list:planted-lib,passes,has-dependency,leaf,program,warns",
        &[],
    );
    // Whoever follows at one of them sees what the other takes in.
    let token = fs_err::read_to_string(fleet.token("read")).expect("a token");
    let told = reports::follow(&fleet.address(), "e", token.trim());
    let (ended, _) = fleet.experiment_json(&["watch", "e", "--every", "1"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let all = verdicts(&fleet.results("e"));
    assert_eq!(all.len(), 6);
    for (krate, _) in all {
        assert!(told.contains(&krate), "{krate} is not told:\n{told}");
    }
    let wrote = |log: &str| log.matches("wrote a report").count();
    assert_eq!(wrote(&first.log()) + wrote(&second.log()), 1, "once");
    for agent in &agents {
        assert!(
            agent.log().contains("started"),
            "both worked: {}",
            agent.log()
        );
    }
}

/// Makes the experiment `odd`, with a candidate that cannot be had.
fn create_odd(fleet: &Fleet, candidate: &str) {
    let args = ["create", "odd", "--crates", "list:passes", "--candidate"];
    let made = fleet.experiment(&[&args[..], &[candidate]].concat());
    assert_eq!(made.code, Some(0), "{made:?}");
}

#[test]
fn an_agent_without_the_toolchain_says_so_and_leaves_the_experiment() {
    let fleet = fleet(None, "");
    let _server = fleet.server();
    let mut agent = fleet.agent("one", &["--jobs", "2"]);
    create_odd(&fleet, "stable+target=no-such-target-1");
    let shown = fleet.wait("odd", |e| e["problem"].is_string());
    let problem = shown["problem"].as_str().expect("a problem");
    assert!(
        problem.starts_with("the agent `one` cannot run it: failed to"),
        "{problem}"
    );
    assert!(problem.contains("no-such-target-1"), "{problem}");
    create(&fleet, "fine", "list:passes", &[]);
    let (ended, _) = fleet.experiment_json(&["watch", "fine", "--every", "1"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let odd = fleet.show("odd");
    assert_eq!(odd["jobs"][0]["errors"], 0, "no attempt was spent: {odd}");
    assert_eq!(odd["state"], "running", "another agent may have it: {odd}");
    assert!(agent.is_alive(), "{}", agent.log());
}

#[test]
fn an_experiment_with_a_toolchain_that_there_is_not_has_failed() {
    let fleet = fleet(None, "");
    let _server = fleet.server();
    let _agent = fleet.agent("one", &["--jobs", "2"]);
    create_odd(&fleet, "no-such-toolchain-1");
    let (ended, told) = fleet.experiment_json(&["watch", "odd", "--every", "1"]);
    let last = told.last().expect("an end");
    assert_eq!(last["state"], "failed", "{ended:?}");
    let problem = last["problem"].as_str().expect("a problem");
    let says = "failed to install the toolchain `no-such-toolchain-1`";
    assert!(problem.starts_with(says), "{problem}");
    assert_eq!(last["jobs"][0]["errors"], 0, "no attempt was spent: {last}");
}

#[test]
fn a_token_is_worth_what_it_says_until_it_is_taken_back() {
    let fleet = fleet(None, "");
    let _server = fleet.server();
    let config = fleet.config().display().to_string();
    assert_eq!(fleet.experiment(&["list"]).code, Some(0));
    let (_, secret) = {
        let file = fleet.token("submit");
        let text = fs_err::read_to_string(&file).expect("a token");
        let id = text.split('_').nth(1).expect("an id").to_owned();
        (file, (id, text))
    };
    let listed = fleet.lab.ejecta(["token", "list", "--config", &config]);
    assert!(listed.stdout.contains(&secret.0), "{listed:?}");
    assert!(!listed.stdout.contains(secret.1.trim()), "{listed:?}");
    let revoked = fleet
        .lab
        .ejecta(["token", "revoke", &secret.0, "--config", &config]);
    assert_eq!(revoked.code, Some(0), "{revoked:?}");
    let refused = fleet.experiment(&["list"]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("401"), "{refused:?}");
}
