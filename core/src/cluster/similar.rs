//! Which signatures are so alike that they are one: the same names between backticks, and most
//! words the same.
//!
//! Signatures are compared within a *block*: equal kind, code, root and quoted names. In it the
//! ones that most crates have lead, and every other one joins the leader that is most like it, or
//! leads itself. So no chain of small steps joins two that are unlike, and the outcome depends
//! neither on the order of the crates nor on how often it is done.
//!
//! A leader is looked for only among those that share one of the rarer words, and only among the
//! first [`MAX_POSTINGS`] of each word, so the time grows with the number of signatures.

use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Two signatures with this share of their words in common are one, in percent: twice the common
/// words, of the words of both.
const ALIKE_PERCENT: usize = 70;

/// How many leaders that share a word are looked at.
const MAX_POSTINGS: usize = 64;

/// The words outside of the backticks, and the place as one word. Repeated words count each time.
pub(super) fn words(text: &str, place: Option<&str>) -> Vec<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut all = Vec::new();
    let mut push = |word: &'_ str, n: usize| all.push(format!("{word} {n}"));
    for part in text.split('`').step_by(2) {
        let split =
            part.split(|c: char| c.is_whitespace() || matches!(c, ',' | ';' | ':' | '(' | ')'));
        for word in split.filter(|w| !w.is_empty()) {
            let n = counts.entry(word).or_default();
            *n += 1;
            push(word, *n);
        }
    }
    if let Some(place) = place {
        push(&format!("at {place}"), 0);
    }
    all.sort_unstable();
    all
}

/// What stands between backticks.
pub(super) fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// Whether two lists of words, sorted, are alike enough.
pub(super) fn alike<T: Ord>(a: &[T], b: &[T]) -> Option<usize> {
    let mut common = 0_usize;
    let (mut i, mut j) = (0, 0);
    while let (Some(x), Some(y)) = (a.get(i), b.get(j)) {
        match x.cmp(y) {
            std::cmp::Ordering::Less => i += 1,
            std::cmp::Ordering::Greater => j += 1,
            std::cmp::Ordering::Equal => {
                common += 1;
                i += 1;
                j += 1;
            }
        }
    }
    let all = a.len() + b.len();
    let percent = (200 * common).checked_div(all).unwrap_or(100);
    (percent >= ALIKE_PERCENT).then_some(percent)
}

/// One signature of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    /// From [`words`].
    pub words: Vec<String>,
    /// How many crates have it.
    pub crates: usize,
    /// What orders those that as many crates have.
    pub tie: String,
}

/// For each item of a block, the position of its leader.
pub(super) fn leaders(items: &[Item]) -> Vec<usize> {
    let ids = ids(items);
    let mut order: Vec<usize> = (0..items.len()).collect();
    order.sort_by(|a, b| {
        let (x, y) = (&items[*a], &items[*b]);
        y.crates.cmp(&x.crates).then_with(|| x.tie.cmp(&y.tie))
    });
    let mut postings: HashMap<u32, Vec<usize>> = HashMap::new();
    let mut leader_of = vec![0; items.len()];
    for at in order {
        let rare = rarest(&ids[at]);
        let seen: BTreeSet<usize> = rare
            .iter()
            .filter_map(|word| postings.get(word))
            .flatten()
            .copied()
            .collect();
        let best = seen
            .into_iter()
            .filter_map(|other| Some((alike(&ids[at], &ids[other])?, other)))
            .min_by(|(a, x), (b, y)| {
                let size = |n: &usize| (std::cmp::Reverse(items[*n].crates), &items[*n].tie);
                b.cmp(a).then_with(|| size(x).cmp(&size(y)))
            });
        leader_of[at] = match best {
            Some((_, leader)) => leader,
            None => {
                for word in rare {
                    let list = postings.entry(*word).or_default();
                    if list.len() < MAX_POSTINGS {
                        list.push(at);
                    }
                }
                at
            }
        };
    }
    leader_of
}

/// The words as numbers: the rarer a word is in the block, the smaller.
fn ids(items: &[Item]) -> Vec<Vec<u32>> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for word in items.iter().flat_map(|i| &i.words) {
        *counts.entry(word).or_default() += 1;
    }
    let mut rare: Vec<(usize, &str)> = counts.into_iter().map(|(w, n)| (n, w)).collect();
    rare.sort_unstable();
    let ids: HashMap<&str, u32> = rare.iter().map(|(_, word)| *word).zip(0..).collect();
    items
        .iter()
        .map(|item| {
            let known = item.words.iter().filter_map(|w| ids.get(w.as_str()));
            let mut words: Vec<u32> = known.copied().collect();
            words.sort_unstable();
            words
        })
        .collect()
}

/// The first words of a list, of which any list that is alike has at least one: alike means that
/// it has no fewer than `t / (2 - t)` of these words, where `t` is the share.
fn rarest(words: &[u32]) -> &[u32] {
    let needed = (words.len() * ALIKE_PERCENT).div_ceil(200 - ALIKE_PERCENT);
    &words[..(words.len() + 1).saturating_sub(needed).min(words.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(text: &str, crates: usize) -> Item {
        Item {
            words: words(text, None),
            crates,
            tie: text.to_owned(),
        }
    }

    #[test]
    fn most_words_must_be_the_same() {
        let alike = |a: &str, b: &str| alike(&words(a, None), &words(b, None)).is_some();
        assert!(alike(
            "no method `a` found for struct",
            "no method `b` found for enum"
        ));
        assert!(!alike("mismatched types", "type annotations needed"));
        assert!(!alike("a b c", "a b c d e f g"));
        assert!(alike("", ""));
        assert_eq!(quoted("a `b` c `d`"), ["b", "d"]);
        assert_eq!(
            words("a a b", Some("x.rs")),
            ["a 1", "a 2", "at x.rs 0", "b 1"]
        );
    }

    #[test]
    fn the_most_frequent_leads_and_no_chain_joins_what_is_unlike() {
        let items = [
            item("a b c d e f g h", 5),
            item("a b c d e f x y", 2),
            item("a b c d w v x y", 1),
            item("q", 1),
        ];
        assert_eq!(
            leaders(&items),
            [0, 0, 2, 3],
            "the third is like the second only"
        );
    }

    /// Every pair that is alike is found, whatever the words: the filter leaves out none.
    #[test]
    fn the_filter_finds_what_looking_at_all_would() {
        let texts: Vec<String> = (0..400_u32)
            .map(|n| {
                let word = |k: u32| format!("w{}", (n * 7 + k * k * 13) % (5 + k * 3));
                (0..4 + n % 9).map(word).collect::<Vec<_>>().join(" ")
            })
            .collect();
        let mut items: Vec<Item> = texts.iter().map(|t| item(t, 1)).collect();
        items.dedup_by(|a, b| a.tie == b.tie);
        let led = leaders(&items);
        let leading: BTreeSet<usize> = led.iter().copied().collect();
        for (n, a) in leading.iter().enumerate() {
            for b in leading.iter().skip(n + 1) {
                let (x, y) = (&items[*a], &items[*b]);
                assert_eq!(alike(&x.words, &y.words), None, "{} | {}", x.tie, y.tie);
            }
        }
    }
}
