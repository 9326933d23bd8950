//! Tokens: what they allow, how they are made, kept and checked.
//!
//! A token is `ejt_<id>_<secret>`. The id is public: it names the token in lists and logs, and
//! finds its record. The secret has 256 random bits and is shown once; what is kept is its SHA-256
//! (which needs no salt, because nobody guesses 256 bits), and it is compared in constant time.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ejecta_core::mode::UnknownName;
use jiff::Timestamp;
use secrecy::SecretString;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::store::{Store, StoreError, TokenRecord};

/// What all tokens begin with, so that scanners for leaked secrets can be taught to find them.
const PREFIX: &str = "ejt_";
/// Random bytes of an id.
const ID_BYTES: usize = 8;
/// Random bytes of a secret.
const SECRET_BYTES: usize = 32;
/// Random bytes that a new token is made of.
pub const TOKEN_BYTES: usize = ID_BYTES + SECRET_BYTES;
/// How exactly it is kept when a token was last used.
const USED_EVERY: Duration = Duration::from_secs(60);

/// One thing that a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Permission {
    /// Claim jobs, and report those that were granted to the token's agent.
    Agent,
    /// Create, edit, abort and retry experiments.
    Submit,
    /// All that people do: tokens and agents too.
    Admin,
    /// Look at everything that is no secret.
    Read,
}

impl Permission {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Agent, Self::Submit, Self::Admin, Self::Read];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Submit => "submit",
            Self::Admin => "admin",
            Self::Read => "read",
        }
    }

    /// Whether whoever has this may do what `wanted` is for.
    fn covers(self, wanted: Self) -> bool {
        match (self, wanted) {
            (Self::Admin, Self::Submit | Self::Admin | Self::Read)
            | (Self::Submit, Self::Submit | Self::Read)
            | (Self::Agent, Self::Agent)
            | (Self::Read, Self::Read) => true,
            // An agent's work is done by agents only, and an agent sees nothing but its jobs.
            (Self::Admin | Self::Submit | Self::Read, Self::Agent)
            | (Self::Agent | Self::Read, Self::Submit)
            | (Self::Agent | Self::Submit | Self::Read, Self::Admin)
            | (Self::Agent, Self::Read) => false,
        }
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Permission {
    type Err = UnknownName;
    fn from_str(s: &str) -> Result<Self, UnknownName> {
        Self::ALL
            .into_iter()
            .find(|permission| permission.name() == s)
            .ok_or_else(|| UnknownName {
                what: "scope of a token",
                given: s.to_owned(),
                known: Self::ALL.map(Self::name).join(", "),
            })
    }
}

/// All that a token allows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scopes(BTreeSet<Permission>);

impl Scopes {
    /// These.
    pub fn new(permissions: impl IntoIterator<Item = Permission>) -> Self {
        Self(permissions.into_iter().collect())
    }

    /// Their names.
    pub fn names(&self) -> Vec<String> {
        self.0.iter().map(|p| p.name().to_owned()).collect()
    }

    /// Whether what `wanted` is for is allowed.
    pub fn allow(&self, wanted: Permission) -> bool {
        self.0.iter().any(|has| has.covers(wanted))
    }
}

impl fmt::Display for Scopes {
    /// `agent,read`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.0.iter().map(|p| p.name()).collect();
        f.write_str(&names.join(","))
    }
}

impl FromStr for Scopes {
    type Err = UnknownName;
    fn from_str(s: &str) -> Result<Self, UnknownName> {
        let names = s.split(',').map(str::trim).filter(|name| !name.is_empty());
        names.map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

/// What is left of a secret: its SHA-256. Two of them are compared in constant time.
#[derive(Clone)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// The hash of a secret.
    fn of(secret: &str) -> Self {
        Self(Sha256::digest(secret.as_bytes()).into())
    }

    /// A hash as it was kept; `None` if it has another length.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The hash, to be kept.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for TokenHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for TokenHash {}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(..)")
    }
}

/// What a new token is to be.
#[derive(Debug, Clone)]
pub struct TokenRequest {
    /// What it is for, for people.
    pub label: String,
    /// What it allows.
    pub scopes: Scopes,
    /// The agent whose token it is.
    pub agent: Option<String>,
    /// From when on it is worth nothing.
    pub expires: Option<Timestamp>,
}

/// Makes a token of `random` bytes that were never used before: what is kept, and what is shown
/// once.
pub fn mint(
    request: TokenRequest,
    random: &[u8; TOKEN_BYTES],
    now: Timestamp,
) -> (TokenRecord, SecretString) {
    let (id, secret) = random.split_at(ID_BYTES);
    let (id, secret) = (hex(id), hex(secret));
    let record = TokenRecord {
        hash: TokenHash::of(&secret),
        label: request.label,
        scopes: request.scopes,
        agent: request.agent,
        created: now,
        expires: request.expires,
        revoked: None,
        used: None,
        id: id.clone(),
    };
    (record, SecretString::from(format!("{PREFIX}{id}_{secret}")))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The id and the secret of a token as it was presented.
fn parts(presented: &str) -> Option<(&str, &str)> {
    let (id, secret) = presented.strip_prefix(PREFIX)?.split_once('_')?;
    let is_hex = |text: &str, bytes: usize| {
        text.len() == 2 * bytes && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    (is_hex(id, ID_BYTES) && is_hex(secret, SECRET_BYTES)).then_some((id, secret))
}

/// Whoever made a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The id of its token.
    pub token: String,
    /// The agent that it is.
    pub agent: Option<String>,
    /// What it may do.
    pub scopes: Scopes,
}

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// No token, or one that is worth nothing: unknown, wrong, expired, or taken back. Which of
    /// these is said to nobody.
    #[error("a valid token is needed (`Authorization: Bearer <token>`)")]
    Unauthorized,
    /// The token does not allow this.
    #[error("a token with the scope `{0}` is needed")]
    Forbidden(Permission),
    /// The token is no agent's.
    #[error("a token of an agent is needed (`ejecta token create --agent NAME`)")]
    NoAgent,
    /// The token cannot be looked up.
    #[error("failed to {0}")]
    Store(#[from] StoreError),
}

/// Knows who may do what.
pub struct Gate {
    store: Arc<dyn Store>,
    /// Tokens of this process alone, which no store keeps.
    own: Vec<TokenRecord>,
    /// When the use of a token was last written down.
    used: Mutex<HashMap<String, Timestamp>>,
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate")
            .field("own", &self.own)
            .finish_non_exhaustive()
    }
}

impl Gate {
    /// A gate for the tokens in `store`, and those of this process alone.
    pub fn new(store: Arc<dyn Store>, own: Vec<TokenRecord>) -> Self {
        Self {
            store,
            own,
            used: Mutex::default(),
        }
    }

    /// Whose token was presented, if it is worth anything at `now`.
    ///
    /// # Errors
    /// [`Refused::Unauthorized`], [`Refused::Store`].
    pub async fn caller(&self, presented: &str, now: Timestamp) -> Result<Caller, Refused> {
        let (id, secret) = parts(presented).ok_or(Refused::Unauthorized)?;
        let own = self.own.iter().find(|record| record.id == id);
        let record = match own {
            Some(record) => Some(record.clone()),
            None => self.store.token(id).await?,
        };
        let record = record
            .filter(|record| record.hash == TokenHash::of(secret))
            .filter(|record| record.revoked.is_none())
            .filter(|record| record.expires.is_none_or(|expires| now < expires))
            .ok_or(Refused::Unauthorized)?;
        if own.is_none() && self.is_news(id, now) {
            self.store.touch_token(id, now).await?;
        }
        Ok(Caller {
            token: record.id,
            agent: record.agent,
            scopes: record.scopes,
        })
    }

    /// Whether the use of a token at `now` is worth writing down.
    fn is_news(&self, id: &str, now: Timestamp) -> bool {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = used
            .get(id)
            .is_some_and(|before| now.duration_since(*before).unsigned_abs() < USED_EVERY);
        if !recent {
            used.insert(id.to_owned(), now);
        }
        !recent
    }
}

impl Caller {
    /// Whether what `wanted` is for is allowed.
    ///
    /// # Errors
    /// [`Refused::Forbidden`].
    pub fn may(&self, wanted: Permission) -> Result<(), Refused> {
        if self.scopes.allow(wanted) {
            Ok(())
        } else {
            Err(Refused::Forbidden(wanted))
        }
    }

    /// The agent whose token it is, to do an agent's work.
    ///
    /// # Errors
    /// [`Refused::Forbidden`], [`Refused::NoAgent`].
    pub fn as_agent(&self) -> Result<&str, Refused> {
        self.may(Permission::Agent)?;
        self.agent.as_deref().ok_or(Refused::NoAgent)
    }
}

/// The token in an `Authorization` header's value, if it is a bearer token.
pub(crate) fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim())
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    fn minted() -> (TokenRecord, SecretString) {
        let request = TokenRequest {
            label: "a test".to_owned(),
            scopes: Scopes::new([Permission::Agent]),
            agent: Some("one".to_owned()),
            expires: None,
        };
        mint(request, &[7; TOKEN_BYTES], Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn a_token_has_two_parts_and_the_secret_is_not_kept() {
        let (record, token) = minted();
        let text = token.expose_secret();
        let (id, secret) = parts(text).expect("well formed");
        assert_eq!((id, secret.len()), (record.id.as_str(), 64));
        assert!(text.starts_with("ejt_0707070707070707_0707"), "{text}");
        assert!(record.hash == TokenHash::of(secret));
        assert!(!format!("{record:?}{token:?}").contains(secret));
    }

    #[test]
    fn what_is_no_token_is_not_looked_up() {
        let (_, token) = minted();
        let good = token.expose_secret();
        let upper = good.to_uppercase();
        let long = format!("{good}0");
        let sql = "ejt_' OR 1=1 --_00";
        for bad in [
            "",
            "ejt_",
            "ejt__",
            "x",
            &good[1..],
            &good[..80],
            &upper,
            &long,
            sql,
        ] {
            assert_eq!(parts(bad), None, "{bad}");
        }
    }

    #[test]
    fn scopes_cover_what_they_should() {
        use Permission::{Admin, Agent, Read, Submit};
        let table = [
            (Agent, vec![Agent]),
            (Read, vec![Read]),
            (Submit, vec![Submit, Read]),
            (Admin, vec![Submit, Admin, Read]),
        ];
        for (has, allowed) in table {
            let scopes = Scopes::new([has]);
            for wanted in Permission::ALL {
                assert_eq!(
                    scopes.allow(wanted),
                    allowed.contains(&wanted),
                    "{has} {wanted}"
                );
            }
        }
        assert!(Permission::ALL.iter().all(|p| !Scopes::default().allow(*p)));
    }

    #[test]
    fn scopes_are_read_as_they_are_written() {
        let both: Scopes = "read, agent".parse().expect("known");
        assert_eq!(both.to_string(), "agent,read");
        assert_eq!("".parse(), Ok(Scopes::default()));
        let error = "root".parse::<Scopes>().expect_err("unknown").to_string();
        assert_eq!(
            error,
            "`root` is no scope of a token; there are: agent, submit, admin, read"
        );
    }

    #[test]
    fn only_bearer_tokens_are_read() {
        assert_eq!(bearer("Bearer abc"), Some("abc"));
        assert_eq!(bearer("bearer  abc"), Some("abc"));
        assert_eq!(bearer("Basic abc"), None);
        assert_eq!(bearer("abc"), None);
        assert_eq!(bearer(""), None);
    }
}
