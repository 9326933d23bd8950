//! The table of lines that mean something: what a failed test, a build script or a compiler says
//! when the fault is not the crate's.
//!
//! The table is `patterns.toml`; adding a pattern is adding a row there and a case in
//! `core/tests/corpus`. This module knows text, not units.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use serde::Deserialize;

use crate::outcome::Need;

/// The longest name of a library that is believed.
const MAX_NAME_CHARS: usize = 60;

/// Whose words they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Speaker {
    /// A test, or the harness around it.
    Test,
    /// A build script.
    Script,
    /// A compiler, a linker, or cargo.
    Compiler,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    pattern: Vec<Pattern>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pattern {
    means: String,
    line: Vec<String>,
    #[serde(default, rename = "in")]
    speakers: Vec<Speaker>,
    #[serde(default)]
    after: String,
    #[serde(default)]
    until: String,
}

impl Pattern {
    fn fits(&self, speaker: Speaker, line: &str) -> bool {
        let heard = self.speakers.is_empty() || self.speakers.contains(&speaker);
        heard && self.line.iter().all(|text| line.contains(text.as_str()))
    }

    fn library(&self, line: &str) -> Option<String> {
        let (_, rest) = line.split_once(self.after.as_str())?;
        let name = rest.split(self.until.as_str()).next()?.trim();
        let name: String = name.chars().take(MAX_NAME_CHARS).collect();
        (!name.is_empty()).then(|| crate::log::clean(&name))
    }
}

static TABLE: LazyLock<Vec<Pattern>> = LazyLock::new(|| {
    let file: File = toml::from_str(include_str!("patterns.toml"))
        .expect("the table of patterns is part of the program, and a test reads it");
    file.pattern
});

/// What was heard in some lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heard {
    /// What no sandbox has.
    pub needs: BTreeSet<Need>,
    /// Libraries and tools of the system that are not there.
    pub libraries: BTreeSet<String>,
    /// Messages of the compiler that are other ones than a test expects.
    pub diagnostics_changed: bool,
}

impl Heard {
    /// Whether nothing was.
    pub fn is_empty(&self) -> bool {
        self.needs.is_empty() && self.libraries.is_empty() && !self.diagnostics_changed
    }

    /// Adds what a line means, if it means anything.
    pub fn line(&mut self, speaker: Speaker, line: &str) {
        for pattern in TABLE.iter().filter(|p| p.fits(speaker, line)) {
            match pattern.means.as_str() {
                "missing-system-library" => self.libraries.extend(pattern.library(line)),
                "compiler-diagnostic-change" => self.diagnostics_changed = true,
                need => {
                    let needs = Need::ALL.into_iter();
                    self.needs.extend(needs.filter(|n| n.name() == need));
                }
            }
        }
    }

    /// Lines that mean the same again, said by `speaker`: one for each need, and one for changed
    /// messages.
    pub fn in_words(&self, speaker: Speaker) -> String {
        let mut text = String::new();
        let changed = "compiler-diagnostic-change";
        let needs = self.needs.iter().map(|need| need.name());
        for means in needs.chain(self.diagnostics_changed.then_some(changed)) {
            let heard = |p: &&Pattern| p.speakers.is_empty() || p.speakers.contains(&speaker);
            let mut rows = TABLE.iter().filter(heard);
            if let Some(row) = rows.find(|p| p.means == means) {
                text.push_str(&format!("[heard beside it: {}]\n", row.line.join(" … ")));
            }
        }
        text
    }

    /// What all lines of a text mean.
    pub fn text(speaker: Speaker, text: &str) -> Self {
        let mut heard = Self::default();
        for line in text.lines() {
            heard.line(speaker, line);
        }
        heard
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_table_means_something() {
        for pattern in TABLE.iter() {
            let library = pattern.means == "missing-system-library";
            let known = library
                || pattern.means == "compiler-diagnostic-change"
                || Need::ALL.iter().any(|n| n.name() == pattern.means);
            assert!(known, "{pattern:?}");
            assert!(pattern.line.iter().all(|l| l.len() > 3), "{pattern:?}");
            assert_eq!(library, !pattern.after.is_empty(), "{pattern:?}");
            assert_eq!(library, !pattern.until.is_empty(), "{pattern:?}");
        }
        let all: BTreeSet<&str> = TABLE.iter().map(|p| p.means.as_str()).collect();
        for need in Need::ALL {
            assert!(all.contains(need.name()), "{}", need.name());
        }
    }

    #[test]
    fn names_are_taken_out_of_their_line() {
        let heard = |speaker, text| Heard::text(speaker, text);
        let line = "  The system library `openssl` required by crate `openssl-sys` was not found.";
        let found = heard(Speaker::Script, line);
        assert_eq!(found.libraries, ["openssl".to_owned()].into());
        assert!(
            heard(Speaker::Test, line).is_empty(),
            "a test only quotes it"
        );
        let line = "/usr/bin/ld: cannot find -lasound: No such file or directory";
        let found = heard(Speaker::Compiler, line);
        assert_eq!(found.libraries, ["asound".to_owned()].into());
    }
}
