//! Sandboxes as Docker containers, hardened, over the daemon's API.
//!
//! One container is one [`Instance`]; its first process only waits, and each step is an exec.
//! Every container is labelled with the process that made it, so that the next start of any of our
//! processes on the machine can remove what a killed one left. Nothing of the daemon's socket is
//! ever inside.
//!
//! Peak memory is the container's since its start, with the files that the kernel cached for it.

mod config;
mod container;
mod errors;
mod identity;
mod instance;
mod meter;
mod seccomp;
mod userland;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bollard::Docker;
use bollard::models::{SystemInfo, SystemInfoCgroupVersionEnum};
use bollard::query_parameters::{InspectContainerOptions, ListContainersOptionsBuilder};
use tokio_util::task::TaskTracker;

use self::container::Container;
use self::errors::failed;
use self::identity::{LABEL_OWNER, LABEL_SANDBOX};
use self::instance::DockerInstance;
use self::meter::Meter;
use self::userland::Userland;
use super::process::ProcessIdentity;
use super::{Instance, Sandbox, SandboxError, SandboxSpec, give};

pub use self::meter::Metering;

/// The user and group of steps when we are root: no account of any common system.
const JOB_USER: (u32, u32) = (61000, 61000);

/// The users of a container's first process: the first that is not the steps' own.
const INIT_USERS: [(u32, u32); 2] = [(65534, 65534), (65533, 65533)];

/// Tells the sandboxes of one process apart.
static SANDBOXES: AtomicU64 = AtomicU64::new(0);

/// What to run containers with.
#[derive(Debug, Clone, Default)]
pub struct DockerOptions {
    /// The userland; `None`: this machine's own `/usr`, read-only.
    pub image: Option<String>,
    /// An OCI runtime that the daemon knows, such as `runsc`; `None`: its default.
    pub runtime: Option<String>,
    /// Who the containers are for, such as an experiment's directory: a label for people.
    pub owner: String,
    /// The user and group of the steps. `None`: our own, or an account of its own if we are root.
    pub user: Option<(u32, u32)>,
    /// How to measure what steps use.
    pub metering: Metering,
}

/// The backend: a daemon that answers, and what every container has in common.
pub struct DockerSandbox {
    docker: Docker,
    userland: Userland,
    runtime: Option<String>,
    owner: String,
    /// Who the steps are inside.
    guest_user: (u32, u32),
    /// Who they are on the host.
    user: (u32, u32),
    metering: Metering,
    process: ProcessIdentity,
    /// Names this sandbox among all that ever were on this boot of the machine.
    id: String,
    processors: u64,
    swappiness: bool,
    /// Whether the daemon filters system calls.
    seccomp: bool,
    lacking: Vec<String>,
    instances: AtomicU64,
    removals: TaskTracker,
}

impl DockerSandbox {
    /// Connects to the daemon that `DOCKER_HOST` names, or the one of this machine, checks what
    /// it can do, and makes sure that the userland is there.
    ///
    /// # Errors
    /// [`SandboxError::Unreachable`] when no daemon answers; [`SandboxError::MissingImage`],
    /// [`SandboxError::MissingRuntime`]; and what preparing the userland gives.
    pub async fn connect(options: DockerOptions) -> Result<Self, SandboxError> {
        let connect = |error| failed("connect", &error);
        let docker = Docker::connect_with_defaults().map_err(connect)?;
        let docker = docker.negotiate_version().await.map_err(connect)?;
        let info = docker
            .info()
            .await
            .map_err(|error| failed("ask Docker what it can do", &error))?;
        check_runtime(&info, options.runtime.as_deref())?;
        let guest_user = options.user.unwrap_or_else(|| default_user(&info));
        let user = if is_rootless(&info) {
            ourselves()
        } else {
            guest_user
        };
        let userland = match &options.image {
            Some(image) => Userland::from_image(&docker, image).await?,
            None => Userland::from_host(&docker, guest_user).await?,
        };
        let process = ProcessIdentity::own().map_err(|source| SandboxError::Io {
            action: "read about this process in",
            path: "/proc".into(),
            source,
        })?;
        let number = SANDBOXES.fetch_add(1, Ordering::Relaxed);
        let lacking = lacking(&info);
        Ok(Self {
            id: format!("{}-{number}", process.short()),
            docker,
            userland,
            runtime: options.runtime,
            owner: options.owner,
            guest_user,
            user,
            metering: options.metering,
            process,
            processors: info.ncpu.and_then(|n| u64::try_from(n).ok()).unwrap_or(1),
            swappiness: info.cgroup_version == Some(SystemInfoCgroupVersionEnum::_1),
            seccomp: has_seccomp(&info),
            lacking,
            instances: AtomicU64::new(0),
            removals: TaskTracker::new(),
        })
    }

    /// What this daemon cannot enforce, a sentence each; empty on any usual machine.
    pub fn lacking(&self) -> &[String] {
        &self.lacking
    }

    /// The image that containers are made from: the user's, or our own empty one.
    pub fn image(&self) -> &str {
        &self.userland.image
    }

    fn container_name(&self, spec: &SandboxSpec) -> String {
        let number = self.instances.fetch_add(1, Ordering::Relaxed);
        let readable: String = spec
            .name
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() || "._-".contains(c) {
                    c
                } else {
                    '-'
                }
            })
            .take(80)
            .collect();
        format!("ejecta-{readable}-{}-{number}", self.id)
    }

    async fn remove_where(
        &self,
        label: &str,
        also: impl Fn(&HashMap<String, String>) -> bool,
    ) -> Result<usize, SandboxError> {
        let filters = HashMap::from([("label", vec![label])]);
        let options = ListContainersOptionsBuilder::new()
            .all(true)
            .filters(&filters)
            .build();
        let found = self.docker.list_containers(Some(options)).await;
        let found = found.map_err(|error| failed("list containers", &error))?;
        let mut removed = 0;
        for container in found {
            let (Some(id), Some(labels)) = (container.id, container.labels) else {
                continue;
            };
            if also(&labels) {
                container::remove(&self.docker, &id).await?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}

#[async_trait]
impl Sandbox for DockerSandbox {
    fn name(&self) -> &'static str {
        "docker"
    }

    fn user(&self) -> (u32, u32) {
        self.user
    }

    async fn create(&self, spec: &SandboxSpec) -> Result<Box<dyn Instance>, SandboxError> {
        let shape = config::Shape {
            userland: &self.userland,
            runtime: self.runtime.as_deref(),
            labels: identity::labels(&self.owner, &self.process, &self.id),
            init_user: init_user(self.guest_user),
            processors: self.processors,
            swappiness: self.swappiness,
            seccomp: self.seccomp,
        };
        let body = config::container(shape, spec)?;
        let writable: Vec<_> = spec.mounts.iter().filter(|mount| mount.writable).collect();
        if rustix::process::geteuid().is_root() {
            writable
                .iter()
                .try_for_each(|mount| give(mount, self.user))?;
        }
        let name = self.container_name(spec);
        let container =
            Container::start(&self.docker, name, self.image(), body, &self.removals).await?;
        let found = self
            .docker
            .inspect_container(&container.id, None::<InspectContainerOptions>)
            .await
            .map_err(|error| failed("inspect a container", &error))?;
        let pid = found.state.and_then(|state| state.pid);
        Ok(Box::new(DockerInstance {
            meter: Meter::find(self.metering, &container.id, pid),
            container,
            limits: spec.limits.clone(),
            writable: writable.iter().map(|mount| mount.host.clone()).collect(),
            user: self.guest_user,
            dead: false,
        }))
    }

    async fn check(&self) -> Result<(), SandboxError> {
        let answer = self.docker.ping().await;
        answer.map_err(|error| failed("ask Docker whether it is there", &error))?;
        Ok(())
    }

    async fn clean_leftovers(&self) -> Result<usize, SandboxError> {
        let is_leftover = |labels: &_| identity::is_leftover(&self.process, labels);
        self.remove_where(LABEL_OWNER, is_leftover).await
    }

    async fn shutdown(&self) -> Result<(), SandboxError> {
        self.removals.close();
        self.removals.wait().await;
        let ours = format!("{LABEL_SANDBOX}={}", self.id);
        // A creation that was under way may turn up late.
        while self.remove_where(&ours, |_| true).await? > 0 {}
        Ok(())
    }
}

fn check_runtime(info: &SystemInfo, runtime: Option<&str>) -> Result<(), SandboxError> {
    let known = |runtime: &str| {
        let runtimes = info.runtimes.as_ref();
        // A containerd shim's name needs no entry.
        runtime.contains('.') || runtimes.is_some_and(|known| known.contains_key(runtime))
    };
    match runtime {
        Some(runtime) if !known(runtime) => Err(SandboxError::MissingRuntime {
            runtime: runtime.to_owned(),
        }),
        _ => Ok(()),
    }
}

/// Who the steps are, unless the user says otherwise: what they write must be ours to remove.
fn default_user(info: &SystemInfo) -> (u32, u32) {
    if is_rootless(info) {
        // The root of a rootless daemon's containers is the user who runs it.
        (0, 0)
    } else if rustix::process::geteuid().is_root() {
        JOB_USER
    } else {
        ourselves()
    }
}

fn is_rootless(info: &SystemInfo) -> bool {
    let options = info.security_options.as_deref().unwrap_or_default();
    options
        .iter()
        .any(|option| option.contains("name=rootless"))
}

fn ourselves() -> (u32, u32) {
    (
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw(),
    )
}

fn init_user(user: (u32, u32)) -> (u32, u32) {
    let [first, second] = INIT_USERS;
    if user.0 == first.0 { second } else { first }
}

/// What this daemon says that it cannot enforce.
fn lacking(info: &SystemInfo) -> Vec<String> {
    let why = if is_rootless(info) {
        "a rootless daemon needs cgroup v2 for that"
    } else {
        "`docker info` says so"
    };
    [
        (info.memory_limit, "memory"),
        (info.swap_limit, "swap"),
        (info.pids_limit, "the number of processes"),
        (info.cpu_cfs_quota, "the CPU quota"),
    ]
    .into_iter()
    .filter(|(has, _)| *has == Some(false))
    .map(|(_, what)| format!("this Docker daemon cannot limit {what}: {why}"))
    .chain((!has_seccomp(info)).then(|| {
        "this Docker daemon does not filter system calls: it was built without seccomp, or the \
         kernel was"
            .to_owned()
    }))
    .collect()
}

/// Whether the daemon filters system calls. One that does not would refuse our profile.
fn has_seccomp(info: &SystemInfo) -> bool {
    let options = info.security_options.as_deref().unwrap_or_default();
    options.iter().any(|option| option.contains("name=seccomp"))
}
