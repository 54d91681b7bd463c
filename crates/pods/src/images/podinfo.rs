//! A stand-in for stefanprodan/podinfo: the same paths, the same JSON, the same manners when it is stopped.
//!
//! Not served: metrics, gRPC, the cache and token endpoints. Flags of the original that stand for those are
//! accepted and have no effect, so that its manifests run.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, Request, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde::Serialize;
use serde_json::json;

use super::arguments::{self, Flag};
use super::http::{Answer, Site, answer, close_after, serve};
use super::ready;

/// The version that the stand-in imitates.
const VERSION: &str = "6.9.2";

/// The original sets its readiness to false and waits this long before it shuts down.
const GRACE: Duration = Duration::from_secs(3);

/// `/echo` gives back no more than this.
const ECHO_LIMIT: usize = 1024 * 1024;

const JSON: &str = "application/json; charset=utf-8";

/// Flags of the original without effect here.
const WITHOUT_EFFECT: [&str; 15] = [
    "level",
    "port-metrics",
    "grpc-port",
    "grpc-service-name",
    "random-delay",
    "random-error",
    "random-delay-min",
    "random-delay-max",
    "random-delay-unit",
    "h2c",
    "unhealthy",
    "stress-cpu",
    "stress-memory",
    "cache-server",
    "backend-url",
];

struct Settings {
    address: SocketAddr,
    message: String,
    color: String,
    logo: String,
}

struct Podinfo {
    settings: Settings,
    hostname: String,
    ready: Cell<bool>,
    stopping: Cell<bool>,
}

/// Runs until SIGTERM, then three seconds more.
pub(super) fn main(arguments: Vec<String>) -> ExitCode {
    let settings = match arguments::long_flags(arguments).and_then(Settings::from_flags) {
        Ok(settings) => settings,
        Err(message) => return arguments::fail("podinfo", &message, 2),
    };
    let hostname = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned());
    let address = settings.address;
    log(
        "Starting podinfo",
        json!({"version": VERSION, "revision": revision(), "port": address.port().to_string()}),
    );
    log("Starting HTTP Server.", json!({"addr": address.to_string()}));
    let site = Podinfo {
        settings,
        hostname: hostname.unwrap_or_default(),
        ready: Cell::new(true),
        stopping: Cell::new(false),
    };
    serve("podinfo", address, site)
}

/// A line of the original's log. Nobody reading it is no reason to fail.
fn log(message: &str, details: serde_json::Value) {
    let mut line = json!({"level": "info", "ts": jiff::Timestamp::now().to_string(), "caller": "podinfo", "msg": message});
    if let (Some(line), serde_json::Value::Object(details)) = (line.as_object_mut(), details) {
        line.extend(details);
    }
    writeln!(io::stdout(), "{line}").ok();
}

impl Settings {
    fn from_flags(flags: Vec<Flag>) -> Result<Self, String> {
        let variable = |name: &str| std::env::var(format!("PODINFO_{name}")).ok();
        // A Service of the name podinfo puts `PODINFO_PORT=tcp://…` into every pod (service links); the original
        // goes on with its default port then.
        let number = |text: &String| text.parse::<u16>().is_ok();
        let mut port = variable("PORT").filter(number).unwrap_or_else(|| "9898".to_owned());
        let mut host = variable("HOST").unwrap_or_default();
        let mut message =
            variable("UI_MESSAGE").unwrap_or_else(|| format!("greetings from podinfo v{VERSION}"));
        let mut color = variable("UI_COLOR").unwrap_or_else(|| "#34577c".to_owned());
        let mut logo = variable("UI_LOGO").unwrap_or_else(|| LOGO.to_owned());
        for Flag { name, value } in flags {
            let target = match name.as_str() {
                "port" => &mut port,
                "host" => &mut host,
                "ui-message" => &mut message,
                "ui-color" => &mut color,
                "ui-logo" => &mut logo,
                name if WITHOUT_EFFECT.contains(&name) => continue,
                _ => return Err(format!("unknown flag: --{name}")),
            };
            *target = value.ok_or_else(|| format!("flag needs an argument: --{name}"))?;
        }
        let port = port.parse().map_err(|_| format!("invalid port {port:?}"))?;
        let host = match host.as_str() {
            "" => IpAddr::from(Ipv4Addr::UNSPECIFIED),
            host => host.parse().map_err(|_| format!("invalid host {host:?}"))?,
        };
        Ok(Self { address: SocketAddr::new(host, port), message, color, logo })
    }
}

const LOGO: &str = "https://raw.githubusercontent.com/stefanprodan/podinfo/gh-pages/cuddle_clap.gif";

impl Site for Podinfo {
    async fn answer(&self, request: Request<Incoming>, _peer: SocketAddr) -> Answer {
        let mut answer = self.route(request).await;
        answer.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if self.stopping.get() {
            close_after(&mut answer);
        }
        answer
    }

    fn stopping(&self) {
        self.stopping.set(true);
        self.ready.set(false);
    }

    fn grace(&self) -> Duration {
        GRACE
    }
}

impl Podinfo {
    async fn route(&self, request: Request<Incoming>) -> Answer {
        let path = request.uri().path().trim_end_matches('/').to_owned();
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        match (request.method(), parts.as_slice()) {
            (&Method::GET | &Method::HEAD, []) => self.home(request.headers()),
            (_, ["api", "info"]) => json_answer(200, &self.info()),
            (_, ["healthz"]) => json_answer(200, &json!({"status": "OK"})),
            (_, ["readyz"]) if self.ready.get() => json_answer(200, &json!({"status": "OK"})),
            (_, ["readyz"]) => plain(503),
            (&Method::POST, ["readyz", switch @ ("enable" | "disable")]) => {
                self.ready.set(*switch == "enable");
                json_answer(202, &json!({"status": "OK"}))
            }
            (_, ["version"]) => json_answer(200, &json!({"version": VERSION, "commit": revision()})),
            (_, ["env"]) => json_answer(200, &environment()),
            (_, ["headers"]) => json_answer(200, &headers(request.headers())),
            (_, ["delay", seconds]) => delay(seconds).await,
            (_, ["status", code]) => status(code),
            (&Method::POST | &Method::PUT, ["echo" | "api", ..]) => echo(request).await,
            _ => answer(404, "text/plain; charset=utf-8", "404 page not found\n"),
        }
    }

    /// A browser gets a page, everything else JSON: the original goes by the word "Mozilla" too.
    fn home(&self, headers: &HeaderMap) -> Answer {
        let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
        if !agent.is_some_and(|agent| agent.contains("Mozilla")) {
            return json_answer(200, &self.info());
        }
        let page = PAGE
            .replace("{color}", &escape(&self.settings.color))
            .replace("{message}", &escape(&self.settings.message))
            .replace("{hostname}", &escape(&self.hostname));
        answer(200, "text/html; charset=utf-8", page)
    }

    fn info(&self) -> Info<'_> {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Info {
            hostname: &self.hostname,
            version: VERSION,
            revision: revision(),
            color: &self.settings.color,
            logo: &self.settings.logo,
            message: &self.settings.message,
            goos: "linux",
            goarch: if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
            runtime: concat!("sluice", env!("CARGO_PKG_VERSION")),
            num_goroutine: "1".to_owned(),
            num_cpu: processors.to_string(),
        }
    }
}

/// The order of the fields is the original's.
#[derive(Serialize)]
struct Info<'a> {
    hostname: &'a str,
    version: &'a str,
    revision: &'a str,
    color: &'a str,
    logo: &'a str,
    message: &'a str,
    goos: &'a str,
    goarch: &'a str,
    runtime: &'a str,
    num_goroutine: String,
    num_cpu: String,
}

const PAGE: &str = r#"<!DOCTYPE html>
<html><head><title>{hostname}</title></head>
<body style="background:{color};color:white;font-family:sans-serif;text-align:center;padding-top:20vh">
<h1>{message}</h1><p>served by {hostname}</p></body></html>
"#;

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Where the original has its commit, a stand-in says what it is.
fn revision() -> &'static str {
    "sluice-built-in"
}

fn json_answer(status: u16, value: &impl Serialize) -> Answer {
    let text = serde_json::to_vec_pretty(value).unwrap_or_default();
    answer(status, JSON, text)
}

fn plain(status: u16) -> Answer {
    answer(status, "text/plain; charset=utf-8", "")
}

fn environment() -> Vec<String> {
    ready::environment().map(|(name, value)| format!("{name}={value}")).collect()
}

/// Go prints header names in canonical form and each with a list of values.
fn headers(headers: &HeaderMap) -> BTreeMap<String, Vec<String>> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        all.entry(canonical(name.as_str())).or_default().push(value);
    }
    all
}

fn canonical(name: &str) -> String {
    let part = |part: &str| {
        let mut letters = part.chars();
        letters
            .next()
            .map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + letters.as_str())
    };
    name.split('-').map(part).collect::<Vec<_>>().join("-")
}

async fn delay(seconds: &str) -> Answer {
    match seconds.parse::<u32>() {
        Ok(seconds) => {
            tokio::time::sleep(Duration::from_secs(seconds.into())).await;
            json_answer(200, &json!({"delay": seconds}))
        }
        Err(_) => {
            json_answer(400, &json!({"code": 400, "message": "invalid delay: not a number of seconds"}))
        }
    }
}

fn status(code: &str) -> Answer {
    match code.parse::<u16>() {
        Ok(code @ 200..=599) => json_answer(code, &json!({"status": code})),
        _ => json_answer(400, &json!({"code": 400, "message": "invalid status: not in 200-599"})),
    }
}

async fn echo(request: Request<Incoming>) -> Answer {
    match Limited::new(request.into_body(), ECHO_LIMIT).collect().await {
        Ok(body) => answer(202, JSON, body.to_bytes()),
        Err(_) => json_answer(413, &json!({"code": 413, "message": "body over 1 MiB"})),
    }
}
