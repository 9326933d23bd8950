//! The fixture crates in `tests/crates`, one directory for each outcome.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::fixture::CrateFixture;
use crate::manifest::fixture_from_dir;
use crate::registry::{LocalRegistry, Published};

/// Where the fixture crates are.
pub fn crates_dir() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../crates"))
}

/// Publishes every fixture crate but the hostile ones, and says which releases there are now, by `name-version`.
///
/// A `Cargo.lock` may name another fixture's checksum as `{checksum of NAME VERSION}`: it is known
/// only when that one is packed. `{registry}` is the public registry, as cargo names it.
///
/// # Panics
/// When a fixture cannot be packed, or a lockfile names a release that there is not.
pub fn publish_crates(registry: &LocalRegistry) -> BTreeMap<String, Published> {
    let mut fixtures: Vec<CrateFixture> = fs_err::read_dir(crates_dir())
        .expect("a readable directory")
        .map(|entry| entry.expect("a readable entry").path())
        .filter(|dir| dir.is_dir() && !dir.ends_with("hostile"))
        .map(|dir| fixture_from_dir(&dir))
        .collect();
    let has_lockfile = |f: &CrateFixture| f.files.contains_key("Cargo.lock");
    fixtures.sort_by_key(|f| (has_lockfile(f), f.name.clone(), f.version.clone()));
    let mut published = BTreeMap::new();
    for mut fixture in fixtures {
        if let Some((lockfile, _)) = fixture.files.get_mut("Cargo.lock") {
            let text = String::from_utf8(std::mem::take(lockfile)).expect("a UTF-8 lockfile");
            *lockfile = with_checksums(&text, &published).into_bytes();
        }
        let release = registry.publish(&fixture);
        let id = format!("{}-{}", release.name, release.version);
        published.insert(id, release);
    }
    published
}

fn with_checksums(lockfile: &str, published: &BTreeMap<String, Published>) -> String {
    let mut text = lockfile.replace("{registry}", tame_index::CRATES_IO_INDEX);
    while let Some((before, rest)) = text.split_once("{checksum of ") {
        let (release, after) = rest.split_once('}').expect("a closing brace");
        let id = release.replace(' ', "-");
        let release = published.get(&id).expect("a fixture of that name");
        text = format!("{before}{}{after}", release.checksum);
    }
    text
}
