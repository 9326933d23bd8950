//! The hostile suite on this machine's namespaces: no attack gets through.
//!
//! Needs a machine that gives namespaces, and rustup's `stable`. Without them the tests say so and
//! pass, unless `EJECTA_REQUIRE_NATIVE=1` is set. With `EJECTA_TEST_WITHOUT_CGROUPS=1` the backend
//! does without cgroups, where something else stands in for them.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails where it stands, and says when it was skipped"
)]

#[expect(
    dead_code,
    reason = "defences can be taken away only of what Docker is asked for"
)]
mod hostile;

use std::sync::Arc;

use ejecta_agent::sandbox::SandboxError;
use ejecta_agent::sandbox::native::{HelperProgram, NativeOptions, NativeSandbox};
use hostile::Lab;

async fn open() -> Option<Lab> {
    let options = NativeOptions {
        helper: HelperProgram {
            path: env!("CARGO_BIN_EXE_ejecta-sandbox-init").into(),
            arguments: Vec::new(),
        },
        without_cgroups: std::env::var_os("EJECTA_TEST_WITHOUT_CGROUPS").is_some(),
    };
    match NativeSandbox::open(options).await {
        Ok(sandbox) => Some(Lab::open(Arc::new(sandbox)).await),
        Err(error @ SandboxError::Namespaces { .. }) => {
            let required = std::env::var_os("EJECTA_REQUIRE_NATIVE").is_some();
            assert!(!required, "{error}");
            println!("\n**** SKIPPED: no namespaces: {error} ****\n");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

every_group!(open());
