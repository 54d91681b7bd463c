//! Further processes in a running container: for `exec`, for probes, for hooks.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

use crate::kubelet::Running;
use crate::runner::launch::{Error, Launcher, Process, Stdio3};
use crate::runner::protocol::{Exec, Program, Request};

/// What is kept of a probe's output, bytes.
const OUTPUT_LIMIT: usize = 10 * 1024;

/// A command for a container; it runs in the container's own environment and folder.
#[derive(Clone, Debug)]
pub(crate) struct Command {
    args: Vec<String>,
    tty: bool,
}

impl Command {
    /// Without a terminal.
    pub(crate) fn new(args: Vec<String>) -> Self {
        Self { args, tty: false }
    }

    /// With one: standard input must be its slave side.
    pub(crate) fn with_terminal(self) -> Self {
        Self { tty: true, ..self }
    }
}

/// Starts the command; the process returned ends with the command's code, and is killed when the node dies.
pub(crate) async fn start(
    launcher: &Launcher,
    container: &Running,
    command: Command,
    stdio: Stdio3,
) -> Result<Process, Error> {
    let handle = container.handle().map_err(Error::Helper)?;
    let mut program = Program { args: command.args, ..container.program.clone() };
    if command.tty {
        program.env.push(("TERM".to_owned(), "xterm".to_owned()));
    }
    let request = Request::Exec(Exec {
        container: handle.as_raw_fd(),
        program,
        tty: command.tty,
        cgroups: container.cgroups.entrances(),
    });
    launcher.exec(&request, vec![handle], stdio).await
}

/// Runs the command to its end; its code and the beginning of its output. Dropped before the end, kills it.
pub(crate) async fn output(
    launcher: &Launcher,
    container: &Running,
    command: Command,
) -> Result<(i32, String), Error> {
    let (reader, writer) = io::pipe().map_err(Error::Helper)?;
    let stderr = writer.try_clone().map_err(Error::Helper)?;
    let stdio = Stdio3 { stdin: None, stdout: writer.into(), stderr: stderr.into() };
    let process = KillOnDrop::new(start(launcher, container, command, stdio).await?);
    let mut receiver = pipe::Receiver::from_owned_fd(OwnedFd::from(reader)).map_err(Error::Helper)?;
    let mut output = Vec::new();
    let mut chunk = Vec::with_capacity(1024);
    while receiver.read_buf(&mut chunk).await.map_err(Error::Helper)? > 0 {
        let room = OUTPUT_LIMIT - output.len();
        output.extend(chunk.drain(..).take(room));
    }
    let exit = process.wait().await.map_err(Error::Helper)?;
    Ok((exit.code(), String::from_utf8_lossy(&output).into_owned()))
}

/// A process that is killed, and reaped in the background, when its handle goes before it has ended.
pub(crate) struct KillOnDrop {
    process: Option<Process>,
}

impl KillOnDrop {
    pub(crate) fn new(process: Process) -> Self {
        Self { process: Some(process) }
    }

    /// Waits for the end.
    pub(crate) async fn wait(mut self) -> io::Result<crate::runner::launch::Exit> {
        match &self.process {
            Some(process) => {
                let exit = process.wait().await?;
                self.process = None;
                Ok(exit)
            }
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        let Some(process) = self.process.take() else {
            return;
        };
        if let Err(error) = process.signal(nix::sys::signal::Signal::SIGKILL) {
            tracing::warn!(%error, "cannot kill a process in a container");
        }
        tokio::spawn(async move { process.wait().await.map(drop) });
    }
}
