//! The channels of a remote command over one WebSocket (`v5.channel.k8s.io`, and v4 without a way to end input).
//!
//! Each message begins with the number of its channel. The server ends with a Status on the error channel.

use std::{
    io::{Read as _, Write as _},
    process::ExitCode,
};

use futures::{SinkExt as _, StreamExt as _};
use kube::client::Connection;
use serde_json::{Value, json};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};
use tokio_tungstenite::tungstenite::{Bytes, Message};

use super::{terminal, told};
use crate::commands::{failure::Failure, output};

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
/// v5: the channel named by the next byte has ended.
const CLOSE: u8 = 255;

/// Pieces of input that wait for the network at most; reading pauses then.
const INPUT_PIECES_MAX: usize = 16;
const INPUT_PIECE_BYTES: usize = 32 << 10;

/// Copies both ways until the server ends; returns its Status, null if it sent none.
pub(super) async fn copy(connection: Connection, input: bool, tty: bool) -> Result<Value, Failure> {
    let can_close = connection.supports_stream_close();
    let mut socket = connection.into_stream();
    let mut keys = if input { Some(read_input()) } else { None };
    let mut resized = if tty { signal(SignalKind::window_change()).ok() } else { None };
    let mut status = Value::Null;
    // A raw terminal must be put back also when we are asked to end.
    let mut ended = if tty { signal(SignalKind::terminate()).ok() } else { None };
    let mut next_size = if tty { resize_message() } else { None };
    loop {
        if let Some(message) = next_size.take() {
            socket.send(message).await.map_err(|error| lost(&error))?;
        }
        tokio::select! {
            message = socket.next() => match message {
                Some(Ok(Message::Binary(bytes))) => receive(&bytes, &mut status)?,
                Some(Ok(Message::Close(_))) | None => return Ok(status),
                Some(Ok(_)) => {}
                // The server may drop the line right after its Status.
                Some(Err(_)) if !status.is_null() => return Ok(status),
                Some(Err(error)) => return Err(lost(&error)),
            },
            piece = next_piece(&mut keys) => match piece {
                Some(piece) => socket.send(framed(STDIN, &piece)).await.map_err(|error| lost(&error))?,
                None => {
                    keys = None;
                    if can_close {
                        socket.send(framed(CLOSE, &[STDIN])).await.map_err(|error| lost(&error))?;
                    }
                }
            },
            () = received(&mut resized) => next_size = resize_message(),
            () = received(&mut ended) => return Err(Failure::Exit(143)),
        }
    }
}

fn receive(bytes: &[u8], status: &mut Value) -> Result<(), Failure> {
    match bytes.split_first() {
        Some((&STDOUT, rest)) => output::write_bytes(rest),
        Some((&STDERR, rest)) => {
            let mut stderr = std::io::stderr().lock();
            stderr.write_all(rest).and_then(|()| stderr.flush()).map_err(|_| Failure::Closed)
        }
        Some((&ERROR, rest)) => {
            *status = serde_json::from_slice(rest)
                .unwrap_or_else(|_| json!({"status": "Failure", "message": String::from_utf8_lossy(rest)}));
            Ok(())
        }
        _ => Ok(()),
    }
}

fn framed(channel: u8, bytes: &[u8]) -> Message {
    Message::Binary(Bytes::from([&[channel], bytes].concat()))
}

fn lost(error: &dyn std::error::Error) -> Failure {
    Failure::usage(format!("the connection to the container was lost: {error}"))
}

/// Standard input, read by a thread of its own: it may block until the program ends.
fn read_input() -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel(INPUT_PIECES_MAX);
    std::thread::spawn(move || {
        let mut buffer = vec![0; INPUT_PIECE_BYTES];
        while let Ok(length @ 1..) = std::io::stdin().read(&mut buffer) {
            if sender.blocking_send(buffer[..length].to_vec()).is_err() {
                return;
            }
        }
    });
    receiver
}

/// The next piece of input; `None` once at its end, and never again.
async fn next_piece(keys: &mut Option<mpsc::Receiver<Vec<u8>>>) -> Option<Vec<u8>> {
    match keys {
        Some(receiver) => receiver.recv().await,
        None => std::future::pending().await,
    }
}

async fn received(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

fn resize_message() -> Option<Message> {
    let (columns, rows) = terminal::size()?;
    Some(framed(RESIZE, format!("{}\n", json!({"Width": columns, "Height": rows})).as_bytes()))
}

/// The exit code that a Status tells, and words for anything but success.
pub(super) fn exit_code(status: &Value) -> Result<ExitCode, Failure> {
    let message = status["message"].as_str().unwrap_or_default();
    if status["status"] == "Success" {
        return Ok(ExitCode::SUCCESS);
    }
    if status.is_null() {
        return Err(Failure::usage("the connection to the container ended before the command did"));
    }
    let causes = status["details"]["causes"].as_array().into_iter().flatten();
    let code = causes.into_iter().find(|cause| cause["reason"] == "ExitCode");
    let code = code.and_then(|cause| cause["message"].as_str()?.parse::<u8>().ok());
    match code.filter(|_| status["reason"] == "NonZeroExitCode") {
        Some(code) => {
            told(&format!("command terminated with exit code {code}"));
            Err(Failure::Exit(code))
        }
        None => Err(Failure::usage(message)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_passed_on() {
        assert!(exit_code(&json!({"status": "Success"})).is_ok());
        let failed = json!({"status": "Failure", "reason": "NonZeroExitCode", "message": "command terminated with exit code 7",
            "details": {"causes": [{"reason": "ExitCode", "message": "7"}]}});
        assert!(matches!(exit_code(&failed), Err(Failure::Exit(7))));
        let broken = json!({"status": "Failure", "reason": "InternalError", "message": "no such file"});
        assert_eq!(exit_code(&broken).unwrap_err().to_string(), "error: no such file");
        assert!(exit_code(&Value::Null).is_err());
    }

    #[test]
    fn messages_begin_with_their_channel() {
        assert_eq!(framed(CLOSE, &[STDIN]), Message::Binary(Bytes::from_static(&[255, 0])));
        let mut status = Value::Null;
        receive(b"\x03{\"status\":\"Success\"}", &mut status).unwrap();
        assert_eq!(status, json!({"status": "Success"}));
    }
}
