//! A coordinator on loopback, and a client that can also send what no decent client would.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use ejecta_core::capability::Capabilities;
use ejecta_core::mode::Scope;
use ejecta_core::protocol::{
    ClaimRequest, ClaimResponse, ErrorBody, Grant, LogFile, PROTOCOL, SubmitRequest,
};
use ejecta_core::traffic::Traffic;
use ejecta_server::api::{Limits, Service};
use ejecta_server::auth::{Gate, TOKEN_BYTES, TokenRequest, mint};
use ejecta_server::experiments::Experiments;
use ejecta_server::front::Front;
use ejecta_server::logs::LogStore;
use ejecta_server::planning::{PlanError, PlanRequest, Planned, Planner};
use ejecta_server::serve::{self, Connections};
use ejecta_server::store::{SqliteStore, Store as _, TokenRecord};
use ejecta_server::watch::Watching;
use ejecta_server::{Coordinator, Settings};
use secrecy::ExposeSecret as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::fixtures::{LEASE, at, create, experiment, passing, plan};

/// The token of the agent `tester`.
pub const TOKEN: &str =
    "ejt_0101010101010101_0101010101010101010101010101010101010101010101010101010101010101";

/// A coordinator with an experiment `e` of three crates in both tiers.
pub struct Server {
    pub coordinator: Arc<Coordinator>,
    pub store: SqliteStore,
    pub dir: TempDir,
    pub address: SocketAddr,
    /// Seconds since the beginning, as the coordinator sees them.
    pub now: Arc<AtomicI64>,
    shutdown: oneshot::Sender<()>,
    serving: JoinHandle<std::io::Result<()>>,
}

/// Plans by a script: `N` is a plan of so many crates, and words are errors.
pub struct Scripted;

#[async_trait]
impl Planner for Scripted {
    async fn plan(&self, request: &PlanRequest) -> Result<Planned, PlanError> {
        let said = || format!("the selection `{}`", request.selection);
        match request.selection.as_str() {
            "down" => Err(PlanError::Transient(
                "failed to reach the registry".to_owned(),
            )),
            "broken" => Err(PlanError::Broken("failed to read the cache".to_owned())),
            number => match number.parse() {
                Ok(crates) => Ok(Planned {
                    entries: plan(crates),
                    snapshot: Some(serde_json::json!("then")),
                    facts: [("setup", serde_json::json!(request.seed))].into(),
                    notes: vec![said()],
                }),
                Err(_) => Err(PlanError::Input(said())),
            },
        }
    }
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {} {}", self.status, self.body))
    }

    pub fn error(&self) -> String {
        self.json::<ErrorBody>().error
    }
}

impl Server {
    pub async fn start() -> Self {
        Self::watched(Watching {
            fresh: Duration::ZERO,
            ..Watching::default()
        })
        .await
    }

    /// As [`Server::start`], with these choices of what is watched.
    pub async fn watched(watching: Watching) -> Self {
        Self::limited(watching, Limits::default()).await
    }

    /// As [`Server::start`], with these limits too.
    pub async fn limited(watching: Watching, limits: Limits) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let store = SqliteStore::open(&dir.path().join("ejecta.db"))
            .await
            .expect("opens");
        create(&store, &experiment("e", Scope::All), &plan(3)).await;
        let tester = token(1, "agent", Some("tester"), None);
        assert_eq!(tester.1, TOKEN);
        store.add_token(&tester.0).await.expect("kept");
        let now = Arc::new(AtomicI64::new(0));
        let clock = Arc::clone(&now);
        let coordinator = Arc::new(Coordinator::new(
            Arc::new(store.clone()),
            LogStore::new(dir.path()),
            Arc::new(move || at(clock.load(Ordering::SeqCst))),
            Settings {
                lease: Duration::from_secs(LEASE.unsigned_abs()),
                retry_after: Duration::from_millis(123),
                watching,
                ..Settings::default()
            },
        ));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (shutdown, stop) = oneshot::channel();
        let serving = tokio::spawn({
            let coordinator = Arc::clone(&coordinator);
            let gate = Arc::new(Gate::new(Arc::new(store.clone()), Vec::new()));
            let clock = Arc::clone(&now);
            let experiments = Experiments::new(
                Arc::new(store.clone()),
                Arc::new(Scripted),
                Arc::new(move || at(clock.load(Ordering::SeqCst))),
            );
            let router = Service::new(Arc::clone(&coordinator), gate)
                .with_experiments(Arc::new(experiments))
                .with_limits(limits)
                .router();
            let front = Front::plain(listener).expect("an address");
            let stop = async move {
                let _ = stop.await;
                coordinator.stop();
            };
            serve::serve(front, router, Connections::default(), stop)
        });
        Self {
            coordinator,
            store,
            dir,
            address,
            now,
            shutdown,
            serving,
        }
    }

    /// Shuts down and waits for the end.
    pub async fn stop(self) -> TempDir {
        let _ = self.shutdown.send(());
        tokio::time::timeout(Duration::from_secs(60), self.serving)
            .await
            .expect("it ends")
            .expect("no panic")
            .expect("no error");
        self.dir
    }

    /// Sends `text` as it is and reads until the other side closes.
    pub async fn raw(&self, text: &str) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.expect("connects");
        stream.write_all(text.as_bytes()).await.expect("sent");
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.expect("an answer");
        let text = String::from_utf8(bytes).expect("UTF-8");
        let (head, body) = text.split_once("\r\n\r\n").expect("an HTTP answer");
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok());
        Answer {
            status: status.expect("a status"),
            head: head.to_lowercase(),
            body: body.to_owned(),
        }
    }

    /// Sends a request with these extra header lines.
    pub async fn send(&self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        let length = body.len();
        self.raw(&format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\
             content-length: {length}\r\n\r\n{body}"
        ))
        .await
    }

    /// Sends a request under `/api/v1` with another token than [`TOKEN`], or without one.
    pub async fn by(&self, token: Option<&str>, method: &str, path: &str, body: &str) -> Answer {
        let headers = token.map(|token| format!("authorization: Bearer {token}\r\n"));
        let path = format!("/api/v1{path}");
        self.send(method, &path, &headers.unwrap_or_default(), body)
            .await
    }

    /// A token of these scopes, made now.
    pub async fn mint(&self, seed: u8, scopes: &str, agent: Option<&str>) -> String {
        let (record, secret) = token(seed, scopes, agent, None);
        assert!(self.store.add_token(&record).await.expect("kept"));
        secret
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &authorization(), "").await
    }

    pub async fn post(&self, call: &str, body: &impl Serialize) -> Answer {
        let body = serde_json::to_string(body).expect("JSON");
        let path = format!("/api/v1/{call}");
        self.send("POST", &path, &authorization(), &body).await
    }

    pub async fn claim(&self, slots: u32) -> ClaimResponse {
        self.claim_telling(slots, Traffic::default()).await
    }

    /// Claims, and says what was asked of the registry.
    pub async fn claim_telling(&self, slots: u32, traffic: Traffic) -> ClaimResponse {
        let request = ClaimRequest {
            protocol: PROTOCOL,
            agent: "tester".to_owned(),
            slots,
            capabilities: Capabilities::default(),
            without: Vec::new(),
            traffic,
        };
        self.post("claim", &request).await.json()
    }

    /// Claims one job, which must be there.
    pub async fn next(&self) -> Grant {
        self.claim(1).await.grants.pop().expect("a job waits")
    }

    /// Gets with a token of the scope `read`.
    pub async fn read(&self, path: &str) -> Answer {
        let (record, secret) = token(77, "read", None, None);
        // The second time it is there already.
        self.store.add_token(&record).await.expect("kept");
        let headers = format!("authorization: Bearer {secret}\r\n");
        self.send("GET", path, &headers, "").await
    }

    pub fn log(&self, path: &str) -> std::io::Result<String> {
        std::fs::read_to_string(self.dir.path().join(path))
    }
}

pub fn authorization() -> String {
    format!("authorization: Bearer {TOKEN}\r\n")
}

/// A token of the bytes `seed`.
pub fn token(
    seed: u8,
    scopes: &str,
    agent: Option<&str>,
    expires: Option<i64>,
) -> (TokenRecord, String) {
    let request = TokenRequest {
        label: "a test".to_owned(),
        scopes: scopes.parse().expect("known scopes"),
        agent: agent.map(str::to_owned),
        expires: expires.map(at),
    };
    let (record, secret) = mint(request, &[seed; TOKEN_BYTES], at(0));
    (record, secret.expose_secret().to_owned())
}

/// A passing result under the lease of `grant`, whose log says `text`.
pub fn submission(grant: &Grant, text: &str) -> SubmitRequest {
    SubmitRequest {
        lease: grant.lease.clone(),
        record: passing(),
        logs: vec![LogFile {
            name: "1-candidate".to_owned(),
            text: text.to_owned(),
        }],
    }
}
