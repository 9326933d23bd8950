//! The grammar of toolchains: what is read, what is refused and how, and that what is written back
//! is what was read.

use proptest::prelude::*;

use super::*;

const SHA: &str = "0123456789abcdef0123456789abcdef01234567";

fn spec(text: &str) -> ToolchainSpec {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

#[test]
fn good_specs_are_read_and_written_back() {
    let commits = [format!("master#{SHA}"), format!("try#{SHA}+target=a-b")];
    let rest = [
        "stable",
        "beta",
        "nightly-2026-05-19",
        "1.95.0",
        "my_toolchain",
        "path:/opt/rust 1.63",
        "path:../a+b",
        "path:../a=b",
        "path:/opt/c++",
        "stable+rustflags=--cfg planted",
        "path:/x+rustflags=-Ctarget-feature=+avx2,+bmi -Dwarnings",
        "beta+target=i686-unknown-linux-gnu",
        "beta+target=thumbv8m.main-none-eabi",
        "stable+rustdocflags=-Zunstable-options -wjson",
        "stable+cargoflags=--features=x -- -Dclippy::all",
        "stable+patch=a-b=https://h.invalid/o/r=master",
        "stable+patch=a=https://h.invalid/o/r=feature/x=y",
        "stable+patch=a=http://127.0.0.1:8/o/r.git",
        "stable+patch=a=path:../my a+2=c",
        "stable+target=t+rustflags=a b+rustdocflags=c+cargoflags=d+patch=e=path:f+patch=g=path:h",
    ];
    for text in commits.iter().map(String::as_str).chain(rest) {
        assert_eq!(spec(text).to_string(), text);
    }
}

#[test]
fn every_part_is_kept() {
    let read = spec(&format!(
        "try#{SHA}+cargoflags=-v +patch=a=https://h.invalid/o/r=b+target=x86_64-unknown-linux-gnu\
         +patch=c=path:d+rustdocflags=-A x+rustflags= -A\twarnings "
    ));
    let sha = Commit::new(SHA).expect("a commit");
    let kind = CommitKind::Try;
    assert_eq!(read.source, ToolchainSource::Commit { kind, sha });
    assert_eq!(read.target.as_deref(), Some("x86_64-unknown-linux-gnu"));
    assert_eq!(read.rustflags, ["-A", "warnings"]);
    assert_eq!(read.rustdocflags, ["-A", "x"]);
    assert_eq!(read.cargoflags, ["-v"]);
    let [a, c] = &read.patches[..] else {
        panic!("{:?}", read.patches);
    };
    assert_eq!((a.name.as_str(), c.name.as_str()), ("a", "c"));
    let url = GitUrl::new("https://h.invalid/o/r").expect("an address");
    let branch = Some("b".to_owned());
    assert_eq!(a.source, PatchSource::Git { url, branch });
    assert_eq!(c.source, PatchSource::Path("d".to_owned()));
}

/// What crater's own tests read, in the form in which it writes it.
#[test]
fn craters_toolchains_read_the_same() {
    let sources = [
        "stable",
        "beta-1970-01-01",
        "nightly-1970-01-01",
        "master#0000000000000000000000000000000000000000",
        "try#0000000000000000000000000000000000000000",
    ];
    let modifiers = [
        "",
        "+target=x86_64-unknown-linux-gnu",
        "+rustflags=foo bar",
        "+rustdocflags=-Zunstable-options -wjson",
        "+cargoflags=foo bar",
        "+patch=example=https://git.example.com/some/repo=master",
        "+rustflags=foo bar+patch=example=https://git.example.com/some/repo=master",
    ];
    for source in sources {
        for modifier in modifiers {
            let text = format!("{source}{modifier}");
            assert_eq!(spec(&text).to_string(), text);
        }
    }
    for refused in [
        "",
        "master#",
        "foo#0000000000000000000000000000000000000000",
        "stable+rustflags",
        "stable+rustflags=",
        "stable+rustdocflags",
        "stable+rustdocflags=",
        "stable+donotusethisflag=ever",
        "stable+patch=",
        "try#1234+target=",
        "0000000000000000000000000000000000000000",
    ] {
        assert!(refused.parse::<ToolchainSpec>().is_err(), "{refused}");
    }
}

/// Each message is one line, names the whole and the part, and says what to write.
#[test]
fn errors_point_at_the_part_and_say_what_is_allowed() {
    let upper = SHA.to_uppercase();
    let specs = [
        "",
        "+rustflags=-A",
        "path:",
        "sta ble",
        "-x",
        "./rust",
        "paht:/opt/rust",
        SHA,
        &upper,
        "master#abc",
        "master#",
        "try#latest",
        &format!("try#{upper}"),
        &format!("try#{SHA}0"),
        &format!("mater#{SHA}"),
        &format!("pr#{SHA}"),
        "stable+rustflgs=-A",
        "stable+rust-doc-flags=-A",
        "stable+Target=x",
        "stable+features=x",
        "stable+rustflags=",
        "stable+target",
        "stable+rustflags=-A+patch",
        "stable+cargoflags +target=x",
        "stable+rustflags=-A+rustflags=-B",
        "stable+target=a+target=b",
        "stable+rustflags=a\u{1f}b",
        "stable+target=../x.json",
        "stable+target=x y",
        "stable+cargoflags=--release --message-format=json",
        "stable+cargoflags=--target x",
        "stable+patch=a",
        "stable+patch=a b=path:c",
        "stable+patch=a=",
        "stable+patch=a=path:",
        "stable+patch=a=../c",
        "stable+patch=a=git@h.invalid:o/r=main",
        "stable+patch=a=https://h.invalid/o/r=",
        "stable+patch=a=https://h.invalid/o/r=-b",
        "stable+patch=a-b=path:c+patch=a_b=path:d",
    ];
    let said: Vec<String> = specs
        .iter()
        .map(|text| {
            let e = text.parse::<ToolchainSpec>().expect_err(text).to_string();
            assert!(!e.contains('\n') && !e.contains('\u{1f}'), "{e:?}");
            e
        })
        .collect();
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn only_what_follows_two_dashes_is_clippys() {
    for (text, raised) in [
        ("stable", false),
        ("stable+rustflags=-A unused", false),
        ("stable+rustflags=-D unused", true),
        ("stable+rustflags=--forbid=unused", true),
        ("stable+rustdocflags=-Drustdoc::all", true),
        ("stable+cargoflags=-Fx", false),
        ("stable+cargoflags=-- -Dclippy::all", true),
    ] {
        assert_eq!(spec(text).raises_lints(), raised, "{text}");
    }
}

#[test]
fn a_target_is_foreign_where_it_is_not_the_hosts() {
    let host = Some("x86_64-unknown-linux-gnu");
    let of = |text: &str, host| spec(text).foreign_target(host).map(str::to_owned);
    assert_eq!(of("stable", host), None);
    assert_eq!(of("stable+target=x86_64-unknown-linux-gnu", host), None);
    assert_eq!(of("stable+target=a", host), Some("a".to_owned()));
    assert_eq!(of("stable+target=a", None), Some("a".to_owned()));
}

#[test]
fn the_host_is_what_the_compiler_says() {
    let info = ToolchainInfo {
        rustc: "rustc 1.95.0\nhost: x86_64-unknown-linux-gnu\nrelease: 1.95.0\n".to_owned(),
        cargo: String::new(),
    };
    assert_eq!(info.host(), Some("x86_64-unknown-linux-gnu"));
}

#[test]
fn lockfile_versions_follow_cargos_releases() {
    let info = |v: &str| ToolchainInfo {
        rustc: String::new(),
        cargo: format!("cargo {v}\nrelease: {v}\n"),
    };
    for (cargo, newest) in [
        ("1.37.0", 1),
        ("1.46.0", 2),
        ("1.63.0", 3),
        ("1.78.0-nightly", 4),
        ("1.95.0", 4),
    ] {
        assert_eq!(info(cargo).max_lockfile_version(), newest, "{cargo}");
    }
    assert!(!info("1.63.0").has_keep_going());
    assert!(info("1.97.0-nightly").has_keep_going());
}

/// Texts made of the grammar's own pieces: most of them are nearly right.
fn near_specs() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "stable",
        "path:",
        "/x",
        "master#",
        SHA,
        "+",
        "=",
        " ",
        "target",
        "rustflags",
        "+target=",
        "+rustflags=",
        "+rustdocflags=",
        "+cargoflags=",
        "+patch=",
        "a",
        "https://h.invalid/o/r",
        "--",
    ]);
    prop::collection::vec(piece, 1..12).prop_map(|pieces| pieces.concat())
}

/// Specs that are right.
fn good_specs() -> impl Strategy<Value = ToolchainSpec> {
    let flag = "[-A-Za-z0-9,.+]{1,8}".prop_filter("no key by itself", |flag| !flag.contains('+'));
    let flags = || prop::collection::vec(flag.clone(), 0..3);
    let sha = "[0-9a-f]{40}".prop_map(|sha| Commit::new(&sha).expect("40 digits"));
    let source = prop_oneof![
        "[a-z][a-z0-9._-]{0,12}".prop_map(ToolchainSource::Rustup),
        "[/a-zA-Z0-9 .+-]{0,12}[a-z]".prop_map(ToolchainSource::Path),
        (prop::sample::select(&CommitKind::ALL[..]), sha)
            .prop_map(|(kind, sha)| ToolchainSource::Commit { kind, sha }),
    ];
    let from = prop_oneof![
        "[/a-z0-9.-]{0,8}[a-z]".prop_map(PatchSource::Path),
        ("[a-z]{1,8}", prop::option::of("[a-z0-9]{1,8}")).prop_map(|(path, branch)| {
            let url = GitUrl::new(&format!("https://h.invalid/{path}")).expect("an address");
            PatchSource::Git { url, branch }
        }),
    ];
    let patches = prop::collection::btree_map("[a-z]{1,6}", from, 0..3).prop_map(|patches| {
        let patches = patches.into_iter();
        let patch = |(name, source)| Patch {
            name: CrateName::new(name).expect("letters"),
            source,
        };
        patches.map(patch).collect::<Vec<_>>()
    });
    let target = prop::option::of("[a-z0-9_]{1,6}-[a-z]{1,6}");
    (source, target, flags(), flags(), flags(), patches).prop_map(
        |(source, target, rustflags, rustdocflags, cargoflags, patches)| ToolchainSpec {
            source,
            target,
            rustflags,
            rustdocflags,
            cargoflags,
            patches,
        },
    )
}

proptest! {
    #[test]
    fn what_was_read_reads_the_same_again(text in near_specs()) {
        if let Ok(read) = text.parse::<ToolchainSpec>() {
            prop_assert_eq!(read.to_string().parse::<ToolchainSpec>(), Ok(read));
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[a-z0-9:#+=. -]{0,40}") {
        if let Ok(read) = text.parse::<ToolchainSpec>() {
            prop_assert_eq!(read.to_string().parse::<ToolchainSpec>(), Ok(read));
        }
    }

    #[test]
    fn every_toolchain_can_be_written(spec in good_specs()) {
        prop_assert_eq!(spec.to_string().parse::<ToolchainSpec>(), Ok(spec));
    }
}
