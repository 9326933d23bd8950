//! Downloads and the source store against a registry on loopback.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{config, name, open};
use ejecta_core::krate::{Checksum, Release};
use ejecta_registry::{
    Broken, CrateLimits, ErrorClass, Refusal, RegistryConfig, RegistryError, SourceError, Store,
    Traffic, UnpackError,
};
use ejecta_test_support::{
    CrateFixture, DepFixture, LocalRegistry, Published, RawEntry, fixture_from_dir, hostile_tar,
};
use futures_util::future::join_all;

fn open_store(dir: &Path, config: RegistryConfig) -> Store {
    Store::open(dir, open(dir, config)).expect("the store opens")
}

fn release(published: &Published) -> Release {
    Release {
        name: name(&published.name),
        version: published.version.parse().expect("a version"),
        checksum: Checksum::new(published.checksum.as_str()).expect("a checksum"),
    }
}

/// What is in the store's directory of sources.
fn sources(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir.join("sources")).expect("readable");
    let mut names: Vec<_> = entries
        .map(|entry| {
            entry
                .expect("readable")
                .file_name()
                .into_string()
                .expect("UTF-8")
        })
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn twenty_who_ask_download_once_and_a_second_run_asks_nothing() {
    let server = LocalRegistry::start();
    let fixture = CrateFixture::new("foo", "1.0.0").file("src/lib.rs", "// here");
    let published = release(&server.publish(&fixture));
    let dir = tempfile::tempdir().expect("a directory");
    let store = open_store(dir.path(), config(&server));
    let asked = (0..20).map(|_| {
        let (store, release) = (store.clone(), published.clone());
        tokio::spawn(async move { store.source(&release).await })
    });
    for answer in join_all(asked).await {
        let source = answer.expect("no panic").expect("a source");
        let text = fs::read_to_string(source.path.join("src/lib.rs")).expect("readable");
        assert_eq!(text, "// here");
    }
    assert_eq!(server.hits("/dl/foo/1.0.0/download"), 1);
    assert_eq!(server.hits("/index/config.json"), 1);
    assert_eq!(store.registry().traffic().downloads, 1);

    let before = server.requests().len();
    let second = open_store(dir.path(), config(&server));
    let source = second.source(&published).await.expect("a source");
    let name = format!("foo-1.0.0-{}", &published.checksum.as_str()[..16]);
    assert_eq!(source.path, dir.path().join("sources").join(&name));
    assert_eq!(sources(dir.path()), [name]);
    assert_eq!(server.requests().len(), before);
    let untouched = Traffic {
        download_cache_hits: 1,
        ..Traffic::default()
    };
    assert_eq!(second.registry().traffic(), untouched);
}

#[tokio::test]
async fn two_stores_over_one_directory_agree() {
    let server = LocalRegistry::start();
    let published = release(&server.publish(&CrateFixture::new("foo", "1.0.0")));
    let dir = tempfile::tempdir().expect("a directory");
    let stores: Vec<_> = (0..4)
        .map(|_| open_store(dir.path(), config(&server)))
        .collect();
    for source in join_all(stores.iter().map(|store| store.source(&published))).await {
        assert!(source.expect("a source").path.join("Cargo.toml").is_file());
    }
    assert_eq!(sources(dir.path()).len(), 1);
}

#[tokio::test]
async fn build_metadata_is_percent_encoded() {
    let server = LocalRegistry::start();
    let published = release(&server.publish(&CrateFixture::new("zstd-sys", "2.0.9+zstd.1.5.5")));
    let dir = tempfile::tempdir().expect("a directory");
    let store = open_store(dir.path(), config(&server));
    store.source(&published).await.expect("a source");
    assert_eq!(server.hits("/dl/zstd-sys/2.0.9%2Bzstd.1.5.5/download"), 1);
}

#[tokio::test]
async fn download_templates_are_followed() {
    let server = LocalRegistry::start();
    let fixture = CrateFixture::new("Foo", "1.0.0");
    let published = release(&server.publish(&fixture));
    let base = server.base_url();
    server.set_config(&format!(
        r#"{{"dl":"{base}/files/{{lowerprefix}}/{{crate}}-{{version}}.crate","api":null}}"#
    ));
    server.serve_file("/files/3/f/Foo-1.0.0.crate", fixture.crate_bytes());
    let dir = tempfile::tempdir().expect("a directory");
    let store = open_store(dir.path(), config(&server));
    store.source(&published).await.expect("a source");
}

#[tokio::test]
async fn a_wrong_checksum_names_both_and_leaves_nothing() {
    let server = LocalRegistry::start();
    let wrong = "ab".repeat(32);
    let fixture = CrateFixture::new("foo", "1.0.0").wrong_checksum(&wrong);
    let published = release(&server.publish(&fixture));
    let dir = tempfile::tempdir().expect("a directory");
    let store = open_store(dir.path(), config(&server));
    let error = store
        .source(&published)
        .await
        .expect_err("not the file of the index");
    assert_eq!(error.class(), ErrorClass::Permanent);
    let SourceError::Broken {
        why: Broken::Checksum { expected, found },
        ..
    } = error
    else {
        panic!("{error}");
    };
    let right = CrateFixture::new("foo", "1.0.0");
    assert_eq!(
        (expected, found),
        (wrong, right.checksum(&right.crate_bytes()))
    );
    assert!(sources(dir.path()).is_empty());
}

#[tokio::test]
async fn a_hostile_archive_is_broken_and_leaves_nothing() {
    let server = LocalRegistry::start();
    let archive = hostile_tar(&[
        RawEntry::file("foo-1.0.0/Cargo.toml", "[package]"),
        RawEntry::file("foo-1.0.0/src/lib.rs", ""),
        RawEntry::link(b'2', "foo-1.0.0/etc", "/etc"),
    ]);
    let published = release(&server.publish(&CrateFixture::new("foo", "1.0.0").raw_crate(archive)));
    let dir = tempfile::tempdir().expect("a directory");
    let store = open_store(dir.path(), config(&server));
    let error = store.source(&published).await.expect_err("hostile");
    let SourceError::Broken {
        why: Broken::Unpack(why),
        ..
    } = &error
    else {
        panic!("{error}");
    };
    let UnpackError::Refused { entry, why } = &**why else {
        panic!("{why}");
    };
    assert_eq!(
        (entry.as_str(), why),
        ("foo-1.0.0/etc", &Refusal::SymbolicLink)
    );
    assert!(error.to_string().contains("`foo` 1.0.0"), "{error}");
    store.source(&published).await.expect_err("still hostile");
    assert_eq!(server.hits("/dl/foo/1.0.0/download"), 1);
    assert!(sources(dir.path()).is_empty());
}

#[tokio::test]
async fn a_download_past_the_limit_is_broken() {
    let server = LocalRegistry::start();
    let published = release(&server.publish(&CrateFixture::new("foo", "1.0.0")));
    let dir = tempfile::tempdir().expect("a directory");
    let config = RegistryConfig {
        crate_limits: CrateLimits {
            packed_bytes: 100,
            ..CrateLimits::default()
        },
        ..config(&server)
    };
    let error = open_store(dir.path(), config)
        .source(&published)
        .await
        .expect_err("large");
    let too_large = SourceError::Broken {
        name: published.name,
        version: published.version,
        why: Broken::TooLarge { limit: 100 },
    };
    assert_eq!(error.to_string(), too_large.to_string());
}

#[tokio::test]
async fn troubles_of_the_registry_are_not_the_crates() {
    let server = LocalRegistry::start();
    let published = release(&server.publish(&CrateFixture::new("foo", "1.0.0")));
    let dir = tempfile::tempdir().expect("a directory");
    let path = "/dl/foo/1.0.0/download";
    let store = open_store(dir.path(), config(&server));
    server.fail_next(path, 3, 503);
    let error = store.source(&published).await.expect_err("three times 503");
    assert!(matches!(error, SourceError::Registry(_)), "{error}");
    assert_eq!(error.class(), ErrorClass::Transient);
    server.fail_next(path, 1, 502);
    store
        .source(&published)
        .await
        .expect("at the second attempt");
    assert_eq!(
        (server.hits(path), store.registry().traffic().retries),
        (5, 3)
    );
}

#[tokio::test]
async fn an_index_without_config_is_no_registry() {
    let server = LocalRegistry::start();
    let published = release(&server.publish(&CrateFixture::new("foo", "1.0.0")));
    for json in [
        "[]",
        "{}",
        r#"{"dl":"http://127.0.0.1/","auth-required":true}"#,
    ] {
        server.set_config(json);
        let dir = tempfile::tempdir().expect("a directory");
        let store = open_store(dir.path(), config(&server));
        let error = store.source(&published).await.expect_err(json);
        let unreadable = SourceError::Registry(RegistryError::Unreadable {
            url: String::new(),
            why: String::new(),
        });
        assert_eq!(
            std::mem::discriminant(&error),
            std::mem::discriminant(&unreadable),
            "{error}"
        );
    }
}

#[tokio::test]
async fn leftovers_of_a_crash_are_removed_when_nobody_uses_the_store() {
    let server = LocalRegistry::start();
    let dir = tempfile::tempdir().expect("a directory");
    let leftover = dir.path().join("sources/.unfinished-x");
    let store = open_store(dir.path(), config(&server));
    fs::create_dir_all(leftover.join("src")).expect("a directory");
    drop(open_store(dir.path(), config(&server)));
    assert!(leftover.exists(), "another process may be writing it");
    drop(store);
    drop(open_store(dir.path(), config(&server)));
    assert!(!leftover.exists());
}

#[tokio::test]
async fn a_fixture_directory_is_published_as_cargo_would() {
    let dir = tempfile::tempdir().expect("a directory");
    let package = dir.path().join("package");
    fs::create_dir_all(package.join("src")).expect("a directory");
    fs::create_dir_all(package.join("target")).expect("a directory");
    fs::write(package.join("src/lib.rs"), "// mine").expect("writes");
    fs::write(package.join("target/junk"), "").expect("writes");
    let manifest = r#"
        [package]
        name = "Mine"
        version = "0.2.0"
        [dependencies]
        log = "0.4"
        other = { package = "Real", version = "1", optional = true, default-features = false }
        [target.'cfg(unix)'.dev-dependencies]
        nix = { version = "0.1", features = ["fs"] }
        [features]
        x = ["dep:other"]
    "#;
    fs::write(package.join("Cargo.toml"), manifest).expect("writes");
    assert!(!fixture_from_dir(&package).crate_bytes().is_empty());
    let server = LocalRegistry::start();
    let published = release(&server.publish_dir(&package));
    let store = open_store(&dir.path().join("store"), config(&server));
    let source = store.source(&published).await.expect("a source");
    assert!(source.path.join("src/lib.rs").is_file() && !source.path.join("target").exists());
    let entry = store
        .registry()
        .entry(&published.name)
        .await
        .expect("an entry");
    let deps = &entry.releases[0].deps;
    assert_eq!(deps.len(), 3);
    let other = deps
        .iter()
        .find(|dep| dep.toml_name() == "other")
        .expect("there");
    assert!(other.name.as_str() == "Real" && other.optional && !other.default_features);
    assert!(
        deps.iter()
            .any(|dep| dep.target.as_deref() == Some("cfg(unix)"))
    );
    assert_eq!(entry.releases[0].features["x"], ["dep:other"]);
}

#[tokio::test]
async fn cargo_takes_the_sources_as_a_directory_source() {
    let server = LocalRegistry::start();
    let leaf = release(&server.publish(&CrateFixture::new("leaf", "1.0.0+build")));
    let top = CrateFixture::new("top", "1.0.0").dep(DepFixture::new("leaf", "1"));
    let top = release(&server.publish(&top));
    let dir = tempfile::tempdir().expect("a directory");
    let store = open_store(&dir.path().join("store"), config(&server));
    let package = dir.path().join("package");
    fs::create_dir_all(package.join("vendor")).expect("a directory");
    let mut lockfile = "version = 3\n[[package]]\nname = \"p\"\nversion = \"0.1.0\"\n\
                        dependencies = [\"top\"]\n"
        .to_owned();
    let default_index = tame_index::index::git::CRATES_IO_INDEX;
    for (locked, deps) in [(&leaf, "[]"), (&top, r#"["leaf"]"#)] {
        let source = store.source(locked).await.expect("a source");
        let link = package
            .join("vendor")
            .join(source.path.file_name().expect("a name"));
        std::os::unix::fs::symlink(&source.path, link).expect("links");
        let Release {
            name,
            version,
            checksum,
        } = locked;
        lockfile += &format!(
            "[[package]]\nname = \"{name}\"\nversion = \"{version}\"\ndependencies = {deps}\n\
             source = \"registry+{default_index}\"\nchecksum = \"{checksum}\"\n"
        );
    }
    let manifest = "[package]\nname = \"p\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\
                    [lib]\npath = \"lib.rs\"\n[dependencies]\ntop = \"1\"\n";
    let vendored = "[source.crates-io]\nreplace-with = \"vendored\"\n\
                    [source.vendored]\ndirectory = \"vendor\"\n";
    fs::create_dir(package.join(".cargo")).expect("a directory");
    for (file, text) in [
        ("Cargo.toml", manifest),
        ("Cargo.lock", &lockfile),
        (".cargo/config.toml", vendored),
        ("lib.rs", ""),
    ] {
        fs::write(package.join(file), text).expect("writes");
    }
    // Reads every manifest and compares every checksum; runs nothing of the packages.
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--offline"])
        .current_dir(&package)
        .env("CARGO_HOME", dir.path().join("cargo-home"))
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata = String::from_utf8_lossy(&output.stdout);
    assert!(metadata.contains("/sources/") || metadata.contains("/vendor/leaf-1.0.0+build-"));
}
