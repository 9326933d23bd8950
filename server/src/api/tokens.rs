//! Tokens, for those who may do everything.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use ejecta_core::client::{NewToken, TokenCreate, TokenList, TokenView};
use secrecy::ExposeSecret as _;

use super::MAX_BODY_BYTES;
use super::error::ApiError;
use super::extract::{Body, Whoever};
use crate::auth::Permission;
use crate::coordinator::Coordinator;
use crate::tokens::{self, TokenError};

/// One who may do everything. It stands before the body in a handler's arguments, so that others
/// are refused before theirs is read.
pub(super) struct Admin;

impl<S: Send + Sync> FromRequestParts<S> for Admin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Whoever(caller) = Whoever::from_request_parts(parts, state).await?;
        caller.may(Permission::Admin)?;
        Ok(Self)
    }
}

impl From<TokenError> for ApiError {
    fn from(error: TokenError) -> Self {
        let message = error.to_string();
        match error {
            TokenError::Invalid(_) => Self::new(StatusCode::BAD_REQUEST, message),
            TokenError::Store(error) => error.into(),
            TokenError::Randomness(_) => Self::not_now(message),
        }
    }
}

pub(super) async fn list(
    _: Admin,
    State(coordinator): State<Arc<Coordinator>>,
) -> Result<Json<TokenList>, ApiError> {
    let tokens = coordinator.store().tokens().await?;
    let tokens: Vec<TokenView> = tokens.iter().map(tokens::view).collect();
    Ok(Json(TokenList { tokens }))
}

pub(super) async fn create(
    _: Admin,
    State(coordinator): State<Arc<Coordinator>>,
    Body(request): Body<TokenCreate, MAX_BODY_BYTES>,
) -> Result<(StatusCode, Json<NewToken>), ApiError> {
    let (record, token) = tokens::create(coordinator.store(), &request, coordinator.now()).await?;
    let answer = NewToken {
        token: token.expose_secret().to_owned(),
        about: tokens::view(&record),
    };
    Ok((StatusCode::CREATED, Json(answer)))
}

pub(super) async fn revoke(
    _: Admin,
    State(coordinator): State<Arc<Coordinator>>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let store = coordinator.store();
    if store.token(&id).await?.is_none() {
        let message = "there is no such token";
        return Err(ApiError::new(StatusCode::NOT_FOUND, message));
    }
    // One that was taken back before is so now, too.
    store.revoke_token(&id, coordinator.now()).await?;
    Ok(StatusCode::NO_CONTENT)
}
