//! Errors at the edge: what failed, why, and what the user can do about it.

use std::fmt;

use crate::exit::Exit;

/// An error as a person reads it: `failed to …: why`, then hints.
#[derive(Debug)]
pub struct Failure {
    what: String,
    hints: Vec<String>,
    exit: Exit,
    transient: bool,
}

impl Failure {
    /// An error whose text fits after "failed to".
    pub fn to(what: impl fmt::Display) -> Self {
        Self {
            what: format!("failed to {what}"),
            hints: Vec::new(),
            exit: Exit::Usage,
            transient: false,
        }
    }

    /// An error that says what is wrong with the input.
    pub fn input(what: impl fmt::Display) -> Self {
        Self {
            what: what.to_string(),
            hints: Vec::new(),
            exit: Exit::Usage,
            transient: false,
        }
    }

    /// Adds a way out.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// The same, of a run that had begun: what is done is kept, and the rest is missing.
    pub fn midway(mut self) -> Self {
        self.exit = Exit::Incomplete;
        self
    }

    /// The same, where trying again may help by itself, if it is so.
    pub fn transient(mut self, transient: bool) -> Self {
        self.transient = transient;
        self
    }

    /// Whether trying again may help by itself.
    pub fn is_transient(&self) -> bool {
        self.transient
    }

    /// Several of them as one: what failed, each on its line, and each hint once. `None` of none.
    pub fn all(failures: Vec<Self>) -> Option<Self> {
        failures.into_iter().reduce(|mut all, next| {
            all.what = format!("{}\n{}", all.what, next.what);
            for hint in next.hints {
                if !all.hints.contains(&hint) {
                    all.hints.push(hint);
                }
            }
            all
        })
    }

    /// How the process ends for it.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// Adds a way out, if there is one.
    pub fn hints(mut self, hint: Option<String>) -> Self {
        self.hints.extend(hint);
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Names of crates and what daemons say come from outside.
        f.write_str(&ejecta_core::log::clean(&self.what))?;
        for hint in &self.hints {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

impl From<ejecta_agent::error::AgentError> for Failure {
    fn from(error: ejecta_agent::error::AgentError) -> Self {
        let hint = error.hint();
        Self::to(error).hints(hint)
    }
}

impl From<ejecta_agent::sandbox::SandboxError> for Failure {
    fn from(error: ejecta_agent::sandbox::SandboxError) -> Self {
        let hint = error.hint();
        Self::to(error).hints(hint)
    }
}

impl From<ejecta_agent::toolchain::ToolchainError> for Failure {
    fn from(error: ejecta_agent::toolchain::ToolchainError) -> Self {
        let hint = error.hint();
        Self::to(error).hint(hint)
    }
}

impl From<ejecta_registry::RegistryError> for Failure {
    fn from(error: ejecta_registry::RegistryError) -> Self {
        let hint = error.hint().map(str::to_owned);
        let transient = error.class() == ejecta_registry::ErrorClass::Transient;
        Self::to(error).hints(hint).transient(transient)
    }
}

impl From<ejecta_registry::DatabaseError> for Failure {
    fn from(error: ejecta_registry::DatabaseError) -> Self {
        let hint = error.hint().map(str::to_owned);
        Self::to(error).hints(hint)
    }
}

impl From<ejecta_server::publish::PublishError> for Failure {
    fn from(error: ejecta_server::publish::PublishError) -> Self {
        Self::to(error)
    }
}

impl From<ejecta_server::store::StoreError> for Failure {
    fn from(error: ejecta_server::store::StoreError) -> Self {
        let hint = error.hint().map(str::to_owned);
        Self::to(error).hints(hint)
    }
}
