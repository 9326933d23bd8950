//! Making tokens and listing them, for the command line and the API.

use ejecta_core::client::{TokenCreate, TokenView};
use ejecta_core::log::clean;
use jiff::Timestamp;
use secrecy::SecretString;

use crate::auth::{Permission, Scopes, TOKEN_BYTES, TokenRequest, mint};
use crate::store::{Store, StoreError, TokenRecord};

/// The longest label and name, in bytes.
const MAX_BYTES: usize = 100;

/// Why a token was not made.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The request makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// The store failed.
    #[error("failed to {0}")]
    Store(#[from] StoreError),
    /// The system gave no randomness.
    #[error("failed to make a token: {0}")]
    Randomness(#[from] getrandom::Error),
}

/// Makes a token and keeps it: what is kept, and what is shown once.
///
/// # Errors
/// [`TokenError`].
pub async fn create(
    store: &dyn Store,
    request: &TokenCreate,
    now: Timestamp,
) -> Result<(TokenRecord, SecretString), TokenError> {
    let request = check(request, now)?;
    loop {
        let mut random = [0_u8; TOKEN_BYTES];
        getrandom::fill(&mut random)?;
        let (record, token) = mint(request.clone(), &random, now);
        if store.add_token(&record).await? {
            return Ok((record, token));
        }
    }
}

fn check(request: &TokenCreate, now: Timestamp) -> Result<TokenRequest, TokenError> {
    let invalid = |why: String| Err(TokenError::Invalid(why));
    let scopes: Result<Vec<Permission>, _> = request.scopes.iter().map(|s| s.parse()).collect();
    let scopes = scopes.map_err(|error| TokenError::Invalid(error.to_string()))?;
    if scopes.is_empty() {
        return invalid("a token has at least one scope: agent, submit, admin, read".to_owned());
    }
    let is_agent = scopes.contains(&Permission::Agent);
    match &request.agent {
        None if is_agent => {
            return invalid("a token with the scope `agent` names its agent".to_owned());
        }
        Some(_) if !is_agent => {
            return invalid("only a token with the scope `agent` names an agent".to_owned());
        }
        _ => {}
    }
    let label = Some(&request.label);
    for (what, text) in [("label", label), ("agent's name", request.agent.as_ref())] {
        let Some(text) = text else {
            continue;
        };
        let decent = (1..=MAX_BYTES).contains(&text.len())
            && clean(text) == *text
            && !text.contains(['\n', '\t']);
        if !decent {
            return invalid(format!(
                "a token's {what} has 1 to {MAX_BYTES} bytes and no control characters"
            ));
        }
    }
    if let Some(expires) = request.expires.filter(|expires| *expires <= now) {
        return invalid(format!(
            "the token would have expired already, at {expires}"
        ));
    }
    Ok(TokenRequest {
        label: request.label.clone(),
        scopes: Scopes::new(scopes),
        agent: request.agent.clone(),
        expires: request.expires,
    })
}

/// A token without its secret.
pub fn view(record: &TokenRecord) -> TokenView {
    TokenView {
        id: record.id.clone(),
        label: record.label.clone(),
        scopes: record.scopes.names(),
        agent: record.agent.clone(),
        created: record.created,
        expires: record.expires,
        revoked: record.revoked,
        used: record.used,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_that_make_no_sense_are_refused() {
        let now = Timestamp::UNIX_EPOCH;
        let good = |scopes: &[&str], agent: Option<&str>| TokenCreate {
            label: "a test".to_owned(),
            scopes: scopes.iter().map(ToString::to_string).collect(),
            agent: agent.map(str::to_owned),
            expires: None,
        };
        assert!(check(&good(&["agent"], Some("one")), now).is_ok());
        assert!(check(&good(&["submit", "read"], None), now).is_ok());
        let expired = TokenCreate {
            expires: Some(now),
            ..good(&["read"], None)
        };
        let hostile = TokenCreate {
            label: "\x1b[2J".to_owned(),
            ..good(&["read"], None)
        };
        let table = [
            (good(&[], None), "at least one scope"),
            (good(&["root"], None), "`root` is no scope of a token"),
            (good(&["agent"], None), "names its agent"),
            (
                good(&["read"], Some("one")),
                "only a token with the scope `agent`",
            ),
            (
                good(&["agent"], Some("")),
                "agent's name has 1 to 100 bytes",
            ),
            (
                good(&["agent"], Some("a\nb")),
                "agent's name has 1 to 100 bytes",
            ),
            (expired, "would have expired already"),
            (hostile, "label has 1 to 100 bytes"),
        ];
        for (request, says) in table {
            let error = check(&request, now).expect_err(says).to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
