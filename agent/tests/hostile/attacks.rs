//! The table of attacks that are crates: what each does is in the crate, what must come of it here.

use ejecta_core::compare::Verdict;
use ejecta_core::limits::{LimitHit, Limits};
use ejecta_core::mode::Scope;
use ejecta_test_support::CrateFixture;

use super::REACHED;
use super::lab::Found;

/// One attack.
#[derive(Clone, Copy)]
pub struct Attack {
    /// Its crate's directory, or its archive's name.
    pub name: &'static str,
    pub expect: Expect,
    pub tier: Scope,
    /// Bounds of its own.
    pub limits: fn(&mut Limits),
    /// What stands in its way: with all of that taken away, and nothing else, it succeeds. Empty
    /// where that is not shown by running it.
    pub defences: &'static [Defence],
    /// Makes the package, where it is no directory.
    pub archive: Option<fn(&str) -> CrateFixture>,
}

/// What must come of an attack.
#[derive(Debug, Clone, Copy)]
pub enum Expect {
    /// It builds: what it tried did not work, and it went on.
    Passes,
    /// It is stopped at one of these limits, on both sides.
    Stopped(&'static [LimitHit]),
    /// It fails by itself, for this reason, on both sides.
    Fails(&'static str),
    /// The package is refused; the message holds this.
    Broken(&'static str),
    /// Its dependencies are; the message holds this.
    PrepareFail(&'static str),
}

/// A part of the defence that the Docker backend can be made to leave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Defence {
    /// No network.
    Network,
    /// Nothing of the host but the mounts.
    HostFiles,
    /// Mounts and the root directory can only be read.
    ReadOnly,
    /// Steps are nobody's user.
    User,
    /// No capability.
    Capabilities,
    /// Programs gain nothing by being set-user-ID.
    NoNewPrivileges,
    /// Our list of system calls instead of none.
    Seccomp,
    /// Our list of system calls instead of Docker's.
    StricterThanDocker,
    /// Parts of /proc and /sys are hidden or can only be read.
    MaskedPaths,
    /// Processes of their own.
    PidNamespace,
    /// Shared memory of their own.
    IpcNamespace,
    /// No devices.
    Devices,
    /// A `/tmp` of their own, of limited size.
    PrivateTmp,
    /// Steps start in the root directory.
    WorkingDirectory,
    /// Bounds: memory, processes, disk, output, time.
    Limits,
}

const fn attack(name: &'static str, expect: Expect) -> Attack {
    Attack {
        name,
        expect,
        tier: Scope::Lib,
        limits: |_| {},
        defences: &[],
        archive: None,
    }
}

/// An attempt that must not work.
const fn attempt(name: &'static str, defences: &'static [Defence]) -> Attack {
    attack(name, Passes).stopped_by(defences)
}

/// Something that must be stopped.
const fn excess(name: &'static str, hit: &'static [LimitHit]) -> Attack {
    attack(name, Expect::Stopped(hit)).stopped_by(&[Defence::Limits])
}

impl Attack {
    /// One whose package is made by hand.
    pub const fn of_archive(
        name: &'static str,
        archive: fn(&str) -> CrateFixture,
        expect: Expect,
    ) -> Self {
        Self {
            archive: Some(archive),
            ..attack(name, expect)
        }
    }

    const fn stopped_by(self, defences: &'static [Defence]) -> Self {
        Self { defences, ..self }
    }

    /// It is an example that attacks.
    const fn with_examples(self) -> Self {
        Self {
            tier: Scope::All,
            ..self
        }
    }

    const fn within(self, limits: fn(&mut Limits)) -> Self {
        Self { limits, ..self }
    }

    /// Whether what was found is what must be; else what is wrong.
    pub fn judge(&self, found: &Found) -> Result<(), String> {
        if found.log.contains(REACHED) || found.reason.contains(REACHED) {
            return Err("it got through".to_owned());
        }
        let (verdict, reasons): (_, Vec<&str>) = match self.expect {
            Passes => (Verdict::TestPass, vec![""]),
            Expect::Stopped(hits) => (self.failed(), hits.iter().map(|hit| hit.name()).collect()),
            Fails(reason) => (self.failed(), vec![reason]),
            Expect::Broken(message) => (Verdict::Broken, vec![message]),
            Expect::PrepareFail(message) => (Verdict::PrepareFail, vec![message]),
        };
        let exact = !matches!(self.expect, Expect::Broken(_) | Expect::PrepareFail(_));
        let is_reason = |expected: &&str| {
            found.reason == *expected || !exact && found.reason.contains(*expected)
        };
        if found.verdict == verdict && reasons.iter().any(is_reason) {
            return Ok(());
        }
        let (is, because) = (found.verdict, &found.reason);
        Err(format!(
            "it is {is} ({because}), and should be {verdict} ({reasons:?})"
        ))
    }

    /// The verdict of one that fails: an example is no library.
    fn failed(&self) -> Verdict {
        match self.tier {
            Scope::Lib => Verdict::BuildFail,
            Scope::All => Verdict::TestFail,
        }
    }
}

use Defence::{
    Capabilities, Devices, HostFiles, IpcNamespace, MaskedPaths, Network, NoNewPrivileges,
    PidNamespace, PrivateTmp, ReadOnly, Seccomp, StricterThanDocker, User, WorkingDirectory,
};
use Expect::{Fails, Passes};
use LimitHit::{NoProgress, NoSpace, Oom, Pids, Timeout, TooMuchOutput};

/// What keeps root's power from a step.
const POWER: &[Defence] = &[Capabilities, NoNewPrivileges, User];
const POWER_AND_CALLS: &[Defence] = &[Seccomp, Capabilities, NoNewPrivileges, User];

/// Taking more than there is.
pub const EXCESSES: &[Attack] = &[
    excess("fork-bomb", &[Pids]),
    excess("thread-bomb", &[Pids]),
    excess("memory-bomb", &[Oom]),
    excess("memory-bomb-in-compiler", &[Oom]).with_examples(),
    excess("shared-memory-bomb", &[Oom]),
    excess("disk-fill", &[NoSpace]),
    excess("disk-fill-with-a-hole", &[NoSpace]),
    excess("inode-fill", &[NoSpace]),
    attempt("tmp-fill", &[Defence::Limits]),
    attempt("descriptor-bomb", &[Defence::Limits]),
    excess("output-flood", &[TooMuchOutput]).with_examples(),
    excess("output-flood-of-lines", &[TooMuchOutput]).with_examples(),
    excess("output-flood-without-end-of-line", &[TooMuchOutput]),
    excess("output-flood-into-cargo", &[Oom, NoSpace]),
    excess("very-many-files", &[NoSpace]).within(|limits| limits.disk_inodes = 20_000),
];

/// Never ending, or ending everything.
pub const HANGS: &[Attack] = &[
    excess("silent-hang", &[NoProgress]).within(soon_when_idle),
    excess("busy-hang", &[Timeout]).within(soon),
    excess("chatty-hang", &[Timeout]).within(soon),
    excess("stopped-cargo", &[NoProgress]).within(soon_when_idle),
    excess("hang-after-closing-outputs", &[NoProgress])
        .with_examples()
        .within(soon_when_idle),
    attack("compiler-hang", Expect::Stopped(&[Timeout])).within(soon),
    attack("killed-cargo", Fails("unknown")),
    attack("killed-everything", Fails("unknown")),
];

fn soon(limits: &mut Limits) {
    limits.wall_seconds = 5;
}

fn soon_when_idle(limits: &mut Limits) {
    limits.no_progress_seconds = Some(3);
}

/// What is left when a step has ended, and who cleans it up.
pub const REMAINS: &[Attack] = &[
    attack("daemon", Passes),
    attack("daemon-that-keeps-the-output", Passes),
    attack("tampering-with-the-next-run", Fails("build-script")).stopped_by(&[PrivateTmp]),
    attack("links-for-the-clean-up", Passes),
    attack("target-replaced-by-a-link", Fails("unknown")),
    attack("hard-links-for-the-clean-up", Passes),
    attack("deep-tree", Passes).within(|limits| limits.disk_inodes = 50_000),
    attack("odd-names", Passes),
    attack("unreadable-directories", Passes),
    attack("very-many-files", Passes).within(|limits| limits.disk_inodes = 200_000),
];

/// Reading and writing what is not the job's own.
pub const FILES: &[Attack] = &[
    attempt("reading-system-files", &[HostFiles]),
    attempt("reading-the-home-directory", &[HostFiles, User]),
    attempt("reading-the-environment", &[PidNamespace]),
    attempt("reading-the-docker-socket", &[HostFiles]),
    attempt("reading-other-jobs", &[HostFiles]),
    attempt("reading-other-processes", &[PidNamespace]),
    attempt(
        "reading-masked-files",
        &[MaskedPaths, User, Capabilities, NoNewPrivileges],
    ),
    attack("including-host-files", Fails("compiler-error")).stopped_by(&[HostFiles]),
    attack("including-the-environment", Fails("compiler-error")),
    attack("including-other-jobs", Fails("compiler-error")).stopped_by(&[HostFiles]),
    attack("library-outside", Fails("unknown")).stopped_by(&[HostFiles]),
    attack("build-script-outside", Fails("compiler-error")).stopped_by(&[HostFiles]),
    attempt("writing-its-source", &[ReadOnly, User]),
    attempt("writing-the-store", &[ReadOnly, User]),
    attempt("writing-its-dependencies", &[ReadOnly, User]),
    // Nobody's toolchain is to be written to for a test.
    attack("writing-the-toolchain", Passes),
    attempt("writing-the-cargo-home", &[ReadOnly, User]),
    attempt("writing-the-system", &[ReadOnly, User]),
];

/// Speaking with anybody.
pub const NETWORK: &[Attack] = &[
    attempt("tcp-to-the-loopback", &[Network]),
    attempt("tcp-to-the-bridge-gateway", &[Network]),
    attempt("tcp-outwards", &[Network]),
    attempt("udp-to-the-host", &[Network]),
    attempt("dns", &[Network]),
    attempt("abstract-unix-sockets", &[Network]),
    attempt("unix-sockets-with-a-path", &[HostFiles]),
    attempt("raw-sockets", POWER_AND_CALLS),
    attempt("rare-sockets", &[StricterThanDocker]),
    attempt("af-alg", &[StricterThanDocker]),
    attempt("af-vsock", &[StricterThanDocker]),
];

/// Becoming more than a step, and reaching the kernel where it is weak.
pub const PRIVILEGES: &[Attack] = &[
    attempt("killing-other-processes", &[PidNamespace]),
    attempt("tracing-other-processes", &[PidNamespace]),
    attempt("shared-memory-of-others", &[IpcNamespace]),
    attempt("mounting", POWER_AND_CALLS),
    attempt("new-namespaces", &[Seccomp]),
    attempt("changing-the-root", POWER_AND_CALLS),
    attempt("becoming-root", &[User]),
    attempt("set-user-id-programs", &[NoNewPrivileges]),
    attempt("making-device-nodes", POWER),
    attempt("opening-devices", &[Devices]),
    attempt(
        "writing-proc",
        &[MaskedPaths, User, Capabilities, NoNewPrivileges],
    ),
    attempt("writing-sys", &[Devices, User]),
    attempt("never-killed-for-memory", POWER),
    attempt("raising-its-limits", POWER),
    attempt("keyrings", &[Seccomp]),
    attempt("bpf", POWER_AND_CALLS),
    attempt("perf-events", &[Seccomp]),
    attempt("io-uring", &[StricterThanDocker]),
    attempt("userfaultfd", &[Seccomp]),
    attempt("loading-modules", POWER_AND_CALLS),
    attempt("opening-by-handle", POWER_AND_CALLS),
    attempt("changing-the-machine", POWER_AND_CALLS),
    attempt("odd-personalities", &[Seccomp]),
    attempt("calls-of-32-bits", &[StricterThanDocker]),
];

/// Lying about what happened, and to whoever reads it.
pub const LIES: &[Attack] = &[
    attack("forged-errors", Passes),
    attack("forged-crash", Fails("build-script")),
    attack("forged-success", Fails("compiler-error(E0308)")),
    attack("forged-dependency-failure", Fails("build-script")),
    attack("terminal-escapes", Fails("build-script")),
    attack("markup-in-errors", Fails("compiler-error")),
];

/// Telling cargo and rustup to do something else.
pub const CONFIGURATIONS: &[Attack] = &[
    attempt("cargo-configuration", &[WorkingDirectory]),
    attack("toolchain-file", Passes),
    attack("workspace-outside", Passes),
    attack("members-outside", Passes),
    attack("path-dependency", Expect::Broken("path without a version")),
    attack("path-dependency-with-a-version", Passes),
    attack("git-dependency", Expect::PrepareFail("hostile-leaf")),
    attack("another-registry", Expect::PrepareFail("hostile-leaf")),
    attack("commands-of-the-build-script", Passes),
];

/// Every attack that is a crate.
pub fn all() -> impl Iterator<Item = &'static Attack> {
    [
        EXCESSES,
        HANGS,
        REMAINS,
        FILES,
        NETWORK,
        PRIVILEGES,
        LIES,
        CONFIGURATIONS,
    ]
    .into_iter()
    .flatten()
}
