//! What all pages share: the style sheet, the script and the icon, each a file whose name has a hash
//! of its content, so that it may be kept for ever.

use std::sync::LazyLock;

use crate::cluster::fnv1a;

/// The style sheet: that of all of Ejecta's pages, then what only reports have.
pub const CSS: &str = concat!(
    include_str!("../../../templates/style.css"),
    include_str!("../../../templates/site/site.css")
);
/// The script.
pub const JS: &str = include_str!("../../../templates/site/app.js");
/// The icon.
pub const ICON: &str = include_str!("../../../templates/site/icon.svg");

/// The path of [`CSS`] below the report's directory.
pub static CSS_PATH: LazyLock<String> = LazyLock::new(|| path("style", "css", CSS));
/// The path of [`JS`].
pub static JS_PATH: LazyLock<String> = LazyLock::new(|| path("app", "js", JS));
/// The path of [`ICON`].
pub static ICON_PATH: LazyLock<String> = LazyLock::new(|| path("icon", "svg", ICON));

fn path(name: &str, extension: &str, content: &str) -> String {
    format!(
        "assets/{name}-{:016x}.{extension}",
        fnv1a(content.as_bytes())
    )
}

/// All of them: path and content.
pub fn all() -> [(&'static str, &'static str); 3] {
    [(&CSS_PATH, CSS), (&JS_PATH, JS), (&ICON_PATH, ICON)]
}
