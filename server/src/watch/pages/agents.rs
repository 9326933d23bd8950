//! The page of agents: what they can do, what they run, and which have fallen silent.

use askama::Template;
use jiff::Timestamp;

use super::super::picture::Picture;
use super::words;
use crate::store::{AgentJob, AgentRecord};

/// How many agents a page has.
pub const PER_PAGE: usize = 200;
/// How many jobs of one agent are listed.
const MAX_JOBS: usize = 8;

#[derive(Template)]
#[template(path = "agents.html")]
pub struct Page {
    place: &'static str,
    headline: String,
    lead: String,
    agents: Vec<Row>,
    page: usize,
    pages: usize,
    now: String,
    now_text: String,
}

struct Row {
    name: String,
    silent: bool,
    state: String,
    seen: String,
    capabilities: Vec<String>,
    jobs: Vec<Job>,
    jobs_left_out: usize,
}

struct Job {
    name: String,
    experiment: String,
    times: String,
}

impl Page {
    /// The page of that number, from 1; the last one where there are not so many.
    pub fn new(picture: &Picture, page: usize) -> Self {
        let now = picture.now;
        let mut agents: Vec<&AgentRecord> = picture.agents.iter().collect();
        agents.sort_by_key(|agent| (picture.is_alive(agent), agent.jobs.is_empty()));
        let alive = agents
            .iter()
            .filter(|agent| picture.is_alive(agent))
            .count();
        let working = agents
            .iter()
            .filter(|agent| picture.is_alive(agent) && !agent.jobs.is_empty())
            .count();
        let pages = agents.len().div_ceil(PER_PAGE).max(1);
        let page = page.clamp(1, pages);
        let shown = agents.iter().skip((page - 1) * PER_PAGE).take(PER_PAGE);
        Self {
            place: "agents",
            headline: words::counted(alive as u64, "agent", "agents"),
            lead: format!(
                "{working} working, {} idle, {} silent for longer than a lease",
                alive - working,
                agents.len() - alive
            ),
            agents: shown.map(|agent| row(agent, picture)).collect(),
            page,
            pages,
            now: words::stamp(now),
            now_text: words::time(now),
        }
    }
}

fn row(agent: &AgentRecord, picture: &Picture) -> Row {
    let alive = picture.is_alive(agent);
    let jobs = words::counted(agent.jobs.len() as u64, "job", "jobs");
    let capabilities = agent.capabilities.iter();
    Row {
        name: agent.name.clone(),
        silent: !alive,
        state: match (alive, agent.jobs.is_empty()) {
            (false, true) => "silent".to_owned(),
            (false, false) => format!("silent, with {jobs}"),
            (true, true) => "idle".to_owned(),
            (true, false) => format!("works on {jobs}"),
        },
        seen: format!("heard of {} ago", words::span(agent.seen, picture.now)),
        capabilities: capabilities
            .map(|(name, value)| format!("{name}={value}"))
            .collect(),
        jobs: agent
            .jobs
            .iter()
            .take(MAX_JOBS)
            .map(|one| job(one, picture.now))
            .collect(),
        jobs_left_out: agent.jobs.len().saturating_sub(MAX_JOBS),
    }
}

fn job(job: &AgentJob, now: Timestamp) -> Job {
    let attempt = match job.attempt {
        0 | 1 => String::new(),
        n => format!(", attempt {n}"),
    };
    Job {
        name: job.job.to_string(),
        experiment: job.experiment.to_string(),
        times: format!(
            "for {}, got on {} ago{attempt}",
            words::span(job.granted, now),
            words::span(job.progressed, now)
        ),
    }
}
