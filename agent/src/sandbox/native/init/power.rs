//! The way from a process that may mount to one that may nothing, and never again.

use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigHandler, Signal, signal};
use rustix::process::{
    DumpableBehavior, Gid, Resource, Rlimit, Uid, getrlimit, set_dumpable_behavior,
    set_parent_process_death_signal, setrlimit,
};
use rustix::thread::{
    CapabilitySet, CapabilitySets, CpuSet, clear_ambient_capability_set,
    remove_capability_from_bounding_set, sched_setaffinity, set_capabilities, set_no_new_privs,
    set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

use super::seccomp::{self, Strictness};
use super::{Failure, kernel};
use crate::sandbox::native::wire::{Blame, Order};

/// Bounds of each process, which its children inherit.
pub(super) fn bound(order: &Order) -> Result<(), Failure> {
    // Too little for a file, as none would be; and with exactly this much no program of the host
    // is started for it, which for none at all some hosts do.
    limit(Resource::Core, 1)?;
    limit(Resource::Nofile, order.open_files)?;
    if let Some(processors) = &order.instead.processors {
        let mut set = CpuSet::new();
        for processor in processors {
            set.set(*processor);
        }
        sched_setaffinity(None, &set).map_err(Failure::to("choose processors"))?;
    }
    rustix::process::umask(rustix::fs::Mode::WGRP | rustix::fs::Mode::WOTH);
    Ok(())
}

fn limit(resource: Resource, value: u64) -> Result<(), Failure> {
    let set = |value| {
        let both = Rlimit {
            current: Some(value),
            maximum: Some(value),
        };
        setrlimit(resource, both)
    };
    let was = getrlimit(resource).maximum;
    set(value)
        .or_else(|error| match was {
            // Only the host's root may raise the maximum that it was started with.
            Some(was) if was < value => set(was),
            _ => Err(error),
        })
        .map_err(Failure::to("set a limit of the process"))
}

/// Becomes the user of the step, in a user namespace that owns nothing.
pub(super) fn become_user(order: &Order) -> Result<(), Failure> {
    let (uid, gid) = order.user;
    if order.root {
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        // Its output belongs to it, so that it can open `/dev/stdout`.
        for output in [rustix::stdio::stdout(), rustix::stdio::stderr()] {
            rustix::fs::fchown(output, Some(uid), Some(gid))
                .map_err(Failure::to("give the output to the step"))?;
        }
        drop_bounding_set()?;
        set_thread_groups(&[]).map_err(Failure::to("leave all groups"))?;
        set_thread_res_gid(gid, gid, gid).map_err(Failure::to("change the group"))?;
        set_thread_res_uid(uid, uid, uid).map_err(Failure::to("change the user"))?;
    }
    if order.user_namespace {
        let outside = if order.root { (uid, gid) } else { (0, 0) };
        let enter = || -> std::io::Result<()> {
            unshare(CloneFlags::CLONE_NEWUSER)?;
            kernel::map_user(((uid, outside.0), (gid, outside.1)))
        };
        enter().map_err(|error| {
            Failure::to("make a user namespace for the step")(error).blame(Blame::UserNamespace)
        })?;
        drop_bounding_set().map_err(|failure| failure.blame(Blame::UserNamespace))?;
    }
    Ok(())
}

/// Gives up what is left, installs the filters, and closes this process to the step.
pub(super) fn renounce(order: &Order) -> Result<(), Failure> {
    if let Some(pids) = order.instead.pids {
        // This process and its watchdog are two more. What is set in a user namespace counts only
        // what is in there, and not the user's other processes.
        limit(Resource::Nproc, u64::from(pids) + 2)?;
    }
    clear_ambient_capability_set().map_err(Failure::to("drop capabilities"))?;
    let none = CapabilitySet::empty();
    let sets = CapabilitySets {
        effective: none,
        permitted: none,
        inheritable: none,
    };
    set_capabilities(None, sets).map_err(Failure::to("drop capabilities"))?;
    set_no_new_privs(true).map_err(Failure::to("give up new privileges"))?;
    // The step has the same user, and must not read or trace this process.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(Failure::to("close the first process to others"))?;
    handle_no_signal().map_err(Failure::to("let go of signals"))?;
    // A change of user takes the wish back.
    set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .map_err(Failure::to("tie the first process to the helper"))?;
    let strictness = Strictness {
        no_loose_memory: order.instead.memory_bytes.is_some(),
        no_affinity: order.instead.processors.is_some(),
    };
    let filters = seccomp::filters(strictness)
        .map_err(|error| Failure::to("make the filters")(std::io::Error::other(error)))?;
    for filter in &filters {
        seccompiler::apply_filter(filter)
            .map_err(|error| Failure::to("install a filter")(std::io::Error::other(error)))?;
    }
    Ok(())
}

/// The first process of a PID namespace gets no signal from inside that it does not handle. The
/// standard library handles two, to tell of overflowing stacks.
#[expect(
    unsafe_code,
    reason = "handlers of signals are the process's, not a value's"
)]
fn handle_no_signal() -> nix::Result<()> {
    for handled in [Signal::SIGSEGV, Signal::SIGBUS] {
        // SAFETY: no handler is installed, only one taken away that nothing of ours relies on.
        unsafe { signal(handled, SigHandler::SigDfl) }?;
    }
    Ok(())
}

fn drop_bounding_set() -> Result<(), Failure> {
    for bit in 0..u64::BITS {
        match remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << bit)) {
            Ok(()) => {}
            // The kernel knows no more of them.
            Err(rustix::io::Errno::INVAL) if bit > 0 => break,
            Err(error) => return Err(Failure::to("drop the bounding set")(error)),
        }
    }
    Ok(())
}
