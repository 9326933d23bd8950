//! An index entry: every release of one crate, as far as choosing and resolving needs it.
//!
//! The format is that of the cargo book's chapter on index files. Lines that this version cannot
//! read are skipped and counted, as cargo does, so that a registry can go on. No requests here.

use std::collections::BTreeMap;

use ejecta_core::krate::{Checksum, CrateName, Release};
use semver::{Version, VersionReq};
use serde::Deserialize;

/// The newest index format (`v`) that is understood.
const MAX_FORMAT: u32 = 2;

/// A crate in the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexEntry {
    /// The name in the author's spelling.
    pub name: CrateName,
    /// The releases, in the index's order (that of publishing).
    pub releases: Vec<IndexRelease>,
    /// Lines that could not be read.
    pub skipped_lines: usize,
}

/// A release in the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexRelease {
    /// The full version, build metadata included.
    pub version: Version,
    /// SHA-256 of the `.crate` file.
    pub checksum: Checksum,
    /// Whether its author withdrew it: lockfiles may still name it, resolving does not choose it.
    pub yanked: bool,
    /// The dependencies of every kind and platform.
    pub deps: Vec<IndexDep>,
    /// Feature to what it turns on, in the manifest's syntax; `features2` of the index included.
    pub features: BTreeMap<String, Vec<String>>,
    /// The oldest Rust that the author supports, as written.
    pub rust_version: Option<String>,
}

/// A dependency of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexDep {
    /// The package's name in the registry.
    pub name: CrateName,
    /// Which versions fit.
    pub req: VersionReq,
    /// When it is needed.
    pub kind: DepKind,
    /// Whether only a feature pulls it in.
    pub optional: bool,
    /// Whether its default features are on.
    pub default_features: bool,
    /// Its features that are asked for.
    pub features: Vec<String>,
    /// The platform it is for: `cfg(...)` or a triple.
    pub target: Option<String>,
    /// The name in the manifest, where it is not the package's.
    pub rename: Option<String>,
    /// The index of the registry it is in, where it is another one.
    pub registry: Option<String>,
}

impl IndexDep {
    /// The name that features refer to.
    pub fn toml_name(&self) -> &str {
        self.rename.as_deref().unwrap_or(self.name.as_str())
    }
}

/// When a dependency is needed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DepKind {
    /// By the library and its binaries.
    #[default]
    Normal,
    /// By the build script.
    Build,
    /// By tests, examples and benches.
    Dev,
}

impl IndexEntry {
    /// Reads an entry. `None` when no line of it is a release of a crate that `asked` may spell.
    pub(crate) fn parse(asked: &CrateName, body: &[u8]) -> Option<Self> {
        let mut name = None;
        let mut releases = Vec::new();
        let mut skipped_lines = 0;
        for line in body.split(|byte| *byte == b'\n') {
            if line.trim_ascii().is_empty() {
                continue;
            }
            match read_line(line) {
                Ok((spelled, release)) if spelled.canonical() == asked.canonical() => {
                    name = Some(spelled);
                    releases.push(release);
                }
                _ => skipped_lines += 1,
            }
        }
        if skipped_lines > 0 {
            tracing::warn!(
                krate = asked.as_str(),
                lines = skipped_lines,
                "skipped lines of the index that cannot be read"
            );
        }
        Some(Self {
            name: name?,
            releases,
            skipped_lines,
        })
    }

    /// The release that a person means who names no version: the highest that is neither yanked
    /// nor a pre-release, else the highest pre-release that is not yanked.
    pub fn newest(&self) -> Option<&IndexRelease> {
        self.available().max_by(|a, b| {
            let finished = a.version.pre.is_empty().cmp(&b.version.pre.is_empty());
            finished.then_with(|| a.version.cmp(&b.version))
        })
    }

    /// The release of a version, yanked or not. Build metadata may be left out: the registry has
    /// one release for all of them.
    pub fn exact(&self, version: &Version) -> Option<&IndexRelease> {
        let find = |same: &dyn Fn(&Version) -> bool| {
            let mut releases = self.releases.iter();
            releases.find(|release| same(&release.version))
        };
        find(&|v| v == version)
            .or_else(|| find(&|v| version.build.is_empty() && v.cmp_precedence(version).is_eq()))
    }

    /// The highest release that fits and is not yanked, as a fresh resolve begins.
    pub fn highest_matching(&self, req: &VersionReq) -> Option<&IndexRelease> {
        self.available()
            .filter(|release| req.matches(&release.version))
            .max_by(|a, b| a.version.cmp(&b.version))
    }

    /// What core calls this release.
    pub fn release(&self, release: &IndexRelease) -> Release {
        Release {
            name: self.name.clone(),
            version: release.version.clone(),
            checksum: release.checksum.clone(),
        }
    }

    fn available(&self) -> impl Iterator<Item = &IndexRelease> {
        self.releases.iter().filter(|release| !release.yanked)
    }
}

/// A line as the index writes it. Unknown keys are allowed: registries add some.
#[derive(Deserialize)]
struct Line {
    name: CrateName,
    vers: Version,
    deps: Vec<LineDep>,
    cksum: Checksum,
    #[serde(default)]
    features: BTreeMap<String, Vec<String>>,
    features2: Option<BTreeMap<String, Vec<String>>>,
    yanked: Option<bool>,
    rust_version: Option<String>,
    v: Option<u32>,
}

#[derive(Deserialize)]
struct LineDep {
    name: String,
    req: VersionReq,
    #[serde(default)]
    features: Vec<String>,
    #[serde(default)]
    optional: bool,
    #[serde(default = "yes")]
    default_features: bool,
    target: Option<String>,
    kind: Option<DepKind>,
    registry: Option<String>,
    package: Option<CrateName>,
}

fn yes() -> bool {
    true
}

fn read_line(line: &[u8]) -> Result<(CrateName, IndexRelease), String> {
    let line: Line = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    if line.v.is_some_and(|format| format > MAX_FORMAT) {
        return Err("a newer format of the index".to_owned());
    }
    let deps: Result<_, String> = line.deps.into_iter().map(read_dep).collect();
    let mut features = line.features;
    features.extend(line.features2.unwrap_or_default());
    let release = IndexRelease {
        version: line.vers,
        checksum: line.cksum,
        yanked: line.yanked.unwrap_or(false),
        deps: deps?,
        features,
        rust_version: line.rust_version,
    };
    Ok((line.name, release))
}

fn read_dep(dep: LineDep) -> Result<IndexDep, String> {
    // With `package`, `name` is what the manifest calls it.
    let (name, rename) = match dep.package {
        Some(package) => (package, Some(dep.name)),
        None => {
            let name = CrateName::new(dep.name).map_err(|error| error.to_string())?;
            (name, None)
        }
    };
    Ok(IndexDep {
        name,
        req: dep.req,
        kind: dep.kind.unwrap_or_default(),
        optional: dep.optional,
        default_features: dep.default_features,
        features: dep.features,
        target: dep.target,
        rename,
        registry: dep.registry,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(version: &str, more: &str) -> String {
        let cksum = "0a".repeat(32);
        format!(
            r#"{{"name":"Foo-bar","vers":"{version}","deps":[],"features":{{}},"cksum":"{cksum}"{more}}}"#
        )
    }

    fn parse(lines: &[String]) -> Option<IndexEntry> {
        let asked = CrateName::new("foo_bar").expect("a name");
        IndexEntry::parse(&asked, lines.join("\n").as_bytes())
    }

    fn version(text: &str) -> Version {
        text.parse().expect("a version")
    }

    #[test]
    fn the_newest_is_the_highest_that_a_user_would_take() {
        for (releases, newest) in [
            (
                &[("1.0.0", false), ("1.2.0", false), ("1.1.0", false)][..],
                Some("1.2.0"),
            ),
            (&[("1.0.0", false), ("2.0.0", true)], Some("1.0.0")),
            (&[("1.0.0", false), ("2.0.0-rc.1", false)], Some("1.0.0")),
            (
                &[
                    ("1.0.0", true),
                    ("2.0.0-rc.1", false),
                    ("2.0.0-beta", false),
                ],
                Some("2.0.0-rc.1"),
            ),
            (&[("1.0.0", true)], None),
        ] {
            let lines: Vec<String> = releases
                .iter()
                .map(|(v, yanked)| line(v, &format!(r#","yanked":{yanked}"#)))
                .collect();
            let entry = parse(&lines).expect("an entry");
            let found = entry.newest().map(|release| release.version.to_string());
            assert_eq!(found.as_deref(), newest, "{releases:?}");
        }
    }

    #[test]
    fn the_author_s_spelling_comes_out() {
        assert_eq!(
            parse(&[line("1.0.0", "")]).expect("an entry").name.as_str(),
            "Foo-bar"
        );
    }

    #[test]
    fn lines_that_cannot_be_read_are_counted() {
        let lines = [
            line("1.0.0", ""),
            "{".to_owned(),
            line("1.1.0", r#","v":3"#),
            line("one", ""),
            line("1.2.0", "").replace("Foo-bar", "other"),
            line(
                "1.3.0",
                r#","links":"z","news":[1],"v":2,"features2":{"x":["dep:y"]}"#,
            ),
        ];
        let entry = parse(&lines).expect("an entry");
        assert_eq!(entry.skipped_lines, 4);
        assert_eq!(entry.releases.len(), 2);
        assert_eq!(entry.releases[1].features["x"], ["dep:y"]);
        assert_eq!(parse(&lines[1..5]), None);
    }

    #[test]
    fn a_version_is_found_without_its_build_metadata() {
        let entry = parse(&[line("2.0.9+zstd.1.5.5", "")]).expect("an entry");
        assert!(entry.exact(&version("2.0.9")).is_some());
        assert!(entry.exact(&version("2.0.9+zstd.1.5.5")).is_some());
        assert!(entry.exact(&version("2.0.9+other")).is_none());
        assert!(entry.exact(&version("2.0.8")).is_none());
    }

    #[test]
    fn renamed_dependencies_keep_both_names() {
        let deps = r#""deps":[{"name":"old","package":"New-name","req":"^1","kind":"build"}]"#;
        let entry = parse(&[line("1.0.0", "").replace(r#""deps":[]"#, deps)]).expect("an entry");
        let dep = &entry.releases[0].deps[0];
        assert_eq!((dep.name.as_str(), dep.toml_name()), ("New-name", "old"));
        assert_eq!(dep.kind, DepKind::Build);
        assert!(dep.default_features && !dep.optional);
    }
}
