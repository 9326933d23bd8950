//! `ejecta compare`: two experiments side by side, for whoever looks at the second run of a line of
//! candidates: which regressions are new, which are gone, which are the same.

use std::path::Path;

use ejecta_core::report::pages::{Compared, CratesSeen, assets, compare as draw};

use crate::cli::{CompareArgs, CompareFormat};
use crate::error::Failure;
use crate::report::{published_file, read_results};
use crate::run::report::replace;

/// Writes or prints; gives what is for standard output.
///
/// # Errors
/// [`Failure`] when there are no results, or a file cannot be written.
pub fn compare(args: &CompareArgs) -> Result<String, Failure> {
    let comparison = draw(&read(&args.earlier)?, &read(&args.later)?);
    let Some(out) = &args.out else {
        return Ok(match args.format {
            CompareFormat::Markdown => comparison.to_markdown(),
            CompareFormat::Json => comparison.to_json(),
        });
    };
    fs_err::create_dir_all(out.join("assets"))
        .map_err(|e| Failure::to(format!("make the directory: {e}")))?;
    for (path, content) in assets::all() {
        replace(&out.join(path), content)?;
    }
    replace(&out.join("compare.json"), &comparison.to_json())?;
    replace(&out.join("compare.md"), &comparison.to_markdown())?;
    let page = out.join("index.html");
    replace(&page, &comparison.to_html())?;
    Ok(format!(
        "{}\nwrote: {}\n",
        comparison.headline(),
        page.display()
    ))
}

fn read(from: &Path) -> Result<Compared, Failure> {
    let inside = || from.join(ejecta_server::publish::RESULTS);
    let file = published_file(from).unwrap_or_else(inside);
    let mut crates = CratesSeen::default();
    let head = read_results(&file, &mut |krate| crates.add(&krate))?;
    Ok(Compared::new(head.experiment, head.clusters, crates))
}
