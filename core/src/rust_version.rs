//! `rust-version`: the oldest Rust that a crate says it builds with, and whether a toolchain is
//! older.

use semver::Version;

use crate::package::Package;

/// The Rust that a manifest asks for, as it is written there (`1.85`), or for the sake of its
/// edition. What it inherits is in `workspace`, the manifest of its workspace, if it has one.
pub fn required(manifest: &str, workspace: Option<&str>) -> Option<String> {
    let package = Package::read(manifest, workspace)?;
    let text = |key| package.text(key);
    let written = text("rust-version").filter(|v| read(v).is_some());
    // When each edition became stable.
    let for_edition = match text("edition") {
        Some("2018") => Some("1.31"),
        Some("2021") => Some("1.56"),
        Some("2024") => Some("1.85"),
        _ => None,
    };
    let newest = |a: &&str, b: &&str| read(a).cmp(&read(b));
    let newest = written.into_iter().chain(for_edition).max_by(newest)?;
    Some(newest.to_owned())
}

/// What to say where one of the toolchains is older than `required`: `releases` has each by the
/// word that stands for it, such as `the baseline`.
pub fn unmet(required: &str, releases: &[(&str, Option<Version>)]) -> Option<String> {
    let wanted = read(required)?;
    let mut older = Vec::new();
    for (who, release) in releases {
        if let Some(release) = release.as_ref().filter(|r| **r < wanted) {
            let patch = if release.patch == 0 {
                format!("{}.{}", release.major, release.minor)
            } else {
                release.to_string()
            };
            older.push(format!("{who} is {patch}"));
        }
    }
    let older = older.join(" and ");
    (!older.is_empty()).then(|| format!("needs Rust {required}, and {older}"))
}

/// `1.85` or `1.85.0`, as cargo reads them.
fn read(text: &str) -> Option<Version> {
    let mut parts = text.split('.').map(str::parse::<u64>);
    let major = parts.next()?.ok()?;
    let minor = parts.next().transpose().ok()?.unwrap_or(0);
    let patch = parts.next().transpose().ok()?.unwrap_or(0);
    parts
        .next()
        .is_none()
        .then(|| Version::new(major, minor, patch))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newer_of_rust_version_and_edition_counts() {
        let of = |keys: &str| required(&format!("[package]\nname = \"x\"\n{keys}"), None);
        let table = [
            ("", None),
            ("rust-version = \"1.70\"", Some("1.70")),
            ("edition = \"2021\"", Some("1.56")),
            ("edition = \"2021\"\nrust-version = \"1.9.1\"", Some("1.56")),
            (
                "edition = \"2018\"\nrust-version = \"1.70.1\"",
                Some("1.70.1"),
            ),
            ("edition = \"2015\"\nrust-version = \"soon\"", None),
            ("edition = \"2024\"\nrust-version = \"1.90\"", Some("1.90")),
        ];
        for (keys, expected) in table {
            assert_eq!(of(keys).as_deref(), expected, "{keys}");
        }
        assert_eq!(required("nonsense", None), None);
    }

    #[test]
    fn what_is_inherited_counts() {
        let root = "[workspace.package]\nrust-version = \"1.80\"\nedition = \"2024\"\n";
        let of = |keys: &str, root| {
            let manifest = format!("[package]\nname = \"x\"\n{keys}");
            required(&manifest, root)
        };
        let table = [
            ("rust-version.workspace = true", Some(root), Some("1.80")),
            (
                "rust-version = { workspace = true }",
                Some(root),
                Some("1.80"),
            ),
            ("edition.workspace = true", Some(root), Some("1.85")),
            (
                "edition.workspace = true\nrust-version.workspace = true",
                Some(root),
                Some("1.85"),
            ),
            // It is there, and nobody takes it.
            ("", Some(root), None),
            ("rust-version = \"1.70\"", Some(root), Some("1.70")),
            ("rust-version.workspace = true", Some("[workspace]\n"), None),
            ("rust-version.workspace = true", Some("nonsense ["), None),
            ("rust-version.workspace = false", Some(root), None),
            ("rust-version.workspace = true", None, None),
        ];
        for (keys, root, expected) in table {
            assert_eq!(of(keys, root).as_deref(), expected, "{keys}");
        }
        let itself = format!("rust-version.workspace = true\n{root}");
        assert_eq!(of(&itself, None).as_deref(), Some("1.80"));
    }

    #[test]
    fn older_toolchains_are_named() {
        let version = |text: &str| Some(Version::parse(text).expect("valid"));
        let said = |baseline, candidate| {
            let releases = [("the baseline", baseline), ("the candidate", candidate)];
            unmet("1.85", &releases)
        };
        let old = || version("1.63.0");
        let new = || version("1.95.0");
        let text = "needs Rust 1.85, and the baseline is 1.63";
        assert_eq!(said(old(), new()).as_deref(), Some(text));
        let both = "needs Rust 1.85, and the baseline is 1.63 and the candidate is 1.84.1";
        assert_eq!(said(old(), version("1.84.1")).as_deref(), Some(both));
        assert_eq!(said(version("1.85.0"), new()), None);
        assert_eq!(said(None, None), None, "nobody knows");
    }
}
