//! The outer helper process: makes the namespaces, and ends what is in them when it is time.
//!
//! It stays outside the PID namespace, where no step can see it. When the agent closes the
//! connection, or dies, it kills the first process, and with it the kernel kills the rest.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{UsageWho, getrusage};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Gid, Uid};

use super::{Failure, control, kernel, read_order, say};
use crate::sandbox::native::wire::{Blame, FIRST, OUTER, Order, Report};

pub(super) fn main() -> Result<(), Failure> {
    let agent = control().map_err(Failure::to("use the connection to the agent"))?;
    let (order, line) = read_order(&agent)?;
    // Nothing of the agent's terminal reaches this process or the step.
    rustix::process::setsid().map_err(Failure::to("start a session"))?;
    let owner = (rustix::process::geteuid(), rustix::process::getegid());
    // First, so that the root of the cgroup namespace is the step's own.
    for procs in &order.cgroup_procs {
        let joined = kernel::write(procs, "0");
        joined.map_err(|error| {
            let action = format!("join `{}`", procs.display());
            Failure::to(action)(error).blame(Blame::Cgroups)
        })?;
    }
    leave(&order, owner)?;
    let (mut child, first) = start_first(&line)?;
    let followed = follow(&agent, &first);
    // Fails when it has ended already.
    let _ = child.kill();
    child
        .wait()
        .map_err(Failure::to("wait for the first process"))?;
    followed.map_err(Failure::to("follow the step"))?;
    let gone = Report::Gone { cpu_ms: cpu_ms() };
    say(&agent, &gone).map_err(Failure::to("tell the agent"))
}

/// Leaves the host's namespaces. The PID namespace begins with the next child.
fn leave(order: &Order, (uid, gid): (Uid, Gid)) -> Result<(), Failure> {
    let mut namespaces = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWCGROUP;
    if !order.root {
        namespaces |= CloneFlags::CLONE_NEWUSER;
    }
    unshare(namespaces).map_err(Failure::to("make namespaces"))?;
    if !order.root {
        // Root of this namespace, so that the first process has its powers after it is started.
        let ids = ((0, uid.as_raw()), (0, gid.as_raw()));
        kernel::map_user(ids).map_err(Failure::to("map a user into a namespace"))?;
    }
    Ok(())
}

/// Starts the first process, and hands the order on.
fn start_first(order: &str) -> Result<(Child, UnixStream), Failure> {
    let start = || -> io::Result<_> {
        let (ours, theirs) = UnixStream::pair()?;
        let child = Command::new("/proc/self/exe")
            .arg0("ejecta-sandbox")
            // The arguments that lead to `init_main`, and then its own.
            .args(std::env::args().skip(1).filter(|word| word != OUTER))
            .arg(FIRST)
            .env_clear()
            .stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)))
            .spawn()?;
        (&ours).write_all(order.as_bytes())?;
        Ok((child, ours))
    };
    start().map_err(Failure::to("start the first process"))
}

/// Hands on what the first process says, until it is gone or the agent wants no more.
fn follow(agent: &UnixStream, first: &UnixStream) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let mut ends = [
            PollFd::new(agent, PollFlags::IN),
            PollFd::new(first, PollFlags::IN),
        ];
        match poll(&mut ends, None) {
            Err(rustix::io::Errno::INTR) => continue,
            other => other?,
        };
        let [from_agent, from_first] = ends.map(|end| !end.revents().is_empty());
        if from_first {
            match (&*first).read(&mut buffer) {
                Ok(0) => return Ok(()),
                // It was killed before it had read everything.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
                read => (&*agent).write_all(&buffer[..read?])?,
            }
        } else if from_agent {
            // The agent has nothing more to say but the end.
            return Ok(());
        }
    }
}

/// CPU time of everything that was in the PID namespace, in milliseconds.
fn cpu_ms() -> u64 {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_CHILDREN) else {
        return 0;
    };
    let milliseconds = |time: nix::sys::time::TimeVal| {
        u64::try_from(time.tv_sec() * 1000 + time.tv_usec() / 1000).unwrap_or(0)
    };
    milliseconds(usage.user_time()) + milliseconds(usage.system_time())
}
