//! The container that a specification becomes: every bound and every lock, in one place.
//!
//! This module only describes; it talks to no daemon.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, HostConfig, HostConfigCgroupnsModeEnum, HostConfigLogConfig,
    Mount as DockerMount, MountBindOptions, MountBindOptionsPropagationEnum, MountType,
    ResourcesUlimits, RestartPolicy, RestartPolicyNameEnum,
};
use ejecta_core::limits::Limits;

use super::seccomp;
use super::userland::Userland;
use crate::sandbox::{Mount, SandboxError, SandboxSpec};

/// What of the daemon and the options goes into every container.
pub(super) struct Shape<'a> {
    pub(super) userland: &'a Userland,
    pub(super) runtime: Option<&'a str>,
    pub(super) labels: HashMap<String, String>,
    /// The user of the container's first process: not the steps', so that no step can signal or
    /// trace it.
    pub(super) init_user: (u32, u32),
    /// Processors of the daemon's machine.
    pub(super) processors: u64,
    /// Whether the daemon knows `swappiness` (cgroup version 1).
    pub(super) swappiness: bool,
    /// Whether the daemon filters system calls.
    pub(super) seccomp: bool,
}

/// Fewest processes: the runtime itself briefly needs about ten for entering the container.
const MIN_PIDS: u32 = 16;

/// `/dev/shm`, in bytes; it counts against memory too.
const SHM_BYTES: i64 = 64 * 1024 * 1024;

/// The body of the request that creates the container.
///
/// # Errors
/// [`SandboxError::Spec`] for a mount that cannot be.
pub(super) fn container(
    shape: Shape<'_>,
    spec: &SandboxSpec,
) -> Result<ContainerCreateBody, SandboxError> {
    let mounts = shape.userland.mounts.iter().chain(&spec.mounts);
    let mounts = mounts.map(bind).collect::<Result<Vec<_>, _>>()?;
    let (uid, gid) = shape.init_user;
    let mut host_config = isolation(shape.runtime, shape.seccomp);
    host_config.mounts = Some(mounts);
    bound(&mut host_config, &spec.limits, shape.processors);
    host_config.memory_swappiness = shape.swappiness.then_some(0);
    Ok(ContainerCreateBody {
        image: Some(shape.userland.image.clone()),
        // Nothing inside can kill or trace the first process of a PID namespace that belongs to
        // another user, and it lives until the container is killed.
        entrypoint: Some(vec!["sleep".to_owned()]),
        cmd: Some(vec![i32::MAX.to_string()]),
        user: Some(format!("{uid}:{gid}")),
        hostname: Some("ejecta".to_owned()),
        working_dir: Some("/".to_owned()),
        network_disabled: Some(true),
        labels: Some(shape.labels),
        host_config: Some(host_config),
        ..ContainerCreateBody::default()
    })
}

/// The options that a runtime's security profile is made of.
fn security_opt(seccomp: bool) -> Vec<String> {
    let mut options = vec!["no-new-privileges".to_owned()];
    if seccomp {
        options.push(format!("seccomp={}", seccomp::profile()));
    }
    options
}

/// What separates the container from the host, whatever its limits are.
fn isolation(runtime: Option<&str>, seccomp: bool) -> HostConfig {
    HostConfig {
        network_mode: Some("none".to_owned()),
        ipc_mode: Some("private".to_owned()),
        cgroupns_mode: Some(HostConfigCgroupnsModeEnum::PRIVATE),
        readonly_rootfs: Some(true),
        privileged: Some(false),
        cap_drop: Some(vec!["ALL".to_owned()]),
        security_opt: Some(security_opt(seccomp)),
        init: Some(false),
        runtime: runtime.map(str::to_owned),
        shm_size: Some(SHM_BYTES),
        // Without it Docker copies the host's name servers into the container.
        dns: Some(vec!["127.0.0.1".to_owned()]),
        log_config: Some(HostConfigLogConfig {
            typ: Some("none".to_owned()),
            config: None,
        }),
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            maximum_retry_count: None,
        }),
        ..HostConfig::default()
    }
}

/// Writes the limits that the kernel enforces.
fn bound(host_config: &mut HostConfig, limits: &Limits, processors: u64) {
    let memory = saturating(limits.memory_bytes);
    host_config.memory = Some(memory);
    // The sum of memory and swap: no swap.
    host_config.memory_swap = Some(memory);
    // The container's own first process is one more.
    host_config.pids_limit = Some(i64::from(limits.pids.max(MIN_PIDS)) + 1);
    // The daemon refuses more than the machine has.
    let cpu_millis = u64::from(limits.cpu_millis).clamp(10, processors.max(1) * 1000);
    host_config.nano_cpus = Some(saturating(cpu_millis * 1_000_000));
    host_config.ulimits = Some(vec![
        ulimit("nofile", saturating(limits.open_files)),
        ulimit("core", 0),
    ]);
    let tmp = format!(
        "rw,nosuid,nodev,exec,mode=1777,size={},nr_inodes={}",
        limits.tmp_bytes, limits.disk_inodes
    );
    host_config.tmpfs = Some(HashMap::from([("/tmp".to_owned(), tmp)]));
}

fn ulimit(name: &str, value: i64) -> ResourcesUlimits {
    ResourcesUlimits {
        name: Some(name.to_owned()),
        soft: Some(value),
        hard: Some(value),
    }
}

fn bind(mount: &Mount) -> Result<DockerMount, SandboxError> {
    if !mount.guest.starts_with('/') || !mount.host.is_absolute() {
        return Err(SandboxError::Spec(format!(
            "the mount of `{}` at `{}` needs absolute paths",
            mount.host.display(),
            mount.guest
        )));
    }
    let Some(source) = mount.host.to_str() else {
        return Err(SandboxError::Spec(format!(
            "Docker takes only paths in UTF-8, not `{}`",
            mount.host.display()
        )));
    };
    Ok(DockerMount {
        target: Some(mount.guest.clone()),
        source: Some(source.to_owned()),
        typ: Some(MountType::BIND),
        read_only: Some(!mount.writable),
        bind_options: Some(MountBindOptions {
            propagation: Some(MountBindOptionsPropagationEnum::PRIVATE),
            // A file system mounted below would stay writable in a read-only mount.
            non_recursive: Some(true),
            ..MountBindOptions::default()
        }),
        ..DockerMount::default()
    })
}

fn saturating(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
