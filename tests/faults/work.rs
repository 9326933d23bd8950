//! The experiment that every fleet here runs: small crates of which it is known what they do.

use ejecta_test_support::{CrateFixture, DepFixture, LocalRegistry};

/// The candidate, with which some of them do not compile.
pub const CANDIDATE: &str = "stable+rustflags=--cfg planted";
/// How many crates there are.
pub const CRATES: usize = 24;

/// Does not compile with the candidate; the second crate of that name has another error.
const PLANTED: &str = "pub fn f() -> u8 {\n    #[cfg(planted)]\n    return \"NAME\";\n    \
                       #[cfg(not(planted))]\n    1\n}\n";
const BROKEN: &str = "pub fn f() -> u8 {\n    \"NAME\"\n}\n";
/// Takes its time, so that a fault meets jobs that run.
const SLOW: &str = "fn main() {\n    \
                    std::thread::sleep(std::time::Duration::from_millis(1200));\n}\n";

/// Publishes the crates; says which they are, as a selection.
pub fn publish(registry: &LocalRegistry) -> String {
    let plain = |name: &str| CrateFixture::new(name, "1.0.0");
    let with = |name: &str, text: &str| plain(name).file("src/lib.rs", text.replace("NAME", name));
    let mut crates = Vec::new();
    crates.extend((0..8).map(|n| plain(&format!("quick-{n}"))));
    crates.extend((0..6).map(|n| plain(&format!("slow-{n}")).file("build.rs", SLOW)));
    crates.extend((0..2).map(|n| {
        let name = format!("on-quick-{n}");
        plain(&name).dep(DepFixture::new("quick-0", "1"))
    }));
    crates.extend((0..3).map(|n| with(&format!("planted-{n}"), PLANTED)));
    crates.push(with("root", PLANTED));
    crates.extend((0..2).map(|n| {
        let name = format!("on-root-{n}");
        plain(&name).dep(DepFixture::new("root", "1"))
    }));
    crates.extend((0..2).map(|n| with(&format!("broken-{n}"), BROKEN)));
    assert_eq!(crates.len(), CRATES);
    let names: Vec<String> = crates
        .iter()
        .map(|krate| registry.publish(krate).name)
        .collect();
    format!("list:{}", names.join(","))
}
