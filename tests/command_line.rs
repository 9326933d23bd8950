//! What `ejecta` says where nothing is built: help, lists, denylists, and every mistake that a
//! command line can hold. A mistake ends with exit code 2 and a message that names it.

use std::path::Path;

use ejecta_test_support::{Ended, Lab, containers_of, docker_or_skip};
use insta::assert_snapshot;

fn lab() -> Lab {
    Lab::new(env!("CARGO_BIN_EXE_ejecta"))
}

/// What a process said, with what differs from machine to machine taken out.
fn said(lab: &Lab, ended: &Ended) -> String {
    let dir = lab.path("");
    let dir = dir.display().to_string();
    let text = format!(
        "exit code {:?}\n-- stdout\n{}-- stderr\n{}",
        ended.code.expect("no signal"),
        ended.stdout,
        ended.stderr
    );
    text.replace(dir.trim_end_matches('/'), "[LAB]")
        .replace(&lab.registry.base_url(), "[REGISTRY]")
}

/// A run with a mistake: nothing on standard output, nothing built, no report.
fn refused(lab: &Lab, args: &[&str]) -> String {
    let ended = lab.run("out", args);
    let said = said(lab, &ended);
    assert_eq!(ended.code, Some(2), "{said}");
    assert_eq!(ended.stdout, "", "{said}");
    let out = lab.path("out");
    for built in ["logs", "results.json", "index.html"] {
        assert!(!out.join(built).exists(), "`{built}` is there: {said}");
    }
    said
}

/// No line of what is asked for is about a `.crate` file.
fn nothing_downloaded(lab: &Lab) -> bool {
    let requests = lab.registry.requests();
    requests.iter().all(|r| !r.path.starts_with("/dl/"))
}

#[test]
fn the_help_of_every_command() {
    let lab = lab();
    let commands: &[&[&str]] = &[
        &[],
        &["run"],
        &["report"],
        &["crates"],
        &["denylist"],
        &["denylist", "check"],
        &["server"],
        &["agent"],
        &["token"],
        &["token", "create"],
        &["token", "list"],
        &["token", "revoke"],
        &["experiment"],
        &["experiment", "create"],
        &["experiment", "list"],
        &["experiment", "show"],
        &["experiment", "watch"],
        &["experiment", "edit"],
        &["experiment", "abort"],
        &["experiment", "retry"],
        &["experiment", "report"],
        &["completions"],
    ];
    for command in commands {
        let name = ["help", &command.join("-")].join("-");
        let name = name.trim_end_matches('-');
        for flag in ["-h", "--help"] {
            let ended = lab.ejecta([*command, &[flag]].concat());
            assert_eq!(ended.code, Some(0), "{ended:?}");
            assert_eq!(ended.stderr, "");
            if flag == "--help" {
                assert_snapshot!(name, ended.stdout);
            }
        }
    }
    let version = lab.ejecta(["--version"]).stdout;
    assert_eq!(version, format!("ejecta {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn completions_name_the_commands() {
    let lab = lab();
    for shell in ["bash", "zsh", "fish"] {
        let ended = lab.ejecta(["completions", shell]);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        for word in ["denylist", "baseline-runs", "message-format"] {
            assert!(ended.stdout.contains(word), "{shell}: no {word}");
        }
    }
    assert_eq!(lab.ejecta(["completions", "cmd"]).code, Some(2));
}

#[test]
fn a_selection_is_told_without_building() {
    let lab = lab();
    let url = lab.registry.index_url();
    let crates = |selection: &str| lab.ejecta(["crates", selection, "--registry", &url]);
    let ended = crates("list:passes,drifting,drifting@1.0.0");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(
        ended.stdout,
        "passes@1.0.0\ndrifting@1.1.0\ndrifting@1.0.0\n"
    );

    let list = "# mine\npasses\n\ndrifting@1.0.0  # the old one\nleaf, warns\n";
    let file = lab.write("mine.txt", list);
    let ended = crates(file.to_str().expect("UTF-8"));
    let all = "passes@1.0.0\ndrifting@1.0.0\nleaf@1.0.0\nwarns@1.0.0\n";
    assert_eq!(ended.stdout, all, "{ended:?}");

    let folder = ejecta_test_support::crates_dir().join("leaf");
    let ended = crates(&format!("local:{}", folder.display()));
    assert!(ended.stdout.starts_with("local:/"), "{ended:?}");
    assert!(ended.stdout.ends_with("/leaf\n"), "{ended:?}");
    assert!(nothing_downloaded(&lab));
}

#[test]
fn a_selection_that_means_nothing_is_refused_by_name() {
    let lab = lab();
    fs_err::create_dir(lab.path("empty")).expect("writable");
    lab.write("none.txt", "# nothing yet\n");
    lab.write("wrong.txt", "passes\nnot a name\n");
    let table = [
        ("unknown-crates", "list:passes,never-heard-of,nor@1.2.3"),
        ("unknown-version", "list:passes@9.9.9,drifting@1.0.0"),
        ("no-version", "list:passes@new"),
        ("empty-list", "list:"),
        ("unknown-word", "everything"),
        ("no-dump", "top-100"),
        ("no-file", "./absent.txt"),
        ("empty-file", "./none.txt"),
        ("wrong-line", "./wrong.txt"),
        ("no-directory", "local:absent"),
        ("empty-directory", "local:empty"),
    ];
    for (name, selection) in table {
        assert_snapshot!(
            format!("selection-{name}"),
            refused(&lab, &["--crates", selection])
        );
        assert!(!lab.path("out").exists(), "{name}: nothing was begun");
    }
    assert!(nothing_downloaded(&lab));
}

#[test]
fn a_registry_that_does_not_answer_is_named() {
    let lab = lab();
    let args = [
        "run",
        "--crates",
        "list:passes",
        "--out",
        "out",
        "--registry",
    ];
    let with = |url: &str| lab.ejecta([&args[..], &[url]].concat());
    let ended = with("ftp://registry.invalid/");
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(
        ended.stderr.contains("ftp://registry.invalid/"),
        "{ended:?}"
    );
    assert!(!lab.path("out").exists());
}

#[test]
fn a_machine_without_certificates_is_told_what_it_lacks() {
    let lab = lab();
    let registry = lab.registry.index_url();
    let mut command = lab.command(["crates", "list:passes", "--registry", &registry]);
    command.env("SSL_CERT_FILE", "/nonexistent/certificates");
    command.env("SSL_CERT_DIR", "/nonexistent");
    let ended = Ended::from(command.output().expect("it starts"));
    assert_snapshot!(said(&lab, &ended));
}

#[test]
fn a_wrong_denylist_is_refused_with_its_entry() {
    let lab = lab();
    let table = [
        ("not-toml", "crates = [\n"),
        (
            "unknown-key",
            "[crates.passes]\nreason = \"why not\"\nskipped = true\n",
        ),
        ("no-reason", "[crates.passes]\nskip = true\n"),
        ("no-effect", "[crates.passes]\nreason = \"why not\"\n"),
        (
            "twice",
            "[crates.a-b]\nreason = \"x\"\nskip = true\n[crates.a_b]\nreason = \"x\"\nskip = true\n",
        ),
        (
            "no-version",
            "[crates.passes]\nreason = \"x\"\nskip = true\nversion = \"new\"\n",
        ),
    ];
    for (name, text) in table {
        lab.write("mine.toml", text);
        let args = ["--crates", "list:passes", "--denylist", "mine.toml"];
        assert_snapshot!(format!("denylist-{name}"), refused(&lab, &args));
        let checked = lab.ejecta(["denylist", "check", "mine.toml"]);
        assert_eq!(checked.code, Some(2), "{checked:?}");
    }
    let args = ["--crates", "list:passes", "--denylist", "absent.toml"];
    assert_snapshot!("denylist-absent", refused(&lab, &args));
    assert_eq!(lab.registry.requests().len(), 0, "it is read first of all");
}

#[test]
fn a_denylist_that_is_right_is_counted() {
    let lab = lab();
    let text =
        "[crates.a]\nreason = \"x\"\nskip = true\n[crates.b]\nreason = \"y\"\nquiet = true\n";
    lab.write("denylist.toml", text);
    let ended = lab.ejecta(["denylist", "check"]);
    assert_snapshot!("denylist-checked", said(&lab, &ended));
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("denylist.toml");
    let ended = lab.ejecta(["denylist", "check", own.to_str().expect("UTF-8")]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[test]
fn wrong_options_are_refused() {
    let lab = lab();
    let table: [(&str, &[&str]); 10] = [
        ("mode", &["--mode", "dance"]),
        ("scope", &["--scope", "some"]),
        ("seed", &["--seed", "first"]),
        ("jobs", &["--jobs", "0"]),
        ("memory", &["--memory", "1"]),
        ("confirmations", &["--confirmations", "0"]),
        ("name", &["--name", "../up"]),
        ("toolchain-empty", &["--candidate", ""]),
        ("toolchain-part", &["--candidate", "stable+colour=red"]),
        ("resume-and-more", &["--resume", "--crates", "demo"]),
    ];
    for (name, args) in table {
        assert_snapshot!(format!("option-{name}"), refused(&lab, args));
    }
    assert_eq!(lab.registry.requests().len(), 0);
}

#[test]
fn there_must_be_an_experiment_to_go_on_with() {
    let lab = lab();
    let ended = lab.ejecta(["run", "--resume", "--out", "out"]);
    assert_snapshot!("resume-nothing", said(&lab, &ended));
    assert!(!lab.path("out").exists());
    let ended = lab.ejecta(["report", "out"]);
    assert_snapshot!("report-nothing", said(&lab, &ended));
    assert!(!lab.path("out").exists());
}

#[test]
fn a_store_without_an_experiment_is_in_nobodys_way() {
    let lab = lab();
    // What a process leaves that is killed while it makes the store.
    fs_err::create_dir(lab.path("out")).expect("writable");
    lab.write("out/experiment.db", "");
    let ended = lab.ejecta(["run", "--resume", "--out", "out"]);
    assert_snapshot!("resume-unplanned", said(&lab, &ended));
    if docker_or_skip() {
        let ended = lab.run("out", &["--crates", "list:passes", "--candidate", "stable"]);
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
}

#[test]
fn without_docker_nothing_is_built_and_the_way_out_is_told() {
    let lab = lab();
    let url = lab.registry.index_url();
    let args = ["run", "--crates", "list:passes", "--out", "out"];
    let rest = ["--registry", &url, "--sandbox", "docker"];
    let mut command = lab.command([&args[..], &rest].concat());
    command.env("DOCKER_HOST", "unix:///nonexistent/docker.sock");
    let ended = Ended::from(command.output().expect("it starts"));
    assert_snapshot!("no-docker", said(&lab, &ended));
    assert!(nothing_downloaded(&lab));
    assert!(!lab.path("out/logs").exists());
}

#[test]
fn a_toolchain_that_there_is_not_is_refused_by_name() {
    if !docker_or_skip() {
        return;
    }
    let lab = lab();
    fs_err::create_dir_all(lab.path("half/bin")).expect("writable");
    lab.write("half/bin/rustc", "");
    let table = [
        ("name", "no-such-toolchain"),
        ("path", "path:absent"),
        ("half", "path:half"),
    ];
    for (name, candidate) in table {
        let args = ["--crates", "list:passes", "--candidate", candidate];
        // What rustup says is rustup's.
        insta::with_settings!({filters => vec![("rustup says: .*", "rustup says: [...]")]}, {
            assert_snapshot!(format!("toolchain-{name}"), refused(&lab, &args));
        });
        assert!(containers_of(&lab.path("")).is_empty());
    }
    assert!(nothing_downloaded(&lab));
    // The mistake can be mended with the same directory.
    let mended = ["--crates", "list:passes", "--candidate", "stable"];
    let ended = lab.run("out", &mended);
    assert_eq!(ended.code, Some(0), "{ended:?}");
}
