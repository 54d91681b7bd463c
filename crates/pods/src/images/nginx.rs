//! A stand-in for nginx: its welcome page on port 80, its 404 and 405 pages, its access log on standard output.
//!
//! Serves no files and reads no configuration; its usual `-g 'daemon off;'` is accepted.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, Request, header};
use hyper::body::{Body, Incoming};

use super::arguments;
use super::http::{Answer, Site, answer, serve};

/// The version that the stand-in names itself after.
const SERVER: &str = "nginx/1.29.0";

struct Nginx;

/// Runs until SIGTERM or SIGQUIT.
pub(super) fn main(arguments: Vec<String>) -> ExitCode {
    let mut rest = arguments.iter().map(String::as_str);
    while let Some(argument) = rest.next() {
        match argument {
            "-g" => drop(rest.next()),
            "-v" => {
                return arguments::fail("nginx", &format!("nginx version: {SERVER} (sluice built-in)"), 0);
            }
            other => {
                let message =
                    format!("invalid option: {other:?} (the built-in stand-in reads no configuration)");
                return arguments::fail("nginx", &message, 1);
            }
        }
    }
    serve("nginx", SocketAddr::from((Ipv4Addr::UNSPECIFIED, 80)), Nginx)
}

impl Site for Nginx {
    async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Answer {
        let mut answer = match (request.method(), request.uri().path()) {
            (&Method::GET | &Method::HEAD, "/" | "/index.html") => answer(200, "text/html", WELCOME),
            (&Method::GET | &Method::HEAD, _) => error_page(404, "404 Not Found"),
            _ => error_page(405, "405 Not Allowed"),
        };
        answer.headers_mut().insert(header::SERVER, HeaderValue::from_static(SERVER));
        log(&request, &answer, peer);
        answer
    }

    /// Answers that are being written get out.
    fn grace(&self) -> Duration {
        Duration::from_millis(50)
    }
}

fn error_page(status: u16, title: &str) -> Answer {
    let page = format!(
        "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n\
         <hr><center>{SERVER}</center>\r\n</body>\r\n</html>\r\n"
    );
    answer(status, "text/html", page)
}

const WELCOME: &str = "<!DOCTYPE html>
<html>
<head>
<title>Welcome to nginx!</title>
<style>
html { color-scheme: light dark; }
body { width: 35em; margin: 0 auto; font-family: Tahoma, Verdana, Arial, sans-serif; }
</style>
</head>
<body>
<h1>Welcome to nginx!</h1>
<p>This page is served by the stand-in for nginx that is built into Sluice.</p>
<p><em>Thank you for using nginx.</em></p>
</body>
</html>
";

/// The "combined" format of nginx. Nobody reading the log is no reason to fail.
fn log(request: &Request<Incoming>, answer: &Answer, peer: SocketAddr) {
    let line = format!(
        "{} - - [{}] \"{} {} {:?}\" {} {} \"{}\" \"{}\"\n",
        peer.ip(),
        jiff::Zoned::now().with_time_zone(jiff::tz::TimeZone::UTC).strftime("%d/%b/%Y:%H:%M:%S %z"),
        request.method(),
        request.uri(),
        request.version(),
        answer.status().as_u16(),
        answer.body().size_hint().lower(),
        text(request.headers(), &header::REFERER),
        text(request.headers(), &header::USER_AGENT),
    );
    io::stdout().write_all(line.as_bytes()).ok();
}

fn text<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("-")
}
