//! What a sandbox looks like from inside: paths, and the environment of cargo.
//!
//! The same for both sides of a job, so that nothing but the toolchain differs.

use ejecta_core::docs_rs::DocsRs;
use ejecta_core::experiment::{CapLints, Config};
use ejecta_core::mode::StepKind;
use ejecta_core::outcome::Side;
use ejecta_core::steps::StepPlan;
use ejecta_core::toolchain::ToolchainSpec;

use crate::sandbox::Command;
use crate::toolchain::{Place, Toolchain};

/// Where the sources of the store are, read-only.
pub const SOURCES: &str = "/ejecta/store";
/// Where cargo finds the index as a local registry, read-only.
pub const INDEX: &str = "/ejecta/index";
/// The job's read-only part.
pub const JOB: &str = "/ejecta/job";
/// The crate's source, with the job's manifest and lockfile.
pub const SOURCE: &str = "/ejecta/job/source";
/// The dependencies, as cargo's directory source.
pub const VENDOR: &str = "/ejecta/job/vendor";
/// `CARGO_HOME` while a lockfile is resolved without any repository.
pub const RESOLVE_HOME: &str = "/ejecta/job/resolve-home";
/// `CARGO_HOME` where cargo writes to it: with repositories or patches, before anything is built.
pub const WORK_HOME: &str = "/ejecta/work/home";
/// The mirrors of git repositories, read-only.
pub const GIT: &str = "/ejecta/git";
/// The patched libraries, read-only.
pub const PATCHES: &str = "/ejecta/patches";
/// git's configuration while cargo takes dependencies from mirrors.
const GIT_CONFIG: &str = "/ejecta/job/gitconfig";
/// `CARGO_HOME` of all else.
pub const HOME: &str = "/ejecta/job/home";
/// The only directory besides `/tmp` that can be written.
pub const WORK: &str = "/ejecta/work";
/// The source, where steps may change it.
pub const WRITABLE_SOURCE: &str = "/ejecta/work/source";
/// The packages for which a lockfile is resolved.
pub const RESOLVE: &str = "/ejecta/work/resolve";

/// Where the toolchain of a side is, read-only.
pub fn toolchain(side: Side) -> &'static str {
    match side {
        Side::Baseline => "/ejecta/toolchains/baseline",
        Side::Candidate => "/ejecta/toolchains/candidate",
    }
}

/// What stands in for the public registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registry {
    /// The index on disk, for resolving.
    Index,
    /// The directory of dependencies.
    Vendor,
}

/// cargo's configuration with the public registry replaced, and packages of it by others: each a
/// name, and a directory inside.
pub fn cargo_config(registry: Registry, patches: &[(&str, &str)]) -> String {
    let with = match registry {
        Registry::Index => format!("local-registry = \"{INDEX}\""),
        Registry::Vendor => format!("directory = \"{VENDOR}\""),
    };
    let mut text =
        format!("[source.crates-io]\nreplace-with = \"ejecta\"\n\n[source.ejecta]\n{with}\n");
    if !patches.is_empty() {
        text.push_str("\n[patch.crates-io]\n");
    }
    for (name, dir) in patches {
        text.push_str(&format!("{name} = {{ path = \"{dir}\" }}\n"));
    }
    text
}

/// git's configuration with each repository replaced by its mirror: pairs of an address and a name
/// in [`GIT`].
pub fn git_config<'a>(mirrors: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    // The mirrors are somebody else's, who is trusted: they are seen read-only.
    let mut text = "[safe]\n\tdirectory = *\n".to_owned();
    for (url, name) in mirrors {
        text.push_str(&format!(
            "[url \"file://{GIT}/{name}\"]\n\tinsteadOf = \"{url}\"\n"
        ));
    }
    text
}

/// The environment that every cargo gets: nothing of the host's.
fn environment(side: Side, place: &Place, home: &str) -> Vec<(String, String)> {
    let path = format!("{}/bin:/usr/local/bin:/usr/bin:/bin", toolchain(side));
    let mut env = [
        ("PATH", path.as_str()),
        ("CARGO_HOME", home),
        ("HOME", "/tmp"),
        ("TMPDIR", "/tmp"),
        ("USER", "ejecta"),
        ("LANG", "C.UTF-8"),
        ("CARGO_TERM_COLOR", "never"),
        ("CARGO_TERM_PROGRESS_WHEN", "never"),
        ("CARGO_NET_OFFLINE", "true"),
        ("RUST_BACKTRACE", "1"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .to_vec();
    if !place.library_dirs.is_empty() {
        let dirs = place.library_dirs.iter();
        let dirs: Vec<String> = dirs
            .map(|dir| format!("{}/{dir}", toolchain(side)))
            .collect();
        env.push(("LD_LIBRARY_PATH".to_owned(), dirs.join(":")));
    }
    env
}

fn cargo(side: Side, args: &[&str], env: Vec<(String, String)>) -> Command {
    let program = format!("{}/bin/cargo", toolchain(side));
    Command {
        argv: std::iter::once(program)
            .chain(args.iter().map(|a| (*a).to_owned()))
            .collect(),
        env,
        // cargo reads `.cargo/config.toml` of every directory above the one it starts in: none of
        // the crate's are among those of the root.
        cwd: "/".to_owned(),
    }
}

/// `rustc -Vv` or `cargo -Vv`.
pub fn version_command(side: Side, place: &Place, program: &str) -> Command {
    Command {
        argv: vec![
            format!("{}/bin/{program}", toolchain(side)),
            "-Vv".to_owned(),
        ],
        env: environment(side, place, "/tmp/cargo-home"),
        cwd: "/".to_owned(),
    }
}

/// What is done to a lockfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolve {
    /// Made anew.
    Afresh,
    /// Fitted to the manifests.
    Fitted,
    /// These packages, `name:version` each, taken anew.
    Packages(Vec<String>),
}

/// Resolves the lockfile of the package in the directory `member` of [`RESOLVE`], by the
/// baseline's cargo. With `mirrors` it may ask git for them, and git has nothing else.
pub fn resolve_command(
    baseline: &Toolchain,
    resolve: &Resolve,
    member: &str,
    home: &str,
    mirrors: bool,
) -> Command {
    let mut args: Vec<&str> = match resolve {
        Resolve::Afresh => vec!["generate-lockfile"],
        Resolve::Fitted => vec!["update", "--workspace"],
        Resolve::Packages(packages) => {
            let packages = packages.iter().flat_map(|package| ["-p", package]);
            std::iter::once("update").chain(packages).collect()
        }
    };
    let manifest = manifest_in(RESOLVE, member);
    args.extend(["--manifest-path", &manifest]);
    let mut env = environment(Side::Baseline, &baseline.place, home);
    if mirrors {
        with_mirrors(&mut env);
    } else {
        args.push("--offline");
    }
    cargo(Side::Baseline, &args, env)
}

/// Fills a `CARGO_HOME` with what the lockfile takes from repositories, as the cargo of the side
/// wants it.
pub fn fetch_command(side: Side, toolchain: &Toolchain, member: &str) -> Command {
    let manifest = manifest_in(SOURCE, member);
    let mut env = environment(side, &toolchain.place, WORK_HOME);
    with_mirrors(&mut env);
    let args = ["fetch", "--locked", "--manifest-path", &manifest];
    cargo(side, &args, env)
}

/// Has cargo ask git, and git know nothing but the mirrors. There is no network anyway.
fn with_mirrors(env: &mut Vec<(String, String)>) {
    env.retain(|(key, _)| key != "CARGO_NET_OFFLINE");
    let more = [
        ("CARGO_NET_GIT_FETCH_WITH_CLI", "true"),
        ("CARGO_NET_RETRY", "0"),
        ("GIT_CONFIG_GLOBAL", GIT_CONFIG),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GIT_ALLOW_PROTOCOL", "file"),
    ];
    env.extend(more.map(|(key, value)| (key.to_owned(), value.to_owned())));
}

/// The manifest of the package in the directory `member` below `top`.
fn manifest_in(top: &str, member: &str) -> String {
    if member.is_empty() {
        format!("{top}/Cargo.toml")
    } else {
        format!("{top}/{member}/Cargo.toml")
    }
}

/// One step of a mode.
pub fn step_command(
    side: Side,
    toolchain: &Toolchain,
    config: &Config,
    plan: &StepPlan,
    build: &BuildOptions<'_>,
) -> Command {
    let step = plan.spec;
    let mut args: Vec<&str> = plan.args.iter().map(String::as_str).collect();
    let manifest = manifest_in(build.source, build.member);
    args.extend([
        "--locked",
        "--offline",
        "--message-format",
        "json",
        "--manifest-path",
        &manifest,
    ]);
    if build.keep_going && step.keep_going {
        args.push("--keep-going");
    }
    let docs_rs = build.docs_rs.filter(|_| step.kind == StepKind::Doc);
    let of_docs_rs = docs_rs.map(|d| d.cargo_args(toolchain.info.is_nightly()));
    args.extend(of_docs_rs.iter().flatten().map(String::as_str));
    let target = docs_rs.and_then(|d| d.default_target.as_deref());
    if let Some(target) = target.filter(|_| toolchain.spec.target.is_none()) {
        args.extend(["--target", target]);
    }
    // Last, because what follows `--` in them is not for cargo.
    args.extend(toolchain_args(&toolchain.spec));
    let mut env = environment(side, &toolchain.place, HOME);
    env.extend(
        config
            .mode
            .spec()
            .env
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned())),
    );
    if step.kind.runs_tests() {
        // A failed test says where it failed without that, and the rest is noise.
        env.retain(|(key, _)| key != "RUST_BACKTRACE");
        let threads = build.test_threads.to_string();
        env.push(("RUST_TEST_THREADS".to_owned(), threads));
    }
    if docs_rs.is_some() {
        // Documentation is written for a nightly compiler, and docs.rs has one.
        env.push(("RUSTC_BOOTSTRAP".to_owned(), "1".to_owned()));
        env.push(("DOCS_RS".to_owned(), "1".to_owned()));
    }
    env.extend(toolchain_env(&toolchain.spec, config.cap_lints, docs_rs));
    let mut set = |key: &str, value: String| env.push((key.to_owned(), value));
    set("CARGO_TARGET_DIR", format!("{WORK}/target"));
    set("CARGO_BUILD_JOBS", build.cargo_jobs.to_string());
    cargo(side, &args, env)
}

/// What a toolchain adds to the end of a cargo command that builds.
pub fn toolchain_args(spec: &ToolchainSpec) -> impl Iterator<Item = &str> {
    let target = spec.target.as_deref();
    let target = target.into_iter().flat_map(|target| ["--target", target]);
    target.chain(spec.cargoflags.iter().map(String::as_str))
}

/// What a toolchain, the experiment's cap on lints, and what the crate asks of docs.rs add to the
/// environment of cargo.
pub fn toolchain_env(
    spec: &ToolchainSpec,
    cap_lints: CapLints,
    docs_rs: Option<&DocsRs>,
) -> impl Iterator<Item = (String, String)> {
    let of_crate = |flags: fn(&DocsRs) -> Vec<String>| docs_rs.map(flags).unwrap_or_default();
    let programs = [
        ("RUSTFLAGS", &spec.rustflags, of_crate(DocsRs::rustc_flags)),
        (
            "RUSTDOCFLAGS",
            &spec.rustdocflags,
            of_crate(DocsRs::rustdoc_flags),
        ),
    ];
    programs
        .into_iter()
        .flat_map(move |(variable, own, of_crate)| {
            let mut flags = vec![format!("--cap-lints={cap_lints}")];
            flags.extend(of_crate);
            flags.extend(own.iter().cloned());
            // Separated as cargo separates them, so that a flag may hold spaces; older cargos read the
            // other variable.
            let encoded = (format!("CARGO_ENCODED_{variable}"), flags.join("\x1f"));
            [encoded, (variable.to_owned(), flags.join(" "))]
        })
}

/// How cargo is told to build, beside what the experiment says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuildOptions<'a> {
    /// Go on after a failure.
    pub keep_going: bool,
    /// Compilers at once.
    pub cargo_jobs: u32,
    /// Tests at once, in one program: the same on every machine.
    pub test_threads: u32,
    /// Where the source is.
    pub source: &'a str,
    /// The package's directory in it.
    pub member: &'a str,
    /// What the manifest asks of docs.rs, where that counts.
    pub docs_rs: Option<&'a DocsRs>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_toolchains_flags_reach_cargo() {
        let spec: ToolchainSpec =
            "stable+target=a-b+rustflags=--cfg x+rustdocflags=-Wy+cargoflags=-F z -- -Dw"
                .parse()
                .expect("valid");
        let args: Vec<&str> = toolchain_args(&spec).collect();
        assert_eq!(args, ["--target", "a-b", "-F", "z", "--", "-Dw"]);
        let env: Vec<(String, String)> = toolchain_env(&spec, CapLints::Warn, None).collect();
        let env: Vec<String> = env
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        assert_eq!(
            env,
            [
                "CARGO_ENCODED_RUSTFLAGS=--cap-lints=warn\x1f--cfg\x1fx",
                "RUSTFLAGS=--cap-lints=warn --cfg x",
                "CARGO_ENCODED_RUSTDOCFLAGS=--cap-lints=warn\x1f-Wy",
                "RUSTDOCFLAGS=--cap-lints=warn -Wy",
            ]
        );
    }
}
