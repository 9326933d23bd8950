//! The filter of system calls of a container: [`crate::sandbox::calls`] as a profile for the daemon.

use serde_json::{Value, json};

use crate::sandbox::calls::{
    ALLOWED, EAFNOSUPPORT, ENOSYS, EPERM, EPROTONOSUPPORT, FAMILIES, NAMESPACES, NETLINK,
    NETLINK_ROUTE, PERSONALITIES, REFUSED, TRACING,
};

/// The first Linux of that kind.
const TRACING_SINCE: &str = "4.8";

/// The profile, as the daemon takes it: JSON.
pub(super) fn profile() -> String {
    let mut rules = vec![
        allow(ALLOWED, &[]),
        refuse(REFUSED, EPERM, &[]),
        refuse("clone3", ENOSYS, &[]),
        allow("clone", &[masked(0, NAMESPACES, 0)]),
    ];
    let namespaces = (0..u64::BITS).map(|bit| 1 << bit);
    rules.extend(
        namespaces
            .filter(|flag| NAMESPACES & flag != 0)
            .map(|flag| refuse("clone", EPERM, &[masked(0, flag, flag)])),
    );
    let mut tracing = allow(TRACING, &[]);
    tracing["includes"] = json!({ "minKernel": TRACING_SINCE });
    rules.push(tracing);
    rules.extend(PERSONALITIES.map(|known| allow("personality", &[equal(0, known)])));
    rules.extend(sockets());
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": ENOSYS,
        "archMap": [
            { "architecture": "SCMP_ARCH_X86_64", "subArchitectures": [] },
            { "architecture": "SCMP_ARCH_AARCH64", "subArchitectures": [] },
        ],
        "syscalls": rules,
    })
    .to_string()
}

/// The families of sockets that there are, and what is said of the others.
fn sockets() -> Vec<Value> {
    let is = |family| equal(0, family);
    let mut rules: Vec<Value> = FAMILIES
        .iter()
        .map(|family| allow("socket", &[is(*family)]))
        .collect();
    let route = equal(2, NETLINK_ROUTE);
    rules.push(allow("socket", &[is(NETLINK), route]));
    let other = compared(2, "SCMP_CMP_NE", NETLINK_ROUTE);
    rules.push(refuse("socket", EPROTONOSUPPORT, &[is(NETLINK), other]));
    let unknown = (0..NETLINK).filter(|family| !FAMILIES.contains(family));
    rules.extend(unknown.map(|family| refuse("socket", EAFNOSUPPORT, &[is(family)])));
    let newer = compared(0, "SCMP_CMP_GT", NETLINK);
    rules.push(refuse("socket", EAFNOSUPPORT, &[newer]));
    rules.push(allow("socketpair", &[is(FAMILIES[0])]));
    let other = compared(0, "SCMP_CMP_NE", FAMILIES[0]);
    rules.push(refuse("socketpair", EAFNOSUPPORT, &[other]));
    rules
}

/// Calls that are allowed where all of the conditions on their arguments hold.
fn allow(names: &str, conditions: &[Value]) -> Value {
    json!({
        "names": names.split_whitespace().collect::<Vec<_>>(),
        "action": "SCMP_ACT_ALLOW",
        "args": conditions,
    })
}

/// Calls that fail with `errno` where all of the conditions hold.
fn refuse(names: &str, errno: u32, conditions: &[Value]) -> Value {
    json!({
        "names": names.split_whitespace().collect::<Vec<_>>(),
        "action": "SCMP_ACT_ERRNO",
        "errnoRet": errno,
        "args": conditions,
    })
}

fn equal(index: u32, value: u64) -> Value {
    compared(index, "SCMP_CMP_EQ", value)
}

/// The condition that the bits of `mask` in an argument are `value`.
fn masked(index: u32, mask: u64, value: u64) -> Value {
    json!({ "index": index, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ" })
}

fn compared(index: u32, op: &str, value: u64) -> Value {
    json!({ "index": index, "value": value, "op": op })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn what_kernels_were_attacked_through_is_not_allowed() {
        let profile: Value = serde_json::from_str(&profile()).unwrap();
        let rules = profile["syscalls"].as_array().unwrap();
        let free = rules.iter().filter(|rule| {
            rule["action"] == "SCMP_ACT_ALLOW" && rule["args"].as_array().unwrap().is_empty()
        });
        let free: BTreeSet<&str> = free
            .flat_map(|rule| rule["names"].as_array().unwrap())
            .map(|name| name.as_str().unwrap())
            .collect();
        for name in
            "add_key bpf chroot clone clone3 fsopen init_module io_uring_setup keyctl mount \
                     open_by_handle_at perf_event_open personality pivot_root reboot request_key \
                     setns socket socketcall unshare userfaultfd"
                .split_whitespace()
        {
            assert!(!free.contains(name), "{name}");
        }
        assert!(free.contains("execve") && free.contains("ptrace"));
    }
}
