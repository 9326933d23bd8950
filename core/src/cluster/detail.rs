//! What a diagnostic says beyond its headline: the label of its primary span, the symbol that a
//! linker misses, what a macro said when it panicked, the values of a failed assertion.
//!
//! Headlines such as `mismatched types` or `linking with cc failed` are the same for any number of
//! causes; these words are what tells them apart.

use crate::log::clean;
use crate::outcome::Diagnostic;

/// The longest detail that is used, in characters.
const MAX_CHARS: usize = 160;

/// What linkers say of a symbol or a library.
const LINKER: [&str; 7] = [
    "undefined reference to ",
    "undefined symbol: ",
    "undefined hidden symbol: ",
    "duplicate symbol: ",
    "multiple definition of ",
    "unable to find library ",
    "cannot find -l",
];

/// The headline of an error and, where that alone says too little, its detail.
pub(super) fn headline(error: &Diagnostic) -> String {
    let message = error.message.lines().next().unwrap_or("");
    match detail(error, message) {
        Some(detail) => {
            let detail: String = detail.trim().chars().take(MAX_CHARS).collect();
            format!("{message}: {detail}")
        }
        None => message.to_owned(),
    }
}

fn detail(error: &Diagnostic, message: &str) -> Option<String> {
    let rendered = &error.rendered;
    if message.starts_with("linking with ") {
        return linker(rendered);
    }
    if message.contains("panicked") {
        return after(rendered, "= help: message: ").map(str::to_owned);
    }
    if message.contains('`') {
        return None;
    }
    if error.code.as_deref() == Some("E0557") {
        return underlined(rendered);
    }
    primary_label(rendered).map(str::to_owned)
}

/// The values of an `assert_eq!` in a test that failed, numbers and all: they are what two failures
/// have in common. Quoted, so that they must be equal.
pub(super) fn values(error: &Diagnostic) -> Option<String> {
    error.test.as_ref()?;
    if !error.message.starts_with("assertion `left ") {
        return None;
    }
    let printed = format!("{}\n{}", error.message, error.rendered);
    let value = |side| after(&printed, side).map(|v| clean(&v.replace('`', "'")));
    let (left, right) = (value("left: ")?, value("right: ")?);
    let half = |text: &str| -> String { text.trim().chars().take(MAX_CHARS / 3).collect() };
    Some(format!("`{}`, `{}`", half(&left), half(&right)))
}

/// What the linker misses, quoted: the name of a symbol or a library must be equal.
fn linker(rendered: &str) -> Option<String> {
    let lines = rendered.lines().filter(|line| !line.contains("\"-"));
    let (said, name) = lines
        .flat_map(|line| LINKER.iter().map(move |said| (said, line)))
        .find_map(|(said, line)| Some((said, line.split_once(said)?.1)))?;
    let name = name.trim_matches(|c: char| c.is_whitespace() || matches!(c, '`' | '\'' | '"'));
    Some(format!("{said}`{}`", name.replace('`', "'")))
}

/// What follows `mark` in the first line that starts with it.
fn after<'a>(text: &'a str, mark: &str) -> Option<&'a str> {
    let line = text
        .lines()
        .find_map(|l| l.trim_start().strip_prefix(mark))?;
    Some(line).filter(|l| !l.trim().is_empty())
}

/// The words after the first carets, if they are on the same line:
/// ``  |    ^^ expected `u32`, found `&str` ``.
fn primary_label(rendered: &str) -> Option<&str> {
    let line = rendered.lines().find(|line| {
        let drawn = line.trim_start().strip_prefix('|');
        drawn.is_some_and(|d| {
            d.contains('^') && d.trim_start_matches([' ', '|', '_', '-', '^']).len() < d.len()
        })
    })?;
    let (_, label) = line.rsplit_once('^')?;
    let label = label.trim();
    (!label.is_empty() && !label.starts_with(['-', '|', '_'])).then_some(label)
}

/// The source above the first carets, quoted: the feature that was removed, which E0557 names
/// nowhere else.
fn underlined(rendered: &str) -> Option<String> {
    let at = rendered.lines().position(|line| {
        let drawn = line.trim_start().strip_prefix('|');
        drawn.is_some_and(|d| d.trim_start().starts_with('^'))
    })?;
    let source = rendered.lines().nth(at.checked_sub(1)?)?;
    let carets = rendered.lines().nth(at)?;
    let from = carets.find('^')?;
    let to = carets.rfind('^')? + 1;
    Some(format!("`{}`", source.get(from..to)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{PackageRef, UnitKey, UnitKind};

    fn error(message: &str, rendered: &str) -> Diagnostic {
        Diagnostic {
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
            place: None,
            rendered: rendered.to_owned(),
            ice: false,
            test: None,
        }
    }

    #[test]
    fn headlines_that_say_too_little_are_completed() {
        let table = [
            (
                "mismatched types",
                "error[E0308]: mismatched types\n --> src/lib.rs:1:20\n  |\n1 | fn f() -> u32 { \"\" }\n  |           ---   ^^ expected `u32`, found `&str`\n",
                "mismatched types: expected `u32`, found `&str`",
            ),
            (
                "mismatched types",
                "  |\n  |  ^^^^^^ --- because of this\n  |  |\n  |  expected `u32`\n",
                "mismatched types",
            ),
            (
                "type annotations needed for `Box<_>`",
                "  | ^^ not used\n",
                "type annotations needed for `Box<_>`",
            ),
            (
                "linking with `cc` failed: exit status: 1",
                "  = note:  \"cc\" \"-m64\" \"-l undefined symbol: not this\"\n  = note: rust-lld: error: undefined symbol: Rlog1p\n",
                "linking with `cc` failed: exit status: 1: undefined symbol: `Rlog1p`",
            ),
            (
                "proc-macro derive panicked",
                "  |\n  = help: message: no field named x\n",
                "proc-macro derive panicked: no field named x",
            ),
            ("aborting", "", "aborting"),
        ];
        for (message, rendered, expected) in table {
            assert_eq!(headline(&error(message, rendered)), expected);
        }
        let mut removed = error(
            "feature has been removed",
            "error[E0557]: x\n --> a.rs:1:12\n  |\n1 | #![feature(box_syntax)]\n  |            ^^^^^^^^^^ feature has been removed\n",
        );
        removed.code = Some("E0557".to_owned());
        assert_eq!(headline(&removed), "feature has been removed: `box_syntax`");
    }

    #[test]
    fn failed_assertions_show_their_values() {
        let mut failed = error(
            "assertion `left == right` failed",
            "thread 'a' panicked at src/lib.rs:4:5:\nassertion `left == right` failed\n  left: 16\n right: 24\n",
        );
        failed.test = Some("tests::size".to_owned());
        assert_eq!(values(&failed).as_deref(), Some("`16`, `24`"));
        failed.message = "assertion failed: x.is_some()".to_owned();
        assert_eq!(values(&failed), None);
    }
}
