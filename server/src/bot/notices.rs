//! From what happened to what is to be so on GitHub. Pure.
//!
//! An experiment has one comment for its progress, which is edited; one for the early verdict; one
//! for the end. Keys are made of its name, so that telling the same twice says it once.

use ejecta_core::experiment::ExperimentName;
use jiff::Timestamp;

use super::answer::Answers;
use super::backend::{News, Notice, Stage};
use super::config::LabelConfig;
use super::mailbox::{Effect, EffectKey, Entry, When};
use super::model::{CommandKey, Thread};

/// Makes entries.
#[derive(Debug, Clone)]
pub(super) struct Scribe {
    pub answers: Answers,
    pub labels: LabelConfig,
}

impl Scribe {
    /// The answer to a command, once.
    pub(super) fn answer(&self, thread: &Thread, key: &CommandKey, body: String) -> Entry {
        let key = format!("answer/{}/{}", key.comment, key.index);
        comment(thread, key, body, When::IfNew)
    }

    /// The answer to everything that somebody writes who may not command: once in a thread.
    pub(super) fn turned_away(&self, thread: &Thread, user: u64, body: String) -> Entry {
        let key = format!("turned-away/{thread}/{user}");
        comment(thread, key, body, When::IfNew)
    }

    /// An experiment was made, and waits.
    pub(super) fn made(&self, thread: &Thread, name: &ExperimentName, body: String) -> Vec<Entry> {
        let progress = comment(thread, progress(name), body, When::IfNew);
        let label = self.label(thread, name, self.labels.queued.as_ref(), When::IfNew);
        [progress].into_iter().chain(label).collect()
    }

    /// What follows from news.
    pub(super) fn entries(&self, notice: &Notice) -> Vec<Entry> {
        let Notice {
            thread,
            name,
            about,
            news,
            as_of,
        } = notice;
        let as_of = *as_of;
        let told = |key, body, when| Entry {
            as_of,
            ..comment(thread, key, body, when)
        };
        let say = |key, body| told(key, body, When::Always);
        let edit = |key, body| told(key, body, When::IfKnown);
        let label = |label: Option<&String>| {
            let entry = self.label(thread, name, label, When::Always)?;
            Some(Entry { as_of, ..entry })
        };
        let ended = |stage| edit(progress(name), self.answers.ended(name, about, stage));
        match news {
            News::Moved(queued) => vec![edit(progress(name), self.answers.queued(queued, about))],
            News::Running {
                done,
                total,
                ends,
                problem,
            } => {
                let answers = &self.answers;
                let problem = problem.as_deref();
                let body = answers.running(name, about, (*done, *total), *ends, problem);
                let label = label(self.labels.running.as_ref());
                [say(progress(name), body)]
                    .into_iter()
                    .chain(label)
                    .collect()
            }
            News::LibFinished(summary) => {
                vec![say(early(name), self.answers.early(name, summary))]
            }
            News::Completed(summary) => {
                let body = self.answers.completed(name, summary);
                let mut entries = vec![
                    say(format!("end/{name}"), body),
                    ended(Stage::Completed),
                    edit(early(name), self.answers.early_superseded(name)),
                ];
                entries.extend(label(self.labels.completed.as_ref()));
                entries
            }
            News::Failed { what, act } => {
                let body = self.answers.failed(name, what, act);
                let mut entries = vec![say(format!("end/{name}"), body), ended(Stage::Failed)];
                let failed = self.labels.failed.as_ref();
                entries.extend(label(failed.or(self.labels.completed.as_ref())));
                entries
            }
            News::Aborted => {
                let mut entries = vec![ended(Stage::Aborted)];
                entries.extend(label(self.labels.completed.as_ref()));
                entries
            }
        }
    }

    fn label(
        &self,
        thread: &Thread,
        name: &ExperimentName,
        label: Option<&String>,
        when: When,
    ) -> Option<Entry> {
        Some(Entry {
            key: EffectKey(format!("label/{name}")),
            thread: thread.clone(),
            effect: Effect::Label {
                set: label?.clone(),
                remove: self.labels.remove.clone(),
            },
            when,
            as_of: Timestamp::UNIX_EPOCH,
        })
    }
}

fn progress(name: &ExperimentName) -> String {
    format!("progress/{name}")
}

fn early(name: &ExperimentName) -> String {
    format!("early/{name}")
}

/// A comment that tells of no time: what does is later.
fn comment(thread: &Thread, key: String, body: String, when: When) -> Entry {
    Entry {
        as_of: Timestamp::UNIX_EPOCH,
        key: EffectKey(key),
        thread: thread.clone(),
        effect: Effect::Comment { body },
        when,
    }
}
