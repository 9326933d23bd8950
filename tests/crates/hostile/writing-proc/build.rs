//! Changes the kernel's settings.

const FILES: [&str; 8] = [
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/hostname",
    "/proc/sys/kernel/modprobe",
    "/proc/sys/kernel/randomize_va_space",
    "/proc/sys/vm/overcommit_memory",
    "/proc/sys/net/ipv4/ip_forward",
    "/proc/sysrq-trigger",
    "/proc/irq/default_smp_affinity",
];

/// Opening is enough: what would be written there stops or takes over the machine.
fn main() {
    let mut reached = Vec::new();
    for file in FILES {
        if std::fs::OpenOptions::new().write(true).open(file).is_ok() {
            reached.push(file);
        }
    }
    assert!(reached.is_empty(), "REACHED {reached:?}");
}
