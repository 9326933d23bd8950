//! The badge: how many crates regressed, as a small picture.

use super::super::overall::Overall;
use super::super::words;
use crate::compare::Verdict;

/// What the badge says.
pub fn text(overall: &Overall) -> String {
    let regressed = overall.total(Verdict::Regressed);
    match words::incomplete_of(overall) {
        Some(_) => format!("{regressed} regressed, incomplete"),
        None => format!("{regressed} regressed"),
    }
}

/// The badge as SVG.
pub fn svg(overall: &Overall) -> String {
    let text = text(overall);
    let colour = match (overall.total(Verdict::Regressed), overall.complete()) {
        (0, true) => "#1a6b35",
        (0, false) => "#5c6166",
        _ => "#b3261e",
    };
    // Seven units a letter is more than any letter of such a font needs.
    let (left, right) = (54, 14 + 7 * text.chars().count());
    let (width, middle) = (left + right, left + right / 2);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"20\" role=\"img\">\
         <title>ejecta: {text}</title>\
         <rect width=\"{width}\" height=\"20\" rx=\"3\" fill=\"#3b4045\"/>\
         <path d=\"M{left} 0h{inner}a3 3 0 0 1 3 3v14a3 3 0 0 1-3 3h-{inner}z\" fill=\"{colour}\"/>\
         <g fill=\"#fff\" font-family=\"Verdana,DejaVu Sans,sans-serif\" font-size=\"11\" \
         text-anchor=\"middle\"><text x=\"27\" y=\"14\">ejecta</text>\
         <text x=\"{middle}\" y=\"14\">{text}</text></g></svg>\n",
        inner = right - 3,
    )
}
