//! What somebody may have meant who wrote no selection.

use strsim::osa_distance;

use crate::krate::CrateRef;

/// The word that is nearest to `text`, if one is near enough for a slip of the fingers.
pub(crate) fn nearest<'a>(text: &str, words: &[&'a str]) -> Option<&'a str> {
    let text = text.to_ascii_lowercase();
    let bound = 1 + text.chars().count() / 4;
    let rated = words.iter().map(|word| (osa_distance(&text, word), *word));
    let (distance, word) = rated.min_by_key(|(distance, _)| *distance)?;
    (distance <= bound).then_some(word)
}

/// A selection that `text` may stand for.
pub(super) fn selection(text: &str) -> Option<String> {
    if let Some(word) = nearest(text, &["demo", "full"]) {
        return Some(word.to_owned());
    }
    if let Some((word, rest)) = text.split_once([':', '=']) {
        return match nearest(word, &["list", "local", "dependents", "top", "random"])? {
            word @ ("top" | "random") => Some(format!("{word}-{}", count(rest)?)),
            word => Some(format!("{word}:{rest}")),
        };
    }
    let letters = text.trim_end_matches(|c: char| c.is_ascii_digit());
    if letters.len() < text.len() {
        let word = letters.trim_end_matches(['-', '_', ' ']);
        if let Some(word) = nearest(word, &["top", "random"]) {
            return Some(format!("{word}-{}", count(&text[letters.len()..])?));
        }
    }
    let is_name = text.parse::<CrateRef>().is_ok();
    is_name.then(|| format!("list:{text}"))
}

fn count(digits: &str) -> Option<u32> {
    digits.trim().parse().ok().filter(|n| *n > 0)
}
