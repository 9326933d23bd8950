//! Clusters: the regressed crates that share a root cause.
//!
//! The causes of one crate ([`causes`]) are read from what its candidate run reported and its
//! baseline runs did not: which package failed (the crate itself or one of its dependencies), the
//! code of the error, and its message with everything taken out that differs from place to place
//! ([`signature`]). Crates with an equal or nearly equal cause are one cluster ([`group`]).
//! [`history`] finds the clusters of one experiment in another.
//!
//! What makes two causes one, and why, is told in `docs/clusters.md`; `core/tests/clusters` holds
//! the messages of real compilers that prove it. This module knows nothing of pages, nor of how
//! many crates depend on which: weights are passed in.

mod cause;
mod detail;
mod group;
pub mod history;
mod names;
mod place;
mod signature;
mod similar;

use serde::{Deserialize, Serialize};

use crate::krate::CrateId;
use crate::outcome::{Diagnostic, PackageRef};

pub use cause::{cause, causes, first_error};
pub(crate) use group::fnv1a;
pub use group::{Weight, group, group_weighted};
pub use signature::signature;

/// What kind of thing went wrong. Two kinds are never one cluster.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum CauseKind {
    /// An error of the compiler, the linker or cargo.
    #[default]
    Error,
    /// The compiler crashed.
    Ice,
    /// A test failed.
    Test,
    /// There are more warnings than before.
    Warnings,
    /// A limit of the sandbox, or something that no sandbox has.
    Limit,
    /// A failure of which only the reason is known: a build script, say.
    Other,
}

impl CauseKind {
    /// The name used in results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Ice => "ice",
            Self::Test => "test",
            Self::Warnings => "warnings",
            Self::Limit => "limit",
            Self::Other => "other",
        }
    }
}

/// One cause of a crate's regression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// What kind of thing went wrong.
    pub kind: CauseKind,
    /// The package that failed: the crate itself, or a dependency in the version that was used.
    pub root: PackageRef,
    /// Whether that is the crate itself.
    pub own: bool,
    /// Whether crates that fail in themselves may share this cause.
    pub shared: bool,
    /// The code of its error, such as `E0282` or the name of a lint.
    pub code: Option<String>,
    /// The message of that error, normalised; or what is known instead where there is none.
    pub signature: String,
    /// The same without the names of the package's own items: what other packages would say too.
    pub general: String,
    /// Where: the file in the package, or for a crash the file of the compiler. No line number.
    pub place: Option<String>,
    /// Whether it came after another error of the same compilation, and so may be its consequence.
    pub follows: bool,
    /// The error itself.
    pub error: Option<Diagnostic>,
}

/// The identity of a cluster: 16 hexadecimal digits, the same in every run and version for the same
/// kind, root, code, signature and place. For causes that many crates share, the root is no part
/// of it, so that the names of crates play no role.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClusterId(pub String);

impl std::fmt::Display for ClusterId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Crates that regressed for one cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// Its identity.
    pub id: ClusterId,
    /// The cause: that of the most crates, with the error of the first of them by name. Its
    /// `signature` is what was compared.
    pub cause: Cause,
    /// The package that fails, where it is the same for all crates; `None` where many crates fail
    /// in themselves for one cause.
    pub root: Option<PackageRef>,
    /// The crates for which it is the first cause that matters, in the order in which they were
    /// given.
    pub crates: Vec<CrateId>,
    /// Crates that belong to another cluster and have this cause too.
    pub also: Vec<CrateId>,
    /// Clusters that look like the same cause in another package or version, largest first.
    pub related: Vec<ClusterId>,
    /// What all its crates weigh together; see [`Weight`].
    pub weight: Weight,
}

#[cfg(test)]
mod tests;
