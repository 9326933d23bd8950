//! The API of the fake GitHub, as far as bots need it.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State as Extracted;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::state::{Fault, Person, State};
use super::{APP_ID, APP_KEY, TOKEN, lock};

/// The only installation of the App.
const INSTALLATION: u64 = 99;

type Shared = Arc<Mutex<State>>;

/// An answer before it is sent.
struct Answer {
    status: StatusCode,
    body: Value,
}

fn answer(status: StatusCode, body: Value) -> Answer {
    Answer { status, body }
}

fn ok(body: Value) -> Answer {
    answer(StatusCode::OK, body)
}

fn refused(status: StatusCode, message: &str) -> Answer {
    answer(status, json!({ "message": message }))
}

fn missing() -> Answer {
    refused(StatusCode::NOT_FOUND, "Not Found")
}

pub(super) fn serve(
    listener: std::net::TcpListener,
    state: Shared,
    stopped: oneshot::Receiver<()>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime starts");
    runtime.block_on(async move {
        let listener = tokio::net::TcpListener::from_std(listener).expect("a usable socket");
        let app = Router::new().fallback(take).with_state(state);
        tokio::select! {
            _ = axum::serve(listener, app) => {}
            _ = stopped => {}
        }
    });
}

async fn take(
    Extracted(state): Extracted<Shared>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let mut state = lock(&state);
    state.seen.push(format!("{method} {uri}"));
    let hit = |(m, path, _): &(String, String, Fault)| {
        *m == method.as_str() && uri.path().contains(path.as_str())
    };
    let fault = state.faults.iter().position(hit);
    let fault = fault.map(|at| state.faults.remove(at).2);
    let mut act = || respond(&mut state, &method, &uri, &headers, &body);
    match fault {
        None => send(&act()),
        Some(Fault::Status(status)) => send(&refused(status_of(status), "ordered")),
        Some(Fault::StatusAfter(status)) => {
            act();
            send(&refused(status_of(status), "ordered"))
        }
        Some(Fault::Answer {
            status,
            headers,
            message,
        }) => {
            let mut response = send(&refused(status_of(status), &message));
            for (name, value) in headers {
                let name: HeaderName = name.parse().expect("a header's name");
                let value: HeaderValue = value.parse().expect("a header's value");
                response.headers_mut().insert(name, value);
            }
            response
        }
        Some(Fault::LostBefore) => lost(),
        Some(Fault::LostAfter) => {
            act();
            lost()
        }
    }
}

fn status_of(status: u16) -> StatusCode {
    StatusCode::from_u16(status).expect("an HTTP status")
}

fn send(answer: &Answer) -> Response<Body> {
    let mut response = Response::new(Body::from(answer.body.to_string()));
    *response.status_mut() = answer.status;
    response
}

/// An answer whose connection breaks in the middle.
fn lost() -> Response<Body> {
    let broken = std::io::Error::other("ordered");
    let stream = futures_util::stream::once(async { Err::<Bytes, _>(broken) });
    Response::new(Body::from_stream(stream))
}

/// As whom a request is made.
enum Who {
    Nobody,
    App,
    Bot(Person),
}

fn respond(
    state: &mut State,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    body: &[u8],
) -> Answer {
    let path = uri.path();
    if let Some(document) = state.documents.get(path) {
        return ok(document.clone());
    }
    if !headers.contains_key("user-agent") {
        return refused(StatusCode::FORBIDDEN, "a User-Agent is required");
    }
    let who = match who(state, headers) {
        Ok(who) => who,
        Err(refusal) => return refusal,
    };
    let body: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    let segments: Vec<String> = path.split('/').skip(1).map(decoded).collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    match (who, segments.as_slice()) {
        (Who::App, ["app"]) => ok(json!({ "id": 4711, "slug": state.bot.login })),
        (Who::App, ["repos", _, _, "installation"] | ["orgs", _, "installation"]) => {
            if state.installed {
                ok(json!({ "id": INSTALLATION }))
            } else {
                missing()
            }
        }
        (Who::App, ["app", "installations", id, "access_tokens"]) if *method == Method::POST => {
            issue_token(state, id)
        }
        (Who::Bot(bot), ["user"]) => ok(bot.json()),
        (Who::Bot(_), ["orgs", org, "teams", team, "members"]) => {
            match state.teams.get(&((*org).to_owned(), (*team).to_owned())) {
                Some(members) => ok(page(uri, members.iter().map(Person::json))),
                None => missing(),
            }
        }
        (Who::Bot(bot), ["repos", owner, name, rest @ ..]) => in_repo(
            state,
            &bot,
            method,
            uri,
            &format!("{owner}/{name}"),
            rest,
            &body,
        ),
        (Who::Nobody, _) => refused(StatusCode::UNAUTHORIZED, "Requires authentication"),
        _ => missing(),
    }
}

fn issue_token(state: &mut State, id: &str) -> Answer {
    if id != INSTALLATION.to_string() || !state.installed {
        return missing();
    }
    let token = format!("ghs_{}", state.new_id());
    let ends = state.now() + 3600;
    state.issued.insert(token.clone(), ends);
    let expires = jiff::Timestamp::from_second(ends).expect("a time of this age");
    answer(
        StatusCode::CREATED,
        json!({ "token": token, "expires_at": expires.to_string() }),
    )
}

fn in_repo(
    state: &mut State,
    bot: &Person,
    method: &Method,
    uri: &Uri,
    repo: &str,
    rest: &[&str],
    body: &Value,
) -> Answer {
    match (method.as_str(), rest) {
        ("GET", ["commits", sha]) => {
            let parents = state.commits.get(&(repo.to_owned(), (*sha).to_owned()));
            let Some(parents) = parents else {
                return refused(StatusCode::UNPROCESSABLE_ENTITY, "No commit found");
            };
            let parents: Vec<Value> = parents.iter().map(|p| json!({ "sha": p })).collect();
            ok(json!({ "sha": sha, "parents": parents }))
        }
        ("PATCH", ["issues", "comments", id]) => edit(state, bot, repo, id, body),
        (_, ["pulls" | "issues", number, ..]) => {
            let Ok(number) = number.parse() else {
                return missing();
            };
            if !state.issues.contains_key(&(repo.to_owned(), number)) {
                return missing();
            }
            in_issue(state, bot, method, uri, (repo, number), rest, body)
        }
        _ => missing(),
    }
}

fn in_issue(
    state: &mut State,
    bot: &Person,
    method: &Method,
    uri: &Uri,
    (repo, number): (&str, u64),
    rest: &[&str],
    body: &Value,
) -> Answer {
    let labels = |labels: &[String]| {
        json!(
            labels
                .iter()
                .map(|l| json!({ "name": l }))
                .collect::<Vec<_>>()
        )
    };
    match (method.as_str(), rest) {
        ("GET", ["pulls", _]) => match &state.issue(repo, number).head {
            Some(head) => ok(json!({ "number": number, "head": { "sha": head, "ref": "x" } })),
            None => missing(),
        },
        ("GET", [_, _, "comments"]) => {
            let since = query(uri, "since").map(|at| {
                let at: jiff::Timestamp = at.parse().expect("a time");
                at.as_second()
            });
            let new = |c: &&super::SeenComment| since.is_none_or(|since| c.updated >= since);
            let comments = &state.issue(repo, number).comments;
            ok(page(
                uri,
                comments.iter().filter(new).map(super::SeenComment::json),
            ))
        }
        ("POST", [_, _, "comments"]) => {
            if state.issue(repo, number).locked {
                let why = "Unable to create comment because issue is locked.";
                return refused(StatusCode::FORBIDDEN, why);
            }
            let text = body["body"].as_str().unwrap_or_default();
            if text.is_empty() || text.chars().count() > 65_536 {
                let why = "Validation Failed: body is too long (maximum is 65536 characters)";
                return refused(StatusCode::UNPROCESSABLE_ENTITY, why);
            }
            let (id, _) = state.comment(repo, number, bot, text);
            answer(StatusCode::CREATED, json!({ "id": id }))
        }
        ("GET", [_, _, "labels"]) => {
            let all = state.issue(repo, number).labels.clone();
            ok(page(uri, all.iter().map(|l| json!({ "name": l }))))
        }
        ("POST", [_, _, "labels"]) => {
            let issue = state.issue(repo, number);
            for label in body["labels"].as_array().into_iter().flatten() {
                let label = label.as_str().expect("a label's name").to_owned();
                if !issue.labels.contains(&label) {
                    issue.labels.push(label);
                }
            }
            ok(labels(&issue.labels))
        }
        ("DELETE", [_, _, "labels", label]) => {
            let issue = state.issue(repo, number);
            let Some(at) = issue.labels.iter().position(|l| l == label) else {
                return refused(StatusCode::NOT_FOUND, "Label does not exist");
            };
            issue.labels.remove(at);
            ok(labels(&issue.labels))
        }
        _ => missing(),
    }
}

fn edit(state: &mut State, bot: &Person, repo: &str, id: &str, body: &Value) -> Answer {
    let now = state.now();
    let text = body["body"].as_str().unwrap_or_default().to_owned();
    let comments = state
        .issues
        .iter_mut()
        .filter(|((of, _), _)| of == repo)
        .flat_map(|(_, issue)| &mut issue.comments);
    for comment in comments {
        if comment.id.to_string() != id {
            continue;
        }
        if comment.by.login != bot.login {
            return refused(StatusCode::FORBIDDEN, "Resource not accessible");
        }
        if text.is_empty() || text.chars().count() > 65_536 {
            return refused(StatusCode::UNPROCESSABLE_ENTITY, "Validation Failed");
        }
        comment.body = text;
        comment.edits += 1;
        comment.updated = now;
        return ok(json!({ "id": comment.id }));
    }
    missing()
}

fn query(uri: &Uri, name: &str) -> Option<String> {
    let pairs = uri.query()?.split('&').filter_map(|p| p.split_once('='));
    pairs
        .filter(|(key, _)| *key == name)
        .map(|(_, value)| decoded(value))
        .next()
}

fn page(uri: &Uri, all: impl Iterator<Item = Value>) -> Value {
    let number = |name, else_| {
        query(uri, name)
            .and_then(|n| n.parse().ok())
            .unwrap_or(else_)
    };
    let (size, page): (usize, usize) = (number("per_page", 30).min(100), number("page", 1));
    all.skip(size * (page - 1)).take(size).collect()
}

fn decoded(segment: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = segment.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let code = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match code.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) if first == b'%' => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn who(state: &State, headers: &HeaderMap) -> Result<Who, Answer> {
    let bad = || Err(refused(StatusCode::UNAUTHORIZED, "Bad credentials"));
    let Some(value) = headers.get("authorization") else {
        return Ok(Who::Nobody);
    };
    let Some(token) = value.to_str().ok().and_then(|v| v.strip_prefix("Bearer ")) else {
        return bad();
    };
    if token == TOKEN {
        return Ok(Who::Bot(state.bot.clone()));
    }
    if let Some(ends) = state.issued.get(token) {
        if *ends <= state.now() {
            return bad();
        }
        let login = format!("{}[bot]", state.bot.login);
        return Ok(Who::Bot(Person::bot(state.bot.id, &login)));
    }
    match is_app(token, state.now()) {
        Ok(()) => Ok(Who::App),
        Err(why) => Err(refused(StatusCode::UNAUTHORIZED, &why)),
    }
}

/// Checks a JSON Web Token as GitHub does: RS256, issued in the past, no longer than ten minutes.
fn is_app(token: &str, now: i64) -> Result<(), String> {
    let wrong = |why: &str| why.to_owned();
    let [header, claims, signature] = token.split('.').collect::<Vec<_>>()[..] else {
        return Err(wrong("no JSON Web Token"));
    };
    let json = |part: &str| -> Option<Value> {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
    };
    let signed = URL_SAFE_NO_PAD.decode(signature);
    let signed = signed.map_err(|_| wrong("the signature is no base64"))?;
    let Ok(PrivateKeyDer::Pkcs1(der)) = PrivateKeyDer::from_pem_slice(APP_KEY.as_bytes()) else {
        panic!("the fixture is a PKCS#1 key");
    };
    let key = RsaKeyPair::from_der(der.secret_pkcs1_der()).expect("the fixture is a key");
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public_key().as_ref())
        .verify(format!("{header}.{claims}").as_bytes(), &signed)
        .map_err(|_| wrong("A JSON web token could not be decoded"))?;
    let header = json(header).ok_or_else(|| wrong("no header"))?;
    let claims = json(claims).ok_or_else(|| wrong("no claims"))?;
    let second = |name: &str| claims[name].as_i64().unwrap_or_default();
    let (since, until) = (second("iat"), second("exp"));
    if header["alg"] != "RS256" || claims["iss"] != APP_ID {
        return Err(wrong("'Issuer' claim ('iss') is wrong"));
    }
    if since > now || until <= now || until > now + 600 {
        return Err(wrong(
            "'Expiration time' claim ('exp') is too far in the future",
        ));
    }
    Ok(())
}
