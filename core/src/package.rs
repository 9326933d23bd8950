//! What a manifest says of its package, by itself or by its workspace.

use toml_edit::{DocumentMut, Item, TableLike};

/// The longest address that is shown, in bytes.
const MAX_ADDRESS_BYTES: usize = 500;

/// The `[package]` of a manifest.
#[derive(Debug, Clone)]
pub struct Package {
    manifest: DocumentMut,
    workspace: Option<DocumentMut>,
}

impl Package {
    /// That of `manifest`, whose workspace's root is `workspace` where that is another file; `None`
    /// where there is none. A workspace that is no TOML is none.
    pub fn read(manifest: &str, workspace: Option<&str>) -> Option<Self> {
        let package = Self {
            manifest: manifest.parse().ok()?,
            workspace: workspace.and_then(|text| text.parse().ok()),
        };
        package.table().is_some().then_some(package)
    }

    fn table(&self) -> Option<&dyn TableLike> {
        let of = |name| self.manifest.get(name);
        // `[project]` is what `[package]` was called.
        of("package").or_else(|| of("project"))?.as_table_like()
    }

    /// A value, inherited where the manifest says so; `None` where it is no text.
    pub fn text(&self, key: &str) -> Option<&str> {
        let item = self.table()?.get(key)?;
        if item.get("workspace").and_then(Item::as_bool) != Some(true) {
            return item.as_str();
        }
        // Where a package is the root of its workspace it may inherit from itself.
        let root = self.workspace.as_ref().unwrap_or(&self.manifest);
        root.get("workspace")?.get("package")?.get(key)?.as_str()
    }

    /// Where the author says that its repository is, if that is an address of the web.
    pub fn repository(&self) -> Option<&str> {
        self.text("repository").filter(|text| is_address(text))
    }
}

/// Whether a text from outside is an address of the web, and nothing that only begins like one.
pub fn is_address(text: &str) -> bool {
    let is_web = text.starts_with("https://") || text.starts_with("http://");
    let plain = |b: u8| b.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&b);
    is_web && text.len() <= MAX_ADDRESS_BYTES && text.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(manifest: &str, workspace: Option<&str>) -> Option<String> {
        let package = Package::read(manifest, workspace)?;
        package.repository().map(str::to_owned)
    }

    #[test]
    fn an_authors_repository_may_be_inherited() {
        let own = "[package]\nname = \"a\"\nrepository = \"https://example.org/a\"\n";
        assert_eq!(
            repository(own, None).as_deref(),
            Some("https://example.org/a")
        );
        let heir = "[package]\nname = \"a\"\nrepository.workspace = true\n";
        let root = "[workspace.package]\nrepository = \"https://example.org/all\"\n";
        let inherited = Some("https://example.org/all");
        assert_eq!(repository(heir, Some(root)).as_deref(), inherited);
        assert_eq!(
            repository(&format!("{heir}{root}"), None).as_deref(),
            inherited
        );
        assert_eq!(repository(heir, None), None);
        assert_eq!(repository(heir, Some("no TOML [")), None);
    }

    #[test]
    fn what_is_no_address_of_the_web_is_no_link() {
        for bad in [
            "javascript:alert(1)",
            "git@example.org:a/b",
            "",
            "https://a b",
            "https://a\\u0000",
            "https://\\u00e4",
            "https://a\\\"onclick=x",
            &format!("https://{}", "x".repeat(500)),
        ] {
            let manifest = format!("[package]\nrepository = \"{bad}\"\n");
            assert_eq!(repository(&manifest, None), None, "{bad}");
        }
        for none in ["[package]\nrepository = 1", "[lib]", "x", "package = 1"] {
            assert_eq!(repository(none, None), None, "{none}");
        }
    }
}
