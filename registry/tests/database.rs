//! The list of all crates, asked of a registry on loopback, and what a token opens.

mod common;

use std::path::Path;
use std::time::Duration;

use common::{config, name, open};
use ejecta_core::krate::CrateRef;
use ejecta_core::selection::Reach;
use ejecta_registry::{
    Database, DatabaseError, DumpError, ErrorClass, RegistryConfig, RegistryError, Snapshot, Store,
};
use ejecta_test_support::{CrateFixture, DepFixture, LocalRegistry};
use secrecy::SecretString;

const DUMP: &str = "/db-dump.tar.gz";

fn server() -> LocalRegistry {
    let server = LocalRegistry::start();
    server.publish(&CrateFixture::new("leaf", "1.0.0"));
    server.publish(&CrateFixture::new("user", "1.0.0").dep(DepFixture::new("leaf", "^1")));
    server.publish(&CrateFixture::new("other", "1.0.0"));
    server
}

fn names(snapshot: &Snapshot) -> String {
    let names = snapshot.top(9).into_iter().map(|k| k.name.as_str());
    names.collect::<Vec<_>>().join(" ")
}

fn aged(server: &LocalRegistry, max_snapshot_age: Duration) -> RegistryConfig {
    RegistryConfig {
        max_snapshot_age,
        ..config(server)
    }
}

#[tokio::test]
async fn a_dump_is_downloaded_once_a_day_and_only_when_it_changed() {
    let server = server();
    server.serve_dump(&server.dump(&[("leaf", 5), ("other", 9)]));
    let dir = tempfile::tempdir().expect("a directory");
    let day = Duration::from_secs(24 * 3600);
    let ask = async |age| {
        let registry = open(dir.path(), aged(&server, age));
        registry
            .snapshot(&Database::Registry)
            .await
            .expect("a list")
    };
    let first = ask(day).await;
    assert_eq!(names(&first), "other leaf user");
    let second = ask(day).await;
    assert_eq!((second, server.hits(DUMP)), (first.clone(), 1));
    assert_eq!(ask(Duration::ZERO).await, first);
    let statuses: Vec<u16> = dump_requests(&server).iter().map(|r| r.status).collect();
    assert_eq!(statuses, [200, 304]);

    server.publish(&CrateFixture::new("newer", "1.0.0"));
    let mut dump = server.dump(&[("newer", 99)]);
    let metadata = dump.files.get_mut("metadata.json").expect("there");
    *metadata = r#"{"timestamp":"2026-11-21T02:00:31Z"}"#.to_owned();
    server.serve_dump(&dump);
    let changed = ask(Duration::ZERO).await;
    assert_eq!(names(&changed), "newer leaf other user");
    let registry = open(dir.path(), aged(&server, day));
    let last = registry.last_snapshot(&Database::Registry).await;
    assert_eq!(last.expect("kept").usable().len(), 4);
    // What was downloaded is not kept, nor what was read of older ones.
    let mut kept = Vec::new();
    files(dir.path(), &mut kept);
    kept.retain(|file| !file.starts_with("index"));
    kept.sort();
    assert_eq!(kept, ["1795226431.jsonl.gz", "current.json"]);
}

fn dump_requests(server: &LocalRegistry) -> Vec<ejecta_test_support::SeenRequest> {
    let requests = server.requests();
    requests.into_iter().filter(|r| r.path == DUMP).collect()
}

/// The names of the files of snapshots below `dir`.
fn files(dir: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(dir).expect("readable").flatten() {
        let file_name = entry.file_name().into_string().expect("UTF-8");
        if entry.path().is_dir() && !file_name.starts_with("index") {
            files(&entry.path(), found);
        } else if entry.path().is_file() {
            found.push(file_name);
        }
    }
}

#[tokio::test]
async fn a_download_that_breaks_off_is_gone_on_with() {
    let server = server();
    server.serve_dump(&server.dump(&[]));
    // More often than a request is repeated: each time something came.
    server.cut_next(DUMP, 5, 100);
    let dir = tempfile::tempdir().expect("a directory");
    let registry = open(dir.path(), config(&server));
    let all = registry
        .snapshot(&Database::Registry)
        .await
        .expect("a list");
    assert_eq!(all.usable().len(), 3);
    let ranges: Vec<String> = dump_requests(&server)
        .into_iter()
        .map(|r| r.range)
        .collect();
    assert_eq!(
        ranges,
        [
            "",
            "bytes=100-",
            "bytes=200-",
            "bytes=300-",
            "bytes=400-",
            "bytes=500-"
        ]
    );
}

#[tokio::test]
async fn a_registry_without_a_dump_says_what_to_give() {
    let server = server();
    let dir = tempfile::tempdir().expect("a directory");
    let registry = open(dir.path(), config(&server));
    let error = registry
        .snapshot(&Database::Registry)
        .await
        .expect_err("none");
    assert!(matches!(&error, DatabaseError::NoDump { url } if url.ends_with(DUMP)));
    assert!(
        error.hint().is_some_and(|h| h.contains("--database")),
        "{error}"
    );
    assert_eq!(registry.last_snapshot(&Database::Registry).await, None);
}

#[tokio::test]
async fn a_truncated_dump_and_one_without_a_table_are_told() {
    let server = server();
    let dump = server.dump(&[]);
    let whole = dump.archive();
    server.serve_file(DUMP, whole[..whole.len() / 2].to_vec());
    let dir = tempfile::tempdir().expect("a directory");
    let registry = open(dir.path(), config(&server));
    let error = registry
        .snapshot(&Database::Registry)
        .await
        .expect_err("half");
    let DatabaseError::Dump { source, .. } = &error else {
        panic!("{error}");
    };
    assert!(matches!(source, DumpError::Truncated(_)), "{error}");
    assert!(error.to_string().contains(DUMP) && error.hint().is_some());

    let only = ["data/crates.csv", "metadata.json"];
    server.serve_file(DUMP, dump.archive_in_order(only));
    let error = registry
        .snapshot(&Database::Registry)
        .await
        .expect_err("a part");
    assert!(
        error.to_string().contains("has no table `crate_downloads`"),
        "{error}"
    );

    let huge = RegistryConfig {
        max_dump_bytes: 100,
        ..config(&server)
    };
    let error = open(dir.path(), huge).snapshot(&Database::Registry).await;
    let error = error.expect_err("too large").to_string();
    assert!(error.contains("longer than 100 bytes"), "{error}");
}

#[tokio::test]
async fn a_dump_on_disk_is_read_again_when_it_changes() {
    let server = server();
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("dump.tar.gz");
    let database = Database::Path(file.clone());
    let registry = open(dir.path(), config(&server));
    let error = registry.snapshot(&database).await.expect_err("not there");
    assert!(error.to_string().contains("dump.tar.gz"), "{error}");
    std::fs::write(&file, server.dump(&[("leaf", 3)]).archive()).expect("writable");
    let all = registry.snapshot(&database).await.expect("a list");
    assert_eq!(names(&all), "leaf other user");
    server.publish(&CrateFixture::new("zeta", "1.0.0"));
    std::fs::write(&file, server.dump(&[("zeta", 3)]).archive()).expect("writable");
    let all = registry.snapshot(&database).await.expect("a list");
    assert_eq!(names(&all), "zeta leaf other user");
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn a_checkout_of_the_index_lists_all_crates_too() {
    let server = server();
    let dir = tempfile::tempdir().expect("a directory");
    let index = dir.path().join("checkout");
    server.write_index(&index);
    std::fs::create_dir(index.join(".git")).expect("writable");
    std::fs::write(index.join(".git/HEAD"), "ref: refs/heads/main\n").expect("writable");
    let registry = open(dir.path(), config(&server));
    let all = registry
        .snapshot(&Database::Path(index))
        .await
        .expect("a list");
    assert!(!all.downloads_known() && all.taken().is_none());
    assert_eq!(names(&all), "leaf other user");
    let found = all
        .dependents(&name("leaf"), None, Reach::All)
        .expect("known");
    assert_eq!(found.len(), 1);
    assert!(found[0].krate.release().is_some());

    let empty = dir.path().join("empty");
    std::fs::create_dir(&empty).expect("writable");
    let error = registry
        .snapshot(&Database::Path(empty))
        .await
        .expect_err("none");
    assert!(
        error.to_string().contains("no checkout of an index"),
        "{error}"
    );
}

fn with_token(server: &LocalRegistry, token: Option<&str>) -> RegistryConfig {
    RegistryConfig {
        token: token.map(SecretString::from),
        ..config(server)
    }
}

fn wanted(text: &str) -> CrateRef {
    text.parse().expect("a crate reference")
}

#[tokio::test]
async fn a_token_opens_the_index_the_downloads_and_the_dump() {
    let server = server();
    server.serve_dump(&server.dump(&[]));
    server.require_token("Bearer s3cret");
    let dir = tempfile::tempdir().expect("a directory");
    let registry = open(dir.path(), with_token(&server, Some("Bearer s3cret\n")));
    let release = registry.release(&wanted("leaf")).await.expect("a release");
    let store = Store::open(dir.path(), registry.clone()).expect("a store");
    store.source(&release).await.expect("a source");
    registry
        .snapshot(&Database::Registry)
        .await
        .expect("a list");
    let sent: Vec<(String, bool)> = server
        .requests()
        .into_iter()
        .map(|r| (r.path, r.authorization == "Bearer s3cret"))
        .collect();
    // The first asks whether a token is wanted at all.
    assert_eq!(sent[0], ("/index/config.json".to_owned(), false));
    assert!(sent[1..].iter().all(|(_, token)| *token), "{sent:?}");
}

#[tokio::test]
async fn no_token_and_a_wrong_one_are_told_and_not_shown() {
    let server = server();
    server.require_token("right");
    for (token, status) in [(None, 401), (Some("wr0ng"), 403)] {
        let dir = tempfile::tempdir().expect("a directory");
        let registry = open(dir.path(), with_token(&server, token));
        let error = registry.release(&wanted("leaf")).await.expect_err("closed");
        assert_eq!(error.class(), ErrorClass::Permanent);
        let text = error.to_string();
        assert!(text.contains(&format!("status {status}")), "{text}");
        assert!(!text.contains("wr0ng") && !format!("{registry:?}").contains("wr0ng"));
        let hint = error.hint().expect("a way out");
        assert!(hint.contains("--registry-token-file"), "{hint}");
    }
}

#[tokio::test]
async fn a_registry_that_asks_for_no_login_never_sees_the_token() {
    let server = server();
    let dir = tempfile::tempdir().expect("a directory");
    let registry = open(dir.path(), with_token(&server, Some("s3cret")));
    let release = registry.release(&wanted("leaf")).await.expect("a release");
    let store = Store::open(dir.path(), registry).expect("a store");
    store.source(&release).await.expect("a source");
    assert!(server.requests().iter().all(|r| r.authorization.is_empty()));
}

#[tokio::test]
async fn another_server_never_sees_the_token() {
    // The index is closed, and its downloads are elsewhere by a redirect.
    let elsewhere = server();
    let server = server();
    server.require_token("s3cret");
    let moved = format!("{}/dl/leaf/1.0.0/download", elsewhere.base_url());
    server.redirect("/dl/leaf/1.0.0/download", &moved);
    let dir = tempfile::tempdir().expect("a directory");
    let registry = open(dir.path(), with_token(&server, Some("s3cret")));
    let release = registry.release(&wanted("leaf")).await.expect("a release");
    let store = Store::open(dir.path(), registry).expect("a store");
    store.source(&release).await.expect("a source");
    let seen = elsewhere.requests();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].authorization, "");
}

#[tokio::test]
async fn what_is_no_registry_is_told() {
    let server = LocalRegistry::start();
    let page = "<!DOCTYPE html>\n<title>hello</title>";
    server.set_config(page);
    server.add_index_line("leaf", page);
    let dir = tempfile::tempdir().expect("a directory");
    let registry = open(dir.path(), config(&server));
    for error in [
        registry.release(&wanted("leaf")).await.expect_err("a page"),
        registry.check().await.expect_err("a page"),
    ] {
        assert!(error.to_string().contains("it is a web page"), "{error}");
        assert!(error.hint().is_some());
    }
    let nowhere = RegistryConfig {
        index_url: Some(format!("{}/nothing-here", server.base_url())),
        ..config(&server)
    };
    let registry = open(dir.path(), nowhere);
    let error = registry.check().await.expect_err("nothing");
    assert!(
        matches!(&error, RegistryError::Unreadable { .. }),
        "{error}"
    );
    assert!(error.to_string().contains("no sparse index"), "{error}");
}

#[tokio::test]
async fn that_there_is_no_such_crate_is_known_for_a_while() {
    let server = server();
    let dir = tempfile::tempdir().expect("a directory");
    let ask = async |max_missing_age| {
        let config = RegistryConfig {
            max_missing_age,
            ..config(&server)
        };
        let registry = open(dir.path(), config);
        registry.entry(&name("nothing")).await.is_ok()
    };
    let minute = Duration::from_secs(60);
    assert!(!ask(minute).await && !ask(minute).await);
    assert_eq!(server.index_hits("nothing"), 1);
    server.publish(&CrateFixture::new("nothing", "1.0.0"));
    assert!(!ask(minute).await);
    assert!(ask(Duration::ZERO).await);
    assert_eq!(server.index_hits("nothing"), 2);
}
