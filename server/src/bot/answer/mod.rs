//! What the bot says: pure renderers from values to Markdown.
//!
//! All text from outside stands in code (`markdown`), so that nobody is called and nothing is
//! linked by it. Answers fit into one comment (`fit`).

mod fit;
mod markdown;
mod results;

use std::fmt::Write as _;

use ejecta_core::experiment::ExperimentName;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use fit::MAX_COMMENT;

use self::markdown::{cell, code, details, fenced, link, short_code};
use super::backend::{Act, NewExperiment, QueueEntry, Queued, Refusal, Stage};
use super::command::{Key, Kind, Mistake};

/// What an experiment is about, as its answers say it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// The toolchain that is known to be good.
    pub baseline: String,
    /// The toolchain under test.
    pub candidate: String,
    /// What is done with each crate.
    pub mode: String,
    /// What part of each crate.
    pub scope: String,
    /// Which crates.
    pub crates: String,
    /// Where the toolchains come from, if nobody named them.
    pub found: Option<Found>,
}

/// A try build that was found in the thread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Found {
    /// The merge commit that was built.
    pub merge: String,
    /// What the pull request was at then, where the merge commit says so.
    pub built: Option<String>,
    /// What it is at now.
    pub head: String,
}

impl Found {
    fn has_moved_on(&self) -> bool {
        self.built.as_ref().is_some_and(|built| *built != self.head)
    }
}

impl About {
    /// What `new` is about.
    pub fn of(new: &NewExperiment) -> Self {
        Self {
            baseline: new.baseline.to_string(),
            candidate: new.candidate.to_string(),
            mode: new.mode.to_string(),
            scope: new.scope.to_string(),
            crates: new.crates.to_string(),
            found: new.found.clone(),
        }
    }
}

/// Renders answers. The fields are the operator's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answers {
    /// The name to which the bot listens, without `@`.
    pub name: String,
    /// The address of the server's pages, without a slash at the end.
    pub web: Option<String>,
    /// Where the commands are explained.
    pub docs: Option<String>,
    /// Whom to turn to, as Markdown of the operator's: it may call people.
    pub contact: Option<String>,
}

impl Answers {
    /// The answer to `run`: the experiment waits. It is edited as the experiment goes on.
    pub fn queued(&self, queued: &Queued, about: &About) -> String {
        let mut text = format!(
            ":ok_hand: Experiment {} is queued: place {} in {}",
            bold(&queued.name),
            queued.place,
            self.the_queue(),
        );
        if let Some(starts) = queued.starts {
            let _ = write!(text, ", expected to start around {}", time(starts));
        }
        text.push_str(".\n\n");
        text.push_str(&hindered(queued.problem.as_deref()));
        text.push_str(&self.about(&queued.name, about));
        text
    }

    /// The answer to `retry`.
    pub fn retried(
        &self,
        queued: &Queued,
        parent: &ExperimentName,
        crates: u32,
        priority: Option<i32>,
    ) -> String {
        let mut text = format!(
            ":repeat: Experiment {} is queued: it runs the {} of {} that regressed or {} spurious again. Place {} in {}",
            bold(&queued.name),
            count(crates, "crate", "crates"),
            bold(parent),
            if crates == 1 { "was" } else { "were" },
            queued.place,
            self.the_queue(),
        );
        if let Some(starts) = queued.starts {
            let _ = write!(text, ", expected to start around {}", time(starts));
        }
        if let Some(priority) = priority {
            let _ = write!(text, ", priority {priority}");
        }
        text.push('.');
        text
    }

    /// The experiment runs.
    pub fn running(
        &self,
        name: &ExperimentName,
        about: &About,
        (done, total): (u64, u64),
        ends: Option<Timestamp>,
        problem: Option<&str>,
    ) -> String {
        let mut text = format!(":construction: Experiment {} is running", bold(name));
        if done > 0 {
            let percent = (done.saturating_mul(100)).checked_div(total).unwrap_or(0);
            let _ = write!(text, ": {done} of {total} jobs ({percent} %)");
        }
        if let Some(ends) = ends {
            let _ = write!(text, ", expected to end around {}", time(ends));
        }
        text.push_str(".\n\n");
        text.push_str(&hindered(problem));
        text.push_str(&self.about(name, about));
        text
    }

    /// What becomes of the progress comment when there is nothing to wait for any more.
    pub fn ended(&self, name: &ExperimentName, about: &About, stage: Stage) -> String {
        let (sign, what) = match stage {
            Stage::Aborted => ("wastebasket", "was aborted"),
            Stage::Failed => ("rotating_light", "has failed, see below"),
            Stage::Completed | Stage::Reporting | Stage::Queued | Stage::Running => {
                ("checkered_flag", "is completed, see below")
            }
        };
        format!(
            ":{sign}: Experiment {} {what}.\n\n{}",
            bold(name),
            self.about(name, about)
        )
    }

    /// The experiment failed.
    pub fn failed(&self, name: &ExperimentName, what: &str, act: &Act) -> String {
        let mut text = format!(
            ":rotating_light: Experiment {} has failed:\n\n{}\n\n",
            bold(name),
            fenced(&bounded(what))
        );
        match act {
            Act::Author(how) => {
                let _ = write!(text, "What helps:\n\n{}", fenced(&bounded(how)));
            }
            Act::Operators => {
                text.push_str("Those who run the server have to look after it.");
                if let Some(contact) = &self.contact {
                    let _ = write!(text, " Please turn to {contact}.");
                }
                let _ = write!(
                    text,
                    " When that is done, {} or {} goes on.",
                    code(&format!("@{} retry-report name={name}", self.name)),
                    code(&format!("@{} retry name={name}", self.name)),
                );
            }
        }
        text
    }

    /// The answer to an edit.
    pub fn edited(&self, queued: &Queued) -> String {
        let mut text = format!(
            ":memo: Experiment {} is changed. Place {} in {}",
            bold(&queued.name),
            queued.place,
            self.the_queue()
        );
        if let Some(starts) = queued.starts {
            let _ = write!(text, ", expected to start around {}", time(starts));
        }
        text.push('.');
        text
    }

    /// The answer to `abort`.
    pub fn aborted(&self, name: &ExperimentName) -> String {
        format!(
            ":wastebasket: Experiment {} is aborted. What it has found is kept.",
            bold(name)
        )
    }

    /// The answer to `retry-report`.
    pub fn report_again(&self, name: &ExperimentName) -> String {
        format!(
            ":hammer_and_wrench: The report of experiment {} is being made again.",
            bold(name)
        )
    }

    /// The answer to `ping`.
    pub fn pong(&self) -> String {
        ":ping_pong: **Pong!**".to_owned()
    }

    /// The answer to `reload-acl`.
    pub fn acl_reloaded(&self, people: usize) -> String {
        format!(
            ":hammer_and_wrench: The list of people who may command is read again: {people} from teams."
        )
    }

    /// The answer to `reload-acl`, where that failed.
    pub fn acl_failed(&self, why: &str, kept: bool) -> String {
        let now = if kept {
            "The list that was there still counts, for a while."
        } else {
            "Until it can be read, only those named in the configuration may command."
        };
        format!(
            ":rotating_light: The list of people who may command could not be read:\n\n{}\n\n{now}{}",
            fenced(&bounded(why)),
            self.turn_to()
        )
    }

    /// The answer to `queue`.
    pub fn queue(&self, entries: &[QueueEntry]) -> String {
        /// How many are shown.
        const MAX: usize = 25;
        if entries.is_empty() {
            return ":zzz: Nothing is running, and nothing is waiting.".to_owned();
        }
        let mut text = format!(
            ":clipboard: {} in {}:\n\n| experiment | | priority | asked for in | expected |\n| --- | --- | ---: | --- | --- |\n",
            count(entries.len(), "experiment", "experiments"),
            self.the_queue(),
        );
        for entry in entries.iter().take(MAX) {
            let thread = entry.thread.as_ref();
            let thread = thread.map_or(String::new(), |thread| cell(&thread.to_string()));
            let stage = match entry.stage {
                Stage::Running => format!("running, {} of {} jobs", entry.done, entry.total),
                stage => stage.name().to_owned(),
            };
            let expected = match (entry.stage, entry.expected) {
                (_, None) => String::new(),
                (Stage::Queued, Some(at)) => format!("starts around {}", time(at)),
                (_, Some(at)) => format!("ends around {}", time(at)),
            };
            let _ = writeln!(
                text,
                "| {} | {stage} | {} | {thread} | {expected} |",
                cell(entry.name.as_str()),
                entry.priority,
            );
        }
        if entries.len() > MAX {
            let _ = writeln!(text, "\nand {} more.", entries.len() - MAX);
        }
        text
    }

    /// The answer to `help`.
    pub fn help(&self) -> String {
        let mut text = format!(
            ":bulb: Commands stand on a line of their own, behind {}:\n\n| command | |\n| --- | --- |\n",
            code(&format!("@{}", self.name))
        );
        for kind in Kind::ALL {
            let words = match kind.words() {
                [] => "`key=value …`".to_owned(),
                words => words.iter().map(|w| code(w)).collect::<Vec<_>>().join(", "),
            };
            let _ = writeln!(text, "| {words} | {} |", kind.about());
        }
        let mut keys = "| argument | |\n| --- | --- |\n".to_owned();
        for key in Key::ALL {
            let words: Vec<String> = key.words().iter().map(|w| code(&format!("{w}="))).collect();
            let _ = writeln!(keys, "| {} | {} |", words.join(", "), key.about());
        }
        let about = "Values with spaces stand in quotes: `end=\"beta+rustflags=-D warnings\"`. In a pull request with a try build, `start` and `end` need not be given.";
        let _ = write!(
            text,
            "\n{}",
            details("Arguments", &format!("{keys}\n{about}"))
        );
        if let Some(docs) = &self.docs {
            let _ = write!(text, "\n\n{}", link("All of it", docs));
        }
        text
    }

    /// A line that is no command.
    pub fn mistake(&self, mistake: &Mistake) -> String {
        let command = format!("@{} {}", self.name, mistake.line);
        let mut text = format!(
            ":question: {} was not carried out:\n\n{}\n",
            short_code(command.trim()),
            fenced(&bounded(&mistake.to_string()))
        );
        if let Some(guess) = mistake.trouble.guess() {
            let _ = write!(text, "\nDid you mean {}?\n", short_code(guess));
        }
        let allowed = mistake.trouble.allowed();
        if !allowed.is_empty() {
            let words: Vec<String> = allowed.iter().map(|word| code(word)).collect();
            let _ = write!(text, "\nThere are: {}.\n", words.join(", "));
        }
        let help = code(&format!("@{} help", self.name));
        let _ = write!(text, "\n{help} shows all commands.");
        text
    }

    /// A command that was not carried out.
    pub fn refusal(&self, kind: Kind, refusal: &Refusal, guess: Option<&ExperimentName>) -> String {
        let mut text = format!(
            ":x: That was not carried out:\n\n{}\n",
            fenced(&bounded(&refusal.to_string()))
        );
        if let Some(guess) = guess {
            let _ = write!(text, "\nDid you mean {}?\n", code(guess.as_str()));
        }
        let hint = match refusal {
            Refusal::NameTaken(_) => "Choose another name, or leave it out.".to_owned(),
            Refusal::Unknown(_) => {
                let queue = code(&format!("@{} queue", self.name));
                format!("{queue} shows what is running and waiting.")
            }
            Refusal::Stage { .. } => stage_hint(kind).to_owned(),
            Refusal::NothingToRetry(_) | Refusal::Invalid(_) => String::new(),
            Refusal::Transient(_) | Refusal::Broken(_) => {
                let contact = self.contact.as_ref();
                let turn_to = contact.map_or(String::new(), |c| format!(" Please turn to {c}."));
                format!("Those who run the server have to look after it.{turn_to}")
            }
        };
        if !hint.is_empty() {
            let _ = write!(text, "\n{hint}");
        }
        text.trim_end().to_owned()
    }

    /// No toolchains were given, and none could be found.
    pub fn no_toolchains(&self, missing: &[&str], why: &str) -> String {
        let missing: Vec<String> = missing.iter().map(|key| code(&format!("{key}="))).collect();
        format!(
            ":x: That was not carried out: {} missing, and {why}.\n\nMake a try build first, or name toolchains, such as {}.",
            format_args!(
                "{} {}",
                missing.join(" and "),
                if missing.len() == 1 { "is" } else { "are" }
            ),
            code("start=stable end=beta"),
        )
    }

    /// No name was given, and there is none to be had.
    pub fn no_name(&self, new: bool) -> String {
        let why = if new {
            "this is no pull request, so that there is no name by itself"
        } else {
            "no experiment was asked for in this thread"
        };
        format!(
            ":x: That was not carried out: {} is missing, and {why}.",
            code("name=")
        )
    }

    /// Somebody who may not command. Nobody is called for that: everybody can cause it.
    pub fn not_allowed(&self, login: &str) -> String {
        let docs = self.docs.as_ref();
        let docs = docs.map_or(String::new(), |docs| format!(" {}", link("More", docs)));
        format!(
            ":lock: {} may not command this bot. Who may is a list in its configuration.{docs}",
            short_code(login),
        )
    }

    /// Nobody knows who may command.
    pub fn rights_unknown(&self, login: &str) -> String {
        format!(
            ":lock: Whether {} may command this bot could not be found out: the list of teams cannot be read at present. Please try again later.",
            short_code(login),
        )
    }

    /// Something of ours failed for good.
    pub fn broken(&self, why: &str) -> String {
        format!(
            ":rotating_light: That could not be carried out, because something of ours failed:\n\n{}\n\nPlease try again.{}",
            fenced(&bounded(why)),
            self.turn_to()
        )
    }

    fn turn_to(&self) -> String {
        let to = |contact| format!(" If that does not help, please turn to {contact}.");
        self.contact.as_ref().map_or(String::new(), to)
    }

    fn the_queue(&self) -> String {
        match &self.web {
            Some(web) => link("the queue", &format!("{web}/")),
            None => "the queue".to_owned(),
        }
    }

    /// What it compares, and what there is to know of that.
    fn about(&self, name: &ExperimentName, about: &About) -> String {
        let mut text = format!(
            "{} → {}, mode {}, scope {}, crates {}.",
            short_code(&about.baseline),
            short_code(&about.candidate),
            code(&about.mode),
            code(&about.scope),
            short_code(&about.crates),
        );
        if let Some(web) = &self.web {
            let _ = write!(
                text,
                " {}",
                link("Details", &format!("{web}/experiments/{name}"))
            );
        }
        if let Some(found) = &about.found {
            let merge = short_code(&found.merge);
            let _ = write!(
                text,
                "\n\n:robot: The toolchains are those of the try build {merge}."
            );
            if found.has_moved_on() {
                let _ = write!(
                    text,
                    "\n\n:warning: That try build is of commit {}, and the pull request has moved on to {} since. Is a new try build wanted first?",
                    short_code(found.built.as_deref().unwrap_or_default()),
                    short_code(&found.head),
                );
            }
        }
        text
    }
}

/// What an experiment must be for a command.
fn stage_hint(kind: Kind) -> &'static str {
    match kind {
        Kind::Edit => "Only an experiment that is queued can be changed.",
        Kind::Abort => "It has ended already.",
        Kind::Retry => "It can be retried when it is completed.",
        Kind::RetryReport => "Its report can be made again when all its jobs are done.",
        Kind::Run | Kind::Check | Kind::Ping | Kind::ReloadAcl | Kind::Queue | Kind::Help => "",
    }
}

/// What keeps an experiment from getting on, where something does. Agents come back to it by
/// themselves.
fn hindered(problem: Option<&str>) -> String {
    problem.map_or_else(String::new, |problem| {
        format!(
            ":warning: It does not get on for now, and is tried again by itself:\n\n{}\n\n",
            fenced(&bounded(problem))
        )
    })
}

fn bold(name: &ExperimentName) -> String {
    format!("**{}**", code(name.as_str()))
}

/// `2026-11-21 14:05 UTC`.
fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

fn count(n: impl TryInto<u64>, one: &str, many: &str) -> String {
    let n = n.try_into().unwrap_or(u64::MAX);
    format!("{n} {}", if n == 1 { one } else { many })
}

/// Text that somebody may have made endless.
fn bounded(text: &str) -> String {
    const MAX: usize = 2000;
    if text.len() <= MAX {
        return text.to_owned();
    }
    format!("{} [...]", &text[..text.floor_char_boundary(MAX)])
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
