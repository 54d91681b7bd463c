//! A client in a pod's network namespace: this program, started again, because an ordinary user's process can enter
//! the pod's user namespace only while it has one thread.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sched::{CloneFlags, setns};

use crate::measure::time;

/// The hidden subcommand that is the client.
pub(crate) const SUBCOMMAND: &str = "client-in-namespace-of";
/// Longest wait for a part of an answer.
const PATIENCE: Duration = Duration::from_secs(5);
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: podinfo\r\nConnection: close\r\n\r\n";

/// The parent's side: hands out work and reads the time it took. The child ends with its standard input.
pub(super) struct Client {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Client {
    /// A client in the network namespace of process `pid`.
    pub(super) fn start(pid: u32) -> Result<Self> {
        let mut command = Command::new("/proc/self/exe");
        command.arg(SUBCOMMAND).arg(pid.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("starting the client")?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let output = BufReader::new(output.context("the client has no output")?);
        Ok(Self { child, input, output })
    }

    /// How long `count` requests take, one after the other.
    pub(super) fn request(&mut self, to: SocketAddrV4, count: u32) -> Result<Duration> {
        let input = self.input.as_mut().context("the client has no input")?;
        writeln!(input, "{to} {count}").context("the client ended")?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        let nanoseconds = line.trim().parse().with_context(|| format!("requests to {to} failed"))?;
        Ok(Duration::from_nanos(nanoseconds))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.input = None;
        // It ends by itself now.
        let _ = self.child.wait();
    }
}

/// The child's side: enters the namespaces of the process, then does what it is told.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let [pid] = arguments else { bail!("{SUBCOMMAND} takes a process id") };
    enter(pid)?;
    for line in std::io::stdin().lines() {
        let line = line?;
        let (to, count) = line.split_once(' ').context("no work")?;
        let (to, count): (SocketAddrV4, u32) = (to.parse()?, count.parse()?);
        let (result, duration) = time(|| (0..count).try_for_each(|_| get(to)));
        result.with_context(|| format!("a request to {to} failed"))?;
        println!("{}", duration.as_nanos());
    }
    Ok(())
}

fn enter(pid: &str) -> Result<()> {
    let open = |kind: &str| {
        let path = format!("/proc/{pid}/ns/{kind}");
        File::open(&path).with_context(|| format!("opening {path}"))
    };
    let (user, net) = (open("user")?, open("net")?);
    // The namespace that we are in already cannot be entered again (EINVAL).
    if std::fs::read_link("/proc/self/ns/user")? != std::fs::read_link(format!("/proc/{pid}/ns/user"))? {
        setns(&user, CloneFlags::CLONE_NEWUSER).context("entering the pod's user namespace")?;
    }
    setns(&net, CloneFlags::CLONE_NEWNET).context("entering the pod's network namespace")
}

/// One request on a connection of its own; the answer is read to its end, which the server makes.
fn get(to: SocketAddrV4) -> Result<()> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    stream.write_all(REQUEST)?;
    let mut answer = Vec::with_capacity(4096);
    stream.read_to_end(&mut answer)?;
    ensure!(answer.starts_with(b"HTTP/1.1 200"), "not the expected answer");
    Ok(())
}
