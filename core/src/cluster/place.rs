//! Where an error is: the file, without the line, and without what differs between two machines.

use crate::outcome::{Diagnostic, PackageRef};

/// The file of `package` in which an error is, below the package's directory. `None` where the
/// compiler named none, or one outside of the package.
pub(super) fn in_package(place: &str, package: &PackageRef) -> Option<String> {
    let file = without_lines(place).replace('\\', "/");
    if file.is_empty() || file.starts_with('<') {
        return None;
    }
    if let Some(version) = &package.version {
        let directory = format!("/{}-{version}/", package.name);
        if let Some((_, file)) = file.rsplit_once(&directory) {
            return Some(file.to_owned());
        }
    }
    for (mark, shown) in [("/out/", "OUT_DIR/"), ("/library/", "library/")] {
        if let Some((_, rest)) = file.split_once(mark) {
            return Some(format!("{shown}{rest}"));
        }
    }
    (!file.starts_with('/')).then_some(file)
}

/// The place of a crash in the compiler, and what is left of its message without it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CrashPlace {
    /// `compiler/rustc_x/src/y.rs`, or a file of the standard library or of a dependency of the
    /// compiler; there with the query that ran, as such a file says little.
    pub place: Option<String>,
    /// The message.
    pub message: String,
}

/// Reads place and message of a crash of the compiler.
pub(super) fn of_crash(error: &Diagnostic) -> CrashPlace {
    let first = error.message.lines().next().unwrap_or("");
    let said = first.trim_start_matches("internal compiler error: ");
    let (embedded, message) = match said.split_once(": ") {
        Some((place, rest)) if place.contains(".rs:") && !place.contains(' ') => {
            (Some(place), rest)
        }
        _ => (None, said),
    };
    let place = embedded.or(error.place.as_deref()).and_then(in_compiler);
    let place = match place {
        Some(place) if place.starts_with("compiler/") => Some(place),
        place => match (place, query(&error.rendered)) {
            (place, None) => place,
            (None, Some(query)) => Some(query.to_owned()),
            (Some(place), Some(query)) => Some(format!("{place} in {query}")),
        },
    };
    CrashPlace {
        place,
        message: in_general(message),
    }
}

fn in_compiler(place: &str) -> Option<String> {
    let file = without_lines(place).replace('\\', "/");
    for mark in ["compiler/rustc", "library/"] {
        if let Some(at) = file.find(mark) {
            return Some(file[at..].to_owned());
        }
    }
    if let Some((_, rest)) = file.split_once("/deps/") {
        // `ena-0.14.3/src/snapshot_vec.rs`
        let (package, path) = rest.split_once('/')?;
        let name = package.rsplit_once('-').map_or(package, |(name, _)| name);
        return Some(format!("{name}/{path}"));
    }
    None
}

/// The innermost query: `typeck` of `#0 [typeck] type-checking main`.
fn query(report: &str) -> Option<&str> {
    let line = report
        .lines()
        .find_map(|l| l.trim_start().strip_prefix("#0 ["))?;
    line.split_once(']').map(|(query, _)| query)
}

/// A message of a crash without the types and values of the crate that was compiled, which stand
/// in brackets: `unexpected type (…)`.
fn in_general(message: &str) -> String {
    let mut out = String::with_capacity(message.len());
    let mut closing: Vec<char> = Vec::new();
    let mut quoted = false;
    for c in message.chars() {
        quoted ^= c == '`' && closing.is_empty();
        let opens = match c {
            '(' => Some(')'),
            '[' => Some(']'),
            '{' => Some('}'),
            _ => None,
        };
        if quoted || (closing.is_empty() && opens.is_none()) {
            out.push(c);
        } else if let Some(close) = opens {
            if closing.is_empty() {
                out.extend([c, '…', close]);
            }
            closing.push(close);
        } else if closing.last() == Some(&c) {
            closing.pop();
        }
    }
    out
}

/// `src/a.rs` of `src/a.rs:3:4`.
fn without_lines(place: &str) -> &str {
    let mut file = place;
    while let Some((before, number)) = file.rsplit_once(':') {
        if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
            break;
        }
        file = before;
    }
    file
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{UnitKey, UnitKind};

    #[test]
    fn files_are_those_of_the_package() {
        let time = PackageRef {
            name: "time".to_owned(),
            version: Some(semver::Version::new(0, 3, 34)),
        };
        let table = [
            ("src/a/b.rs:83", Some("src/a/b.rs")),
            ("src/a.rs:83:9", Some("src/a.rs")),
            ("/x/registry/time-0.3.34/src/a.rs:1", Some("src/a.rs")),
            (r"C:\r\time-0.3.34\src\a.rs:1:2", Some("src/a.rs")),
            ("/j/build/time-9f/out/x.rs:1", Some("OUT_DIR/x.rs")),
            (
                "/rustc/0a/library/core/src/x.rs:1",
                Some("library/core/src/x.rs"),
            ),
            ("/elsewhere/x.rs:1", None),
            ("<anon>:1", None),
            ("", None),
        ];
        for (place, expected) in table {
            assert_eq!(in_package(place, &time).as_deref(), expected, "{place}");
        }
    }

    fn crash(message: &str, place: Option<&str>, rendered: &str) -> CrashPlace {
        of_crash(&Diagnostic {
            package: PackageRef {
                name: "a".to_owned(),
                version: None,
            },
            own: true,
            unit: UnitKey {
                kind: UnitKind::Lib,
                name: "a".to_owned(),
                harness: false,
            },
            code: None,
            message: message.to_owned(),
            place: place.map(str::to_owned),
            rendered: rendered.to_owned(),
            ice: true,
            test: None,
        })
    }

    #[test]
    fn crashes_are_placed_in_the_compiler() {
        let stack =
            "query stack during panic:\n#0 [typeck] type-checking `main`\n#1 [analysis] x\n";
        let table = [
            (
                crash(
                    "no entry",
                    Some("/rustc/4221/compiler/rustc_a/src/b.rs:104:55"),
                    stack,
                ),
                Some("compiler/rustc_a/src/b.rs"),
                "no entry",
            ),
            (
                crash(
                    "index",
                    Some(r"/rust/deps\ena-0.14.3\src\snapshot_vec.rs:199:10"),
                    stack,
                ),
                Some("ena/src/snapshot_vec.rs in typeck"),
                "index",
            ),
            (
                crash(
                    "internal compiler error: compiler/rustc_a/src/b.rs:1:2: broken MIR in DefId(0:5 ~ a[1]::f) (after x)",
                    None,
                    "",
                ),
                Some("compiler/rustc_a/src/b.rs"),
                "broken MIR in DefId(…) (…)",
            ),
            (crash("x", None, stack), Some("typeck"), "x"),
            (
                crash("`Option::unwrap()` on a `None`", None, ""),
                None,
                "`Option::unwrap()` on a `None`",
            ),
        ];
        for (got, place, message) in table {
            assert_eq!(
                (got.place.as_deref(), got.message.as_str()),
                (place, message)
            );
        }
    }
}
