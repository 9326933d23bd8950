//! The life of a container: made, started, and removed whatever happens.

use std::time::Duration;

use bollard::Docker;
use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder, StartContainerOptions,
};
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use super::errors::{failed, is_status};
use crate::sandbox::SandboxError;

/// How often a removal is tried before it is an error.
const REMOVE_ATTEMPTS: u32 = 8;

/// A container that exists. Dropping it removes it in the background.
pub(super) struct Container {
    pub(super) docker: Docker,
    pub(super) id: String,
    pub(super) name: String,
    removals: TaskTracker,
    runtime: Handle,
    removed: bool,
}

impl Container {
    /// Makes a container and starts it. `removals` knows the background removals under way.
    pub(super) async fn start(
        docker: &Docker,
        name: String,
        image: &str,
        body: ContainerCreateBody,
        removals: &TaskTracker,
    ) -> Result<Self, SandboxError> {
        let options = CreateContainerOptionsBuilder::new().name(&name).build();
        let created = docker.create_container(Some(options), body).await;
        let created = created.map_err(|error| {
            if is_status(&error, 404) {
                SandboxError::MissingImage {
                    image: image.to_owned(),
                }
            } else {
                failed("create a container", &error)
            }
        })?;
        for warning in created.warnings {
            tracing::debug!(container = name, warning, "Docker warns of a container");
        }
        let container = Self {
            docker: docker.clone(),
            id: created.id,
            name,
            removals: removals.clone(),
            runtime: Handle::current(),
            removed: false,
        };
        match docker
            .start_container(&container.id, None::<StartContainerOptions>)
            .await
        {
            Ok(()) => Ok(container),
            Err(error) => {
                container.remove().await?;
                Err(failed("start a container", &error))
            }
        }
    }

    /// Kills whatever runs in it and removes it.
    pub(super) async fn remove(mut self) -> Result<(), SandboxError> {
        let removed = remove(&self.docker, &self.id).await;
        self.removed = removed.is_ok();
        removed
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if self.removed {
            return;
        }
        let (docker, id) = (self.docker.clone(), self.id.clone());
        let removal = async move {
            if let Err(error) = remove(&docker, &id).await {
                tracing::warn!(%error, id, "a container could not be removed");
            }
        };
        self.removals.spawn_on(removal, &self.runtime);
    }
}

/// Removes a container by force; that there is none is a success.
pub(super) async fn remove(docker: &Docker, id: &str) -> Result<(), SandboxError> {
    let mut pause = Duration::from_millis(50);
    for attempt in 1.. {
        // Volumes that an image asked for go with the container.
        let options = RemoveContainerOptionsBuilder::new()
            .force(true)
            .v(true)
            .build();
        match docker.remove_container(id, Some(options)).await {
            Ok(()) => break,
            Err(error) if is_status(&error, 404) => break,
            // A removal is under way (409), or the daemon failed at it this time.
            Err(error) if attempt == REMOVE_ATTEMPTS => {
                return Err(failed(format!("remove the container `{id}`"), &error));
            }
            Err(_) => {}
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
    Ok(())
}
