//! Carries the outbox out: makes GitHub be as the entries say, each once, over crashes and lost
//! answers.
//!
//! A comment carries its key in a line that nobody sees. Before one is posted whose posting was
//! begun before, the thread is searched for the key: if it is there in a comment of ours, that one
//! is edited, else it is posted.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::github::{Github, GithubClass, GithubError, jittered};
use super::mailbox::{Due, Effect, EffectKey, MailboxError, Outbox};
use super::model::Thread;
use crate::Clock;

/// What is waited after the first failure, and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(2), Duration::from_mins(10));
/// What is waited where somebody has to change a right first.
const DENIED: Duration = Duration::from_mins(15);
/// GitHub's clock and ours may differ by so much.
const SKEW: SignedDuration = SignedDuration::from_mins(10);

/// The line that nobody sees. Keys have no `>` in them, so none ends the line early.
fn marker(key: &EffectKey) -> String {
    format!("<!-- ejecta: {} -->", key.0.replace('>', ""))
}

/// A comment as it is posted.
fn marked(key: &EffectKey, body: &str) -> String {
    format!("{}\n{body}", marker(key))
}

/// Carries the outbox out.
pub(super) struct Courier<'a> {
    pub github: &'a Github,
    pub outbox: &'a dyn Outbox,
    pub clock: &'a Clock,
    /// The pause between changes, which GitHub asks for.
    pub pause: Duration,
    /// How long an entry stays with a courier that is not heard of any more.
    pub hold: Duration,
}

impl Courier<'_> {
    /// Carries out what is due, and says how many entries that were.
    pub(super) async fn deliver(&self) -> Result<usize, MailboxError> {
        let mut delivered = 0;
        loop {
            let now = (self.clock)();
            let Some(due) = self.outbox.take(now, later(now, self.hold)).await? else {
                return Ok(delivered);
            };
            self.deliver_one(&due).await?;
            delivered += 1;
            tokio::time::sleep(self.pause).await;
        }
    }

    async fn deliver_one(&self, due: &Due) -> Result<(), MailboxError> {
        let key = &due.entry.key;
        if !self.outbox.begin(due).await? {
            return Ok(());
        }
        let hold = || async {
            let until = later((self.clock)(), self.hold);
            self.outbox.hold(due, until).await
        };
        let Some(ended) = holding(self.carry_out(due), self.hold, hold).await? else {
            tracing::warn!(key = key.0, "another coordinator has taken an entry over");
            return Ok(());
        };
        let now = (self.clock)();
        let error = match ended {
            Ok(comment) => return self.outbox.done(due, comment, now).await,
            Err(error) => error,
        };
        let until = match error.class() {
            GithubClass::Never => {
                tracing::warn!(key = key.0, "given up: failed to {error}");
                return self.outbox.give_up(due, &error.to_string(), now).await;
            }
            GithubClass::Limited(until) => until,
            GithubClass::Denied => {
                tracing::error!(key = key.0, "failed to {error}; a right or a key is wrong");
                later(now, DENIED)
            }
            GithubClass::Transient => {
                tracing::warn!(key = key.0, attempt = due.attempts + 1, "failed to {error}");
                later(now, backoff(due.attempts))
            }
        };
        self.outbox.put_off(due, until, &error.to_string()).await
    }

    /// Makes it so; the number of the comment, for a comment.
    async fn carry_out(&self, due: &Due) -> Result<Option<u64>, GithubError> {
        let thread = &due.entry.thread;
        match &due.entry.effect {
            Effect::Comment { body } => self.comment(due, thread, body).await.map(Some),
            Effect::Label { set, remove } => {
                self.label(thread, set, remove).await?;
                Ok(None)
            }
        }
    }

    async fn comment(&self, due: &Due, thread: &Thread, body: &str) -> Result<u64, GithubError> {
        let body = marked(&due.entry.key, body);
        let known = match due.comment {
            Some(comment) => Some(comment),
            None if due.attempts > 0 => self.find(due, thread).await?,
            None => None,
        };
        match known {
            Some(comment) => {
                self.github.edit_comment(thread, comment, &body).await?;
                Ok(comment)
            }
            None => self.github.post_comment(thread, &body).await,
        }
    }

    /// The comment that an earlier attempt has posted, if it has.
    async fn find(&self, due: &Due, thread: &Thread) -> Result<Option<u64>, GithubError> {
        let me = self.github.me().await?;
        let marker = marker(&due.entry.key);
        let since = due.since.checked_sub(SKEW).unwrap_or(Timestamp::MIN);
        let comments = self.github.comments(thread, Some(since)).await?;
        // Anybody can write the marker, so only our own comments count.
        let ours = comments.into_iter().find(|comment| {
            let author = comment.user.as_ref().map(|user| user.login.as_str());
            author.is_some_and(|login| login.eq_ignore_ascii_case(me))
                && comment.body.lines().next().map(str::trim_end) == Some(marker.as_str())
        });
        Ok(ours.map(|comment| comment.id))
    }

    async fn label(
        &self,
        thread: &Thread,
        set: &str,
        remove: &[String],
    ) -> Result<(), GithubError> {
        let labels = self.github.labels(thread).await?;
        for label in &labels {
            if label != set && remove.iter().any(|pattern| matches(pattern, label)) {
                self.github.remove_label(thread, label).await?;
            }
        }
        if !labels.iter().any(|label| label == set) {
            self.github.add_label(thread, set).await?;
        }
        Ok(())
    }
}

/// Whether a label is meant by a pattern, which may end in `*`.
fn matches(pattern: &str, label: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => label.starts_with(start),
        None => label == pattern,
    }
}

/// Does `work` and keeps what it is about meanwhile: `hold` is called well before a hold of that
/// length ends. `None`, and the work is dropped, when somebody else has it.
pub(super) async fn holding<T, H: Future<Output = Result<bool, MailboxError>>>(
    work: impl Future<Output = T>,
    length: Duration,
    hold: impl Fn() -> H,
) -> Result<Option<T>, MailboxError> {
    tokio::pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return Ok(Some(done)),
            () = tokio::time::sleep(length / 3) => {
                if !hold().await? {
                    return Ok(None);
                }
            }
        }
    }
}

/// What is waited after `failures` failures before this one.
pub(super) fn backoff(failures: u32) -> Duration {
    let pause = BACKOFF.0 * 2_u32.pow(failures.min(16));
    jittered(pause.min(BACKOFF.1))
}

pub(super) fn later(now: Timestamp, wait: Duration) -> Timestamp {
    now.checked_add(wait).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_meant_by_patterns() {
        assert!(matches("S-*", "S-waiting"));
        assert!(matches("S-waiting", "S-waiting"));
        assert!(!matches("S-*", "T-compiler"));
        assert!(!matches("S-", "S-waiting"));
    }

    #[test]
    fn the_marker_is_one_line_that_nobody_sees() {
        let key = EffectKey("progress/pr--1-->x".to_owned());
        assert_eq!(marker(&key), "<!-- ejecta: progress/pr--1--x -->");
    }

    #[test]
    fn pauses_grow_and_end_growing() {
        for failures in 0..100 {
            let pause = backoff(failures);
            assert!(pause >= BACKOFF.0 / 2 && pause <= BACKOFF.1, "{pause:?}");
        }
        assert!(backoff(50) >= BACKOFF.1 / 2);
    }
}
