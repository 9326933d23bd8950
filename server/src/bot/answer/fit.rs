//! Fitting an answer into a comment: the least important parts go first, and it is said that they
//! went.

/// The most that GitHub takes in one comment. It counts characters; counting bytes is on the safe
/// side.
pub const MAX_COMMENT: usize = 65_536;

/// How important a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// It stays, whatever happens.
    Must,
    /// The error of a large cluster.
    Main,
    /// The name of a smaller one.
    Side,
    /// More of the same.
    Detail,
    /// What is nice to have.
    Trivia,
}

/// A comment in parts.
#[derive(Debug, Default)]
pub(super) struct Parts(Vec<(Rank, String)>);

impl Parts {
    /// Adds a part: one or more whole Markdown blocks, without the empty line behind them.
    pub(super) fn add(&mut self, rank: Rank, text: impl Into<String>) {
        let text = text.into();
        if !text.is_empty() {
            self.0.push((rank, text));
        }
    }

    /// Puts the parts together. If they are longer than `limit` bytes, parts are dropped, the least
    /// important first, among equals the last first, and `left_out` is said at the end.
    pub(super) fn fit(mut self, limit: usize, left_out: &str) -> String {
        const GAP: usize = "\n\n".len();
        let mut size: usize = self.0.iter().map(|(_, text)| text.len() + GAP).sum();
        if size > limit {
            size += left_out.len() + GAP;
            let mut order: Vec<usize> = (0..self.0.len()).collect();
            order.sort_by_key(|at| std::cmp::Reverse((self.0[*at].0, *at)));
            for at in order {
                let (rank, text) = &mut self.0[at];
                if size <= limit || *rank == Rank::Must {
                    break;
                }
                size -= text.len() + GAP;
                text.clear();
            }
            self.add(Rank::Must, left_out);
        }
        let kept = self.0.iter().map(|(_, text)| text.as_str());
        let kept: Vec<&str> = kept.filter(|text| !text.is_empty()).collect();
        let mut whole = kept.join("\n\n");
        // Only parts that must stay are left, and each of them is short: this is a last resort.
        whole.truncate(whole.floor_char_boundary(limit));
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts() -> Parts {
        let mut parts = Parts::default();
        parts.add(Rank::Must, "head");
        parts.add(Rank::Main, "m".repeat(10));
        parts.add(Rank::Detail, "d".repeat(10));
        parts.add(Rank::Main, "n".repeat(10));
        parts.add(Rank::Trivia, "t".repeat(10));
        parts
    }

    #[test]
    fn the_least_important_goes_first_and_it_is_said() {
        let (m, d, n, t) = (
            "m".repeat(10),
            "d".repeat(10),
            "n".repeat(10),
            "t".repeat(10),
        );
        let table = [
            (100, format!("head\n\n{m}\n\n{d}\n\n{n}\n\n{t}")),
            (53, format!("head\n\n{m}\n\n{d}\n\n{n}\n\n-")),
            (40, format!("head\n\n{m}\n\n{n}\n\n-")),
            (30, format!("head\n\n{m}\n\n-")),
            (10, "head\n\n-".to_owned()),
            (3, "hea".to_owned()),
        ];
        for (limit, text) in table {
            let fitted = parts().fit(limit, "-");
            assert_eq!(fitted, text, "{limit}");
            assert!(fitted.len() <= limit);
        }
    }
}
