//! From what an experiment asks for to its plan: one way for `ejecta run` and for a server.

use std::collections::BTreeMap;

use ejecta_core::denylist::Denylist;
use ejecta_core::plan::Plan;
use ejecta_server::facts;
use ejecta_server::planning::Planned;
use serde_json::json;

use crate::error::Failure;
use crate::run::select::{self, Notes, Place};

/// Finds the crates of a selection and draws the plan.
///
/// # Errors
/// [`Failure`] that names every crate that there is not; nothing has been built by then.
pub async fn draw(
    selection: &str,
    place: &Place<'_>,
    denylist: &Denylist,
    notes: &mut Notes<'_>,
) -> Result<Planned, Failure> {
    let selected = select::find(selection, place, notes).await?;
    let plan = if selected.in_order {
        Plan::in_order(selected.crates, denylist)
    } else {
        Plan::new(selected.crates, denylist, place.seed)
    };
    let mut kept = BTreeMap::from([(facts::DENYLIST, json!(denylist.used()))]);
    if let Some(snapshot) = &selected.snapshot {
        kept.insert(facts::SNAPSHOT, json!(snapshot));
    }
    if !selected.popularity.is_empty() {
        let text = json!(selected.popularity).to_string();
        kept.insert(facts::POPULARITY, json!(text));
    }
    Ok(Planned {
        entries: plan.entries,
        snapshot: selected.snapshot.map(|snapshot| json!(snapshot)),
        facts: kept,
        notes: Vec::new(),
    })
}
