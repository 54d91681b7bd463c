//! `exec` against a server that speaks the remote command protocol: channels, exit codes, a terminal.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr},
    os::fd::OwnedFd,
    process::{Command, Stdio},
};

use futures::{SinkExt as _, StreamExt as _};
use nix::{pty::openpty, sys::termios};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    runtime::Runtime,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Bytes, Message, handshake::derive_accept_key, protocol::Role},
};

use crate::cluster::run;

/// A server with one pod, in which every command says what reached it and ends with code 7.
struct Pod {
    kubeconfig: std::path::PathBuf,
    _runtime: Runtime,
}

impl Pod {
    fn start(name: &str) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream));
            }
        });
        let kubeconfig = std::env::temp_dir().join(format!("sluice-exec-{}-{name}", std::process::id()));
        std::fs::write(&kubeconfig, config(address)).unwrap();
        Self { kubeconfig, _runtime: runtime }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sluice"));
        command.args(words).env("KUBECONFIG", &self.kubeconfig);
        command
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.kubeconfig);
    }
}

fn config(address: SocketAddr) -> String {
    let config = json!({"apiVersion": "v1", "kind": "Config", "current-context": "t",
        "clusters": [{"name": "t", "cluster": {"server": format!("http://{address}")}}], "users": [],
        "contexts": [{"name": "t", "context": {"cluster": "t", "user": ""}}]});
    config.to_string()
}

async fn answer(mut stream: TcpStream) {
    loop {
        let Some(head) = request(&mut stream).await else { return };
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        if path.contains("/exec?") {
            let key = head.lines().find_map(|line| {
                line.to_lowercase().starts_with("sec-websocket-key:").then(|| line[18..].trim().to_owned())
            });
            let accept = derive_accept_key(key.unwrap_or_default().as_bytes());
            let reply = format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: v5.channel.k8s.io\r\n\r\n"
            );
            stream.write_all(reply.as_bytes()).await.unwrap();
            return command(stream, &path).await;
        }
        let pod = json!({"kind": "Pod", "metadata": {"name": "x"}, "status": {"phase": "Running"},
            "spec": {"containers": [{"name": "main"}, {"name": "side"}]}});
        let body = pod.to_string();
        let reply = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(reply.as_bytes()).await.unwrap();
    }
}

async fn request(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

/// Sends its own query on stdout, then what comes in (on stdout) and the end of it (on stderr), then code 7.
async fn command(stream: TcpStream, path: &str) {
    let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
    let send = |channel: u8, text: &str| Message::Binary(Bytes::from([&[channel], text.as_bytes()].concat()));
    let query = path.split_once('?').unwrap().1.to_owned();
    socket.send(send(1, &format!("{query}\n"))).await.unwrap();
    let input = query.contains("stdin=true");
    while let Some(Ok(Message::Binary(bytes))) = if input { socket.next().await } else { None } {
        let text = String::from_utf8_lossy(&bytes[1..]).into_owned();
        match bytes[0] {
            0 if text.contains('\u{4}') => break,
            0 => socket.send(send(1, &text)).await.unwrap(),
            4 => socket.send(send(1, &format!("size {text}"))).await.unwrap(),
            255 => {
                socket.send(send(2, "end of input\n")).await.unwrap();
                break;
            }
            _ => break,
        }
    }
    let status = json!({"status": "Failure", "reason": "NonZeroExitCode", "message": "command terminated with exit code 7",
        "details": {"causes": [{"reason": "ExitCode", "message": "7"}]}});
    socket.send(send(3, &status.to_string())).await.unwrap();
    let _ = socket.close(None).await;
}

#[test]
fn output_comes_back_and_the_exit_code_is_passed_on() {
    let pod = Pod::start("plain");
    let told = run(pod.command(&["exec", "x", "--", "sh", "-c", "a b"]), "not read");
    assert_eq!(told.out, "command=sh&command=-c&command=a%20b&container=main&stdout=true&stderr=true\n");
    let expected = "Defaulted container \"main\" out of: main, side\ncommand terminated with exit code 7\n";
    assert_eq!((told.code, told.err.as_str()), (7, expected));
}

#[test]
fn input_goes_there_and_its_end_too() {
    let pod = Pod::start("input");
    let told = run(pod.command(&["exec", "-i", "x", "-c", "side", "--", "cat"]), "hello\n");
    assert_eq!(told.out, "command=cat&container=side&stdin=true&stdout=true&stderr=true\nhello\n");
    assert_eq!((told.code, told.err.as_str()), (7, "end of input\ncommand terminated with exit code 7\n"));
}

#[test]
fn without_a_terminal_none_is_asked_for() {
    let pod = Pod::start("no-terminal");
    let told = run(pod.command(&["exec", "-it", "x", "-c", "main", "--", "sh"]), "");
    assert!(told.out.contains("stderr=true") && !told.out.contains("tty"), "{told:?}");
    assert!(told.err.starts_with("Unable to use a TTY - input is not a terminal"), "{told:?}");
}

#[test]
fn a_terminal_is_raw_while_it_lasts() {
    let pod = Pod::start("terminal");
    let size = nix::libc::winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
    let pty = openpty(Some(&size), None).unwrap();
    let before = termios::tcgetattr(&pty.slave).unwrap();
    let side = || Stdio::from(OwnedFd::try_clone(&pty.slave).unwrap());
    let mut command = pod.command(&["exec", "-it", "x", "-c", "main", "--", "sh"]);
    let mut child = command.stdin(side()).stdout(side()).stderr(side()).spawn().unwrap();
    let mut master = std::fs::File::from(pty.master.try_clone().unwrap());
    let mut seen = String::new();
    let mut read_until = |wanted: &str| {
        while !seen.contains(wanted) {
            let mut piece = [0; 1024];
            let length = master.read(&mut piece).unwrap();
            seen.push_str(&String::from_utf8_lossy(&piece[..length]));
        }
    };
    read_until("tty=true");
    read_until("size {\"Width\":80,\"Height\":24}");
    let raw = termios::tcgetattr(&pty.slave).unwrap();
    assert!(
        !raw.local_flags.contains(termios::LocalFlags::ICANON)
            && !raw.local_flags.contains(termios::LocalFlags::ISIG)
    );
    let mut keys = std::fs::File::from(pty.master);
    // Ctrl-C goes to the container as it is; Ctrl-D ends this one.
    keys.write_all(b"ls\x03").unwrap();
    read_until("ls\u{3}");
    keys.write_all(b"\x04").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(7));
    let after = termios::tcgetattr(&pty.slave).unwrap();
    assert_eq!(after.local_flags, before.local_flags);
}
