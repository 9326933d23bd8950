//! What a container's file system is made of: an image of the user's, or the host's own `/usr`
//! over an image that holds next to nothing and that we import ourselves.

use std::path::Path;

use bollard::Docker;
use bollard::errors::Error;
use bollard::models::ImageInspect;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::TryStreamExt;
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;

use super::errors::{failed, is_status};
use super::identity::LABEL_OWNER;
use crate::sandbox::userland::{
    EMPTY_DIRECTORIES, SYSTEM_DIRECTORIES, group, host_mounts, links, passwd,
};
use crate::sandbox::{ErrorClass, Mount, SandboxError};

/// The repository that our own image is tagged in.
const EMPTY_REPOSITORY: &str = "ejecta-empty";

/// Programs that we start ourselves in every container.
const NEEDED_PROGRAMS: [&str; 2] = ["/usr/bin/env", "/usr/bin/sleep"];

/// An image and what is mounted over it.
#[derive(Debug, Clone)]
pub(super) struct Userland {
    /// The image's name or tag.
    pub(super) image: String,
    /// Read-only mounts that make it complete.
    pub(super) mounts: Vec<Mount>,
}

impl Userland {
    /// The user's image as it is.
    pub(super) async fn from_image(docker: &Docker, image: &str) -> Result<Self, SandboxError> {
        match docker.inspect_image(image).await {
            Ok(found) if has_volumes(&found) => Err(SandboxError::Refused {
                action: format!("use the image `{image}`"),
                message: "it declares volumes, which no limit would bound".to_owned(),
                class: ErrorClass::Permanent,
            }),
            Ok(_) => Ok(Self {
                image: image.to_owned(),
                mounts: Vec::new(),
            }),
            Err(error) if is_status(&error, 404) => Err(SandboxError::MissingImage {
                image: image.to_owned(),
            }),
            Err(error) => Err(failed(format!("inspect the image `{image}`"), &error)),
        }
    }

    /// The host's `/usr`, read-only, for steps that run as `user`.
    pub(super) async fn from_host(docker: &Docker, user: (u32, u32)) -> Result<Self, SandboxError> {
        let root = Path::new("/");
        if let Some(program) = NEEDED_PROGRAMS
            .iter()
            .find(|path| !Path::new(path).exists())
        {
            return Err(SandboxError::Refused {
                action: "use this machine's own /usr as userland".to_owned(),
                message: format!("it has no `{program}`; name an image instead"),
                class: ErrorClass::Permanent,
            });
        }
        let archive = empty_image(root, user).map_err(|source| SandboxError::Io {
            action: "describe the system directories of",
            path: root.to_owned(),
            source,
        })?;
        let image = ensure_imported(docker, archive).await?;
        Ok(Self {
            image,
            mounts: host_mounts(root),
        })
    }
}

/// Whether containers of the image would get writable directories beside our own.
fn has_volumes(image: &ImageInspect) -> bool {
    let config = image.config.as_ref();
    let volumes = config.and_then(|config| config.volumes.as_ref());
    volumes.is_some_and(|volumes| !volumes.is_empty())
}

/// Two imports at once would give two images, one of them without a name.
static IMPORTING: Mutex<()> = Mutex::const_new(());

/// Imports the image unless the daemon has it already; its tag.
async fn ensure_imported(docker: &Docker, archive: Vec<u8>) -> Result<String, SandboxError> {
    let digest = Sha256::digest(&archive);
    let tag: String = digest[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let image = format!("{EMPTY_REPOSITORY}:{tag}");
    let _importing = IMPORTING.lock().await;
    match docker.inspect_image(&image).await {
        Ok(_) => return Ok(image),
        Err(error) if is_status(&error, 404) => {}
        Err(error) => return Err(failed(format!("inspect the image `{image}`"), &error)),
    }
    let options = CreateImageOptionsBuilder::new()
        .from_src("-")
        .repo(EMPTY_REPOSITORY)
        .tag(&tag)
        .changes(vec![format!("LABEL {LABEL_OWNER}=shared")])
        .build();
    let body = bollard::body_full(archive.into());
    let imported: Result<Vec<_>, Error> = docker
        .create_image(Some(options), Some(body), None)
        .try_collect()
        .await;
    imported.map_err(|error| failed(format!("import the image `{image}`"), &error))?;
    tracing::debug!(image, "imported the empty image");
    Ok(image)
}

/// The archive of an image that the host's `/usr` completes. The same host and user give the
/// same bytes.
fn empty_image(root: &Path, user: (u32, u32)) -> std::io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    add_directory(&mut archive, "tmp", 0o1777)?;
    for name in EMPTY_DIRECTORIES {
        add_directory(&mut archive, name, 0o755)?;
    }
    add_link(&mut archive, "var/tmp", Path::new("../tmp"))?;
    for (name, target) in links(root)? {
        add_link(&mut archive, name, &target)?;
    }
    for mount in host_mounts(root) {
        let name = mount.guest.trim_start_matches('/');
        if SYSTEM_DIRECTORIES.contains(&name) {
            add_directory(&mut archive, name, 0o755)?;
        }
    }
    add_file(&mut archive, "etc/passwd", passwd(user).as_bytes())?;
    add_file(&mut archive, "etc/group", group(user).as_bytes())?;
    add_file(&mut archive, "etc/ld.so.cache", b"")?;
    archive.into_inner()
}

fn header(kind: tar::EntryType, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(0);
    header
}

fn add_directory(
    archive: &mut tar::Builder<Vec<u8>>,
    name: &str,
    mode: u32,
) -> std::io::Result<()> {
    let mut header = header(tar::EntryType::Directory, mode);
    archive.append_data(&mut header, format!("{name}/"), std::io::empty())
}

fn add_link(archive: &mut tar::Builder<Vec<u8>>, name: &str, target: &Path) -> std::io::Result<()> {
    let mut header = header(tar::EntryType::Symlink, 0o777);
    archive.append_link(&mut header, name, target)
}

fn add_file(
    archive: &mut tar::Builder<Vec<u8>>,
    name: &str,
    content: &[u8],
) -> std::io::Result<()> {
    let mut header = header(tar::EntryType::Regular, 0o644);
    header.set_size(content.len() as u64);
    archive.append_data(&mut header, name, content)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn names(archive: &[u8]) -> Vec<String> {
        tar::Archive::new(archive)
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let name = entry.path().unwrap().display().to_string();
                match entry.link_name().unwrap() {
                    Some(target) => format!("{name} -> {}", target.display()),
                    None => name,
                }
            })
            .collect()
    }

    #[test]
    fn links_of_a_merged_host_are_links_in_the_image() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("usr/bin")).unwrap();
        symlink("usr/bin", root.path().join("bin")).unwrap();
        let names = names(&empty_image(root.path(), (5, 6)).unwrap());
        assert!(names.contains(&"bin -> usr/bin".to_owned()), "{names:?}");
        assert!(!names.iter().any(|name| name.starts_with("lib")));
        let guests: Vec<_> = host_mounts(root.path())
            .into_iter()
            .map(|m| m.guest)
            .collect();
        assert_eq!(guests, ["/usr"]);
    }

    #[test]
    fn the_image_is_the_same_each_time_and_another_for_another_user() {
        let root = Path::new("/");
        assert_eq!(
            empty_image(root, (1, 2)).unwrap(),
            empty_image(root, (1, 2)).unwrap()
        );
        assert_ne!(
            empty_image(root, (1, 2)).unwrap(),
            empty_image(root, (2, 2)).unwrap()
        );
    }
}
