//! `ejecta token`: makes, lists and takes back tokens.
//!
//! It works on the store itself, by the server's configuration, and not through the server: somebody
//! has to make the first token, whoever can read the database's secret may do all of this anyway,
//! and it works while the server is down. Those who have an `admin` token and no access to the
//! store use the API.

use ejecta_core::client::{TokenCreate, TokenList, TokenView};
use ejecta_core::log::clean;
use ejecta_server::tokens;
use jiff::{SignedDuration, Timestamp};
use secrecy::ExposeSecret as _;

use crate::cli::{MessageFormat, TokenCommand, TokenCreateArgs};
use crate::error::Failure;
use crate::run::now;
use crate::server::config::Config;
use crate::server::open_store;

/// Does it; gives what is for standard output.
///
/// # Errors
/// [`Failure`].
pub async fn token(command: &TokenCommand) -> Result<String, Failure> {
    match command {
        TokenCommand::Create(args) => create(args).await,
        TokenCommand::List { config, format } => {
            let store = open_store(&Config::read(config)?).await?;
            let all = store.tokens().await?;
            let tokens: Vec<TokenView> = all.iter().map(tokens::view).collect();
            match format {
                MessageFormat::Json => json(&TokenList { tokens }),
                MessageFormat::Human => Ok(table(&tokens, now())),
            }
        }
        TokenCommand::Revoke { config, id } => {
            let store = open_store(&Config::read(config)?).await?;
            let shown = clean(id);
            if store.token(id).await?.is_none() {
                return Err(Failure::input(format!("there is no token `{shown}`"))
                    .hint("`ejecta token list` says which there are"));
            }
            Ok(match store.revoke_token(id, now()).await? {
                true => format!("the token {shown} is worth nothing any more\n"),
                false => format!("the token {shown} had been taken back before\n"),
            })
        }
    }
}

async fn create(args: &TokenCreateArgs) -> Result<String, Failure> {
    let store = open_store(&Config::read(&args.config)?).await?;
    let now = now();
    let expires = match args.days {
        0 => None,
        days => now
            .checked_add(SignedDuration::from_hours(24 * i64::from(days)))
            .ok(),
    };
    let mut scopes: Vec<String> = args.scopes.iter().map(ToString::to_string).collect();
    if scopes.is_empty() && args.agent.is_some() {
        scopes.push("agent".to_owned());
    }
    let label = match (&args.label, &args.agent) {
        (Some(label), _) => label.clone(),
        (None, Some(agent)) => format!("the agent {agent}"),
        (None, None) => format!("for {}", scopes.join(", ")),
    };
    let request = TokenCreate {
        label,
        scopes,
        agent: args.agent.clone(),
        expires,
    };
    let made = tokens::create(&*store, &request, now).await;
    let (record, token) = made.map_err(|error| match error {
        tokens::TokenError::Store(error) => error.into(),
        error => Failure::input(error),
    })?;
    if let Some(file) = &args.out {
        write_secret(file, token.expose_secret())?;
        return Ok(format!("{}\n", record.id));
    }
    Ok(match args.format {
        MessageFormat::Human => format!("{}\n", token.expose_secret()),
        MessageFormat::Json => json(&ejecta_core::client::NewToken {
            token: token.expose_secret().to_owned(),
            about: tokens::view(&record),
        })?,
    })
}

/// Writes a token into a new file that only its owner reads.
fn write_secret(file: &std::path::Path, token: &str) -> Result<(), Failure> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = std::fs::OpenOptions::new();
    let opened = options.write(true).create_new(true).mode(0o600).open(file);
    opened
        .and_then(|mut opened| opened.write_all(format!("{token}\n").as_bytes()))
        .map_err(|e| Failure::to(format!("write the token into `{}`: {e}", file.display())))
}

fn json(value: &impl serde::Serialize) -> Result<String, Failure> {
    let text = serde_json::to_string(value);
    let text = text.map_err(|e| Failure::to(format!("write JSON: {e}")))?;
    Ok(format!("{text}\n"))
}

/// A line a token.
fn table(tokens: &[TokenView], now: Timestamp) -> String {
    let mut lines = String::new();
    for token in tokens {
        let state = match (token.revoked, token.expires) {
            (Some(at), _) => format!("revoked {}", day(at)),
            (None, Some(at)) if at <= now => format!("expired {}", day(at)),
            (None, Some(at)) => format!("until {}", day(at)),
            (None, None) => "for ever".to_owned(),
        };
        let used = token
            .used
            .map_or("never used".to_owned(), |at| format!("used {}", day(at)));
        let scopes = token.scopes.join(",");
        let agent = token.agent.as_deref().unwrap_or("-");
        let line = format!(
            "{}  {scopes}  {}  {state}  {used}  {}",
            token.id,
            clean(agent),
            clean(&token.label)
        );
        lines.push_str(&line);
        lines.push('\n');
    }
    lines
}

fn day(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_says_what_each_token_is_worth() {
        let at = |seconds| Timestamp::from_second(seconds).expect("in range");
        let token = |id: &str, expires, revoked, used| TokenView {
            id: id.to_owned(),
            label: "a \x1b[2J label".to_owned(),
            scopes: vec!["agent".to_owned(), "read".to_owned()],
            agent: Some("one".to_owned()),
            created: at(0),
            expires,
            revoked,
            used,
        };
        let all = [
            token("a", None, None, None),
            token("b", Some(at(10)), None, Some(at(5))),
            token("c", Some(at(2_000_000_000)), None, None),
            token("d", None, Some(at(86_400)), None),
        ];
        insta::assert_snapshot!(table(&all, at(100)), @r"
        a  agent,read  one  for ever  never used  a \u{1b}[2J label
        b  agent,read  one  expired 1970-01-01  used 1970-01-01  a \u{1b}[2J label
        c  agent,read  one  until 2033-05-18  never used  a \u{1b}[2J label
        d  agent,read  one  revoked 1970-01-02  never used  a \u{1b}[2J label
        ");
    }
}
