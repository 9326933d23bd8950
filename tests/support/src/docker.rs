//! The Docker daemon, as tests look at it from outside.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::Path;

use bollard::Docker;
use bollard::query_parameters::{KillContainerOptions, ListContainersOptionsBuilder};

/// Whether there is a Docker daemon. Without one a test is to return at once; it has been said,
/// loudly, that it was skipped.
///
/// # Panics
/// When there is none, and `EJECTA_REQUIRE_DOCKER` is set.
pub fn docker_or_skip() -> bool {
    let answer = blocking(async {
        let docker = Docker::connect_with_defaults()?;
        docker.ping().await
    });
    let Err(error) = answer else {
        return true;
    };
    let required = std::env::var_os("EJECTA_REQUIRE_DOCKER").is_some();
    assert!(!required, "Docker is required and does not answer: {error}");
    let test = std::thread::current().name().unwrap_or("test").to_owned();
    let said = format!("\n**** SKIPPED: {test} needs Docker, and none answers: {error} ****\n\n");
    // Not by a macro: what those print is shown for failed tests only.
    let _ = std::io::stderr().write_all(said.as_bytes());
    false
}

/// Identifiers of all containers, running or not, that the experiment in `out` owns.
///
/// # Panics
/// When Docker does not answer.
pub fn containers_of(out: &Path) -> Vec<String> {
    let out = fs_err::canonicalize(out).expect("the directory of an experiment");
    let label = format!("dev.ejecta.owner={}", out.display());
    let found = blocking(async {
        let docker = Docker::connect_with_defaults()?.negotiate_version().await?;
        let filters = HashMap::from([("label", vec![label.as_str()])]);
        let options = ListContainersOptionsBuilder::new()
            .all(true)
            .filters(&filters)
            .build();
        docker.list_containers(Some(options)).await
    });
    let found = found.expect("a daemon that answers");
    found.into_iter().filter_map(|found| found.id).collect()
}

/// Kills all containers of the experiment in `out`, as somebody who mistakes them for leftovers
/// does; says how many were running.
///
/// # Panics
/// When Docker does not answer.
pub fn kill_containers_of(out: &Path) -> usize {
    let found = containers_of(out);
    let killed = blocking(async {
        let docker = Docker::connect_with_defaults()?.negotiate_version().await?;
        let mut killed = 0;
        for container in found {
            // It may have ended by itself meanwhile.
            let kill = docker.kill_container(&container, None::<KillContainerOptions>);
            killed += usize::from(kill.await.is_ok());
        }
        Ok::<_, bollard::errors::Error>(killed)
    });
    killed.expect("a daemon that answers")
}

fn blocking<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime starts")
        .block_on(work)
}
