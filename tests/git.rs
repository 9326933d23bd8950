//! Git repositories as crates, workspaces, and dependencies from repositories: the whole way, on
//! the real binary, with a git server on loopback.

#![expect(clippy::print_stdout, reason = "tests say when they were skipped")]

use ejecta_test_support::{Ended, GitServer, Lab};
use serde_json::Value;

fn lab() -> Lab {
    Lab::new(env!("CARGO_BIN_EXE_ejecta"))
}

/// Runs with the native sandbox; `None`, loudly, on a machine without namespaces unless they are
/// required.
fn run(lab: &Lab, out: &str, args: &[&str]) -> Option<Ended> {
    let all = [args, &["--sandbox", "native"]].concat();
    let ended = lab.run(out, &all);
    let lacks = ended.stderr.contains("isolate steps with namespaces");
    if lacks && std::env::var_os("EJECTA_REQUIRE_NATIVE").is_none() {
        println!("SKIPPED: no namespaces: {}", ended.stderr);
        return None;
    }
    Some(ended)
}

const PLANTED: &str = "stable+rustflags=--cfg planted";
const LIB: &str = "pub fn f() -> u32 { 1 }\n";
const PLANTED_LIB: &str = "pub fn f() -> u32 {\n    #[cfg(planted)]\n    return \"\";\n    1\n}\n";

fn package(name: &str, more: &str) -> String {
    format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2021\"\n{more}\n")
}

fn verdicts(results: &Value) -> Vec<(String, String)> {
    let crates = results["crates"].as_array().expect("an array").iter();
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    let mut all: Vec<_> = crates
        .map(|krate| (text(&krate["id"]), text(&krate["verdict"])))
        .collect();
    all.sort();
    all
}

fn verdict_of(results: &Value, name: &str) -> String {
    let all = verdicts(results).into_iter();
    let mut of = all.filter(|(id, _)| id.starts_with(&format!("{name}-")));
    of.next()
        .unwrap_or_else(|| panic!("no {name}: {results:#}"))
        .1
}

#[test]
fn a_repository_is_all_members_of_its_workspace() {
    let lab = lab();
    let server = GitServer::start();
    let repository = server.repository("ws");
    let root = "[workspace]\nmembers = [\"crates/*\"]\nresolver = \"2\"\n\
                [workspace.package]\nversion = \"1.2.3\"\nedition = \"2021\"\n\
                [workspace.dependencies]\nshared = { path = \"crates/shared\" }\nleaf = \"1\"\n\
                [workspace.lints.rust]\nunused = \"warn\"\n";
    let inherits = |name: &str, more: &str| {
        format!(
            "[package]\nname = \"{name}\"\nversion.workspace = true\nedition.workspace = true\n\
             [lints]\nworkspace = true\n{more}\n"
        )
    };
    let commit = repository.commit_files(&[
        ("Cargo.toml", root),
        (
            "crates/shared/Cargo.toml",
            &inherits("shared", "[dependencies]\nleaf.workspace = true"),
        ),
        ("crates/shared/src/lib.rs", PLANTED_LIB),
        (
            "crates/user/Cargo.toml",
            &inherits(
                "user",
                "[dependencies]\nshared.workspace = true\n[dev-dependencies]\nnowhere = \"9\"",
            ),
        ),
        (
            "crates/user/src/lib.rs",
            "pub fn g() -> u32 { shared::f() }\n",
        ),
        ("crates/lone/Cargo.toml", &inherits("lone", "")),
        ("crates/lone/src/lib.rs", LIB),
    ]);
    let selection = format!("list:{}@main", server.url("ws"));
    let listed = lab.ejecta([
        "crates",
        &selection,
        "--registry",
        &lab.registry.index_url(),
    ]);
    if listed.code == Some(0) {
        let exact = format!("{}@{commit}\n", server.url("ws"));
        assert_eq!(listed.stdout, exact, "what names the same commit again");
    }
    let args = ["--crates", &selection, "--candidate", PLANTED];
    let Some(ended) = run(&lab, "out", &args) else {
        return;
    };
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let results = lab.results("out");
    let short = &commit[..12];
    let wanted = [
        (format!("lone-1.2.3@{short}"), "test-pass"),
        (format!("shared-1.2.3@{short}"), "regressed"),
        (format!("user-1.2.3@{short}"), "regressed"),
    ];
    let wanted: Vec<_> = wanted.map(|(id, v)| (id, v.to_owned())).to_vec();
    assert_eq!(verdicts(&results), wanted, "{ended:?}");
    // Both regressed for one cause, in the library that they share.
    let clusters = results["clusters"].as_array().expect("an array");
    assert_eq!(clusters.len(), 1, "{clusters:#?}");
    assert_eq!(clusters[0]["root"]["name"], "shared");
    let source = &results["crates"][0]["source"];
    assert_eq!(source["kind"], "git");
    assert_eq!(source["commit"], commit.as_str());
    lab.nothing_left("out");

    // Gone on with, nothing is asked of the server again.
    let before = server.requests().len();
    let Some(again) = run(
        &lab,
        "again",
        &[
            "--crates",
            &format!("list:{}@{commit}", server.url("ws")),
            "--candidate",
            "stable",
        ],
    ) else {
        return;
    };
    assert_eq!(again.code, Some(0), "{again:?}");
    assert_eq!(server.requests().len(), before);
}

#[test]
fn dependencies_come_from_repositories() {
    let lab = lab();
    let server = GitServer::start();
    let library = server.repository("library");
    let below = server.repository("below");
    below.commit_files(&[("Cargo.toml", &package("below", "")), ("src/lib.rs", LIB)]);
    // In a workspace, with a dependency of its own from another repository, and one from the
    // registry.
    let dependency = format!(
        "[dependencies]\nleaf = \"1\"\nbelow = {{ git = \"{}\" }}",
        server.url("below")
    );
    library.commit_files(&[
        ("Cargo.toml", "[workspace]\nmembers = [\"inner\"]\n[workspace.package]\nedition = \"2021\"\n"),
        (
            "inner/Cargo.toml",
            &format!("[package]\nname = \"library\"\nversion = \"0.3.0\"\nedition.workspace = true\n{dependency}\n"),
        ),
        ("inner/src/lib.rs", "pub fn f() -> u32 { below::f() }\n"),
    ]);
    library.git(&["branch", "feature/x"]);
    library.git(&["tag", "v1"]);
    let first = library.git(&["rev-parse", "HEAD"]);
    library.commit_files(&[("inner/src/lib.rs", "pub fn other() {}\n")]);
    let url = server.url("library");
    for (name, revision) in [
        ("by-branch", "branch = \"feature/x\"".to_owned()),
        ("by-tag", "tag = \"v1\"".to_owned()),
        ("by-commit", format!("rev = \"{first}\"")),
    ] {
        let user = server.repository(name);
        let dependency = format!("[dependencies]\nlibrary = {{ git = \"{url}\", {revision} }}");
        user.commit_files(&[
            ("Cargo.toml", &package(name, &dependency)),
            ("src/lib.rs", "pub fn g() -> u32 { library::f() }\n"),
        ]);
    }
    let list: Vec<String> = ["by-branch", "by-tag", "by-commit"]
        .map(|name| server.url(name))
        .to_vec();
    let selection = format!("list:{}", list.join(","));
    let args = [
        "--crates",
        &selection,
        "--candidate",
        "1.95.0",
        "--baseline-runs",
        "always",
    ];
    let Some(ended) = run(&lab, "out", &args) else {
        return;
    };
    let results = lab.results("out");
    assert_eq!(ended.code, Some(0), "{ended:?} {results:#}");
    assert_eq!(results["totals"]["test-pass"], 3, "{results:#}");
    lab.nothing_left("out");
}

#[test]
fn what_cannot_be_fetched_is_prepare_fail_and_says_why() {
    let lab = lab();
    let server = GitServer::start();
    let other = GitServer::start();
    other
        .repository("secret")
        .commit_files(&[("Cargo.toml", &package("secret", ""))]);
    server.redirect("redirects", &other.url("secret"));
    let cases = [
        ("gone", server.url("nothing"), "not found"),
        (
            "neighbour",
            other.url("secret"),
            "not on the public network",
        ),
        ("redirected", server.url("redirects"), "another host"),
        ("file", "file:///etc".to_owned(), "over `file`"),
        ("shell", "ssh://git@h.invalid/x".to_owned(), "over `ssh`"),
    ];
    let mut list = Vec::new();
    for (name, url, _) in &cases {
        let repository = server.repository(name);
        let dependency = format!("[dependencies]\nx = {{ git = \"{url}\" }}");
        repository.commit_files(&[
            ("Cargo.toml", &package(name, &dependency)),
            ("src/lib.rs", LIB),
        ]);
        list.push(server.url(name));
    }
    let selection = format!("list:{}", list.join(","));
    let Some(ended) = run(
        &lab,
        "out",
        &["--crates", &selection, "--candidate", "stable"],
    ) else {
        return;
    };
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let results = lab.results("out");
    for (name, _, part) in cases {
        let crates = results["crates"].as_array().expect("an array");
        let krate = crates.iter().find(|krate| krate["name"] == name);
        let message = krate.expect(name)["message"].as_str().unwrap_or("none");
        assert!(message.contains(part), "{name}: {message}");
        let verdict = verdict_of(&results, name);
        assert!(
            ["prepare-fail", "broken"].contains(&verdict.as_str()),
            "{verdict}"
        );
    }
    assert_eq!(other.requests(), Vec::<String>::new());
}

#[test]
fn selections_name_what_is_not_there() {
    let lab = lab();
    let server = GitServer::start();
    server.repository("bare").commit_files(&[("README", "x")]);
    for (entry, part) in [
        (server.url("gone"), "not found"),
        (server.url("bare"), "no `Cargo.toml`"),
        ("ssh://git@h.invalid/a/b".to_owned(), "over `ssh`"),
    ] {
        let selection = format!("list:{entry}");
        let Some(ended) = run(
            &lab,
            "out",
            &["--crates", &selection, "--candidate", "stable"],
        ) else {
            return;
        };
        assert_eq!(ended.code, Some(2), "{entry}: {ended:?}");
        assert!(ended.stderr.contains(part), "{entry}: {}", ended.stderr);
    }
    // All of them at once, and each hint once.
    let both = [server.url("gone"), server.url("bare"), server.url("lost")];
    let selection = format!("list:{}", both.join(","));
    let ended = run(
        &lab,
        "out",
        &["--crates", &selection, "--candidate", "stable"],
    );
    let Some(ended) = ended else {
        return;
    };
    assert_eq!(ended.code, Some(2), "{ended:?}");
    for url in &both {
        assert!(ended.stderr.contains(url), "{url}: {}", ended.stderr);
    }
    assert_eq!(
        ended.stderr.matches("hint: ").count(),
        1,
        "{}",
        ended.stderr
    );
    assert!(!lab.path("out/experiment.db").exists());
}

#[test]
fn a_local_workspace_and_its_members_are_built() {
    let lab = lab();
    let write = |path: &str, text: &str| {
        let path = lab.path(path);
        fs_err::create_dir_all(path.parent().expect("a directory")).expect("writable");
        fs_err::write(path, text).expect("writable");
    };
    write(
        "ws/Cargo.toml",
        "[workspace]\nmembers = [\"a\", \"b\"]\n[workspace.package]\nversion = \"2.0.0\"\nedition = \"2021\"\n",
    );
    let inherits = |name: &str, more: &str| {
        format!(
            "[package]\nname = \"{name}\"\nversion.workspace = true\nedition.workspace = true\n{more}\n"
        )
    };
    write(
        "ws/a/Cargo.toml",
        &inherits(
            "aye",
            "[dependencies]\nbee = { path = \"../b\" }\nleaf = \"1\"",
        ),
    );
    write("ws/a/src/lib.rs", "pub fn g() -> u32 { bee::f() }\n");
    write("ws/b/Cargo.toml", &inherits("bee", ""));
    write("ws/b/src/lib.rs", LIB);
    write(
        "out-of-tree/Cargo.toml",
        &package("outer", "[dependencies]\nbee = { path = \"../ws/b\" }"),
    );
    write("out-of-tree/src/lib.rs", LIB);
    let both = [
        "--crates",
        "local:ws",
        "--candidate",
        "stable",
        "--scope",
        "all",
    ];
    let Some(ended) = run(&lab, "out", &both) else {
        return;
    };
    assert_eq!(ended.code, Some(0), "{ended:?} {:#}", lab.results("out"));
    let results = lab.results("out");
    assert_eq!(results["totals"]["test-pass"], 2, "{results:#}");
    let Some(one) = run(
        &lab,
        "one",
        &["--crates", "local:ws/a", "--candidate", "stable"],
    ) else {
        return;
    };
    assert_eq!(one.code, Some(0), "{one:?}");
    assert_eq!(lab.results("one")["totals"]["test-pass"], 1);
    let Some(out) = run(
        &lab,
        "outer",
        &["--crates", "local:out-of-tree", "--candidate", "stable"],
    ) else {
        return;
    };
    let results = lab.results("outer");
    assert_eq!(verdict_of(&results, "outer"), "broken", "{out:?}");
    let message = results["crates"][0]["message"].as_str().expect("a message");
    assert!(message.contains("`bee` is at `../ws/b`"), "{message}");
}
