//! Which lines of a comment are addressed to the bot.
//!
//! A line is, when the bot's name is the first thing on it. Lines in code (fenced or indented),
//! in quotes and in HTML comments are not: they show a command, or hide one. A line after a quote,
//! without a `>` of its own, is its author's, although Markdown draws it into the quote.

/// Spaces in front of a line from which on Markdown takes it for code.
const CODE_INDENT: usize = 4;
/// Spaces that a tab counts for at the start of a line.
const TAB: usize = 4;

/// The texts behind the bot's name, in their order; empty ones too.
pub(super) fn addressed<'a>(comment: &'a str, name: &str) -> Vec<&'a str> {
    let mut found = Vec::new();
    let mut fence: Option<Fence> = None;
    let mut hidden = false;
    for line in comment.lines() {
        let (indent, text) = indented(line);
        if let Some(open) = fence {
            if indent < CODE_INDENT && open.is_closed_by(text) {
                fence = None;
            }
            continue;
        }
        if hidden {
            hidden = stays_hidden(line);
            continue;
        }
        if indent >= CODE_INDENT || text.starts_with('>') {
            continue;
        }
        fence = Fence::opened_by(text);
        if fence.is_some() {
            continue;
        }
        found.extend(command_of(text, name));
        hidden = leaves_hidden(text);
    }
    found
}

/// The text behind `@name`, if the line starts with it.
fn command_of<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let rest = line.strip_prefix('@')?;
    let mention = rest.get(..name.len())?;
    let rest = &rest[name.len()..];
    let ends = rest.chars().next().is_none_or(char::is_whitespace);
    (ends && mention.eq_ignore_ascii_case(name)).then(|| rest.trim())
}

/// How deep a line is indented, in spaces, and the rest of it.
fn indented(line: &str) -> (usize, &str) {
    let text = line.trim_start_matches([' ', '\t']);
    let space = &line[..line.len() - text.len()];
    let indent = space.chars().fold(0, |at, c| {
        if c == '\t' {
            at + TAB - at % TAB
        } else {
            at + 1
        }
    });
    (indent, text)
}

/// Whether an HTML comment that is open before `line` is open behind it.
fn stays_hidden(line: &str) -> bool {
    line.find("-->")
        .is_none_or(|end| leaves_hidden(&line[end + "-->".len()..]))
}

/// Whether `text` leaves an HTML comment open.
fn leaves_hidden(text: &str) -> bool {
    text.find("<!--")
        .is_some_and(|start| stays_hidden(&text[start + "<!--".len()..]))
}

/// The opening of fenced code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fence {
    of: char,
    long: usize,
}

impl Fence {
    fn opened_by(text: &str) -> Option<Self> {
        let of = text.chars().next().filter(|c| matches!(c, '`' | '~'))?;
        let rest = text.trim_start_matches(of);
        let long = text.len() - rest.len();
        // Three backticks with another behind them are a span of code on one line.
        let fence = long >= 3 && !(of == '`' && rest.contains('`'));
        fence.then_some(Self { of, long })
    }

    fn is_closed_by(self, text: &str) -> bool {
        let rest = text.trim_start_matches(self.of);
        text.len() - rest.len() >= self.long && rest.trim().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::addressed;

    #[test]
    fn the_name_stands_first_on_a_line_of_its_own() {
        let table: [(&str, &[&str]); 14] = [
            ("@ejecta run", &["run"]),
            ("@Ejecta  run p=1 ", &["run p=1"]),
            ("  @EJECTA\tping", &["ping"]),
            ("@ejecta", &[""]),
            ("please @ejecta run", &[]),
            ("@ejecta-test run", &[]),
            ("@ejecta: run", &[]),
            ("ejecta run", &[]),
            ("@eject", &[]),
            ("@ejectä run", &[]),
            ("- @ejecta run", &[]),
            (
                "hello\n@ejecta ping\nthen\n@ejecta queue",
                &["ping", "queue"],
            ),
            ("hello\r\n@ejecta ping\r\n", &["ping"]),
            ("", &[]),
        ];
        for (comment, commands) in table {
            assert_eq!(addressed(comment, "ejecta"), commands, "{comment:?}");
        }
    }

    #[test]
    fn what_is_shown_or_hidden_is_no_command() {
        let table: [(&str, &[&str]); 17] = [
            ("> @ejecta run\n\n@ejecta ping", &["ping"]),
            ("> quoted\n@ejecta ping", &["ping"]),
            ("   > @ejecta run", &[]),
            ("```\n@ejecta run\n```\n@ejecta ping", &["ping"]),
            ("~~~text\n@ejecta run\n```\n~~~\n@ejecta ping", &["ping"]),
            ("````\n```\n@ejecta run\n````\n@ejecta ping", &["ping"]),
            ("```\n@ejecta run", &[]),
            ("```\n@ejecta run\n``` not closed\n@ejecta ping", &[]),
            ("```@ejecta run```\n@ejecta ping", &["ping"]),
            ("    @ejecta run", &[]),
            ("\t@ejecta run", &[]),
            ("  \t@ejecta run", &[]),
            ("`@ejecta run`", &[]),
            ("<!-- @ejecta run -->\n@ejecta ping", &["ping"]),
            ("<!--\n@ejecta run\n-->\n@ejecta ping", &["ping"]),
            (
                "<!-- a --> <!--\n@ejecta run\n--> <!-- b -->\n@ejecta ping",
                &["ping"],
            ),
            ("@ejecta ping <!--\n@ejecta run", &["ping <!--"]),
        ];
        for (comment, commands) in table {
            assert_eq!(addressed(comment, "ejecta"), commands, "{comment:?}");
        }
    }
}
