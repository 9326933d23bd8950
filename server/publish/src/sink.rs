//! Where reports go: the trait, and what is said of each file.

use std::path::Path;

use async_trait::async_trait;

use crate::PublishError;

/// For ever: the name changes with the content.
const FOR_EVER: &str = "public, max-age=31536000, immutable";
/// Kept, and asked for again each time: cheap with validators.
const ASK: &str = "public, no-cache";
/// Large, and seldom made anew.
const A_WHILE: &str = "public, max-age=300, must-revalidate";

/// What a server says of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// `Content-Type`.
    pub content_type: &'static str,
    /// `Cache-Control`.
    pub cache_control: &'static str,
    /// Whether it is worth to be compressed on its way.
    pub compressible: bool,
}

/// What a server says of the file of that name in a report. For those that serve a directory, too.
/// Nothing that a crate has written is ever HTML or a script.
pub fn kind_of(name: &str) -> Kind {
    let content_type = match name.rsplit_once('.').map_or("", |(_, end)| end) {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "json" => "application/json",
        "xml" => "application/xml",
        "svg" => "image/svg+xml",
        "md" => "text/markdown; charset=utf-8",
        "txt" | "log" | "lock" => "text/plain; charset=utf-8",
        "zst" => "application/zstd",
        _ => "application/octet-stream",
    };
    let cache_control = if name.starts_with("assets/") || name.starts_with("data/") {
        FOR_EVER
    } else if name.starts_with("logs/") || name.starts_with("lockfiles/") {
        A_WHILE
    } else {
        ASK
    };
    Kind {
        content_type,
        cache_control,
        // The data is compressed already; what base64 adds to it is worth the work all the same.
        compressible: content_type != "application/zstd"
            && content_type != "application/octet-stream",
    }
}

/// What a file holds.
#[derive(Debug)]
pub enum Body<'a> {
    /// This.
    Bytes(Vec<u8>),
    /// What is in this file, which may be large.
    File(&'a Path),
}

/// One file of a report.
#[derive(Debug)]
pub struct ReportFile<'a> {
    /// Its path below the report's directory, with `/` on every system. Its parts hold only letters,
    /// digits and `-_.+@`, and none is `..`.
    pub name: &'a str,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// `Content-Encoding`, which `body` has.
    pub content_encoding: Option<&'static str>,
    /// `Cache-Control`.
    pub cache_control: &'static str,
    /// What it holds.
    pub body: Body<'a>,
}

/// Where a report goes.
#[async_trait]
pub trait ReportSink: Send + Sync {
    /// Puts a file, in place of an older one of that name: whole, or not at all. It may be on its
    /// way still when this returns.
    async fn put(&self, file: ReportFile<'_>) -> Result<(), PublishError>;

    /// Waits until all files that were put are there.
    async fn flush(&self) -> Result<(), PublishError>;

    /// Whether it keeps what is said of files, so that they may be compressed.
    fn keeps_encodings(&self) -> bool;

    /// All files of the report are there; those below `data/` that are not below `data`, which ends
    /// with `/`, are of an older one, and may go.
    async fn finished(&self, data: &str) -> Result<(), PublishError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_crate_is_obeyed_by_a_browser() {
        for name in [
            "logs/x-1.0.0/lib-1-candidate.log",
            "lockfiles/0123.lock",
            "retry-regressed-list.txt",
        ] {
            assert_eq!(kind_of(name).content_type, "text/plain; charset=utf-8");
        }
        assert_eq!(
            kind_of("logs/x.html-1").content_type,
            "application/octet-stream"
        );
        assert_eq!(kind_of("logs.tar.zst").content_type, "application/zstd");
    }

    #[test]
    fn what_changes_is_asked_for_again() {
        assert_eq!(kind_of("index.html").cache_control, ASK);
        assert_eq!(kind_of("results.json").cache_control, ASK);
        assert_eq!(kind_of("assets/app-0.js").cache_control, FOR_EVER);
        assert_eq!(kind_of("data/0/names-0.js").cache_control, FOR_EVER);
    }
}
