//! One exec session: a process's streams as channels of a WebSocket.
//!
//! Binary messages, first byte the channel: 0 stdin, 1 stdout, 2 stderr, 3 the result as a Status, 4 the terminal's
//! size; in v5 also 255, which closes the channel that follows. A client that goes away takes the process with it.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message};

use super::terminal::Terminal;
use crate::exec::{self, Command, KillOnDrop};
use crate::kubelet::{Node, Running, chain};
use crate::runner::launch::Stdio3;

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const RESULT: u8 = 3;
const RESIZE: u8 = 4;
const CLOSE: u8 = 255;

/// Output is sent in messages of at most this size.
const CHUNK: usize = 32 * 1024;

/// What the client asked for.
pub(super) struct Wishes {
    pub(super) command: Vec<String>,
    pub(super) stdin: bool,
    pub(super) stdout: bool,
    pub(super) stderr: bool,
    pub(super) tty: bool,
}

/// The node's ends of the process's streams.
struct Streams {
    stdin: Option<Input>,
    stdout: Output,
    stderr: Option<Output>,
    terminal: Option<Arc<Terminal>>,
}

type Input = Box<dyn AsyncWrite + Send + Unpin>;
type Output = Box<dyn AsyncRead + Send + Unpin>;

/// Runs the command and the conversation to their end, or says why there is no container for it.
pub(super) async fn run<S>(
    node: Arc<Node>,
    container: Result<Running, String>,
    wishes: Wishes,
    socket: WebSocketStream<S>,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sink, stream) = socket.split();
    let result = match container {
        Err(missing) => failure(&format!("unable to upgrade connection: {missing}")),
        Ok(container) => match converse(&node, &container, &wishes, &mut sink, stream).await {
            Ok(Some(code)) => exit_status(code),
            Ok(None) => return,
            Err(message) => failure(&format!("error executing command in container: {message}")),
        },
    };
    let text = serde_json::to_vec(&result).unwrap_or_default();
    if send(&mut sink, RESULT, &text).await.is_ok() {
        let close = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        sink.send(Message::Close(Some(close))).await.ok();
    }
}

/// The exit code; none if the client has gone.
async fn converse<S>(
    node: &Node,
    container: &Running,
    wishes: &Wishes,
    sink: &mut SplitSink<WebSocketStream<S>, Message>,
    messages: SplitStream<WebSocketStream<S>>,
) -> Result<Option<i32>, String>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let prepared = if wishes.tty { with_terminal(container) } else { with_pipes(wishes) };
    let (streams, stdio) = prepared.map_err(|error| error.to_string())?;
    let command = Command::new(wishes.command.clone());
    let command = if wishes.tty { command.with_terminal() } else { command };
    let process = exec::start(&node.launcher, container, command, stdio).await;
    let process = KillOnDrop::new(process.map_err(|error| chain(&error))?);
    // Tells the client that the session stands.
    let first = if wishes.stdout {
        STDOUT
    } else if wishes.stderr {
        STDERR
    } else {
        RESULT
    };
    if send(sink, first, &[]).await.is_err() {
        return Ok(None);
    }
    let Streams { stdin, stdout, stderr, terminal } = streams;
    let output = async {
        pump(sink, stdout, stderr, wishes).await?;
        process.wait().await
    };
    tokio::select! {
        exit = output => Ok(exit.ok().map(|exit| exit.code())),
        () = listen(messages, stdin, terminal) => Ok(None),
    }
}

fn with_pipes(wishes: &Wishes) -> io::Result<(Streams, Stdio3)> {
    let (out_reader, out_writer) = io::pipe()?;
    let (err_reader, err_writer) = io::pipe()?;
    let mut near: Option<Input> = None;
    let mut far = None;
    if wishes.stdin {
        let (reader, writer) = io::pipe()?;
        far = Some(OwnedFd::from(reader));
        near = Some(Box::new(pipe::Sender::from_owned_fd(writer.into())?));
    }
    let output = |reader: io::PipeReader| -> io::Result<Output> {
        Ok(Box::new(pipe::Receiver::from_owned_fd(reader.into())?))
    };
    let streams = Streams {
        stdin: near,
        stdout: output(out_reader)?,
        stderr: Some(output(err_reader)?),
        terminal: None,
    };
    Ok((streams, Stdio3 { stdin: far, stdout: out_writer.into(), stderr: err_writer.into() }))
}

fn with_terminal(container: &Running) -> io::Result<(Streams, Stdio3)> {
    let (terminal, slave) = Terminal::open(container.process.pid())?;
    let terminal = Arc::new(terminal);
    let stdio = Stdio3 { stdin: Some(slave.try_clone()?), stdout: slave.try_clone()?, stderr: slave };
    let streams = Streams {
        stdin: Some(Box::new(terminal.half())),
        stdout: Box::new(terminal.half()),
        stderr: None,
        terminal: Some(terminal),
    };
    Ok((streams, stdio))
}

/// Sends both outputs until both have ended.
async fn pump<S>(
    sink: &mut SplitSink<WebSocketStream<S>, Message>,
    stdout: Output,
    stderr: Option<Output>,
    wishes: &Wishes,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut stdout, mut stderr) = (Some(stdout), stderr);
    let (mut out, mut err) = (vec![0; CHUNK], vec![0; if stderr.is_some() { CHUNK } else { 0 }]);
    while stdout.is_some() || stderr.is_some() {
        let (channel, wanted, length) = tokio::select! {
            length = read(&mut stdout, &mut out) => (STDOUT, wishes.stdout, length),
            length = read(&mut stderr, &mut err) => (STDERR, wishes.stderr, length),
        };
        let (stream, buffer) = if channel == STDOUT { (&mut stdout, &out) } else { (&mut stderr, &err) };
        if length == 0 {
            *stream = None;
        } else if wanted {
            send(sink, channel, &buffer[..length]).await?;
        }
    }
    Ok(())
}

/// 0 at the end and after an error (a terminal whose last user left reads EIO); waits for ever without a stream.
async fn read(stream: &mut Option<Output>, buffer: &mut [u8]) -> usize {
    match stream {
        Some(stream) => stream.read(buffer).await.unwrap_or(0),
        None => std::future::pending().await,
    }
}

async fn send<S>(
    sink: &mut SplitSink<WebSocketStream<S>, Message>,
    channel: u8,
    data: &[u8],
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut message = Vec::with_capacity(data.len() + 1);
    message.push(channel);
    message.extend_from_slice(data);
    sink.send(Message::Binary(Bytes::from(message))).await.map_err(io::Error::other)
}

/// Takes what the client sends, until it goes away.
async fn listen<S>(
    mut messages: SplitStream<WebSocketStream<S>>,
    mut stdin: Option<Input>,
    terminal: Option<Arc<Terminal>>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(Ok(message)) = messages.next().await {
        let Message::Binary(message) = message else {
            if message.is_close() {
                return;
            }
            continue;
        };
        match message.split_first() {
            Some((&STDIN, data)) => {
                if let Some(input) = &mut stdin {
                    // A process that has closed its input only loses it.
                    if input.write_all(data).await.is_err() {
                        stdin = None;
                    }
                }
            }
            Some((&CLOSE, [STDIN])) => stdin = None,
            Some((&RESIZE, data)) => resize(terminal.as_deref(), data),
            _ => {}
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Size {
    width: u16,
    height: u16,
}

fn resize(terminal: Option<&Terminal>, data: &[u8]) {
    if let (Some(terminal), Ok(size)) = (terminal, serde_json::from_slice::<Size>(data)) {
        terminal.resize(size.width, size.height);
    }
}

/// The kubelet's result of a process that ran.
fn exit_status(code: i32) -> Value {
    if code == 0 {
        return json!({"metadata": {}, "status": "Success"});
    }
    json!({
        "metadata": {},
        "status": "Failure",
        "message": format!("command terminated with non-zero exit code: exit status {code}"),
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
    })
}

/// Its result of one that could not be started.
fn failure(message: &str) -> Value {
    json!({
        "metadata": {},
        "status": "Failure",
        "message": format!("Internal error occurred: {message}"),
        "reason": "InternalError",
        "details": {"causes": [{"message": message}]},
        "code": 500,
    })
}
