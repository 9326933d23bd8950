//! Commands: every one, every argument, every mistake; and nothing that people write makes the
//! parser fall over.

use ejecta_core::experiment::CapLints;
use ejecta_core::mode::{Mode, Scope};
use proptest::prelude::*;

use super::*;

fn args(line: &str) -> Args {
    match parse(line) {
        Ok(
            Command::Run(args)
            | Command::Edit(args)
            | Command::Abort(args)
            | Command::Retry(args)
            | Command::RetryReport(args),
        ) => *args,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn every_command_is_known() {
    for kind in Kind::ALL {
        for word in kind.words() {
            let parsed = parse(word).unwrap_or_else(|e| panic!("{word}: {e}"));
            assert_eq!(parse(&word.to_uppercase()), Ok(parsed), "{word}");
        }
    }
    assert_eq!(parse("cancel name=a"), parse("abort name=a"));
    assert_eq!(parse("check p=1"), parse("run mode=check-only p=1"));
    assert_eq!(parse("ping"), Ok(Command::Ping));
    assert_eq!(parse("reload-acl"), Ok(Command::ReloadAcl));
    assert_eq!(parse("queue"), Ok(Command::Queue));
    assert_eq!(parse("help"), Ok(Command::Help));
    assert!(matches!(parse("name=foo p=1"), Ok(Command::Edit(_))));
    assert!(matches!(parse("retry-report"), Ok(Command::RetryReport(_))));
}

#[test]
fn every_argument_is_read() {
    let all = args(
        r#"run name=foo start=stable end="beta+rustflags=-D warnings" mode=build-only scope=lib
           crates=top-100 cap-lints=warn p=-5 ignore-denylist=true requirement=linux assign=agent:a-1"#,
    );
    assert_eq!(all.name.map(|n| n.to_string()).as_deref(), Some("foo"));
    assert_eq!(
        all.baseline.map(|t| t.to_string()).as_deref(),
        Some("stable")
    );
    let candidate = all.candidate.expect("given");
    assert_eq!(candidate.to_string(), "beta+rustflags=-D warnings");
    assert_eq!(all.mode, Some(Mode::BuildOnly));
    assert_eq!(all.scope, Some(Scope::Lib));
    assert_eq!(
        all.crates.map(|c| c.to_string()).as_deref(),
        Some("top-100")
    );
    assert_eq!(all.cap_lints, Some(CapLints::Warn));
    assert_eq!(all.priority, Some(-5));
    assert_eq!(all.ignore_denylist, Some(true));
    assert_eq!(
        all.requirement.map(|r| r.to_string()).as_deref(),
        Some("linux")
    );
    assert_eq!(all.assign.map(|a| a.to_string()).as_deref(), Some("a-1"));
}

#[test]
fn there_are_two_words_for_some_arguments() {
    for (one, other) in [
        ("run start=stable", "run baseline=stable"),
        ("run end=beta", "run candidate=beta"),
        ("run ignore-denylist=true", "run ignore-blacklist=true"),
        ("run assign=agent:x", "run assign=x"),
        (
            "run crates=https://lists.example/a.txt",
            "run crates=list:https://lists.example/a.txt",
        ),
    ] {
        assert_eq!(parse(one), parse(other), "{one}");
    }
}

#[test]
fn mistakes_show_the_word_what_is_allowed_and_the_nearest_guess() {
    // The line, what the message says, the guess, and a word that is allowed.
    let table = [
        ("", "there is no command", None, "check"),
        ("runn", "`runn` is no command", Some("run"), "run"),
        (
            "chekc crates=full",
            "`chekc` is no command",
            Some("check"),
            "check",
        ),
        ("is great", "`is` is no command", None, "help"),
        ("abrot", "`abrot` is no command", Some("abort"), "cancel"),
        (r#"run end="beta"#, "a `\"` is not closed", None, ""),
        (
            "run crate=full",
            "`crate` is no argument of `run`",
            Some("crates"),
            "crates",
        ),
        ("run zzz=1", "`zzz` is no argument of `run`", None, "start"),
        ("run =1", "`` is no argument of `run`", Some("p"), "start"),
        ("check mode=fix", "`check` takes no `mode`", None, "crates"),
        ("abort p=1", "`abort` takes no `p`", None, "name"),
        ("ping name=a", "`ping` takes no `name`", None, ""),
        (
            "run top-100",
            "`top-100` is no argument",
            Some("crates=top-100"),
            "crates",
        ),
        (
            "run check-only",
            "`check-only` is no argument",
            Some("mode=check-only"),
            "mode",
        ),
        (
            "run lib",
            "`lib` is no argument",
            Some("scope=lib"),
            "scope",
        ),
        (
            "run crates:demo",
            "written `key=value`",
            Some("crates=demo"),
            "crates",
        ),
        ("abort now", "`now` is no argument", None, "name"),
        ("run p=1 p=2", "`p` is there twice", None, ""),
        (
            "run start=stable baseline=beta",
            "`baseline` is there twice",
            None,
            "",
        ),
        (
            "run mode=chek-only",
            "there are: build-and-test",
            Some("check-only"),
            "",
        ),
        (
            "run scope=libs",
            "`libs` is no scope; there are: lib, all",
            Some("lib"),
            "",
        ),
        (
            "run cap-lints=warm",
            "there are: forbid, warn, allow",
            Some("warn"),
            "",
        ),
        (
            "run start=stabel",
            "no channel `stabel`",
            Some("stable"),
            "",
        ),
        (
            "run end=nigthly+rustflags=-Zx",
            "no channel `nigthly`",
            Some("nightly+rustflags=-Zx"),
            "",
        ),
        ("run start=path:/etc", "a directory of the server", None, ""),
        (
            "run start=stable+patch=a=path:/etc",
            "a directory of the server",
            None,
            "",
        ),
        ("run end=try#abc", "no commit: it has 3 digits", None, ""),
        ("run start=stable+rustflgs=-A", "`+rustflgs=`", None, ""),
        ("run crates=fulll", "did you mean `full`?", None, ""),
        ("run crates=local:/etc", "the server's disk", None, ""),
        ("run crates=./secrets.txt", "the server's disk", None, ""),
        (
            "run crates=/x/results.json:regressed",
            "the server's disk",
            None,
            "",
        ),
        ("run crates=list:", "is empty", None, ""),
        ("run p=high", "`high` is no whole number", None, ""),
        ("run p=99999999999", "no whole number", None, ""),
        ("run p=", "there is no value", None, ""),
        (
            "run ignore-denylist=treu",
            "neither `true` nor `false`",
            Some("true"),
            "",
        ),
        ("run name=a/b", "`a/b` is no experiment name", None, ""),
        ("run requirement=a,b", "`a,b` is no requirement", None, ""),
        ("run assign=agent:", "`` is no agent", None, ""),
        ("name=foo", "nothing is to be changed", None, "p"),
        (
            "nmae=foo p=1",
            "`nmae` is no argument of `edit`",
            Some("name"),
            "p",
        ),
    ];
    for (line, says, guess, allowed) in table {
        let mistake = parse(line).expect_err(line);
        let text = mistake.to_string();
        assert!(text.contains(says), "{line}: {text}");
        assert_eq!(mistake.trouble.guess(), guess, "{line}: {text}");
        let words = mistake.trouble.allowed();
        assert_eq!(words.is_empty(), allowed.is_empty(), "{line}: {words:?}");
        assert!(
            allowed.is_empty() || words.contains(&allowed),
            "{line}: {words:?}"
        );
    }
}

#[test]
fn the_commands_of_a_comment_are_read_each_for_itself() {
    let parsed = parse_comment("hi\n@ejecta ping\n@ejecta pnig\n@Ejecta queue", "ejecta");
    assert_eq!(parsed.len(), 3);
    assert_eq!(parsed[0], Ok(Command::Ping));
    assert!(parsed[1].is_err());
    assert_eq!(parsed[2], Ok(Command::Queue));
}

#[test]
fn a_comment_full_of_commands_is_cut() {
    let parsed = parse_comment(&"@ejecta ping\n".repeat(500), "ejecta");
    assert_eq!(parsed.len(), MAX_COMMANDS + 1);
    let last = parsed[MAX_COMMANDS].as_ref().expect_err("too many");
    assert_eq!(last.trouble, Trouble::TooMany { many: 500 });
}

fn cases() -> u32 {
    let cases = std::env::var("EJECTA_FUZZ_CASES").ok();
    cases.and_then(|n| n.parse().ok()).unwrap_or(200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn fuzz_comments_are_total(text in "(?s)(@ejecta|[ \t\n>`~\"\\\\=:,#+-]|run|check|p|crates|<!--|-->|.){0,60}") {
        for parsed in parse_comment(&text, "ejecta") {
            if let Err(mistake) = parsed {
                prop_assert!(!mistake.to_string().is_empty());
                mistake.trouble.allowed();
            }
        }
    }

    #[test]
    fn fuzz_values_come_through_quotes(value in "[^\\pC\\pZ]{1,20}( [^\\pC\\pZ]{1,20}){0,3}") {
        let escaped = value.replace('\\', r"\\").replace('"', "\\\"");
        let line = format!("run \"name={escaped}\" p=1");
        let words = words::split(&line).expect("closed");
        prop_assert_eq!(&words[1], &format!("name={value}"));
    }

    #[test]
    fn fuzz_nothing_in_a_fence_is_a_command(text in "[a-z@ =\n]{0,80}") {
        let comment = format!("````\n{text}\n@ejecta ping\n````\n");
        prop_assert!(parse_comment(&comment, "ejecta").is_empty());
    }
}
