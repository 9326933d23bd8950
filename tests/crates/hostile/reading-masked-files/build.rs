//! Reads what the kernel tells of the machine, and of all its users.

use std::io::Read;

fn main() {
    let mut reached = Vec::new();
    for file in ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/sched_debug", "/proc/latency_stats"] {
        let mut start = [0; 64];
        let read = std::fs::File::open(file).and_then(|mut file| file.read(&mut start));
        if read.is_ok_and(|bytes| bytes > 0) {
            reached.push(file);
        }
    }
    for directory in ["/sys/firmware", "/proc/scsi", "/proc/acpi", "/sys/kernel/security", "/sys/kernel/debug"] {
        if std::fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_some()) {
            reached.push(directory);
        }
    }
    assert!(reached.is_empty(), "REACHED {reached:?}");
}
