//! The filters of a step: [`crate::sandbox::calls`] as programs for the kernel.
//!
//! One filter answers with one error, so there are four: a call is allowed where all allow it.

use std::collections::BTreeMap;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};
use syscalls::Sysno;

use crate::sandbox::calls::{
    ALLOWED, CONDITIONAL, EAFNOSUPPORT, ENOSYS, EPERM, EPROTONOSUPPORT, FAMILIES, NAMESPACES,
    NETLINK, NETLINK_ROUTE, PERSONALITIES, REFUSED, TRACING,
};

/// `AF_UNIX`, the only family of pairs.
const UNIX: u64 = FAMILIES[0];
/// `TIOCSTI` and `TIOCLINUX`, the two ways to type into a terminal.
const TYPING: [u64; 2] = [0x5412, 0x541c];

/// What a step may not do because nothing else bounds it on this machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Strictness {
    /// Memory that belongs to no process: no cgroup counts it.
    pub(super) no_loose_memory: bool,
    /// Leave the processors it was bound to.
    pub(super) no_affinity: bool,
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// The filters, to be installed in this order.
///
/// # Errors
/// When this machine's kind of processor has no filters.
pub(super) fn filters(strictness: Strictness) -> Result<Vec<BpfProgram>, BackendError> {
    let known = [ALLOWED, TRACING, CONDITIONAL, REFUSED].into_iter();
    let known = known.flat_map(always).collect();
    let allow = SeccompAction::Allow;
    let refuse = SeccompAction::Errno;
    [
        (known, allow.clone(), refuse(ENOSYS)),
        (refused(strictness)?, refuse(EPERM), allow.clone()),
        (refused_families()?, refuse(EAFNOSUPPORT), allow.clone()),
        (refused_netlink()?, refuse(EPROTONOSUPPORT), allow),
    ]
    .into_iter()
    .map(|(rules, matching, other)| filter(rules, matching, other))
    .collect()
}

fn filter(
    rules: Rules,
    matching: SeccompAction,
    other: SeccompAction,
) -> Result<BpfProgram, BackendError> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    SeccompFilter::new(rules, other, matching, arch)?.try_into()
}

/// Rules without conditions for the calls of these names that this machine has.
fn always(names: &str) -> impl Iterator<Item = (i64, Vec<SeccompRule>)> {
    let calls = names
        .split_whitespace()
        .filter_map(|name| name.parse().ok());
    calls.map(|call: Sysno| (i64::from(call.id()), Vec::new()))
}

/// What is refused, with the arguments for which it is.
fn refused(strictness: Strictness) -> Result<Rules, BackendError> {
    let mut rules: Rules = always(REFUSED).collect();
    let bits = (0..u64::BITS).map(|bit| 1 << bit);
    let namespaces = bits
        .filter(|flag| NAMESPACES & flag != 0)
        .map(|flag| all([(0, SeccompCmpOp::MaskedEq(flag), flag)]));
    insert(
        &mut rules,
        Sysno::clone,
        namespaces.collect::<Result<_, _>>()?,
    );
    let other = PERSONALITIES.map(|known| (0, SeccompCmpOp::Ne, known));
    insert(&mut rules, Sysno::personality, vec![all(other)?]);
    // Another process's limits: the first process of the sandbox has the same user.
    insert(
        &mut rules,
        Sysno::prlimit64,
        vec![all([(0, SeccompCmpOp::Ne, 0)])?],
    );
    let typing = TYPING.map(|request| all([(1, SeccompCmpOp::Eq, request)]));
    insert(
        &mut rules,
        Sysno::ioctl,
        typing.into_iter().collect::<Result<_, _>>()?,
    );
    if strictness.no_loose_memory {
        rules.extend(always("memfd_create shmget"));
    }
    if strictness.no_affinity {
        rules.extend(always("sched_setaffinity"));
    }
    Ok(rules)
}

/// The families of sockets that do not exist inside.
fn refused_families() -> Result<Rules, BackendError> {
    let [unix, inet, inet6] = FAMILIES;
    let other = [unix, inet, inet6, NETLINK].map(|family| (0, SeccompCmpOp::Ne, family));
    let mut rules = Rules::new();
    insert(&mut rules, Sysno::socket, vec![all(other)?]);
    insert(
        &mut rules,
        Sysno::socketpair,
        vec![all([(0, SeccompCmpOp::Ne, UNIX)])?],
    );
    Ok(rules)
}

/// The parts of netlink that do not: all but the one that lists network interfaces.
fn refused_netlink() -> Result<Rules, BackendError> {
    let other = [
        (0, SeccompCmpOp::Eq, NETLINK),
        (2, SeccompCmpOp::Ne, NETLINK_ROUTE),
    ];
    let mut rules = Rules::new();
    insert(&mut rules, Sysno::socket, vec![all(other)?]);
    Ok(rules)
}

fn insert(rules: &mut Rules, call: Sysno, conditions: Vec<SeccompRule>) {
    rules.insert(i64::from(call.id()), conditions);
}

/// A rule that holds where all of its conditions on arguments do.
fn all<const N: usize>(
    conditions: [(u8, SeccompCmpOp, u64); N],
) -> Result<SeccompRule, BackendError> {
    let conditions = conditions
        .into_iter()
        .map(|(argument, op, value)| {
            SeccompCondition::new(argument, SeccompCmpArgLen::Dword, op, value)
        })
        .collect::<Result<_, _>>()?;
    SeccompRule::new(conditions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filters_compile_and_know_the_names() {
        for strict in [false, true] {
            let strictness = Strictness {
                no_loose_memory: strict,
                no_affinity: strict,
            };
            assert_eq!(filters(strictness).unwrap().len(), 4);
        }
        let missing = [ALLOWED, TRACING, CONDITIONAL].into_iter();
        let missing: Vec<&str> = missing
            .flat_map(str::split_whitespace)
            .filter(|name| name.parse::<Sysno>().is_err())
            .collect();
        if cfg!(target_arch = "x86_64") {
            assert_eq!(missing, Vec::<&str>::new());
        }
        assert!(always("read").next().is_some());
    }
}
