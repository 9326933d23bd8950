//! Retry lists: the crates of a report that are worth another run, exactly as they were.
//!
//! Two ways lead from one experiment to the next. [`crates`] takes them out of `results.json`, with
//! version, checksum and source, so that no registry has to be asked what they are. A list in a
//! file ([`render`]) is for people, who may take lines out of it, and for other tools; it is read
//! as every list is, by [`crate::selection::parse_list`].
//!
//! ```text
//! serde@1.0.228                  a release
//! https://host/repo.git@COMMIT   a git repository at a commit: all its packages
//! local:/absolute/directory      a local crate
//! ```

use indexmap::IndexSet;

use crate::compare::Verdict;
use crate::krate::{Crate, Source};
use crate::report::model::{CrateResult, Results};

/// The name of the list beside a report; the name is that of the reference runner.
pub const FILE: &str = "retry-regressed-list.txt";

/// The verdicts that a second run may settle: what the list beside a report holds. They are those
/// of the reference runner's list, and `flaky`, for which that one has no word.
pub const WORTH_A_RETRY: [Verdict; 4] = [
    Verdict::Regressed,
    Verdict::SpuriousRegressed,
    Verdict::Flaky,
    Verdict::PrepareFail,
];

/// The crates of a report with one of `verdicts`, in the order of its plan.
pub fn crates(results: &Results, verdicts: &[Verdict]) -> Vec<Crate> {
    results
        .crates
        .iter()
        .filter(|krate| verdicts.contains(&krate.verdict))
        .map(krate_of)
        .collect()
}

/// The crate that a result is of.
pub fn krate_of(result: &CrateResult) -> Crate {
    Crate {
        name: result.name.clone(),
        version: result.version.clone(),
        source: result.source.clone(),
    }
}

/// Writes a list, one crate a line; several packages of one repository are one line. A crate that
/// fits on no line (a directory whose name has a line break in it) is told in a comment.
pub fn render(crates: &[Crate]) -> String {
    let mut out = String::new();
    let lines: IndexSet<String> = crates.iter().map(line).collect();
    for line in &lines {
        if line.contains(char::is_control) {
            out.push_str("# left out, because it fits on no line: ");
            out.push_str(&crate::log::clean(line).replace('\n', " "));
        } else {
            out.push_str(line);
        }
        out.push('\n');
    }
    out
}

fn line(krate: &Crate) -> String {
    match &krate.source {
        Source::Registry { .. } => format!("{}@{}", krate.name, krate.version),
        Source::Git { url, commit, .. } => format!("{url}@{commit}"),
        Source::Local { path, .. } => format!("local:{path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::{Commit, GitUrl};
    use crate::krate::{Checksum, CrateName};
    use crate::selection::{ListEntry, parse_list};

    fn krate(source: Source) -> Crate {
        Crate {
            name: CrateName::new("zstd-sys").expect("valid"),
            version: "2.0.9+zstd.1.5.5".parse().expect("valid"),
            source,
        }
    }

    fn registry() -> Source {
        let checksum = Checksum::new("c".repeat(64)).expect("hex");
        Source::Registry { checksum }
    }

    fn local(path: &str) -> Source {
        Source::Local {
            path: path.to_owned(),
            root: None,
        }
    }

    fn git(path: &str) -> Source {
        Source::Git {
            url: GitUrl::new("https://host/org/repo.git").expect("valid"),
            commit: Commit::new(&"0f".repeat(20)).expect("hex"),
            path: path.to_owned(),
        }
    }

    #[test]
    fn a_list_is_read_as_it_was_written() {
        let crates = [
            krate(registry()),
            krate(git("a")),
            krate(local("/home/me/a, b #1")),
            krate(git("b")),
        ];
        let text = render(&crates);
        let repository = format!("https://host/org/repo.git@{}", "0f".repeat(20));
        assert_eq!(
            text,
            format!("zstd-sys@2.0.9+zstd.1.5.5\n{repository}\nlocal:/home/me/a, b #1\n")
        );
        assert_eq!(
            parse_list(&text).expect("just written"),
            [
                ListEntry::Release("zstd-sys@2.0.9+zstd.1.5.5".parse().expect("valid")),
                ListEntry::Git(repository.parse().expect("valid")),
                ListEntry::Local("/home/me/a, b #1".to_owned()),
            ]
        );
    }

    #[test]
    fn what_fits_on_no_line_is_a_comment() {
        let text = render(&[krate(local("/a\nserde"))]);
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(parse_list(&text).expect("a comment").is_empty());
    }
}
