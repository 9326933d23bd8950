//! The database dump of a registry: the tables of the public one, with the columns that matter and
//! a few that do not.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::archive::{RawEntry, hostile_tar};

/// A dump before it is packed; tests may change its files as they like.
#[derive(Debug, Clone)]
pub struct DumpFixture {
    /// File names, below one directory, to contents. They are packed in this order.
    pub files: BTreeMap<String, String>,
}

impl DumpFixture {
    /// The dump of the crates that these index lines describe, made at `timestamp` (RFC 3339).
    ///
    /// # Panics
    /// When a line is none of an index.
    pub fn new(lines: &[String], downloads: &[(&str, u64)], timestamp: &str) -> Self {
        let releases: Vec<Value> = lines
            .iter()
            .map(|line| serde_json::from_str(line).expect("a line of an index"))
            .collect();
        let mut ids: BTreeMap<&str, usize> = BTreeMap::new();
        for release in &releases {
            let next = ids.len() + 100;
            ids.entry(text(release, "name")).or_insert(next);
        }
        let mut crates = "created_at,description,id,name\n".to_owned();
        let mut counts = "crate_id,downloads\n".to_owned();
        for (name, id) in &ids {
            // Descriptions have everything that makes a table hard to read.
            crates += &format!("2020-01-01,\"About \"\"{name}\"\",\nin two lines\",{id},{name}\n");
            let known = downloads.iter().find(|(of, _)| of == name);
            counts += &format!("{id},{}\n", known.map_or(0, |(_, count)| *count));
        }
        let mut versions = "checksum,crate_id,id,license,num,yanked\n".to_owned();
        let mut needs =
            "crate_id,default_features,explicit_name,features,id,kind,optional,req,target,version_id\n"
                .to_owned();
        for (at, release) in releases.iter().enumerate() {
            let id = 5000 + at;
            let krate = ids[text(release, "name")];
            let yanked = if release["yanked"] == true { "t" } else { "f" };
            let (sum, num) = (text(release, "cksum"), text(release, "vers"));
            versions += &format!("{sum},{krate},{id},MIT,{num},{yanked}\n");
            for dep in release["deps"].as_array().expect("dependencies") {
                let package = dep["package"].as_str().unwrap_or_else(|| text(dep, "name"));
                let Some(on) = ids.get(package) else { continue };
                let renamed = dep["package"].as_str().map_or("", |_| text(dep, "name"));
                let kind = match text(dep, "kind") {
                    "normal" => 0,
                    "build" => 1,
                    "dev" => 2,
                    other => panic!("`{other}` is no kind of dependency"),
                };
                let req = text(dep, "req");
                needs += &format!("{on},t,{renamed},{{}},7,{kind},f,\"{req}\",,{id}\n");
            }
        }
        let metadata = serde_json::json!({ "timestamp": timestamp, "crates_io_commit": "0" });
        let files = [
            ("README.md", "a dump".to_owned()),
            ("data/crate_downloads.csv", counts),
            ("data/crates.csv", crates),
            ("data/dependencies.csv", needs),
            ("data/keywords.csv", "id\n1\n".to_owned()),
            ("data/versions.csv", versions),
            ("metadata.json", metadata.to_string()),
        ];
        Self {
            files: files.map(|(name, text)| (name.to_owned(), text)).into(),
        }
    }

    /// The gzipped archive.
    pub fn archive(&self) -> Vec<u8> {
        self.archive_in_order(self.files.keys().map(String::as_str))
    }

    /// The same with the files in another order, or only some of them.
    ///
    /// # Panics
    /// When there is no such file.
    pub fn archive_in_order<'a>(&self, order: impl IntoIterator<Item = &'a str>) -> Vec<u8> {
        let mut entries = vec![RawEntry::dir("2026-11-20-020031/")];
        entries.extend(order.into_iter().map(|name| {
            let path = format!("2026-11-20-020031/{name}");
            RawEntry::file(path, self.files[name].as_str())
        }));
        hostile_tar(&entries)
    }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().expect("text")
}
