//! What this machine gives: found out by a first step, and said in words.

use std::path::Path;
use std::time::Duration;

use ejecta_core::limits::Limits;
use tokio::io::AsyncReadExt;

use super::cgroup::{Cgroups, Controller};
use super::step::Step;
use super::wire::{Blame, Report};
use super::{SandboxError, Shared};
use crate::sandbox::Command;

/// How long a first step may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Settings of the kernel that forbid namespaces to users: the file, the value that forbids, and
/// the way to allow them.
const FORBIDDING: [(&str, &str, &str); 3] = [
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "kernel.apparmor_restrict_unprivileged_userns=0",
    ),
    (
        "/proc/sys/kernel/unprivileged_userns_clone",
        "0",
        "kernel.unprivileged_userns_clone=1",
    ),
    (
        "/proc/sys/user/max_user_namespaces",
        "0",
        "user.max_user_namespaces=10000",
    ),
];

/// Runs first steps until one passes, with ever less of what can be done without.
pub(super) async fn settle(shared: &mut Shared) -> Result<(), SandboxError> {
    loop {
        let Some((message, blame)) = try_step(shared).await? else {
            return bounds_processes(shared);
        };
        tracing::debug!(message, ?blame, "a first step failed");
        match blame {
            Blame::Cgroups if !shared.cgroups.is_empty() => shared.cgroups = Cgroups::default(),
            Blame::UserNamespace if shared.identity.root && shared.user_namespace => {
                shared.user_namespace = false;
            }
            _ => {
                return Err(SandboxError::Namespaces {
                    message,
                    hint: hint(),
                });
            }
        }
    }
}

/// Without a cgroup the kernel counts the processes of a user namespace. Without either the steps
/// of different jobs would be counted together.
fn bounds_processes(shared: &Shared) -> Result<(), SandboxError> {
    if shared.user_namespace || shared.cgroups.has(Controller::Pids) {
        return Ok(());
    }
    Err(SandboxError::Namespaces {
        message: "neither a user namespace nor a cgroup can bound processes here".to_owned(),
        hint: hint(),
    })
}

/// Runs a program that does nothing; why it did not run, if so.
async fn try_step(shared: &Shared) -> Result<Option<(String, Blame)>, SandboxError> {
    let limits = Limits::default();
    let command = Command {
        argv: vec!["/usr/bin/true".to_owned()],
        env: Vec::new(),
        cwd: "/".to_owned(),
    };
    let cgroup = shared.cgroups.create(&shared.step_name(), &limits)?;
    let order = shared.order(&command, &[], &limits, cgroup.as_ref());
    let mut step = Step::start(&shared.helper, &order, cgroup, &shared.endings).await?;
    let heard = tokio::time::timeout(PATIENCE, hear(&mut step));
    let mut failure = heard.await.unwrap_or_else(|_| {
        Some((
            "the helper process did not come to an end".to_owned(),
            Blame::Machine,
        ))
    });
    if let Some((message, _)) = &mut failure {
        let mut said = String::new();
        let reading = step.stderr.read_to_string(&mut said);
        // A helper that panicked, or is no helper, says so there.
        if tokio::time::timeout(PATIENCE / 30, reading).await.is_ok()
            && let Some(last) = said.lines().last()
        {
            message.push_str(": ");
            message.push_str(last);
        }
    }
    step.end(|_| ()).await?;
    Ok(failure)
}

/// What a helper process says of its step; nothing when that ran.
async fn hear(step: &mut Step) -> Option<(String, Blame)> {
    while let Some(report) = step.reports.next().await {
        match report {
            Report::Failed {
                action,
                message,
                blame,
            } => return Some((format!("{action}: {message}"), blame)),
            Report::Exited { .. } => return None,
            _ => {}
        }
    }
    Some(("the helper process said nothing".to_owned(), Blame::Machine))
}

fn hint() -> String {
    let forbids = |path: &str, value: &str| {
        std::fs::read_to_string(path).is_ok_and(|text| text.trim() == value)
    };
    let setting = FORBIDDING
        .iter()
        .find(|(path, value, _)| forbids(path, value));
    match setting {
        Some((_, _, allow)) => {
            format!("allow users to make namespaces with `sudo sysctl {allow}`, or use Docker")
        }
        None => "inside a container the container must allow namespaces (Docker: `--privileged`); \
                 Linux 5.6 or newer is needed; or use Docker"
            .to_owned(),
    }
}

/// What this machine does not give, in words.
pub(super) fn lacking(shared: &Shared) -> Vec<String> {
    let without = |controller| !shared.cgroups.has(controller);
    let mut lacking = Vec::new();
    let mut lacks = |what: bool, sentence: &str| {
        if what {
            lacking.push(sentence.to_owned());
        }
    };
    lacks(
        without(Controller::Memory),
        "no cgroup can bound memory here: a watchdog looks at it many times a second and kills \
         the largest process above the limit; memfd and System V shared memory are refused",
    );
    lacks(
        without(Controller::Pids),
        "no cgroup can bound processes here: the kernel's limit for a user does (RLIMIT_NPROC)",
    );
    lacks(
        without(Controller::Cpu),
        "no cgroup can bound CPU time here: each step is bound to as many processors as its \
         quota, rounded up",
    );
    lacks(
        !shared.user_namespace,
        "this machine gives no user namespaces: steps run as an account of their own in the \
         host's",
    );
    let groups = rustix::process::getgroups().unwrap_or_default();
    let more = groups
        .iter()
        .any(|group| group.as_raw() != shared.identity.outside.1);
    lacks(
        !shared.identity.root && more,
        "only root can leave groups: steps keep the supplementary groups of this user, which \
         matter for the mounts that they see, and for nothing else",
    );
    let systemd = Path::new("/run/systemd/system").exists();
    lacks(
        !shared.identity.root && without(Controller::Memory) && systemd,
        "systemd gives cgroups to `systemd-run --user --scope -p Delegate=yes ejecta ...`",
    );
    lacking
}
