//! The first process of the PID namespace: builds the inside, gives up every power, starts the
//! step, and reaps until the step has ended. When it exits, the kernel kills all that is left.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, WaitOptions, WaitStatus, wait};

use super::watchdog::{self, Watchdog};
use super::{Failure, control, loopback, mounts, power, read_order, say};
use crate::sandbox::native::wire::{Blame, Order, Report};

/// The exit status for a program that is not there.
const NOT_FOUND: i32 = 127;
/// The exit status for one that cannot be run.
const NOT_EXECUTABLE: i32 = 126;

pub(super) fn main() -> Result<(), Failure> {
    let control = control().map_err(Failure::to("use the connection to the helper"))?;
    let (order, _) = read_order(&control)?;
    rustix::process::setsid().map_err(Failure::to("start a session"))?;
    rustix::system::sethostname(b"ejecta").map_err(Failure::to("set the host name"))?;
    loopback::up().map_err(Failure::to("switch the loopback interface on"))?;
    mounts::build(&order)?;
    power::bound(&order)?;
    power::become_user(&order)?;
    rustix::process::chdir(order.cwd.as_str()).map_err(|error| {
        Failure::to(format!("enter the directory `{}`", order.cwd))(error).blame(Blame::Order)
    })?;
    power::renounce(&order)?;
    if helper_is_gone(&control) {
        return Ok(());
    }
    let watchdog =
        watchdog::start(&order.instead, &control).map_err(Failure::to("start the watchdog"))?;
    let report = run(&order, watchdog.as_ref())?;
    say(&control, &report).map_err(Failure::to("tell the helper"))?;
    if watchdog.is_some() {
        reap_all();
    }
    Ok(())
}

/// Kills and reaps all that is left, so that its CPU time is counted: what the kernel reaps when
/// this process ends is not.
fn reap_all() {
    // Every process that this one may see; none is left when it fails.
    while kill_all_processes().is_ok() {
        while !matches!(wait(WaitOptions::empty()), Err(rustix::io::Errno::CHILD)) {}
    }
}

fn kill_all_processes() -> nix::Result<()> {
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(-1),
        nix::sys::signal::Signal::SIGKILL,
    )
}

/// Whether the helper went away before the wish to die with it was heard.
fn helper_is_gone(control: &UnixStream) -> bool {
    let mut end = [PollFd::new(control, PollFlags::IN)];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    matches!(poll(&mut end, Some(&now)), Ok(found) if found > 0)
}

/// Starts the step and waits for it, and for every orphan meanwhile.
fn run(order: &Order, watchdog: Option<&Watchdog>) -> Result<Report, Failure> {
    let (program, arguments) = order.argv.split_first().ok_or_else(|| {
        let source = std::io::Error::other("it has no program");
        Failure::to("understand the command")(source).blame(Blame::Order)
    })?;
    let spawned = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(order.env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .process_group(0)
        .spawn();
    let step = match spawned {
        Ok(child) => Pid::from_child(&child),
        Err(error) => return not_started(program, error),
    };
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == step => {
                let tasks = watchdog.map(|_| watchdog::tasks());
                return Ok(ended(status, tasks));
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(Failure::to("wait for the step")(error)),
        }
    }
}

fn ended(status: WaitStatus, tasks: Option<u32>) -> Report {
    Report::Exited {
        code: status.exit_status(),
        signal: status.terminating_signal(),
        tasks,
    }
}

/// A program that is not there or does not run ends as it would under a shell.
fn not_started(program: &str, error: std::io::Error) -> Result<Report, Failure> {
    use std::io::ErrorKind;
    let code = match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => NOT_FOUND,
        ErrorKind::PermissionDenied
        | ErrorKind::IsADirectory
        | ErrorKind::ExecutableFileBusy
        | ErrorKind::InvalidInput => NOT_EXECUTABLE,
        // Not an executable's format, in one way or another.
        _ if matches!(
            error.raw_os_error(),
            Some(nix::libc::ENOEXEC | nix::libc::ELOOP)
        ) =>
        {
            NOT_EXECUTABLE
        }
        _ => return Err(Failure::to(format!("start `{program}`"))(error)),
    };
    // Part of the step's output, which may be closed.
    let _ = writeln!(std::io::stderr(), "{program}: {error}");
    Ok(Report::Exited {
        code: Some(code),
        signal: None,
        tasks: None,
    })
}
