//! `ejecta experiment`: people's half of a server's API.
//!
//! Files that a selection names are read here and sent as a list: the server knows nothing of this
//! machine's disk.

use std::time::Duration;

use ejecta_core::client::{
    CreateRequest, EditRequest, ExperimentList, ExperimentView, RetryRequest,
};
use ejecta_core::compare::Verdict;
use ejecta_core::experiment::ExperimentName;
use ejecta_core::lifecycle::State;
use ejecta_core::log::clean;
use ejecta_core::report::model::Results;
use ejecta_core::report::retry;
use ejecta_core::selection::{self, ListEntry, Selection};
use jiff::Timestamp;
use reqwest::Method;

use crate::cli::{
    CreateArgs, EditArgs, ExperimentCommand, ListArgs, MessageFormat, RetryArgs, ServerAddress,
    WatchArgs,
};
use crate::error::Failure;
use crate::exit::Exit;
use crate::http::Client;
use crate::run::now;

/// Tells one line on standard output.
pub type Tell<'a> = &'a mut (dyn FnMut(&str) -> Result<(), Failure> + Send);

/// Does what the command says.
///
/// # Errors
/// [`Failure`] with what the server says.
pub async fn experiment(command: &ExperimentCommand, tell: Tell<'_>) -> Result<Exit, Failure> {
    match command {
        ExperimentCommand::Create(args) => create(args, tell).await,
        ExperimentCommand::List(args) => list(args, tell).await,
        ExperimentCommand::Show { name, address } => {
            let view = Client::new(address)?.get(&path(name, "")).await?;
            say(&view, address, tell)
        }
        ExperimentCommand::Watch(args) => watch(args, tell).await,
        ExperimentCommand::Edit(args) => edit(args, tell).await,
        ExperimentCommand::Abort { name, address } => {
            change(address, &path(name, "/abort"), tell).await
        }
        ExperimentCommand::Retry(args) => retry(args, tell).await,
        ExperimentCommand::Report { name, address } => {
            change(address, &path(name, "/report"), tell).await
        }
    }
}

/// Names of experiments are safe in addresses.
fn path(name: &ExperimentName, verb: &str) -> String {
    format!("/experiments/{name}{verb}")
}

async fn change(address: &ServerAddress, path: &str, tell: Tell<'_>) -> Result<Exit, Failure> {
    let client = Client::new(address)?;
    let view = client.change(Method::POST, path, None::<&()>).await?;
    say(&view, address, tell)
}

fn say(view: &ExperimentView, address: &ServerAddress, tell: Tell<'_>) -> Result<Exit, Failure> {
    match address.message_format {
        MessageFormat::Json => tell(&json(view)?)?,
        MessageFormat::Human => {
            for line in lines(view, now()) {
                tell(&line)?;
            }
        }
    }
    Ok(Exit::Nothing)
}

fn json(value: &impl serde::Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|e| Failure::to(format!("write JSON: {e}")))
}

async fn create(args: &CreateArgs, tell: Tell<'_>) -> Result<Exit, Failure> {
    let request = CreateRequest {
        name: args.name.clone(),
        choices: args.choices.choices(),
        crates: portable(&args.choices.crates)?,
        seed: args.choices.seed,
        ignore_denylist: args.ignore_denylist,
        priority: args.priority,
        requirements: requirements(&args.require)?,
    };
    // What is wrong is said before anything is sent.
    request.choices.config().map_err(Failure::input)?;
    let client = Client::new(&args.address)?;
    let body = Some(&request);
    let view = client.change(Method::POST, "/experiments", body).await?;
    say(&view, &args.address, tell)
}

fn requirements(said: &[String]) -> Result<ejecta_core::capability::Requirements, Failure> {
    let said: Vec<String> = said
        .iter()
        .map(|text| match text.contains('=') {
            true => text.clone(),
            false => format!("{text}=yes"),
        })
        .collect();
    ejecta_core::capability::Requirements::parse(said.iter().map(String::as_str))
        .map_err(|error| Failure::input(format!("`--require`: {error}")))
}

/// The same selection without files of this machine.
fn portable(text: &str) -> Result<String, Failure> {
    let selection: Selection = text.parse().map_err(Failure::input)?;
    let read = |path: &str| {
        fs_err::read_to_string(path)
            .map_err(|e| Failure::to(format!("read the list of crates: {e}")))
    };
    let of_web = |path: &str| ["http://", "https://"].iter().any(|p| path.starts_with(p));
    let entries = match &selection {
        Selection::File(path) => entries(path, &read(path)?)?,
        Selection::Results { path, verdicts } if !of_web(path) => {
            let results = Results::parse(&read(path)?)
                .map_err(|error| Failure::input(format!("`{path}`: {error}")))?;
            let crates = retry::crates(&results, verdicts);
            entries(path, &retry::render(&crates))?
        }
        _ => return Ok(text.to_owned()),
    };
    let names: Vec<String> = entries.iter().map(ToString::to_string).collect();
    if names.is_empty() {
        return Err(Failure::input(format!("the selection `{text}` is empty")));
    }
    Ok(format!("list:{}", names.join(",")))
}

fn entries(path: &str, text: &str) -> Result<Vec<ListEntry>, Failure> {
    selection::parse_list(text).map_err(|error| Failure::input(format!("`{path}`, {error}")))
}

async fn list(args: &ListArgs, tell: Tell<'_>) -> Result<Exit, Failure> {
    let client = Client::new(&args.address)?;
    let mut after: Option<i64> = None;
    let mut left = args.limit;
    while left > 0 {
        let mut path = format!("/experiments?limit={}", left.min(200));
        if let Some(after) = after {
            path.push_str(&format!("&after={after}"));
        }
        if !args.state.is_empty() {
            let states: Vec<&str> = args.state.iter().map(|state| state.name()).collect();
            path.push_str(&format!("&state={}", states.join(",")));
        }
        let page: ExperimentList = client.get(&path).await?;
        for view in page.experiments.iter().take(left as usize) {
            match args.address.message_format {
                MessageFormat::Json => tell(&json(view)?)?,
                MessageFormat::Human => tell(&line(view))?,
            }
        }
        left = left.saturating_sub(u32::try_from(page.experiments.len()).unwrap_or(u32::MAX));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    Ok(Exit::Nothing)
}

async fn edit(args: &EditArgs, tell: Tell<'_>) -> Result<Exit, Failure> {
    let request = EditRequest {
        baseline: args.baseline.clone(),
        candidate: args.candidate.clone(),
        mode: args.mode,
        scope: args.scope,
        cap_lints: args.cap_lints,
        crates: args.crates.as_deref().map(portable).transpose()?,
        seed: args.seed,
        ignore_denylist: args.ignore_denylist,
        priority: args.priority,
        requirements: match args.require.as_slice() {
            [] => None,
            said => Some(requirements(said)?),
        },
    };
    if request == EditRequest::default() {
        return Err(Failure::input("nothing is to be changed")
            .hint("say what: `ejecta experiment edit --help` has the options"));
    }
    let client = Client::new(&args.address)?;
    let path = path(&args.name, "");
    let view = client.change(Method::PATCH, &path, Some(&request)).await?;
    say(&view, &args.address, tell)
}

async fn retry(args: &RetryArgs, tell: Tell<'_>) -> Result<Exit, Failure> {
    let request = RetryRequest {
        name: args.name.clone(),
        verdicts: args.verdicts.iter().map(|v| v.0).collect(),
        priority: args.priority,
    };
    let client = Client::new(&args.address)?;
    let path = path(&args.parent, "/retry");
    let view = client.change(Method::POST, &path, Some(&request)).await?;
    say(&view, &args.address, tell)
}

/// Tells how an experiment gets on until it has ended.
async fn watch(args: &WatchArgs, tell: Tell<'_>) -> Result<Exit, Failure> {
    let client = Client::new(&args.address)?;
    let mut told: Option<ExperimentView> = None;
    loop {
        let view: ExperimentView = client.get(&path(&args.name, "")).await?;
        let is_news = told.as_ref().is_none_or(|told| {
            (told.state, told.done(), &told.problem) != (view.state, view.done(), &view.problem)
        });
        if is_news {
            match args.address.message_format {
                MessageFormat::Json => tell(&json(&view)?)?,
                MessageFormat::Human => tell(&line(&view))?,
            }
        }
        let end = exit(&view);
        told = Some(view);
        if let (Some(end), Some(view)) = (end, &told) {
            if args.address.message_format == MessageFormat::Human {
                for line in lines(view, now()).iter().skip(1) {
                    tell(line)?;
                }
            }
            return Ok(end);
        }
        tokio::time::sleep(Duration::from_secs(args.every)).await;
    }
}

/// How `watch` ends with an experiment, once it has ended.
fn exit(view: &ExperimentView) -> Option<Exit> {
    let count = |verdict| view.verdicts.get(&verdict).copied().unwrap_or(0);
    match view.state {
        State::Queued | State::Running | State::NeedsReport | State::GeneratingReport => None,
        State::Completed if count(Verdict::Regressed) > 0 => Some(Exit::Regressed),
        State::Completed if count(Verdict::Error) > 0 => Some(Exit::Incomplete),
        State::Completed => Some(Exit::Nothing),
        State::Aborted | State::Failed => Some(Exit::Incomplete),
    }
}

/// An experiment in one line.
fn line(view: &ExperimentView) -> String {
    let mut line = format!(
        "{}  {}  {}/{} jobs",
        view.name,
        view.state,
        view.done(),
        view.total()
    );
    let verdicts: Vec<String> = view
        .verdicts
        .iter()
        .map(|(verdict, jobs)| format!("{jobs} {}", verdict.name()))
        .collect();
    if !verdicts.is_empty() {
        line.push_str(&format!("  {}", verdicts.join(", ")));
    }
    if let Some(problem) = &view.problem {
        line.push_str(&format!("  ({})", clean(problem)));
    }
    line
}

/// An experiment in some lines, the first as [`line()`].
fn lines(view: &ExperimentView, now: Timestamp) -> Vec<String> {
    let mut lines = vec![line(view)];
    let (baseline, candidate) = (&view.config.baseline, &view.config.candidate);
    let (mode, scope) = (view.config.mode, view.config.scope);
    lines.push(format!(
        "  {baseline} against {candidate}, {mode}, scope {scope}"
    ));
    lines.push(format!("  crates: {}", clean(&shortened(&view.crates))));
    let mut queue = Vec::new();
    queue.extend(
        view.place
            .map(|place| format!("place {place} in the queue")),
    );
    queue.extend(view.starts.map(|at| format!("starts {}", when(at, now))));
    queue.extend(view.ends.map(|at| format!("ends {}", when(at, now))));
    if !queue.is_empty() {
        lines.push(format!("  {}", queue.join(", ")));
    }
    if view.priority != 0 {
        lines.push(format!("  priority: {}", view.priority));
    }
    if !view.requirements.is_empty() {
        lines.push(format!("  for agents with {}", view.requirements));
    }
    if let Some(parent) = &view.parent {
        lines.push(format!("  tries crates of {parent} again"));
    }
    if let Some(report) = &view.report {
        lines.push(format!("  report: {}", clean(report)));
    }
    lines
}

/// A long list is named by its beginning.
fn shortened(crates: &str) -> String {
    const MOST: usize = 200;
    if crates.len() <= MOST {
        return crates.to_owned();
    }
    let cut = crates.floor_char_boundary(MOST);
    format!("{} [...] ({} bytes)", &crates[..cut], crates.len())
}

fn when(at: Timestamp, now: Timestamp) -> String {
    let seconds = at.duration_since(now).as_secs().max(0);
    match seconds {
        0..60 => "within a minute".to_owned(),
        60..7200 => format!("in about {} minutes", seconds / 60),
        7200..172_800 => format!("in about {} hours", seconds / 3600),
        _ => format!("in about {} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use ejecta_core::client::Choices;

    use super::*;

    fn view(state: &str) -> ExperimentView {
        let config = Choices {
            baseline: "stable".parse().expect("valid"),
            candidate: "beta".parse().expect("valid"),
            ..serde_json::from_str(r#"{"baseline":"stable","candidate":"beta"}"#).expect("valid")
        };
        let value = serde_json::json!({
            "name": "pr-1", "state": state, "since": "2026-01-01T00:00:00Z",
            "created": "2026-01-01T00:00:00Z", "started": null, "crates": "demo", "seed": 1,
            "config": config.config().expect("valid"), "priority": 5,
            "requirements": {"os": "linux"}, "parent": "pr-0",
            "jobs": [{"tier": "lib", "queued": 3, "leased": 1, "finished": 2, "errors": 0}],
            "verdicts": {"test-pass": 2}, "place": 1, "starts": "2026-01-01T00:10:00Z",
            "ends": "2026-01-03T00:00:00Z", "report": null, "problem": "no \u{1b}[2J agent",
        });
        serde_json::from_value(value).expect("a view")
    }

    #[test]
    fn an_experiment_is_told_in_plain_lines() {
        let now = "2026-01-01T00:00:00Z".parse().expect("a time");
        insta::assert_snapshot!(lines(&view("queued"), now).join("\n"), @r"
        pr-1  queued  2/6 jobs  2 test-pass  (no \u{1b}[2J agent)
          stable against beta, check-only, scope lib
          crates: demo
          place 1 in the queue, starts in about 10 minutes, ends in about 2 days
          priority: 5
          for agents with os=linux
          tries crates of pr-0 again
        ");
    }

    #[test]
    fn watching_ends_as_a_run_does() {
        let table = [
            ("queued", None, None),
            ("running", None, None),
            ("generating-report", None, None),
            ("completed", None, Some(Exit::Nothing)),
            ("completed", Some(Verdict::Regressed), Some(Exit::Regressed)),
            ("completed", Some(Verdict::Error), Some(Exit::Incomplete)),
            ("aborted", None, Some(Exit::Incomplete)),
            ("failed", Some(Verdict::Regressed), Some(Exit::Incomplete)),
        ];
        for (state, verdict, expected) in table {
            let mut view = view(state);
            view.verdicts.extend(verdict.map(|verdict| (verdict, 1)));
            assert_eq!(exit(&view), expected, "{state} {verdict:?}");
        }
    }

    #[test]
    fn files_become_lists() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("crates.txt");
        fs_err::write(&file, "# mine\na\nb@1.2.3\n\norg/repo\n").expect("writable");
        let text = portable(&file.display().to_string()).expect("a list");
        assert_eq!(text, "list:a,b@1.2.3,https://github.com/org/repo");
        assert!(text.parse::<Selection>().is_ok());
        for same in ["demo", "list:a", "https://host/list", "local:/x"] {
            assert_eq!(portable(same).expect("as it is"), same);
        }
        assert!(portable("./none.txt").is_err());
    }
}
