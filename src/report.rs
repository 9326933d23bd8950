//! `ejecta report`: a report in any of its forms, printed or written, from an experiment's directory
//! or from a published `results.json`.
//!
//! The results alone are enough for every form. Only the logs are not in them: they are copied from
//! beside the results, and a note says how many are not there.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Component, Path, PathBuf};

use ejecta_core::report::crater::{self, LogSource};
use ejecta_core::report::model::Results;
use ejecta_core::report::{html, junit, markdown, text};

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
    let found = find(&args.from).await?;
    let Some(out) = &args.out else {
        return match args.format {
            Some(format) => Ok(main_file(&found.results, format).1),
            None => {
                files::write(&found.beside, &found.results)?;
                let page = found.beside.join(files::PAGE);
                Ok(format!("report: {}\n", page.display()))
            }
        };
    };
    if args.format == Some(ReportFormat::CraterJson) {
        refuse_to_overwrite(out, &found.beside)?;
    }
    make_dir(out)?;
    let written = write(out, &found, args.format)?;
    let lines: Vec<String> = written
        .iter()
        .map(|name| format!("wrote: {}\n", out.join(name).display()))
        .collect();
    Ok(lines.concat())
}

async fn find(from: &Path) -> Result<Found, Failure> {
    let file = if from.is_file() {
        from.to_owned()
    } else if run::is_experiment(from) || !from.join(files::RESULTS).is_file() {
        return Ok(Found {
            results: run::read(from).await?,
            beside: from.to_owned(),
        });
    } else {
        from.join(files::RESULTS)
    };
    let text =
        fs_err::read_to_string(&file).map_err(|e| Failure::to(format!("read the results: {e}")))?;
    let results =
        Results::parse(&text).map_err(|e| Failure::input(format!("`{}`: {e}", file.display())))?;
    let beside = match file.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir.to_owned(),
        _ => PathBuf::from("."),
    };
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
        ReportFormat::Html => (files::PAGE, html::render(results)),
        ReportFormat::Json => (files::RESULTS, results.to_json()),
        ReportFormat::Markdown => (files::SUMMARY, markdown::render(results)),
        ReportFormat::Text => {
            let lines: Vec<String> = text::lines(results).into_iter().map(|l| l.text).collect();
            ("summary.txt", lines.join("\n") + "\n")
        }
        ReportFormat::Junit => ("junit.xml", junit::render(results)),
        ReportFormat::CraterJson => (
            crater::RESULTS,
            crater::export(results).results_json() + "\n",
        ),
    }
}

/// Writes the files of a form, or of the whole report, and gives their names.
fn write(out: &Path, found: &Found, format: Option<ReportFormat>) -> Result<Vec<String>, Failure> {
    let results = &found.results;
    let mut logs = Logs::default();
    let names = match format {
        None => {
            files::write(out, results)?;
            logs.of_pages(results);
            vec![files::PAGE, files::RESULTS, files::SUMMARY, files::RETRY]
        }
        Some(ReportFormat::CraterJson) => {
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
        Some(format) => {
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
        let mut missing = 0;
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
        if missing > 0 {
            let (shown, logs) = (beside.display(), if all == 1 { "log" } else { "logs" });
            let _ = writeln!(
                anstream::stderr(),
                "note: {missing} of {all} {logs} are not in `{shown}`; the results name them all the same"
            );
        }
        Ok(())
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
