//! `ejecta report`: a report in any of its forms, printed or written, from an experiment's directory
//! or from a published `results.json`.
//!
//! The results alone are enough for every form. Only the logs are not in them: they are copied from
//! beside the results, and a note says how many are not there. The whole report is made crate by
//! crate, however many there are; a single form is made from all of them at once.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Component, Path, PathBuf};

use ejecta_core::report::crater::{self, LogSource};
use ejecta_core::report::model::{ClusterResult, CrateResult, Results};
use ejecta_core::report::stream::Head;
use ejecta_core::report::{html, junit, markdown, retry, text};
use ejecta_server::publish::{self, Earlier, Gathered, PublishError};

use crate::cli::{ReportArgs, ReportFormat};
use crate::error::Failure;
use crate::run;
use crate::run::report as files;

/// Results, and the directory that their logs are in.
struct Found {
    results: Results,
    beside: PathBuf,
}

/// Writes or prints; gives what is for standard output.
///
/// # Errors
/// [`Failure`] when there are no results, or a file cannot be written.
pub async fn report(args: &ReportArgs) -> Result<String, Failure> {
    let Some(format) = args.format else {
        return whole(args).await;
    };
    let found = find(&args.from).await?;
    let Some(out) = &args.out else {
        return Ok(main_file(&found.results, format).1);
    };
    if format == ReportFormat::CraterJson {
        refuse_to_overwrite(out, &found.beside)?;
    }
    make_dir(out)?;
    let written = write(out, &found, format)?;
    let lines: Vec<String> = written
        .iter()
        .map(|name| format!("wrote: {}\n", out.join(name).display()))
        .collect();
    Ok(lines.concat())
}

/// Writes the whole report: all pages and files.
async fn whole(args: &ReportArgs) -> Result<String, Failure> {
    let file = published_file(&args.from);
    let (gathered, beside) = match &file {
        Some(file) => (gather_file(file)?, directory_of(file)),
        None => (run::gather(&args.from).await?, args.from.clone()),
    };
    let mut earlier = Vec::new();
    for experiment in &args.earlier {
        earlier.push(earlier_one(experiment)?);
    }
    let out = args.out.as_deref().unwrap_or(&beside);
    let written = files::write_gathered(gathered, &beside, out, earlier).await?;
    note_missing(written.missing_logs, written.logs, &beside);
    let page = out.join(publish::PAGE);
    if args.out.is_none() {
        return Ok(format!("report: {}\n", page.display()));
    }
    let names = [
        publish::PAGE,
        publish::RESULTS,
        publish::SUMMARY,
        retry::FILE,
    ];
    let lines = names.map(|name| format!("wrote: {}\n", out.join(name).display()));
    let more = written.files.saturating_sub(names.len() as u64);
    Ok(format!("{}and {more} more files\n", lines.concat()))
}

/// The file of results that is meant, where it is not the directory of an experiment.
pub fn published_file(from: &Path) -> Option<PathBuf> {
    let inside = from.join(publish::RESULTS);
    if from.is_file() {
        Some(from.to_owned())
    } else {
        (!run::is_experiment(from) && inside.is_file()).then_some(inside)
    }
}

fn directory_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Reads a file of results crate by crate, and gives what stands around them.
///
/// # Errors
/// [`Failure`] when it cannot be read, or is none.
pub fn read_results(file: &Path, each: &mut dyn FnMut(CrateResult)) -> Result<Head, Failure> {
    publish::read_results(file, each).map_err(of_file)
}

fn gather_file(file: &Path) -> Result<Gathered, Failure> {
    Gathered::of_file(file).map_err(of_file)
}

/// What is wrong with a file of results is wrong with what was given.
fn of_file(error: PublishError) -> Failure {
    match error {
        PublishError::Results { path, source } => Failure::input(format!(
            "`{path}`: not the results of an experiment: {source}"
        )),
        other => other.into(),
    }
}

/// An earlier experiment, for where its root causes were seen first.
fn earlier_one(from: &Path) -> Result<Earlier, Failure> {
    let inside = from.join(publish::RESULTS);
    let file = if from.is_file() { from } else { &inside };
    let head = read_results(file, &mut |_| {})?;
    Ok(Earlier {
        name: head.experiment.name.to_string(),
        started: head.experiment.started,
        causes: head.clusters.iter().map(ClusterResult::known).collect(),
    })
}

async fn find(from: &Path) -> Result<Found, Failure> {
    let Some(file) = published_file(from) else {
        return Ok(Found {
            results: run::read(from).await?,
            beside: from.to_owned(),
        });
    };
    let text =
        fs_err::read_to_string(&file).map_err(|e| Failure::to(format!("read the results: {e}")))?;
    let results =
        Results::parse(&text).map_err(|e| Failure::input(format!("`{}`: {e}", file.display())))?;
    let beside = directory_of(&file);
    Ok(Found { results, beside })
}

/// The reference runner calls its file of results as we call ours.
fn refuse_to_overwrite(out: &Path, beside: &Path) -> Result<(), Failure> {
    let canonical = |path: &Path| fs_err::canonicalize(path).ok();
    let same = canonical(out).is_some_and(|out| Some(out) == canonical(beside));
    if !same && !run::is_experiment(out) {
        return Ok(());
    }
    Err(Failure::input(format!(
        "the files of crater's would overwrite the results in `{}`",
        out.display()
    ))
    .hint("choose another `--out`"))
}

fn make_dir(dir: &Path) -> Result<(), Failure> {
    fs_err::create_dir_all(dir).map_err(|e| Failure::to(format!("make the directory: {e}")))
}

/// The name and the text of the one file that a form is.
fn main_file(results: &Results, format: ReportFormat) -> (&'static str, String) {
    match format {
        ReportFormat::Html => (publish::PAGE, html::render(results)),
        ReportFormat::Json => (publish::RESULTS, results.to_json()),
        ReportFormat::Markdown => (publish::SUMMARY, markdown::render(results)),
        ReportFormat::Text => {
            let lines: Vec<String> = text::lines(results).into_iter().map(|l| l.text).collect();
            ("summary.txt", lines.join("\n") + "\n")
        }
        ReportFormat::Junit => (publish::JUNIT, junit::render(results)),
        ReportFormat::CraterJson => (
            crater::RESULTS,
            crater::export(results).results_json() + "\n",
        ),
    }
}

/// Writes the files of a form, and gives their names.
fn write(out: &Path, found: &Found, format: ReportFormat) -> Result<Vec<String>, Failure> {
    let results = &found.results;
    let mut logs = Logs::default();
    let names = match format {
        ReportFormat::CraterJson => {
            let export = crater::export(results);
            for (name, text) in [
                (crater::RESULTS, export.results_json()),
                (crater::CONFIG, export.config_json()),
                (crater::RETRY, export.retry.clone()),
            ] {
                files::replace(&out.join(name), &text)?;
            }
            for log in export.logs {
                logs.wanted.insert(log.to, log.from);
            }
            vec![crater::RESULTS, crater::CONFIG, crater::RETRY]
        }
        format => {
            let (name, text) = main_file(results, format);
            files::replace(&out.join(name), &text)?;
            if matches!(format, ReportFormat::Html | ReportFormat::Markdown) {
                logs.of_pages(results);
            }
            vec![name]
        }
    };
    logs.copy(&found.beside, out)?;
    Ok(names.into_iter().map(str::to_owned).collect())
}

/// Logs to be written, by their place below the directory.
#[derive(Default)]
struct Logs {
    wanted: BTreeMap<String, LogSource>,
}

impl Logs {
    /// Those that pages link to, in the same places.
    fn of_pages(&mut self, results: &Results) {
        let tiers = results.crates.iter().flat_map(|k| &k.tiers);
        for log in tiers.flat_map(|t| &t.runs).filter_map(|r| r.log.as_ref()) {
            self.wanted
                .insert(log.clone(), LogSource::File(log.clone()));
        }
    }

    /// Writes them. One that is not there, or whose name leads out of the directory, is counted.
    fn copy(self, beside: &Path, out: &Path) -> Result<(), Failure> {
        let all = self.wanted.len();
        let mut missing = 0_u64;
        for (to, from) in self.wanted {
            let Some(to) = below(out, &to) else {
                missing += 1;
                continue;
            };
            match from {
                LogSource::Text(text) => {
                    make_dir(to.parent().unwrap_or(out))?;
                    files::replace(&to, &text)?;
                }
                LogSource::File(from) => match below(beside, &from).filter(|f| f.is_file()) {
                    Some(from) => copy(&from, &to)?,
                    None => missing += 1,
                },
            }
        }
        note_missing(missing, all as u64, beside);
        Ok(())
    }
}

fn note_missing(missing: u64, all: u64, beside: &Path) {
    if missing > 0 {
        let (shown, logs) = (beside.display(), if all == 1 { "log" } else { "logs" });
        let _ = writeln!(
            anstream::stderr(),
            "note: {missing} of {all} {logs} are not in `{shown}`; the results name them all the same"
        );
    }
}

/// A path of a file from outside, below `dir`; `None` where it leads out of it.
fn below(dir: &Path, path: &str) -> Option<PathBuf> {
    let path = Path::new(path);
    let plain = |c: Component<'_>| matches!(c, Component::Normal(_));
    (path.components().next().is_some() && path.components().all(plain)).then(|| dir.join(path))
}

fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    let same = || Some(fs_err::canonicalize(from).ok()? == fs_err::canonicalize(to).ok()?);
    if same() == Some(true) {
        return Ok(());
    }
    make_dir(to.parent().unwrap_or(to))?;
    fs_err::copy(from, to)
        .map(drop)
        .map_err(|e| Failure::to(format!("copy a log: {e}")))
}

#[cfg(test)]
mod tests {
    use super::below;
    use std::path::Path;

    #[test]
    fn no_name_leads_out_of_the_directory() {
        let dir = Path::new("/r");
        assert_eq!(
            below(dir, "a/b.log").as_deref(),
            Some(Path::new("/r/a/b.log"))
        );
        for out in ["", "/etc/passwd", "../x", "a/../../x", ".."] {
            assert_eq!(below(dir, out), None, "{out}");
        }
    }
}
