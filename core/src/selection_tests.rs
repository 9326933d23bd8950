//! Tests of the selection grammar.

use super::*;

#[test]
fn selections_are_read_and_written_back() {
    for text in [
        "demo",
        "full",
        "top-1",
        "top-4294967295",
        "random-20",
        "dependents:serde",
        "dependents:serde:all",
        "dependents:serde@1.0.200:all",
        "list:itoa,semver@1.0.0",
        "list:https://h.example/a/b.git@v1,itoa,local:/x y",
        "./crates.txt",
        "crates.txt",
        "https://h.example/list.txt",
        "local:../x",
        "results.json:regressed",
        "../old/results.json:regressed,spurious-regressed",
    ] {
        let selection: Selection = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(selection.to_string(), text);
    }
}

#[test]
fn the_parts_of_a_selection_are_told_apart() {
    let of: CrateRef = "serde@1.0.200".parse().expect("valid");
    let reach = Reach::All;
    assert_eq!(
        "dependents:serde@1.0.200:all"
            .parse::<Selection>()
            .expect("valid"),
        Selection::Dependents { of, reach }
    );
    assert_eq!(
        "x/results.json:flaky,flaky"
            .parse::<Selection>()
            .expect("valid"),
        Selection::Results {
            path: "x/results.json".to_owned(),
            verdicts: vec![Verdict::Flaky]
        }
    );
}

#[test]
fn mistakes_are_named() {
    let table = [
        (
            "dmeo",
            "`dmeo` is no selection (did you mean `demo`?); there are",
        ),
        ("", "is no selection;"),
        ("list:", "is empty"),
        ("list: ,", "is empty"),
        ("local:", "is empty"),
        ("dependents:", "is empty"),
        ("dependents::all", "is empty"),
        ("dependents:a b", "`a b` is no crate name"),
        ("dependents:serde:al", "`serde:al` is no crate name"),
        ("list:a,b c", "`b c` is no crate name"),
        ("list:a@1", "`a@1` is no version"),
        ("list:a/b/", "`a/b/` is no git repository"),
        ("list:a,local:", "`local:` names no directory"),
        ("list:local/mine", "directory of another machine"),
        ("top-0", "`top-0` is empty: at least 1"),
        ("random-00", "is empty: at least 1"),
        ("top-", "`` is no number of crates"),
        ("top-+5", "`+5` is no number of crates"),
        ("top-many", "`many` is no number of crates"),
        ("top-4294967296", "`4294967296` is no number of crates"),
        ("top100", "did you mean `top-100`?"),
        ("top 100", "did you mean `top-100`?"),
        ("topp-7", "did you mean `top-7`?"),
        ("top:7", "did you mean `top-7`?"),
        ("rnadom-7", "did you mean `random-7`?"),
        ("ful", "did you mean `full`?"),
        ("dependants:serde", "did you mean `dependents:serde`?"),
        ("lsit:a,b", "did you mean `list:a,b`?"),
        ("serde", "did you mean `list:serde`?"),
        ("serde@1.0.0", "did you mean `list:serde@1.0.0`?"),
        ("results.json", "write `results.json:regressed`"),
        ("results.json:", "write `results.json:regressed`"),
        (
            "results.json:regresed",
            "`regresed` is no verdict (did you mean `regressed`?",
        ),
        (
            "results.json:red",
            "`red` is no verdict; there are: regressed, ",
        ),
    ];
    for (text, part) in table {
        let e = text.parse::<Selection>().expect_err(text).to_string();
        assert!(e.contains(part), "{text}: {e}");
    }
}

#[test]
fn lists_have_comments_and_say_the_wrong_line() {
    let list =
        parse_list("\u{feff}# mine\r\nitoa\n\n ryu@1.0.0, fnv # two\norg/repo\n local:/a, b#c \n");
    let list = list.expect("valid");
    assert_eq!(list.len(), 5);
    assert_eq!(list[4], ListEntry::Local("/a, b#c".to_owned()));
    let e = parse_list("itoa\n9x\n").expect_err("wrong").to_string();
    assert!(e.starts_with("line 2: `9x`"), "{e}");
    let e = parse_list("\n<!DOCTYPE html>\n")
        .expect_err("a page")
        .to_string();
    assert!(
        e.starts_with("line 2: `<!DOCTYPE html>` is the beginning of an HTML"),
        "{e}"
    );
}

#[test]
fn entries_of_crater_s_retry_lists_are_read() {
    let table = [
        ("reg/zstd-sys/2.0.9+zstd.1.5.5", "zstd-sys@2.0.9+zstd.1.5.5"),
        ("gh/rust-lang/log", "rust-lang/log"),
        ("gh/rust-lang/log/0123abc", "rust-lang/log@0123abc"),
        (
            "git/https%3A%2F%2Fh.example%2Fa%2Fb.git",
            "https://h.example/a/b.git",
        ),
        (
            "git/https%3A%2F%2Fh.example%2Fa%2Fb/01ab",
            "https://h.example/a/b@01ab",
        ),
        ("git/git", "git/git"),
        ("reg/serde", "reg/serde"),
    ];
    for (text, same) in table {
        let read: ListEntry = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(read, same.parse().expect("valid"), "{text}");
    }
    assert!(matches!("reg/a/1.0.0".parse(), Ok(ListEntry::Release(_))));
    assert!(matches!("gh/a/b".parse(), Ok(ListEntry::Git(_))));
}

#[test]
fn repeats_are_kept_once_and_told() {
    let list = parse_list(
        "a-b\nA_b\nc@1.0.0\nc\nhttps://h.example/x\nc@1.0.0+z\nhttps://h.example/x\nc@1.0.0",
    )
    .expect("valid");
    let (kept, repeated) = without_repeats(list);
    let said = |entries: Vec<ListEntry>| -> Vec<String> {
        entries.iter().map(ToString::to_string).collect()
    };
    assert_eq!(
        said(kept),
        ["a-b", "c@1.0.0", "c", "https://h.example/x", "c@1.0.0+z"]
    );
    assert_eq!(said(repeated), ["A_b", "https://h.example/x", "c@1.0.0"]);
}

#[test]
fn the_demo_is_a_dozen_exact_releases() {
    for text in DEMO {
        let r: CrateRef = text.parse().expect("valid");
        assert!(r.version.is_some(), "{text}");
    }
}
