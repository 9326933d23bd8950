//! Room on the file system that jobs write to: where it runs out, a crate fails through no fault
//! of its own, and perhaps through a neighbour's.
//!
//! A step's own disk limit is far below: this is about the machine. A compiler that fails for want
//! of room removes what it wrote, so looking afterwards is not enough.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::fs::{StatVfs, statvfs};
use tokio_util::task::AbortOnDropHandle;

use super::blocking;
use crate::error::AgentError;

/// Fewer bytes than this are none: more could be written between two looks.
const LEAST_BYTES: u64 = 256 * 1024 * 1024;
/// Fewer files than this are none, on file systems that count them.
const LEAST_FILES: u64 = 1024;
/// Between two looks.
const PERIOD: Duration = Duration::from_millis(250);

/// Watches the room around a directory until it is dropped.
pub(super) struct RoomWatch {
    dir: PathBuf,
    was_full: Arc<AtomicBool>,
    _task: AbortOnDropHandle<()>,
}

impl RoomWatch {
    /// Starts to watch.
    ///
    /// # Errors
    /// [`AgentError::NoRoom`] when there is none already, [`AgentError::Io`].
    pub(super) async fn start(dir: &Path) -> Result<Self, AgentError> {
        if is_full(dir.to_owned()).await? {
            return Err(no_room(dir));
        }
        let was_full = Arc::new(AtomicBool::new(false));
        let (seen, watched) = (Arc::clone(&was_full), dir.to_owned());
        let task = tokio::spawn(async move {
            while !matches!(is_full(watched.clone()).await, Ok(true)) {
                tokio::time::sleep(PERIOD).await;
            }
            seen.store(true, Ordering::Relaxed);
        });
        Ok(Self {
            dir: dir.to_owned(),
            was_full,
            _task: AbortOnDropHandle::new(task),
        })
    }

    /// Says that the failure of a step may be for want of room.
    ///
    /// # Errors
    /// [`AgentError::NoRoom`] when there was none at some time, [`AgentError::Io`].
    pub(super) async fn explain_failure(self) -> Result<(), AgentError> {
        if self.was_full.load(Ordering::Relaxed) || is_full(self.dir.clone()).await? {
            return Err(no_room(&self.dir));
        }
        Ok(())
    }
}

fn no_room(dir: &Path) -> AgentError {
    AgentError::NoRoom {
        path: dir.to_owned(),
        least_mib: LEAST_BYTES / (1024 * 1024),
    }
}

async fn is_full(dir: PathBuf) -> Result<bool, AgentError> {
    blocking(move || match statvfs(&dir) {
        Ok(room) => Ok(has_none(&room)),
        Err(errno) => Err(AgentError::io("measure the room around", &dir)(
            errno.into(),
        )),
    })
    .await
}

fn has_none(room: &StatVfs) -> bool {
    let bytes = room.f_bavail.saturating_mul(room.f_frsize);
    // File systems that make files as they need them count none.
    let counts_files = room.f_files > 0;
    bytes < LEAST_BYTES || counts_files && room.f_favail < LEAST_FILES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_files_run_out() {
        let room = |blocks, files, left| StatVfs {
            f_bsize: 4096,
            f_frsize: 4096,
            f_blocks: 1 << 30,
            f_bfree: 1 << 30,
            f_bavail: blocks,
            f_files: files,
            f_ffree: 1 << 30,
            f_favail: left,
            f_fsid: 0,
            f_flag: rustix::fs::StatVfsMountFlags::empty(),
            f_namemax: 255,
        };
        let plenty = LEAST_BYTES / 4096;
        assert!(!has_none(&room(plenty, 1 << 20, LEAST_FILES)));
        assert!(has_none(&room(plenty - 1, 1 << 20, 1 << 20)));
        assert!(has_none(&room(plenty, 1 << 20, LEAST_FILES - 1)));
        assert!(
            !has_none(&room(plenty, 0, 0)),
            "a file system without a count"
        );
        assert!(!has_none(&room(u64::MAX, 0, 0)));
    }
}
