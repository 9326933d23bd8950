//! The system calls that exist inside a sandbox, whichever backend it is of: an allow-list.
//!
//! It allows no more than Docker's default profile does for a container without capabilities, and
//! less where kernels have been attacked through it: no io_uring, userfaultfd, keyrings, bpf, perf
//! or namespaces, of the socket families only Unix, IP and the part of netlink that lists network
//! interfaces, and no 32-bit calls (their numbers and arguments would need filters of their own;
//! a process that makes one is killed). Tracing stays allowed, as in Docker, on kernels where a
//! tracer cannot get round the filter: a step sees only its own processes, and programs' tests
//! trace.
//!
//! What is refused is refused with `EPERM`; what is not known here, calls of newer kernels among
//! them, with `ENOSYS`, for which libraries have other ways. So is `clone3`, whose flags no filter
//! can see.

/// Allowed, whatever the arguments. Names that a machine does not have mean nothing there.
pub(crate) const ALLOWED: &str = "
    accept accept4 access adjtimex alarm arch_prctl bind brk cachestat capget capset chdir
    chmod chown clock_getres clock_gettime clock_nanosleep close close_range connect
    copy_file_range creat dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_pwait
    epoll_pwait2 epoll_wait eventfd eventfd2 execve execveat exit exit_group faccessat
    faccessat2 fadvise64 fallocate fchdir fchmod fchmodat fchmodat2 fchown fchownat fcntl
    fdatasync fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat fstatfs fsync
    ftruncate futex futex_requeue futex_wait futex_waitv futex_wake futimesat
    get_robust_list get_thread_area getcpu getcwd getdents getdents64 getegid geteuid
    getgid getgroups getitimer getpeername getpgid getpgrp getpid getppid getpriority
    getrandom getresgid getresuid getrlimit getrusage getsid getsockname getsockopt gettid
    gettimeofday getuid getxattr inotify_add_watch inotify_init inotify_init1
    inotify_rm_watch io_cancel io_destroy io_getevents io_pgetevents io_setup io_submit ioctl
    ioprio_get ioprio_set kill landlock_add_rule landlock_create_ruleset
    landlock_restrict_self lchown lgetxattr link linkat listen listxattr llistxattr
    lremovexattr lseek lsetxattr lstat madvise map_shadow_stack membarrier memfd_create
    mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap mprotect mq_getsetattr
    mq_notify mq_open mq_timedreceive mq_timedsend mq_unlink mremap mseal msgctl msgget
    msgrcv msgsnd msync munlock munlockall munmap name_to_handle_at nanosleep newfstatat
    open openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free
    pkey_mprotect poll ppoll prctl pread64 preadv preadv2 prlimit64 process_mrelease
    pselect6 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv recvfrom
    recvmmsg recvmsg remap_file_pages removexattr rename renameat renameat2
    restart_syscall rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo
    rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_tgsigqueueinfo sched_get_priority_max
    sched_get_priority_min sched_getaffinity sched_getattr sched_getparam
    sched_getscheduler sched_rr_get_interval sched_setaffinity sched_setattr
    sched_setparam sched_setscheduler sched_yield seccomp select semctl semget semop
    semtimedop sendfile sendmmsg sendmsg sendto set_robust_list set_thread_area
    set_tid_address setfsgid setfsuid setgid setgroups setitimer setpgid setpriority
    setregid setresgid setresuid setreuid setrlimit setsid setsockopt setuid setxattr
    shmat shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4 splice stat statfs
    statx symlink symlinkat sync sync_file_range syncfs sysinfo tee tgkill time
    timer_create timer_delete timer_getoverrun timer_gettime timer_settime timerfd_create
    timerfd_gettime timerfd_settime times tkill truncate umask uname unlink unlinkat utime
    utimensat utimes vfork vmsplice wait4 waitid write writev
";

/// Allowed on kernels where the filter holds for what a tracer makes its tracee call.
pub(crate) const TRACING: &str = "process_vm_readv process_vm_writev ptrace";

/// Allowed with some arguments only, which the constants below tell.
pub(crate) const CONDITIONAL: &str = "clone personality socket socketpair";

/// Known, and refused with `EPERM`.
pub(crate) const REFUSED: &str = "
    _sysctl acct add_key bpf chroot clock_adjtime clock_settime create_module
    delete_module fanotify_init fanotify_mark finit_module fsconfig fsmount fsopen fspick
    get_kernel_syms get_mempolicy init_module io_uring_enter io_uring_register
    io_uring_setup ioperm iopl kcmp kexec_file_load kexec_load keyctl lookup_dcookie mbind
    memfd_secret migrate_pages modify_ldt mount mount_setattr move_mount move_pages
    nfsservctl open_by_handle_at open_tree perf_event_open pidfd_getfd pivot_root
    process_madvise query_module quotactl quotactl_fd reboot request_key set_mempolicy
    set_mempolicy_home_node setdomainname sethostname setns settimeofday swapoff swapon
    sysfs syslog umount2 unshare uselib userfaultfd ustat vhangup
";

/// Every flag of `clone` that makes a namespace.
pub(crate) const NAMESPACES: u64 = 0x7e02_0000;

/// 64 and 32 bits, each also under an old version's name, and the question which it is.
pub(crate) const PERSONALITIES: [u64; 5] = [0x0, 0x8, 0x0002_0000, 0x0002_0008, 0xffff_ffff];

/// `AF_UNIX`, `AF_INET`, `AF_INET6`.
pub(crate) const FAMILIES: [u64; 3] = [1, 2, 10];
/// `AF_NETLINK`, of which only `NETLINK_ROUTE` is allowed: it lists network interfaces.
pub(crate) const NETLINK: u64 = 16;
pub(crate) const NETLINK_ROUTE: u64 = 0;

pub(crate) const EPERM: u32 = 1;
pub(crate) const ENOSYS: u32 = 38;
pub(crate) const EPROTONOSUPPORT: u32 = 93;
pub(crate) const EAFNOSUPPORT: u32 = 97;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_call_is_in_two_lists() {
        let lists = [ALLOWED, TRACING, CONDITIONAL, REFUSED, "clone3"];
        let all: Vec<&str> = lists
            .iter()
            .flat_map(|list| list.split_whitespace())
            .collect();
        let different: BTreeSet<&str> = all.iter().copied().collect();
        assert_eq!(different.len(), all.len());
    }

    #[test]
    fn the_flags_of_namespaces_are_seven() {
        assert_eq!(NAMESPACES.count_ones(), 7);
    }
}
