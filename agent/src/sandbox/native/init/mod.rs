//! The helper processes: they turn themselves into a sandbox.
//!
//! The agent has many threads, so it neither forks nor leaves its namespaces. It starts its own
//! executable again; that process makes the namespaces ([`outer`]) and starts the executable once
//! more as the first process in them ([`first`]), which mounts, drops every power and starts the
//! step. Both have one thread until the step runs, no runtime and no configuration but the order
//! that comes through standard input. Where one fails there is no step: nothing runs half
//! isolated.
//!
//! Inside a sandbox the executable has one more use: [`forward`].

mod first;
mod forward;
mod kernel;
mod loopback;
mod mounts;
mod outer;
mod place;
mod power;
mod seccomp;
mod watchdog;

use std::fmt;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use super::wire::{Blame, FIRST, FORWARD, Order, Report};

pub(crate) use forward::PORT as FORWARD_PORT;

/// The main function of a helper process; call it before anything else, with the arguments after
/// the one that asked for it. Returns the exit status.
pub fn init_main(arguments: impl IntoIterator<Item = String>) -> i32 {
    // Whatever else was open in the agent or in what started it stays outside.
    close_fds::set_fds_cloexec(3, &[]);
    let mut arguments = arguments.into_iter();
    let ended = match arguments.next() {
        Some(stage) if stage == FORWARD => return forward::main(arguments),
        Some(stage) if stage == FIRST => first::main(),
        _ => outer::main(),
    };
    match ended {
        Ok(()) => 0,
        Err(failure) => {
            if let Ok(control) = control() {
                // The agent is gone when this fails.
                let _ = say(&control, &failure.report());
            }
            1
        }
    }
}

/// What failed, on the way to a [`Report::Failed`].
#[derive(Debug)]
struct Failure {
    action: String,
    source: io::Error,
    blame: Blame,
}

impl Failure {
    /// For `map_err`: the machine did not let us.
    fn to<E: Into<io::Error>>(action: impl Into<String>) -> impl FnOnce(E) -> Self {
        let action = action.into();
        move |source| Self {
            action,
            source: source.into(),
            blame: Blame::Machine,
        }
    }

    fn blame(mut self, blame: Blame) -> Self {
        self.blame = blame;
        self
    }

    fn report(&self) -> Report {
        Report::Failed {
            action: self.action.clone(),
            message: self.source.to_string(),
            blame: self.blame,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.action, self.source)
    }
}

/// The connection to whoever started this process: its standard input.
fn control() -> io::Result<UnixStream> {
    Ok(rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?.into())
}

/// Reads the order; nothing comes after it.
fn read_order(control: &UnixStream) -> Result<(Order, String), Failure> {
    let mut line = String::new();
    BufReader::new(control)
        .read_line(&mut line)
        .map_err(Failure::to("read the order"))?;
    let order = serde_json::from_str(&line)
        .map_err(Failure::to::<serde_json::Error>("understand the order"))?;
    Ok((order, line))
}

fn say(mut control: &UnixStream, report: &Report) -> io::Result<()> {
    let mut line = serde_json::to_vec(report)?;
    line.push(b'\n');
    control.write_all(&line)
}
