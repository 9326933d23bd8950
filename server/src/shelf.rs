//! Files of reports over HTTP: in pieces and never as a whole in memory, with validators, so that a
//! browser asks for what has changed alone, and with ranges, so that a download goes on where it
//! broke off.

use std::io::ErrorKind;
use std::ops::Range;
use std::path::Path as FilePath;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path as InAddress, State};
use axum::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::get;
use ejecta_publish::{PAGE, kind_of};
use jiff::Timestamp;
use jiff::fmt::rfc2822::{DateTimeParser, DateTimePrinter};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{GetResult, ObjectMeta, ObjectStoreExt as _};

/// What a page of a report may do.
const POLICY: &str = "default-src 'none'; style-src 'self' 'unsafe-inline'; script-src 'self'; \
                      img-src 'self' data:; connect-src 'self'; form-action 'none'; base-uri \
                      'none'; frame-ancestors 'none'";

/// The files below one directory.
#[derive(Debug)]
pub struct Shelf {
    files: LocalFileSystem,
}

impl Shelf {
    /// The files below `dir`, which must be there.
    ///
    /// # Errors
    /// When it is not.
    pub fn new(dir: &FilePath) -> Result<Self, object_store::Error> {
        let files = LocalFileSystem::new_with_prefix(dir)?;
        Ok(Self { files })
    }

    /// The files in its directories, below `at`; but for their first pages, which others may write
    /// when they are asked for.
    pub fn routes(self: Arc<Self>, at: &str) -> Router {
        Router::new()
            .route(&format!("{at}/{{name}}"), get(to_directory))
            .route(&format!("{at}/{{name}}/{{*file}}"), get(below))
            .with_state(self)
    }

    /// Answers a request for a file, as its headers want it. For a directory, with a slash at its
    /// end, that is its first page.
    pub async fn send(&self, file: &str, asked: &HeaderMap) -> Response {
        let page = if file.ends_with('/') { PAGE } else { "" };
        let file = format!("{file}{page}");
        if !is_safe(&file) {
            return StatusCode::NOT_FOUND.into_response();
        }
        match self.files.get(&Path::from(file.as_str())).await {
            Ok(found) => answer(&file, found, asked),
            Err(error) if is_missing(&error) => StatusCode::NOT_FOUND.into_response(),
            Err(error) => {
                tracing::error!(file, %error, "cannot read a report");
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
        }
    }
}

async fn to_directory(InAddress(name): InAddress<String>) -> Response {
    match is_safe(&name) {
        // From beside it, so that it holds behind any proxy.
        true => Redirect::permanent(&format!("{name}/")).into_response(),
        false => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn below(
    State(shelf): State<Arc<Shelf>>,
    InAddress((name, file)): InAddress<(String, String)>,
    asked: HeaderMap,
) -> Response {
    shelf.send(&format!("{name}/{file}"), &asked).await
}

/// A path of which no part leads elsewhere.
fn is_safe(file: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.+@".contains(&b);
    file.split('/')
        .all(|part| !part.is_empty() && !part.starts_with('.') && part.bytes().all(plain))
}

/// Whether there is no such file; so it is below one that is no directory, too.
fn is_missing(error: &object_store::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let kind = error.downcast_ref().map(std::io::Error::kind);
        if kind == Some(ErrorKind::NotADirectory) {
            return true;
        }
        cause = error.source();
    }
    matches!(error, object_store::Error::NotFound { .. })
}

fn answer(file: &str, mut found: GetResult, asked: &HeaderMap) -> Response {
    let kind = kind_of(file);
    let about = About::of(&found.meta);
    let size = found.meta.size;
    let mut headers = vec![
        (X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (CACHE_CONTROL, kind.cache_control.to_owned()),
        (CONTENT_SECURITY_POLICY, POLICY.to_owned()),
        (ACCEPT_RANGES, "bytes".to_owned()),
        (ETAG, about.tag.clone()),
        (LAST_MODIFIED, about.date.clone()),
    ];
    if about.is_known(asked) {
        return respond(StatusCode::NOT_MODIFIED, headers, Body::empty());
    }
    headers.push((CONTENT_TYPE, kind.content_type.to_owned()));
    let status = match about.range(asked, size) {
        Wanted::All => StatusCode::OK,
        Wanted::Part(part) => {
            let last = part.end - 1;
            headers.push((CONTENT_RANGE, format!("bytes {}-{last}/{size}", part.start)));
            found.range = part;
            StatusCode::PARTIAL_CONTENT
        }
        Wanted::Nothing => {
            headers.push((CONTENT_RANGE, format!("bytes */{size}")));
            return respond(StatusCode::RANGE_NOT_SATISFIABLE, headers, Body::empty());
        }
    };
    let length = found.range.end - found.range.start;
    headers.push((CONTENT_LENGTH, length.to_string()));
    respond(status, headers, Body::from_stream(found.into_stream()))
}

fn respond(status: StatusCode, headers: Vec<(HeaderName, String)>, body: Body) -> Response {
    let mut response = (status, body).into_response();
    for (name, value) in headers {
        if let Ok(value) = value.parse() {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// By what a file is known again.
struct About {
    /// Quoted.
    tag: String,
    changed: i64,
    date: String,
}

/// The part of a file that is asked for.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    All,
    Part(Range<u64>),
    Nothing,
}

impl About {
    fn of(meta: &ObjectMeta) -> Self {
        let changed = meta.last_modified.timestamp();
        let time = Timestamp::from_second(changed).unwrap_or_default();
        let date = DateTimePrinter::new().timestamp_to_rfc9110_string(&time);
        Self {
            tag: format!("\"{}\"", meta.e_tag.as_deref().unwrap_or_default()),
            changed,
            date: date.unwrap_or_default(),
        }
    }

    /// Whether whoever asks has it already (RFC 9110, 13.2.2).
    fn is_known(&self, asked: &HeaderMap) -> bool {
        if let Some(tags) = text(asked, &IF_NONE_MATCH) {
            let mut tags = tags.split(',').map(str::trim);
            return tags.any(|tag| tag == "*" || tag.trim_start_matches("W/") == self.tag);
        }
        let since = text(asked, &IF_MODIFIED_SINCE);
        let since = since.and_then(|date| DateTimeParser::new().parse_timestamp(date).ok());
        since.is_some_and(|since| self.changed <= since.as_second())
    }

    /// The range that is asked for; all of it, if there are several or none that can be read.
    fn range(&self, asked: &HeaderMap, size: u64) -> Wanted {
        let is_of_another = |known: &str| known != self.tag && known != self.date;
        if text(asked, &IF_RANGE).is_some_and(is_of_another) {
            return Wanted::All;
        }
        let range = text(asked, &RANGE).and_then(|range| range.strip_prefix("bytes="));
        range.map_or(Wanted::All, |range| wanted(range.trim(), size))
    }
}

/// What stands behind `bytes=` (RFC 9110, 14.1.2).
fn wanted(range: &str, size: u64) -> Wanted {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        // What is larger than any file is larger than this one.
        digits.then(|| text.parse().unwrap_or(u64::MAX))
    };
    let part = match range.split_once('-') {
        Some(("", last)) => number(last).map(|last| size.saturating_sub(last)..size),
        Some((first, "")) => number(first).map(|first| first..size),
        Some((first, last)) => match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => {
                Some(first..size.min(last.saturating_add(1)))
            }
            _ => None,
        },
        None => None,
    };
    match part {
        Some(part) if part.start < part.end => Wanted::Part(part),
        Some(_) => Wanted::Nothing,
        None => Wanted::All,
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    /// Ten bytes, `0` to `9`, in `e/a.txt`.
    fn shelf() -> (tempfile::TempDir, Shelf) {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(dir.path().join("e")).expect("made");
        std::fs::write(dir.path().join("e/a.txt"), "0123456789").expect("written");
        std::fs::write(dir.path().join("e/empty.txt"), "").expect("written");
        std::fs::write(dir.path().join("e/index.html"), "first").expect("written");
        std::fs::write(dir.path().join("secret"), "x").expect("written");
        let shelf = Shelf::new(dir.path()).expect("there");
        (dir, shelf)
    }

    struct Answer {
        status: u16,
        headers: HeaderMap,
        body: String,
    }

    impl Answer {
        fn header(&self, name: &str) -> &str {
            self.headers
                .get(name)
                .map_or("", |v| v.to_str().expect("a text"))
        }
    }

    async fn ask(shelf: &Shelf, file: &str, headers: &[(&HeaderName, &str)]) -> Answer {
        let mut asked = HeaderMap::new();
        for (name, value) in headers {
            let value = HeaderValue::from_str(value).expect("a header");
            asked.insert((*name).clone(), value);
        }
        let response = shelf.send(file, &asked).await;
        let (head, body) = response.into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await.expect("a body");
        Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            body: String::from_utf8(body.to_vec()).expect("a text"),
        }
    }

    #[tokio::test]
    async fn a_file_is_sent_with_what_it_is_known_by() {
        let (_dir, shelf) = shelf();
        let first = ask(&shelf, "e/a.txt", &[]).await;
        assert_eq!((first.status, first.body.as_str()), (200, "0123456789"));
        assert_eq!(first.header("content-length"), "10");
        assert_eq!(first.header("x-content-type-options"), "nosniff");
        assert!(first.header("content-type").starts_with("text/plain"));
        let (tag, date) = (first.header("etag"), first.header("last-modified"));
        assert!(tag.len() > 4 && date.ends_with(" GMT"), "{tag} {date}");
        for known in [
            (&IF_NONE_MATCH, tag),
            (&IF_NONE_MATCH, "*"),
            (&IF_NONE_MATCH, &format!("\"other\", W/{tag}")),
            (&IF_MODIFIED_SINCE, date),
        ] {
            let again = ask(&shelf, "e/a.txt", &[known]).await;
            assert_eq!((again.status, again.body.as_str()), (304, ""), "{known:?}");
            assert_eq!(again.header("etag"), tag);
        }
        for other in [
            (&IF_NONE_MATCH, "\"other\""),
            (&IF_MODIFIED_SINCE, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (&IF_MODIFIED_SINCE, "yesterday"),
        ] {
            assert_eq!(
                ask(&shelf, "e/a.txt", &[other]).await.status,
                200,
                "{other:?}"
            );
        }
        // What names a tag is decided by it alone.
        let both = [(&IF_NONE_MATCH, "\"other\""), (&IF_MODIFIED_SINCE, date)];
        assert_eq!(ask(&shelf, "e/a.txt", &both).await.status, 200);
        let empty = ask(&shelf, "e/empty.txt", &[]).await;
        assert_eq!((empty.status, empty.header("content-length")), (200, "0"));
    }

    #[tokio::test]
    async fn a_download_goes_on_where_it_broke_off() {
        let (_dir, shelf) = shelf();
        for (range, body, said) in [
            ("bytes=0-3", "0123", "bytes 0-3/10"),
            ("bytes=4-", "456789", "bytes 4-9/10"),
            ("bytes=-3", "789", "bytes 7-9/10"),
            ("bytes=-99", "0123456789", "bytes 0-9/10"),
            ("bytes=8-99999999999999999999999", "89", "bytes 8-9/10"),
        ] {
            let part = ask(&shelf, "e/a.txt", &[(&RANGE, range)]).await;
            assert_eq!((part.status, part.body.as_str()), (206, body), "{range}");
            assert_eq!(part.header("content-range"), said, "{range}");
            assert_eq!(part.header("content-length"), body.len().to_string());
        }
        for range in ["bytes=10-", "bytes=-0", "bytes=99-100"] {
            let nothing = ask(&shelf, "e/a.txt", &[(&RANGE, range)]).await;
            assert_eq!(
                (nothing.status, nothing.body.as_str()),
                (416, ""),
                "{range}"
            );
            assert_eq!(nothing.header("content-range"), "bytes */10", "{range}");
        }
        for range in [
            "bytes=0-1,4-5",
            "bytes=",
            "bytes=a-b",
            "bytes=5-2",
            "lines=0-3",
        ] {
            let all = ask(&shelf, "e/a.txt", &[(&RANGE, range)]).await;
            assert_eq!(
                (all.status, all.body.as_str()),
                (200, "0123456789"),
                "{range}"
            );
        }
        let tag = ask(&shelf, "e/a.txt", &[]).await.header("etag").to_owned();
        let range = (&RANGE, "bytes=0-3");
        let same = ask(&shelf, "e/a.txt", &[range, (&IF_RANGE, &tag)]).await;
        assert_eq!(same.status, 206);
        let other = ask(&shelf, "e/a.txt", &[range, (&IF_RANGE, "\"other\"")]).await;
        assert_eq!((other.status, other.body.as_str()), (200, "0123456789"));
    }

    #[tokio::test]
    async fn a_directory_is_its_first_page() {
        let (_dir, shelf) = shelf();
        let page = ask(&shelf, "e/", &[]).await;
        assert_eq!((page.status, page.body.as_str()), (200, "first"));
        assert!(page.header("content-type").starts_with("text/html"));
        let moved = to_directory(InAddress("e".to_owned())).await;
        assert_eq!(moved.status(), StatusCode::PERMANENT_REDIRECT);
        assert_eq!(moved.headers()["location"], "e/");
        let out = to_directory(InAddress("..".to_owned())).await;
        assert_eq!(out.status(), StatusCode::NOT_FOUND);
    }

    #[tokio::test]
    async fn no_path_leads_out_of_a_report() {
        let (_dir, shelf) = shelf();
        for good in ["index.html", "logs/a-1.0.0+x@1/lib-1-candidate.log"] {
            assert!(is_safe(good), "{good}");
        }
        for bad in [
            "", "/", "../x", "a/../b", "a//b", ".x", "a/.x", "a\\b", "ä", "a%2fb", "a\0",
        ] {
            assert!(!is_safe(bad), "{bad}");
            assert_eq!(ask(&shelf, bad, &[]).await.status, 404, "{bad}");
        }
        for missing in ["e", "e/none", "e/a.txt/b"] {
            assert_eq!(ask(&shelf, missing, &[]).await.status, 404, "{missing}");
        }
    }
}
