//! How `ejecta` ends: part of its interface, for scripts.

use std::process::{ExitCode, Termination};

/// The exit codes of `ejecta run`; other commands use the first three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: the experiment is complete, and nothing regressed.
    Nothing,
    /// 1: something regressed.
    Regressed,
    /// 2: the command line, a file or this machine's set-up is wrong; nothing was built.
    Usage,
    /// 3: the experiment is not complete, through a fault of ours; nothing regressed as far as is
    /// known.
    Incomplete,
    /// 130: interrupted, and can be resumed.
    Interrupted,
}

impl Exit {
    /// The number.
    pub fn code(self) -> u8 {
        match self {
            Self::Nothing => 0,
            Self::Regressed => 1,
            Self::Usage => 2,
            Self::Incomplete => 3,
            Self::Interrupted => 130,
        }
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        ExitCode::from(self.code())
    }
}
