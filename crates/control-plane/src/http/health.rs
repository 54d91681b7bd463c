//! What anybody may ask without a certificate: is the server alive, and which version is it.

use http::{Response, StatusCode};
use serde_json::json;

use super::body::{self, ResponseBody};

/// The Kubernetes version that the API reports, with our own build mark.
pub(crate) const GIT_VERSION: &str = "v1.37.2+sluice";

/// The answer, if `path` is one of those.
pub(super) fn answer(path: &str, query: &str) -> Option<Response<ResponseBody>> {
    let path = path.trim_end_matches('/');
    if path == "/version" {
        return Some(body::json(StatusCode::OK, &version()));
    }
    // The store is open before anybody is answered, so there is one check and it holds.
    let check = path.strip_suffix("/ping").unwrap_or(path).strip_prefix('/')?;
    if !matches!(check, "healthz" | "livez" | "readyz") {
        return None;
    }
    if form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == "verbose") {
        return Some(body::text(StatusCode::OK, format!("[+]ping ok\n{check} check passed\n")));
    }
    Some(body::text(StatusCode::OK, "ok"))
}

fn version() -> serde_json::Value {
    json!({
        "major": "1",
        "minor": "37",
        "gitVersion": GIT_VERSION,
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "",
        "goVersion": "",
        "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, architecture()),
    })
}

/// The architecture by the name that Go gives it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
