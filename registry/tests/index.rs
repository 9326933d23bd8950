//! The index client against a registry on loopback.

mod common;

use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use common::{config, name, open};
use ejecta_core::krate::CrateRef;
use ejecta_registry::{ErrorClass, RegistryConfig, RegistryError, RootDep, Traffic};
use ejecta_test_support::{CrateFixture, DepFixture, LocalRegistry};
use futures_util::future::join_all;

fn wanted(text: &str) -> CrateRef {
    text.parse().expect("a crate reference")
}

#[tokio::test]
async fn twenty_who_ask_make_one_request() {
    let server = LocalRegistry::start();
    server.publish(&CrateFixture::new("serde", "1.0.0"));
    let dir = tempfile::tempdir().expect("a directory");
    let registry = open(dir.path(), config(&server));
    let asked = (0..20).map(|_| {
        let registry = registry.clone();
        tokio::spawn(async move { registry.entry(&name("serde")).await })
    });
    for answer in join_all(asked).await {
        let entry = answer.expect("no panic").expect("an entry");
        assert_eq!(entry.releases.len(), 1);
    }
    assert_eq!(server.index_hits("serde"), 1);
    let seen = &server.requests()[0];
    assert!(seen.user_agent.starts_with("ejecta/"), "{seen:?}");
}

#[tokio::test]
async fn young_entries_need_no_request_and_old_ones_are_confirmed() {
    let server = LocalRegistry::start();
    server.publish(&CrateFixture::new("serde", "1.0.0"));
    let dir = tempfile::tempdir().expect("a directory");
    let ask = async |max_age: Duration| {
        let config = RegistryConfig {
            max_age,
            ..config(&server)
        };
        let registry = open(dir.path(), config);
        let entry = registry.entry(&name("serde")).await.expect("an entry");
        (entry.releases.len(), registry.traffic())
    };
    let hour = Duration::from_secs(3600);
    let (_, first) = ask(hour).await;
    assert_eq!((first.index_requests, first.index_cache_hits), (1, 0));
    let (_, second) = ask(hour).await;
    let untouched = Traffic {
        index_cache_hits: 1,
        ..Traffic::default()
    };
    assert_eq!(second, untouched);
    let (_, third) = ask(Duration::ZERO).await;
    assert_eq!((third.index_requests, third.index_not_modified), (1, 1));
    assert_eq!(third.bytes_received, 0);
    server.publish(&CrateFixture::new("serde", "1.1.0"));
    let (releases, fourth) = ask(Duration::ZERO).await;
    assert_eq!((releases, fourth.index_not_modified), (2, 0));
    assert_eq!(server.index_hits("serde"), 3);
}

#[tokio::test]
async fn an_unknown_crate_is_asked_for_once() {
    let server = LocalRegistry::start();
    let dir = tempfile::tempdir().expect("a directory");
    let registry = open(dir.path(), config(&server));
    for _ in 0..2 {
        let error = registry.entry(&name("missing")).await.expect_err("unknown");
        assert!(
            matches!(error, RegistryError::UnknownCrate { .. }),
            "{error}"
        );
        assert!(error.to_string().contains("`missing`") && error.hint().is_some());
        assert_eq!(error.class(), ErrorClass::Permanent);
    }
    assert_eq!(server.index_hits("missing"), 1);
    assert_eq!(registry.traffic().retries, 0);
}

#[tokio::test]
async fn a_removed_crate_leaves_the_local_registry() {
    let server = LocalRegistry::start();
    server.publish(&CrateFixture::new("gone", "1.0.0"));
    let dir = tempfile::tempdir().expect("a directory");
    let now = || RegistryConfig {
        max_age: Duration::ZERO,
        ..config(&server)
    };
    let registry = open(dir.path(), now());
    registry.entry(&name("gone")).await.expect("an entry");
    let file = registry.local_registry_dir().join("index/go/ne/gone");
    assert!(file.is_file());
    server.fail_next("/index/go/ne/gone", 1, 451);
    let unknown = open(dir.path(), now()).fetch_entries(&[name("gone")]).await;
    assert_eq!(unknown.expect("an answer"), [name("gone")]);
    assert!(!file.exists());
}

#[tokio::test]
async fn a_crate_is_found_in_any_spelling() {
    let server = LocalRegistry::start();
    server.publish(&CrateFixture::new("Rustc-hash_ext", "1.0.0"));
    let dir = tempfile::tempdir().expect("a directory");
    let registry = open(dir.path(), config(&server));
    for spelling in [
        "Rustc-hash_ext",
        "rustc_hash_ext",
        "rustc-hash-ext",
        "RUSTC_HASH-EXT",
    ] {
        let entry = registry.entry(&name(spelling)).await.expect("an entry");
        assert_eq!(entry.name.as_str(), "Rustc-hash_ext", "{spelling}");
    }
    let exact = registry.fetch_entries(&[name("rustc_hash_ext")]).await;
    assert_eq!(exact.expect("answers"), [name("rustc_hash_ext")]);
}

#[tokio::test]
async fn references_choose_a_release() {
    let server = LocalRegistry::start();
    for version in ["1.0.0", "1.1.0+meta", "2.0.0-beta.1"] {
        server.publish(&CrateFixture::new("foo-bar", version));
    }
    server.publish(&CrateFixture::new("foo-bar", "1.2.0").yanked());
    server.publish(&CrateFixture::new("dead", "1.0.0").yanked());
    let dir = tempfile::tempdir().expect("a directory");
    let registry = open(dir.path(), config(&server));
    for (text, version) in [
        ("foo_bar", "1.1.0+meta"),
        ("foo-bar@1.1.0", "1.1.0+meta"),
        ("foo-bar@1.2.0", "1.2.0"),
        ("foo-bar@2.0.0-beta.1", "2.0.0-beta.1"),
        ("dead@1.0.0", "1.0.0"),
    ] {
        let release = registry.release(&wanted(text)).await.expect(text);
        assert_eq!(release.version.to_string(), version, "{text}");
    }
    let error = registry
        .release(&wanted("foo-bar@9.0.0"))
        .await
        .expect_err("unknown");
    assert!(error.to_string().contains("`foo-bar` 9.0.0"), "{error}");
    let error = registry
        .release(&wanted("dead"))
        .await
        .expect_err("all yanked");
    assert!(matches!(error, RegistryError::NoRelease { .. }), "{error}");
}

#[tokio::test]
async fn what_may_pass_is_tried_again() {
    let server = LocalRegistry::start();
    server.publish(&CrateFixture::new("serde", "1.0.0"));
    let dir = tempfile::tempdir().expect("a directory");
    let registry = open(dir.path(), config(&server));
    let path = "/index/se/rd/serde";
    server.fail_next(path, 1, 503);
    server.fail_next_with(path, 1, 429, Some(0));
    registry
        .entry(&name("serde"))
        .await
        .expect("at the third attempt");
    assert_eq!((server.hits(path), registry.traffic().retries), (3, 2));

    server.fail_next("/index/de/ad/dead", 3, 503);
    let dead = [name("dead")];
    let both = [registry.fetch_entries(&dead), registry.fetch_entries(&dead)];
    let answers = join_all(both).await;
    for answer in answers {
        let error = answer.expect_err("never answers");
        assert!(
            matches!(error, RegistryError::Status { status: 503, .. }),
            "{error}"
        );
        assert_eq!(error.class(), ErrorClass::Transient);
    }
    assert_eq!(server.index_hits("dead"), 3, "the two share their failure");
    let later = registry.fetch_entries(&dead).await;
    assert_eq!(
        later.expect("answers now").len(),
        1,
        "a failure is not kept"
    );
}

#[tokio::test]
async fn what_will_not_pass_is_not_tried_again() {
    let server = LocalRegistry::start();
    let dir = tempfile::tempdir().expect("a directory");
    let registry = open(dir.path(), config(&server));
    server.fail_next("/index/se/rd/serde", 9, 403);
    let error = registry.entry(&name("serde")).await.expect_err("forbidden");
    assert_eq!(
        (error.class(), server.index_hits("serde")),
        (ErrorClass::Permanent, 1)
    );
    assert!(error.hint().is_some());
}

#[tokio::test]
async fn a_registry_that_is_not_there_is_a_passing_trouble() {
    let url = LocalRegistry::start().index_url();
    let dir = tempfile::tempdir().expect("a directory");
    let server = LocalRegistry::start();
    let config = RegistryConfig {
        index_url: Some(url),
        ..config(&server)
    };
    let registry = open(dir.path(), config);
    let error = registry
        .entry(&name("serde"))
        .await
        .expect_err("nobody listens");
    assert!(matches!(error, RegistryError::Network { .. }), "{error}");
    assert_eq!(
        (error.class(), registry.traffic().retries),
        (ErrorClass::Transient, 2)
    );
}

#[tokio::test]
async fn an_entry_that_never_ends_is_cut_off() {
    let server = LocalRegistry::start();
    server.add_index_line("serde", &"x".repeat(5000));
    let dir = tempfile::tempdir().expect("a directory");
    let config = RegistryConfig {
        max_entry_bytes: 4000,
        ..config(&server)
    };
    let error = open(dir.path(), config)
        .entry(&name("serde"))
        .await
        .expect_err("long");
    assert!(
        matches!(error, RegistryError::TooLong { limit: 4000, .. }),
        "{error}"
    );
}

/// A small world: `top` needs two crates, one of them by a feature, and one that is not there.
fn publish_world(server: &LocalRegistry) {
    server.publish(&CrateFixture::new("leaf", "1.0.0"));
    server.publish(&CrateFixture::new("extra", "0.3.1"));
    server.publish(
        &CrateFixture::new("mid", "1.4.0")
            .dep(DepFixture::new("leaf", "1").kind(ejecta_test_support::DepKind::Build))
            .dep(DepFixture::new("extra", "0.3").optional())
            .dep(DepFixture::new("unneeded", "1").optional())
            .feature("more", &["dep:extra"]),
    );
    server.publish(
        &CrateFixture::new("top", "1.0.0")
            .dep(DepFixture::new("mid", "1").feature("more"))
            .dep(DepFixture::new("windows-only", "1").target("cfg(windows)")),
    );
}

#[tokio::test]
async fn the_closure_is_fetched_once_with_what_features_need() {
    let server = LocalRegistry::start();
    publish_world(&server);
    let dir = tempfile::tempdir().expect("a directory");
    let registry = open(dir.path(), config(&server));
    let entry = registry.entry(&name("top")).await.expect("an entry");
    let roots = RootDep::of_release(&entry.releases[0], true);
    let task = tokio::spawn({
        let registry = registry.clone();
        async move {
            registry.fetch_entries(&[name("leaf"), name("mid")]).await?;
            registry.prefetch_closure(&roots).await
        }
    });
    let found = task.await.expect("no panic").expect("fetches");
    assert_eq!((found.entries, found.releases), (3, 3));
    assert_eq!(found.unknown.iter().next(), Some(&name("windows-only")));
    assert_eq!(server.index_hits("unneeded"), 0);
    assert_eq!(registry.traffic().index_requests, 5);
}

#[tokio::test]
async fn cargo_resolves_against_the_local_registry() {
    let server = LocalRegistry::start();
    publish_world(&server);
    server.publish(&CrateFixture::new("windows-only", "1.0.0"));
    let dir = tempfile::tempdir().expect("a directory");
    let registry = open(&dir.path().join("store"), config(&server));
    let entry = registry.entry(&name("top")).await.expect("an entry");
    let roots = RootDep::of_release(&entry.releases[0], true);
    registry.prefetch_closure(&roots).await.expect("fetches");

    let local = registry.local_registry_dir();
    let file = local.join("index/le/af/leaf");
    let mode = |path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!((mode(file.as_path()), mode(local)), (0o644, 0o755));

    let package = dir.path().join("package");
    std::fs::create_dir_all(package.join("src")).expect("a directory");
    std::fs::write(package.join("src/lib.rs"), "").expect("writes");
    let manifest = "[package]\nname = \"p\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\
                    [dependencies]\ntop = \"1\"\n";
    std::fs::write(package.join("Cargo.toml"), manifest).expect("writes");
    let config = format!(
        "[source.crates-io]\nreplace-with = \"local\"\n[source.local]\nlocal-registry = {local:?}\n"
    );
    std::fs::create_dir(package.join(".cargo")).expect("a directory");
    std::fs::write(package.join(".cargo/config.toml"), config).expect("writes");
    let output = Command::new(env!("CARGO"))
        .args(["generate-lockfile", "--offline"])
        .current_dir(&package)
        .env("CARGO_HOME", dir.path().join("cargo-home"))
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let lockfile = std::fs::read_to_string(package.join("Cargo.lock")).expect("a lockfile");
    for locked in ["extra", "leaf", "mid", "top", "windows-only"] {
        assert!(
            lockfile.contains(&format!("name = \"{locked}\"")),
            "{locked} in {lockfile}"
        );
    }
}
