//! Which sandbox a run uses, and what people should know of it.

use std::path::Path;
use std::sync::Arc;

use ejecta_agent::sandbox::docker::{DockerOptions, DockerSandbox};
use ejecta_agent::sandbox::native::{NativeOptions, NativeSandbox};
use ejecta_agent::sandbox::{Sandbox, SandboxError};

use crate::cli::{SandboxArgs, SandboxChoice};
use crate::error::Failure;

/// Which sandbox somebody asked for.
#[derive(Debug, Clone)]
pub struct Wish {
    /// The backend.
    pub sandbox: SandboxChoice,
    /// The userland; `None`: this machine's own.
    pub image: Option<String>,
    /// The OCI runtime; `None`: the daemon's own.
    pub runtime: Option<String>,
}

impl Wish {
    /// That of a command line.
    pub fn of(args: &SandboxArgs) -> Self {
        Self {
            sandbox: args.sandbox,
            image: args.image.clone(),
            runtime: args.runtime.clone(),
        }
    }

    /// Whatever there is.
    pub fn any() -> Self {
        Self {
            sandbox: SandboxChoice::Auto,
            image: None,
            runtime: None,
        }
    }
}

/// A sandbox that works, and what people should know of it.
pub struct Chosen {
    /// The sandbox.
    pub sandbox: Arc<dyn Sandbox>,
    /// What it is, for results.
    pub description: String,
    /// Which it is where nobody said, what it lacks, and what was done, one line each.
    pub notes: Vec<String>,
}

/// Opens a sandbox backend, and removes what dead processes left.
///
/// # Errors
/// [`Failure`] when there is none that works: nothing ever runs unsandboxed.
pub async fn choose(wish: &Wish, owner: &Path) -> Result<Chosen, Failure> {
    if let (SandboxChoice::Native, Some(option)) = (wish.sandbox, for_docker_only(wish)) {
        let what = format!("`{option}` means nothing to the native sandbox");
        return Err(Failure::input(what).hint("leave it out, or use `--sandbox docker`"));
    }
    match wish.sandbox {
        SandboxChoice::Docker => docker(wish, owner).await?,
        SandboxChoice::Native => native().await?,
        SandboxChoice::Auto => match docker(wish, owner).await {
            // What only Docker has was asked for.
            Err(error) if for_docker_only(wish).is_some() => return Err(error.into()),
            Err(error @ SandboxError::Unreachable { .. }) => without_docker(&error).await?,
            other => other?,
        },
    }
    .cleaned()
    .await
}

/// The native sandbox, because Docker does not answer.
async fn without_docker(error: &SandboxError) -> Result<Chosen, Failure> {
    let mut chosen = native().await.map_err(|native| {
        let both = Failure::to(format!("{error}; and to {native}"));
        both.hints(error.hint()).hints(native.hint())
    })?;
    let note = "no Docker answers: crates are isolated by the namespaces of this machine";
    chosen.notes.insert(0, note.to_owned());
    Ok(chosen)
}

/// An option that was given and means something for Docker only.
fn for_docker_only(wish: &Wish) -> Option<&'static str> {
    if wish.image.is_some() {
        return Some("--image");
    }
    wish.runtime.as_ref().map(|_| "--runtime")
}

async fn docker(wish: &Wish, owner: &Path) -> Result<Chosen, SandboxError> {
    let options = DockerOptions {
        image: wish.image.clone(),
        runtime: wish.runtime.clone(),
        owner: owner.display().to_string(),
        ..DockerOptions::default()
    };
    let docker = DockerSandbox::connect(options).await?;
    let userland = match &wish.image {
        Some(image) => format!("image {image}"),
        None => "this machine's /usr".to_owned(),
    };
    let runtime = wish.runtime.as_deref();
    let runtime = runtime.map_or(String::new(), |r| format!(", runtime {r}"));
    Ok(Chosen {
        description: format!("{} ({userland}{runtime})", docker.name()),
        notes: docker.lacking().iter().map(ToString::to_string).collect(),
        sandbox: Arc::new(docker),
    })
}

async fn native() -> Result<Chosen, SandboxError> {
    let native = NativeSandbox::open(NativeOptions::default()).await?;
    Ok(Chosen {
        description: format!("{} (this machine's /usr)", native.name()),
        notes: native.lacking().to_vec(),
        sandbox: Arc::new(native),
    })
}

impl Chosen {
    /// The same, with what dead processes left removed.
    async fn cleaned(mut self) -> Result<Self, Failure> {
        let cleaned = self.sandbox.clean_leftovers().await?;
        if cleaned > 0 {
            self.notes.push(format!(
                "removed {cleaned} sandboxes that a killed ejecta had left"
            ));
        }
        Ok(self)
    }
}
