//! Whether the process is alive: for supervisors, without a token.

pub(super) async fn healthz() -> &'static str {
    "ok\n"
}
