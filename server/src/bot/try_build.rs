//! The last try build of a pull request, as the merge bot's comments tell it.
//!
//! rust-lang's bots (homu, and bors after it) end the comment on a try build with
//! `<!-- homu: {"type":"TryBuildCompleted","merge_sha":"…"} -->`. The words around it have changed
//! often, so only where there is no such line are they read: `Try build successful`, and the
//! commit behind `Build commit:`.

use ejecta_core::git::Commit;
use serde::Deserialize;

/// The commit that a comment says was built; none if it says nothing of the kind.
fn built(comment: &str) -> Option<Commit> {
    comment
        .rmatch_indices("<!-- homu:")
        .find_map(|(at, mark)| metadata(&comment[at + mark.len()..]))
        .or_else(|| words(comment))
}

fn metadata(text: &str) -> Option<Commit> {
    #[derive(Deserialize)]
    struct Metadata {
        #[serde(rename = "type")]
        kind: String,
        merge_sha: Option<String>,
    }
    let json = text.split("-->").next()?;
    let metadata: Metadata = serde_json::from_str(json.trim()).ok()?;
    if metadata.kind != "TryBuildCompleted" {
        return None;
    }
    Commit::new(&metadata.merge_sha?).ok()
}

fn words(comment: &str) -> Option<Commit> {
    let (_, told) = comment.split_once("Try build successful")?;
    let (_, told) = told.split_once("Build commit:")?;
    let is_digit = |c: char| c.is_ascii_hexdigit();
    told.split(|c| !is_digit(c))
        .filter(|word| word.len() == 40)
        .find_map(|word| Commit::new(word).ok())
}

/// The last try build in comments, the oldest first, of which only those of merge bots count.
pub(super) fn last<'a>(
    comments: impl DoubleEndedIterator<Item = (&'a str, &'a str)>,
    merge_bots: &[String],
) -> Option<Commit> {
    let is_bot = |author: &str| merge_bots.iter().any(|b| b.eq_ignore_ascii_case(author));
    comments
        .rev()
        .filter(|(author, _)| is_bot(author))
        .find_map(|(_, body)| built(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    #[test]
    fn comments_of_every_age_are_read() {
        let table = [
            // homu
            (
                format!(
                    ":sunny: Try build successful - [checks-actions](https://x.example)\nBuild commit: {A} (`{A}`)\n<!-- homu: {{\"type\":\"TryBuildCompleted\",\"builders\":{{\"checks-actions\":\"https://x.example\"}},\"merge_sha\":\"{A}\"}} -->"
                ),
                Some(A),
            ),
            // bors
            (
                format!(
                    ":sunny: Try build successful ([CI](https://x.example))\nBuild commit: {A} (`{A}`, parent: `{B}`)\n\n<!-- homu: {{\"type\":\"TryBuildCompleted\",\"merge_sha\":\"{A}\"}} -->"
                ),
                Some(A),
            ),
            // without the line for machines
            (
                format!(
                    ":sunny: Try build successful\n- [a](https://x.example) :white_check_mark:\nBuild commit: {A} (`{A}`)\nParent: `{B}`"
                ),
                Some(A),
            ),
            (
                format!(":sunny: Try build successful - checks-azure\nBuild commit: {A} (`{A}`)"),
                Some(A),
            ),
            (
                format!(":hourglass: Trying commit {B} with merge {A}…"),
                None,
            ),
            (
                format!(
                    ":hourglass: Trying commit {B} with merge {A}\n<!-- homu: {{\"type\":\"TryBuildStarted\",\"head_sha\":\"{B}\",\"merge_sha\":\"{A}\"}} -->"
                ),
                None,
            ),
            (
                format!(":sunny: Test successful - x\nPushing {A} to `master`..."),
                None,
            ),
            (
                format!(
                    "<!-- homu: {{\"type\":\"TryBuildCompleted\",\"merge_sha\":\"abc\"}} --> {A}"
                ),
                None,
            ),
            (format!("<!-- homu: not json --> {A}"), None),
            (
                format!("<!-- homu: {{\"type\":\"TryBuildCompleted\",\"merge_sha\":\"{A}"),
                None,
            ),
            (
                ":sunny: Try build successful\nBuild commit: abc".to_owned(),
                None,
            ),
            (String::new(), None),
        ];
        for (comment, commit) in table {
            let found = built(&comment).map(|c| c.to_string());
            assert_eq!(found.as_deref(), commit, "{comment}");
        }
    }

    #[test]
    fn only_merge_bots_are_believed_and_the_last_word_counts() {
        let told = |sha: &str| {
            format!("<!-- homu: {{\"type\":\"TryBuildCompleted\",\"merge_sha\":\"{sha}\"}} -->")
        };
        let (a, b) = (told(A), told(B));
        let bots = ["rust-bors[bot]".to_owned()];
        let comments = [
            ("rust-bors[bot]", &a),
            ("Rust-Bors[bot]", &b),
            ("mallory", &a),
        ];
        let comments = comments.map(|(author, body)| (author, body.as_str()));
        let found = last(comments.into_iter(), &bots).map(|c| c.to_string());
        assert_eq!(found.as_deref(), Some(B));
        assert_eq!(last([("mallory", a.as_str())].into_iter(), &bots), None);
    }
}
