//! Lists of crates, of a verdict each, as pages that fill up while crates go by.

use std::collections::BTreeMap;

use ejecta_core::compare::Verdict;
use ejecta_core::report::pages::{self, LIST_ROWS, Site};

/// The rows of lists that are not on a page yet.
pub(crate) struct Lists {
    open: BTreeMap<Option<Verdict>, List>,
}

struct List {
    rows: String,
    count: usize,
    page: usize,
    all: usize,
}

impl Lists {
    pub(crate) fn new(site: &Site<'_>) -> Self {
        let all = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        let mut open = BTreeMap::new();
        let mut add = |key, n| {
            if n > 0 {
                let list = List {
                    rows: String::new(),
                    count: 0,
                    page: 0,
                    all: n,
                };
                open.insert(key, list);
            }
        };
        for verdict in Verdict::ALL {
            add(Some(verdict), all(site.overall.total(verdict).into()));
        }
        add(None, all(site.overall.crates - site.overall.covered));
        Self { open }
    }

    /// Adds a row; gives a page that is full, or the last one: its path and its text.
    pub(crate) fn add(
        &mut self,
        site: &Site<'_>,
        key: Option<Verdict>,
        row: &str,
    ) -> Option<(String, String)> {
        let list = self.open.get_mut(&key)?;
        list.rows.push_str(row);
        list.count += 1;
        let done = list.page * LIST_ROWS + list.count >= list.all;
        if list.count < LIST_ROWS && !done {
            return None;
        }
        list.page += 1;
        list.count = 0;
        let rows = std::mem::take(&mut list.rows);
        let page = pages::list_page(site, key, list.page, list.all, &rows);
        let name = key.map_or(pages::NOT_COMPARED, Verdict::name);
        Some((pages::list_path(name, list.page), page))
    }
}
