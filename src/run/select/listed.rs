//! Lists that are somewhere else: in a file, at an address, in earlier results.

use ejecta_core::compare::Verdict;
use ejecta_core::krate::Crate;
use ejecta_core::report::model::Results;
use ejecta_core::report::retry;
use ejecta_core::selection::{self, ListEntry};
use ejecta_registry::{Registry, TextError};

use crate::error::Failure;

/// The largest list that is read from an address, in bytes: every crate there is needs a fraction.
const MAX_LIST_BYTES: u64 = 64 << 20;
/// The largest `results.json` that is read from an address, in bytes.
const MAX_RESULTS_BYTES: u64 = 2 << 30;

/// Reads a list from a file.
///
/// # Errors
/// [`Failure`] that names the file, and the line that is wrong.
pub fn file(path: &str) -> Result<Vec<ListEntry>, Failure> {
    let text = fs_err::read_to_string(path).map_err(|error| {
        let failure = Failure::to(format!("read the list of crates: {error}"));
        let is_missing = error.kind() == std::io::ErrorKind::NotFound;
        let repository = path.parse::<ListEntry>();
        match repository {
            Ok(ListEntry::Git(_)) if is_missing && !path.starts_with('.') => {
                failure.hint(format!("a git repository is written `list:{path}`"))
            }
            _ => failure,
        }
    })?;
    parse(path, &text)
}

/// Reads a list from an address.
///
/// # Errors
/// [`Failure`] that names the address, and what is wrong with what is there.
pub async fn address(url: &str, registry: &Registry) -> Result<Vec<ListEntry>, Failure> {
    let text = registry.text(url, MAX_LIST_BYTES).await;
    let text = text.map_err(|error| of_text(&error, url))?;
    parse(url, &text).map_err(|failure| {
        failure
            .hint("a list has an entry a line: `name`, `name@version`, or a git repository")
            .hint(format!("for the git repository itself write `list:{url}`"))
    })
}

fn parse(place: &str, text: &str) -> Result<Vec<ListEntry>, Failure> {
    let entries = selection::parse_list(text)
        .map_err(|error| Failure::input(format!("`{place}`, {error}")))?;
    if entries.is_empty() {
        return Err(Failure::input(format!("the list `{place}` is empty")));
    }
    Ok(entries)
}

/// The crates of earlier results with one of `verdicts`, as they were.
///
/// # Errors
/// [`Failure`] where there are no such results, or no such crate in them.
pub async fn results(
    path: &str,
    verdicts: &[Verdict],
    registry: &Registry,
) -> Result<Vec<Crate>, Failure> {
    let is_address = ["http://", "https://"].iter().any(|p| path.starts_with(p));
    let text = if is_address {
        let text = registry.text(path, MAX_RESULTS_BYTES).await;
        text.map_err(|error| of_text(&error, path))?
    } else {
        fs_err::read_to_string(path).map_err(|e| Failure::to(format!("read the results: {e}")))?
    };
    let results =
        Results::parse(&text).map_err(|error| Failure::input(format!("`{path}`: {error}")))?;
    let crates = retry::crates(&results, verdicts);
    if crates.is_empty() {
        let names: Vec<&str> = verdicts.iter().map(|v| v.name()).collect();
        let there = results.totals.iter().filter(|(_, count)| **count > 0);
        let there: Vec<String> = there.map(|(v, count)| format!("{count} {v}")).collect();
        let there = match there.is_empty() {
            true => "it has no crate at all".to_owned(),
            false => format!("it has {}", there.join(", ")),
        };
        return Err(Failure::input(format!(
            "the selection is empty: no crate of `{path}` is {}; {there}",
            names.join(" or ")
        )));
    }
    Ok(crates)
}

fn of_text(error: &TextError, url: &str) -> Failure {
    let hint = match error {
        TextError::Missing { .. } => Some("check the address".to_owned()),
        TextError::Status { .. } => {
            Some("a list must be readable without a login; a file of it will do".to_owned())
        }
        TextError::NotText { .. } | TextError::TooLong { .. } => Some(format!(
            "a list is plain text with an entry a line; for the git repository itself write `list:{url}`"
        )),
        TextError::Request(error) => error.hint().map(str::to_owned),
    };
    Failure::to(error).hints(hint)
}
