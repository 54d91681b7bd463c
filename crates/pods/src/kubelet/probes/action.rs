//! One probe: an HTTP request, a TCP connection, or a command in the container. Texts are the kubelet's.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ExecAction, HTTPGetAction, Probe, TCPSocketAction};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Outcome, Target};
use crate::exec::{self, Command};

/// The head of an answer is read to this length.
const HEAD_LIMIT: usize = 10 * 1024;

const USER_AGENT: &str = "kube-probe/1.37";

/// Runs one probe within its time.
pub(super) async fn run(target: &Target, probe: &Probe, timeout: Duration) -> Outcome {
    if let Some(get) = &probe.http_get {
        return http(target, get, timeout).await;
    }
    if let Some(socket) = &probe.tcp_socket {
        return tcp(target, socket, timeout).await;
    }
    if let Some(action) = &probe.exec {
        return command(target, action, timeout).await;
    }
    Err("gRPC probes are not supported by this node".to_owned())
}

async fn http(target: &Target, get: &HTTPGetAction, timeout: Duration) -> Outcome {
    if get.scheme.as_deref().is_some_and(|scheme| scheme.eq_ignore_ascii_case("HTTPS")) {
        return Err("HTTPS probes are not supported by this node".to_owned());
    }
    let port = port(target, &get.port)?;
    let host = get.host.clone().unwrap_or_else(|| target.address().to_string());
    let path = get.path.as_deref().filter(|path| !path.is_empty()).unwrap_or("/");
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let url = format!("http://{host}:{port}{path}");
    let request = request(get, &host, port, &path);
    let exchange = async {
        let mut stream = connect(&host, port).await?;
        let broken = |error: io::Error| format!("Get \"{url}\": {error}");
        stream.write_all(request.as_bytes()).await.map_err(broken)?;
        read_status(&mut stream).await.map_err(broken)
    };
    match tokio::time::timeout(timeout, exchange).await {
        Ok(Ok(200..400)) => Ok(()),
        Ok(Ok(status)) => Err(format!("HTTP probe failed with statuscode: {status}")),
        Ok(Err(message)) if message.starts_with("dial") => Err(format!("Get \"{url}\": {message}")),
        Ok(Err(message)) => Err(message),
        Err(_) => {
            let reason = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)";
            Err(format!("Get \"{url}\": {reason}"))
        }
    }
}

/// The pod's headers may replace ours.
fn request(get: &HTTPGetAction, host: &str, port: u16, path: &str) -> String {
    let mut headers: BTreeMap<String, String> = [
        ("Host", format!("{host}:{port}")),
        ("User-Agent", USER_AGENT.to_owned()),
        ("Accept", "*/*".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    for header in get.http_headers.iter().flatten() {
        headers.retain(|name, _| !name.eq_ignore_ascii_case(&header.name));
        headers.insert(header.name.clone(), header.value.clone());
    }
    let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("GET {path} HTTP/1.1\r\n{lines}Connection: close\r\n\r\n")
}

async fn read_status(stream: &mut TcpStream) -> io::Result<u16> {
    let mut head = Vec::new();
    while !head.contains(&b'\n') && head.len() < HEAD_LIMIT {
        if stream.read_buf(&mut head).await? == 0 {
            break;
        }
    }
    let line = String::from_utf8_lossy(&head);
    let status = line.strip_prefix("HTTP/1.").and_then(|rest| rest.split_whitespace().nth(1));
    status
        .and_then(|status| status.parse().ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "malformed HTTP response"))
}

async fn tcp(target: &Target, socket: &TCPSocketAction, timeout: Duration) -> Outcome {
    let port = port(target, &socket.port)?;
    let host = socket.host.clone().unwrap_or_else(|| target.address().to_string());
    match tokio::time::timeout(timeout, connect(&host, port)).await {
        Ok(result) => result.map(drop),
        Err(_) => Err(format!("dial tcp {host}:{port}: i/o timeout")),
    }
}

async fn connect(host: &str, port: u16) -> Result<TcpStream, String> {
    TcpStream::connect((host, port)).await.map_err(|error| {
        let reason = match error.kind() {
            io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
            io::ErrorKind::HostUnreachable => "no route to host".to_owned(),
            _ => error.to_string(),
        };
        format!("dial tcp {host}:{port}: connect: {reason}")
    })
}

/// A number, or the name of one of the container's ports.
fn port(target: &Target, port: &IntOrString) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => {
            let ports = target.container.ports.iter().flatten();
            let named = ports.filter(|port| port.name.as_ref() == Some(name)).map(|port| port.container_port);
            named.chain(name.parse().ok()).next()
        }
    };
    number
        .and_then(|number| u16::try_from(number).ok())
        .filter(|number| *number > 0)
        .ok_or_else(|| format!("invalid port: {}", serde_json::to_string(port).unwrap_or_default()))
}

async fn command(target: &Target, action: &ExecAction, timeout: Duration) -> Outcome {
    let command = action.command.clone().unwrap_or_default();
    let running = target.context.records.read(target.index, |record| record.running.clone());
    let running = running.ok_or_else(|| "container is not running".to_owned())?;
    let line = command.join(" ");
    let run = exec::output(&target.context.node.launcher, &running, Command::new(command));
    match tokio::time::timeout(timeout, run).await {
        Ok(Ok((0, _))) => Ok(()),
        Ok(Ok((_, output))) => Err(output),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("command timed out: {line:?} timed out after {}s", timeout.as_secs())),
    }
}
