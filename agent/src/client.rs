//! The agent's half of the protocol: one method a call, no retries of its own.

use std::time::Duration;

use ejecta_core::experiment::{Config, ExperimentName};
use ejecta_core::protocol::{
    ClaimRequest, ClaimResponse, ErrorBody, HeartbeatRequest, HeartbeatResponse, Me, ReadyRequest,
    ReleaseRequest, SubmitRequest, SubmitResponse, UnableRequest,
};
use reqwest::{RequestBuilder, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;

use crate::error::AgentError;
use crate::traces;

/// How long one call may take; submissions carry logs.
const CALL_TIMEOUT: Duration = Duration::from_secs(120);

/// A coordinator, as its agents see it.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    token: SecretString,
}

impl Client {
    /// A client of the coordinator at `base`, such as `http://127.0.0.1:4040`.
    ///
    /// # Errors
    /// [`AgentError::Network`] when the HTTP client cannot be set up.
    pub fn new(base: &str, token: SecretString) -> Result<Self, AgentError> {
        Self::trusting(base, token, None)
    }

    /// The same, which also trusts the certificates of `authority`, in PEM.
    ///
    /// # Errors
    /// [`AgentError::Network`] when there is no certificate in it, or the HTTP client cannot be set
    /// up.
    pub fn trusting(
        base: &str,
        token: SecretString,
        authority: Option<&[u8]>,
    ) -> Result<Self, AgentError> {
        ejecta_registry::use_ring();
        let failed = |action| move |source| AgentError::Network { action, source };
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("ejecta-agent/", env!("CARGO_PKG_VERSION")))
            .timeout(CALL_TIMEOUT)
            .connect_timeout(Duration::from_secs(10));
        if let Some(pem) = authority {
            let certificates = reqwest::Certificate::from_pem_bundle(pem)
                .map_err(failed("read the certificates to trust"))?;
            for certificate in certificates {
                builder = builder.add_root_certificate(certificate);
            }
        }
        let http = builder.build().map_err(failed("set up the HTTP client"))?;
        Ok(Self {
            http,
            base: base.trim_end_matches('/').to_owned(),
            token,
        })
    }

    /// Asks for work.
    ///
    /// # Errors
    /// [`AgentError::Network`] or [`AgentError::Coordinator`], as all calls.
    pub async fn claim(&self, request: &ClaimRequest) -> Result<ClaimResponse, AgentError> {
        self.post("claim jobs", "/api/v1/claim", request).await
    }

    /// Extends leases; gives up after `patience`.
    ///
    /// # Errors
    /// As [`Client::claim`].
    pub async fn heartbeat(
        &self,
        request: &HeartbeatRequest,
        patience: Duration,
    ) -> Result<HeartbeatResponse, AgentError> {
        let action = "extend leases";
        let call = self.http.post(self.address("/api/v1/heartbeat"));
        let call = call.json(request).timeout(patience);
        read(action, self.send(action, call).await?).await
    }

    /// Hands in a result.
    ///
    /// # Errors
    /// As [`Client::claim`]; status 409 says that the lease is lost.
    pub async fn submit(&self, request: &SubmitRequest) -> Result<SubmitResponse, AgentError> {
        self.post("submit a result", "/api/v1/submit", request)
            .await
    }

    /// Gives a job back.
    ///
    /// # Errors
    /// As [`Client::claim`]; status 409 says that the lease is lost.
    pub async fn release(&self, request: &ReleaseRequest) -> Result<(), AgentError> {
        let action = "give a job back";
        let call = self
            .http
            .post(self.address("/api/v1/release"))
            .json(request);
        self.send(action, call).await.map(|_| ())
    }

    /// The choices of an experiment.
    ///
    /// # Errors
    /// As [`Client::claim`].
    pub async fn config(&self, name: &ExperimentName) -> Result<Config, AgentError> {
        let action = "read the experiment's configuration";
        let path = format!("/api/v1/experiments/{name}/config");
        let answer = self
            .send(action, self.http.get(self.address(&path)))
            .await?;
        read(action, answer).await
    }

    /// Whose token this client has.
    ///
    /// # Errors
    /// As [`Client::claim`].
    pub async fn me(&self) -> Result<Me, AgentError> {
        let action = "ask who this token belongs to";
        let answer = self.send(action, self.http.get(self.address("/api/v1/me")));
        read(action, answer.await?).await
    }

    /// Says what this agent runs an experiment with.
    ///
    /// # Errors
    /// As [`Client::claim`]; status 409 says that others run it with another compiler.
    pub async fn ready(
        &self,
        name: &ExperimentName,
        request: &ReadyRequest,
    ) -> Result<(), AgentError> {
        let path = format!("/api/v1/experiments/{name}/ready");
        let call = self.http.post(self.address(&path)).json(request);
        let action = "agree on the experiment's toolchains";
        self.send(action, call).await.map(|_| ())
    }

    /// Says why this agent cannot run an experiment's jobs for now.
    ///
    /// # Errors
    /// As [`Client::claim`].
    pub async fn unable(
        &self,
        name: &ExperimentName,
        request: &UnableRequest,
    ) -> Result<(), AgentError> {
        let path = format!("/api/v1/experiments/{name}/unable");
        let call = self.http.post(self.address(&path)).json(request);
        let action = "say what is wrong with an experiment";
        self.send(action, call).await.map(|_| ())
    }

    fn address(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    async fn post<A: DeserializeOwned>(
        &self,
        action: &'static str,
        path: &str,
        body: &impl serde::Serialize,
    ) -> Result<A, AgentError> {
        let call = self.http.post(self.address(path)).json(body);
        let answer = self.send(action, call).await?;
        read(action, answer).await
    }

    async fn send(
        &self,
        action: &'static str,
        call: RequestBuilder,
    ) -> Result<reqwest::Response, AgentError> {
        let answer = traces::continued(call)
            .bearer_auth(self.token.expose_secret())
            .send()
            .await
            .map_err(|source| AgentError::Network { action, source })?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let message = match answer.json::<ErrorBody>().await {
            Ok(body) => body.error,
            Err(_) => "no reason given".to_owned(),
        };
        Err(AgentError::Coordinator {
            action,
            status: status.as_u16(),
            message,
        })
    }
}

async fn read<A: DeserializeOwned>(
    action: &'static str,
    answer: reqwest::Response,
) -> Result<A, AgentError> {
    answer
        .json()
        .await
        .map_err(|source| AgentError::Network { action, source })
}

/// Whether a call failed because the lease it names is lost.
pub(crate) fn lease_is_lost(error: &AgentError) -> bool {
    matches!(error, AgentError::Coordinator { status, .. } if *status == StatusCode::CONFLICT.as_u16())
}
