//! Package identifiers as cargo writes them into its messages, in the old and the new form.
//!
//! ```text
//! serde 1.0.0 (registry+https://…)                      until 1.76
//! registry+https://…#serde@1.0.0                        since 1.77
//! path+file:///ejecta/job/source#1.0.0                  likewise, when the directory has its name
//! path+file:///ejecta/job/source#itoa@1.0.0             likewise, when it has not
//! ```

use semver::Version;

use crate::outcome::PackageRef;

/// What can be read from an identifier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageId {
    /// The package's name.
    pub name: String,
    /// Its version.
    pub version: Option<Version>,
    /// Whether it was built from a directory: the crate under test, a path dependency of it, or a
    /// patched library.
    pub local: bool,
}

impl PackageId {
    /// Reads either form. Text that is neither is a package of that name.
    pub fn parse(repr: &str) -> Self {
        match repr.split_once(' ') {
            Some((name, rest)) if !name.contains(['#', ':']) => {
                let (version, source) = rest.split_once(' ').unwrap_or((rest, ""));
                Self {
                    name: name.to_owned(),
                    version: Version::parse(version).ok(),
                    local: source.starts_with("(path+"),
                }
            }
            _ => Self::parse_spec(repr),
        }
    }

    fn parse_spec(repr: &str) -> Self {
        let (url, fragment) = repr.rsplit_once('#').unwrap_or((repr, ""));
        let last = url.trim_end_matches('/').rsplit('/').next().unwrap_or(url);
        let (name, version) = match fragment.split_once('@') {
            Some((name, version)) => (name, version),
            None if fragment.is_empty() || Version::parse(fragment).is_ok() => (last, fragment),
            None => (fragment, ""),
        };
        Self {
            name: name.to_owned(),
            version: Version::parse(version).ok(),
            local: repr.starts_with("path+"),
        }
    }

    /// Name and version.
    pub fn to_ref(&self) -> PackageRef {
        PackageRef {
            name: self.name.clone(),
            version: self.version.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str, version: &str, local: bool) -> PackageId {
        PackageId {
            name: name.to_owned(),
            version: Version::parse(version).ok(),
            local,
        }
    }

    #[test]
    fn both_forms_are_read() {
        let table = [
            (
                "serde 1.0.0 (registry+https://r.invalid/index)",
                id("serde", "1.0.0", false),
            ),
            (
                "itoa 1.0.15 (path+file:///ejecta/job/source)",
                id("itoa", "1.0.15", true),
            ),
            (
                "registry+https://r.invalid/index#serde@1.0.0",
                id("serde", "1.0.0", false),
            ),
            (
                "path+file:///ejecta/job/source#itoa@1.0.15",
                id("itoa", "1.0.15", true),
            ),
            (
                "path+file:///ejecta/job/source#1.0.15",
                id("source", "1.0.15", true),
            ),
            (
                "registry+https://r.invalid/#zstd-sys@2.0.9+zstd.1.5.5",
                id("zstd-sys", "2.0.9+zstd.1.5.5", false),
            ),
            (
                "git+https://g.invalid/a/b?rev=1#c@0.1.0",
                id("c", "0.1.0", false),
            ),
        ];
        for (text, expected) in table {
            assert_eq!(PackageId::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn anything_else_is_a_name() {
        assert_eq!(PackageId::parse("nonsense").name, "nonsense");
        assert_eq!(PackageId::parse("").name, "");
    }
}
