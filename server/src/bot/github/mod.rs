//! GitHub, as far as the bot needs it: comments, labels, pull requests, commits, teams.
//!
//! The client is real and small; tests fake the server. Changes of GitHub go through the
//! [outbox](super::mailbox::Outbox), never from here by themselves.

mod auth;
mod error;
mod http;

use jiff::Timestamp;
use reqwest::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

pub use auth::{App, Credentials, InvalidKey};
pub use error::{GithubClass, GithubError};
pub use http::Retries;
pub(super) use http::jittered;

use self::http::{Call, Http, Who};
use super::model::{RepoName, Thread};
use crate::Clock;

/// Where GitHub's API is, unless somebody runs their own.
pub const GITHUB_API: &str = "https://api.github.com";
/// Things on a page; the most that GitHub gives.
const PAGE: usize = 100;
/// Pages read of one list, at most.
const MAX_PAGES: usize = 100;

/// A comment.
#[derive(Debug, Clone, Deserialize)]
pub struct Comment {
    /// Its number.
    pub id: u64,
    /// What it says; `null` where GitHub shows nothing.
    #[serde(default, deserialize_with = "or_empty")]
    pub body: String,
    /// Who wrote it.
    pub user: Option<Account>,
}

/// Somebody, as GitHub tells it: with more than we need.
#[derive(Debug, Clone, Deserialize)]
pub struct Account {
    /// The number.
    pub id: u64,
    /// The name.
    pub login: String,
}

fn or_empty<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[derive(Debug, Deserialize)]
struct Label {
    name: String,
}

#[derive(Debug, Deserialize)]
struct Sha {
    sha: String,
}

#[derive(Debug, Deserialize)]
struct Commit {
    parents: Vec<Sha>,
}

#[derive(Debug, Deserialize)]
struct Pull {
    head: Sha,
}

/// The client.
pub struct Github {
    http: Http,
    me: OnceCell<String>,
}

impl Github {
    /// A client of the API at `api` (usually [`GITHUB_API`]).
    ///
    /// # Errors
    /// [`GithubError::Setup`] when `api` is no address to which a token may be sent.
    pub fn new(
        api: &str,
        credentials: Credentials,
        retries: Retries,
        clock: Clock,
    ) -> Result<Self, GithubError> {
        Ok(Self {
            http: Http::new(api, credentials, retries, clock)?,
            me: OnceCell::new(),
        })
    }

    /// The name under which our comments appear.
    ///
    /// # Errors
    /// [`GithubError`].
    pub async fn me(&self) -> Result<&str, GithubError> {
        #[derive(Deserialize)]
        struct AppInfo {
            slug: String,
        }
        let ask = async || {
            let call = |path: &str| Call {
                what: "ask GitHub who we are".to_owned(),
                method: Method::GET,
                path: path.to_owned(),
                body: None,
                who: Who::App,
                repeatable: true,
            };
            if self.http.is_app() {
                let app: AppInfo = self.http.json(&call("/app")).await?;
                Ok(format!("{}[bot]", app.slug))
            } else {
                let user: Account = self.http.json(&call("/user")).await?;
                Ok(user.login)
            }
        };
        self.me.get_or_try_init(ask).await.map(String::as_str)
    }

    /// The comments of a thread, the oldest first; only those that were written or changed after
    /// `since`, if that is given.
    ///
    /// # Errors
    /// [`GithubError`].
    pub async fn comments(
        &self,
        thread: &Thread,
        since: Option<Timestamp>,
    ) -> Result<Vec<Comment>, GithubError> {
        let since = since.map_or(String::new(), |at| {
            format!("&since={}", at.strftime("%Y-%m-%dT%H:%M:%SZ"))
        });
        let path = format!("{}/comments", issue(thread));
        let what = format!("read the comments of {thread}");
        self.pages(&thread.repo, &path, &since, &what).await
    }

    /// Writes a comment, and tells its number. Not repeated by itself: whether a failed request was
    /// carried out is unknown.
    ///
    /// # Errors
    /// [`GithubError`].
    pub async fn post_comment(&self, thread: &Thread, body: &str) -> Result<u64, GithubError> {
        #[derive(Deserialize)]
        struct Posted {
            id: u64,
        }
        let path = format!("{}/comments", issue(thread));
        let what = format!("comment on {thread}");
        let body = json!({ "body": body });
        let posted: Posted = self
            .call(&thread.repo, Method::POST, path, Some(body), what, false)
            .await?;
        Ok(posted.id)
    }

    /// Changes a comment of ours.
    ///
    /// # Errors
    /// [`GithubError`].
    pub async fn edit_comment(
        &self,
        thread: &Thread,
        comment: u64,
        body: &str,
    ) -> Result<(), GithubError> {
        let path = format!("/repos/{}/issues/comments/{comment}", thread.repo);
        let what = format!("edit comment {comment} on {thread}");
        let body = json!({ "body": body });
        let _: Value = self
            .call(&thread.repo, Method::PATCH, path, Some(body), what, true)
            .await?;
        Ok(())
    }

    /// The labels of a thread.
    ///
    /// # Errors
    /// [`GithubError`].
    pub async fn labels(&self, thread: &Thread) -> Result<Vec<String>, GithubError> {
        let path = format!("{}/labels", issue(thread));
        let what = format!("read the labels of {thread}");
        let labels: Vec<Label> = self.pages(&thread.repo, &path, "", &what).await?;
        Ok(labels.into_iter().map(|label| label.name).collect())
    }

    /// Puts a label on a thread; it stays where it is there.
    ///
    /// # Errors
    /// [`GithubError`].
    pub async fn add_label(&self, thread: &Thread, label: &str) -> Result<(), GithubError> {
        let path = format!("{}/labels", issue(thread));
        let what = format!("label {thread}");
        let body = json!({ "labels": [label] });
        let _: Value = self
            .call(&thread.repo, Method::POST, path, Some(body), what, true)
            .await?;
        Ok(())
    }

    /// Takes a label off a thread; nothing happens where it is not there.
    ///
    /// # Errors
    /// [`GithubError`].
    pub async fn remove_label(&self, thread: &Thread, label: &str) -> Result<(), GithubError> {
        let path = format!("{}/labels/{}", issue(thread), encoded(label));
        let what = format!("take a label off {thread}");
        let done = self
            .call::<Value>(&thread.repo, Method::DELETE, path, None, what, true)
            .await;
        match done {
            Err(error) if error.is_missing() => Ok(()),
            other => other.map(|_| ()),
        }
    }

    /// What a pull request is at.
    ///
    /// # Errors
    /// [`GithubError`].
    pub async fn head(&self, thread: &Thread) -> Result<String, GithubError> {
        let path = format!("/repos/{}/pulls/{}", thread.repo, thread.number);
        let what = format!("read pull request {thread}");
        let pull: Pull = self
            .call(&thread.repo, Method::GET, path, None, what, true)
            .await?;
        Ok(pull.head.sha)
    }

    /// The parents of a commit.
    ///
    /// # Errors
    /// [`GithubError`].
    pub async fn parents(&self, repo: &RepoName, sha: &str) -> Result<Vec<String>, GithubError> {
        let path = format!("/repos/{repo}/commits/{}", encoded(sha));
        let what = format!("read commit {sha}");
        let commit: Commit = self.call(repo, Method::GET, path, None, what, true).await?;
        Ok(commit.parents.into_iter().map(|p| p.sha).collect())
    }

    /// The numbers of a team's members.
    ///
    /// # Errors
    /// [`GithubError`].
    pub async fn team(&self, org: &str, team: &str) -> Result<Vec<u64>, GithubError> {
        let path = format!("/orgs/{}/teams/{}/members", encoded(org), encoded(team));
        let what = format!("read team `{org}/{team}`");
        let installation = format!("/orgs/{}/installation", encoded(org));
        let members: Vec<Account> = self.pages_as(&installation, &path, "", &what).await?;
        Ok(members.into_iter().map(|user| user.id).collect())
    }

    /// Public JSON elsewhere.
    ///
    /// # Errors
    /// [`GithubError`].
    pub async fn public<T: DeserializeOwned>(&self, url: &str) -> Result<T, GithubError> {
        let call = Call {
            what: format!("read `{url}`"),
            method: Method::GET,
            path: url.to_owned(),
            body: None,
            who: Who::Nobody,
            repeatable: true,
        };
        self.http.json(&call).await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        repo: &RepoName,
        method: Method,
        path: String,
        body: Option<Value>,
        what: String,
        repeatable: bool,
    ) -> Result<T, GithubError> {
        let installation = format!("/repos/{repo}/installation");
        let call = Call {
            what,
            method,
            path,
            body,
            who: Who::Installation(&installation),
            repeatable,
        };
        self.http.json(&call).await
    }

    async fn pages<T: DeserializeOwned>(
        &self,
        repo: &RepoName,
        path: &str,
        query: &str,
        what: &str,
    ) -> Result<Vec<T>, GithubError> {
        let installation = format!("/repos/{repo}/installation");
        self.pages_as(&installation, path, query, what).await
    }

    async fn pages_as<T: DeserializeOwned>(
        &self,
        installation: &str,
        path: &str,
        query: &str,
        what: &str,
    ) -> Result<Vec<T>, GithubError> {
        let mut all = Vec::new();
        for page in 1..=MAX_PAGES {
            let call = Call {
                what: what.to_owned(),
                method: Method::GET,
                path: format!("{path}?per_page={PAGE}&page={page}{query}"),
                body: None,
                who: Who::Installation(installation),
                repeatable: true,
            };
            let things: Vec<T> = self.http.json(&call).await?;
            let last = things.len() < PAGE;
            all.extend(things);
            if last {
                return Ok(all);
            }
        }
        tracing::warn!(
            pages = MAX_PAGES,
            "the end of a long list is not read: {what}"
        );
        Ok(all)
    }
}

fn issue(thread: &Thread) -> String {
    format!("/repos/{}/issues/{}", thread.repo, thread.number)
}

/// One segment of a path.
fn encoded(segment: &str) -> String {
    // `link` leaves slashes alone.
    ejecta_core::report::link(segment).replace('/', "%2F")
}
