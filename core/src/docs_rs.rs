//! `[package.metadata.docs.rs]`: how a crate wants its documentation built, as docs.rs reads it.
//!
//! Unknown keys and values of another type are passed over, as they are there: the table is the
//! crate's, and it was never checked when it was published.

use toml_edit::{DocumentMut, Item, TableLike};

/// What a manifest asks of docs.rs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DocsRs {
    /// Features to turn on.
    pub features: Vec<String>,
    /// All of them.
    pub all_features: bool,
    /// None of the default ones.
    pub no_default_features: bool,
    /// The target that comes first, where it is named: `default-target`, or else the first of
    /// `targets`.
    pub default_target: Option<String>,
    /// Flags for rustc.
    pub rustc_args: Vec<String>,
    /// Flags for rustdoc.
    pub rustdoc_args: Vec<String>,
    /// Arguments for cargo.
    pub cargo_args: Vec<String>,
}

impl DocsRs {
    /// Reads the table of a manifest, or what docs.rs does without one.
    pub fn read(manifest: &str) -> Self {
        let Ok(doc) = manifest.parse::<DocumentMut>() else {
            return Self::default();
        };
        let table = |item: Option<&Item>, key: &str| {
            let inner = item?.as_table_like()?.get(key)?;
            Some(inner.clone())
        };
        let package = doc.get("package").or_else(|| doc.get("project"));
        let metadata = table(package, "metadata");
        let docs = table(metadata.as_ref(), "docs");
        let of = table(docs.as_ref(), "rs");
        let Some(of) = of.as_ref().and_then(Item::as_table_like) else {
            return Self::default();
        };
        let on = |key| of.get(key).and_then(Item::as_bool).unwrap_or(false);
        let targets = texts(of, "targets");
        let default_target = of.get("default-target").and_then(Item::as_str);
        Self {
            features: texts(of, "features"),
            all_features: on("all-features"),
            no_default_features: on("no-default-features"),
            default_target: default_target
                .map(str::to_owned)
                .or_else(|| targets.first().cloned()),
            rustc_args: texts(of, "rustc-args"),
            rustdoc_args: texts(of, "rustdoc-args"),
            cargo_args: texts(of, "cargo-args"),
        }
    }

    /// The arguments of cargo. Those with `-Z` are for a nightly cargo only: another one would
    /// refuse them, and that would say nothing of the crate.
    pub fn cargo_args(&self, nightly: bool) -> Vec<String> {
        let mut args = Vec::new();
        if !self.features.is_empty() {
            args.extend(["--features".to_owned(), self.features.join(",")]);
        }
        if self.all_features {
            args.push("--all-features".to_owned());
        }
        if self.no_default_features {
            args.push("--no-default-features".to_owned());
        }
        let mut own = self.cargo_args.iter();
        while let Some(arg) = own.next() {
            match arg.as_str() {
                "-Z" if !nightly => {
                    own.next();
                }
                unstable if unstable.starts_with("-Z") && !nightly => {}
                _ => args.push(arg.clone()),
            }
        }
        args
    }

    /// Flags for rustc: docs.rs sets `cfg(docsrs)`.
    pub fn rustc_flags(&self) -> Vec<String> {
        with_cfg(&self.rustc_args)
    }

    /// Flags for rustdoc.
    pub fn rustdoc_flags(&self) -> Vec<String> {
        with_cfg(&self.rustdoc_args)
    }
}

fn with_cfg(args: &[String]) -> Vec<String> {
    let cfg = ["--cfg", "docsrs"].map(str::to_owned);
    args.iter().cloned().chain(cfg).collect()
}

fn texts(table: &dyn TableLike, key: &str) -> Vec<String> {
    let values = table.get(key).and_then(Item::as_array);
    let values = values.into_iter().flat_map(|a| a.iter());
    values
        .filter_map(|v| v.as_str().map(str::to_owned))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_keys_are_read() {
        let docs = DocsRs::read(
            "[package]\nname = \"x\"\n[package.metadata.docs.rs]\nfeatures = [\"a\", \"b\"]\n\
             no-default-features = true\nall-features = true\ntargets = [\"t1\", \"t2\"]\n\
             rustc-args = [\"--cfg\", \"c\"]\nrustdoc-args = [\"--html-in-header\", \"h\"]\n\
             cargo-args = [\"-Z\", \"build-std\", \"-Zx\", \"--examples\"]\n",
        );
        let all = "--features a,b --all-features --no-default-features";
        assert_eq!(
            docs.cargo_args(false).join(" "),
            format!("{all} --examples")
        );
        let unstable = format!("{all} -Z build-std -Zx --examples");
        assert_eq!(docs.cargo_args(true).join(" "), unstable);
        assert_eq!(docs.default_target.as_deref(), Some("t1"));
        assert_eq!(docs.rustc_flags().join(" "), "--cfg c --cfg docsrs");
        assert_eq!(
            docs.rustdoc_flags().join(" "),
            "--html-in-header h --cfg docsrs"
        );
    }

    #[test]
    fn without_a_table_it_is_what_docs_rs_does_by_itself() {
        for text in ["[package]\nname = \"x\"\n", "not toml", "package = 3\n"] {
            assert_eq!(DocsRs::read(text), DocsRs::default());
        }
        let odd = "[package.metadata]\ndocs = \"rs\"\n";
        assert_eq!(DocsRs::read(odd), DocsRs::default());
        let odd = "[package.metadata.docs.rs]\nfeatures = \"a\"\nall-features = \"yes\"\n";
        assert_eq!(DocsRs::read(odd), DocsRs::default());
        assert_eq!(DocsRs::default().rustdoc_flags(), ["--cfg", "docsrs"]);
    }
}
