//! Whoever a token belongs to.

use axum::Json;
use ejecta_core::protocol::Me;

use super::extract::Whoever;

pub(super) async fn me(Whoever(caller): Whoever) -> Json<Me> {
    Json(Me {
        agent: caller.agent,
        scopes: caller.scopes.names(),
    })
}
