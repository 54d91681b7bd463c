//! The container runner with real containers: what a container can see and do, each way out that one would try,
//! signals, exit codes, zombies, and that nothing survives the node process. As root, and as an ordinary user.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a test program without harness")]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use ipnet::Ipv4Net;
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use pods::images::Image;
use pods::network::pod::PodNetwork;
use pods::network::wire;
use pods::runner::launch::{Error, Exit, Launcher, Process, Stdio3};
use pods::runner::protocol::{Container, Exec, Limits, Program, Request, Volume};

/// Run as the node process of the test that kills it.
const VICTIM: &str = "victim";

fn main() -> ExitCode {
    if let Some(code) = pods::dispatch() {
        return code;
    }
    if std::env::args().nth(1).as_deref() == Some(VICTIM) {
        in_a_node(be_the_victim());
    }
    support::as_root_and_as_user(test)
}

fn in_a_node(work: impl Future<Output = ()>) {
    unshare(CloneFlags::CLONE_NEWNET).expect("a node's network namespace");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    runtime.block_on(work);
}

fn test() {
    in_a_node(async {
        let bench = Bench::create(2);
        bench.podinfo_listens_before_it_is_reported().await;
        bench.escapes_fail().await;
        bench.own_world().await;
        bench.exit_codes().await;
        bench.failures_name_the_step().await;
        bench.signals_and_zombies().await;
        bench.volumes().await;
        bench.stand_ins_answer().await;
    });
    nothing_survives_the_node();
}

/// A node process with one pod network, and what it takes to start containers in it.
struct Bench {
    launcher: Launcher,
    pod: PodNetwork,
    state: PathBuf,
}

impl Drop for Bench {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.state).ok();
    }
}

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

fn env() -> Vec<(String, String)> {
    let path = "/opt/sluice/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    vec![("PATH".to_owned(), path.to_owned()), ("GREETING".to_owned(), "hello".to_owned())]
}

impl Bench {
    fn create(last: u8) -> Self {
        let state = std::env::temp_dir().join(format!("sluice-runner-test-{}", std::process::id()));
        fs::create_dir_all(state.join("root")).expect("folder");
        fs::create_dir_all(state.join("data")).expect("folder");
        let node = Ipv4Addr::new(172, 18, 0, 2);
        // Any interface with the node's address will do here.
        wire::create(Ipv4Net::new(node, 24).expect("subnet")).expect("node addresses");
        let pod = PodNetwork::create(Ipv4Addr::new(10, 244, 1, last), node).expect("pod");
        Self { launcher: Launcher::start().expect("launcher"), pod, state }
    }

    fn request(&self, network: &OwnedFd, args: &[String], announces_ready: bool) -> Request {
        let etc = [
            ("passwd", "root:x:0:0:root:/:/bin/sh\n"),
            ("hosts", "127.0.0.1\tlocalhost\n"),
            ("hostname", "box\n"),
        ];
        let data = self.state.join("data");
        Request::Start(Box::new(Container {
            network: network.as_raw_fd(),
            hostname: "box".to_owned(),
            staging: self.state.join("root"),
            etc: etc.map(|(name, text)| (name.to_owned(), text.to_owned())).to_vec(),
            volumes: vec![
                Volume { source: data.clone(), target: "/data".to_owned(), read_only: false },
                Volume { source: data, target: "/etc/config".to_owned(), read_only: true },
            ],
            program: Program { args: args.to_vec(), env: env(), working_dir: None },
            announces_ready,
            limits: Limits::default(),
            cgroups: Vec::new(),
        }))
    }

    async fn try_start(&self, args: &[String], ready: bool) -> Result<(Process, std::io::PipeReader), Error> {
        let network = self.pod.namespace().try_clone_to_owned().expect("handle");
        let request = self.request(&network, args, ready);
        let (reader, writer) = std::io::pipe().expect("pipe");
        let stderr = writer.try_clone().expect("pipe");
        let stdio = Stdio3 { stdin: None, stdout: writer.into(), stderr: stderr.into() };
        let process = self.launcher.start_container(&request, vec![network], stdio).await?;
        Ok((process, reader))
    }

    async fn start(&self, args: &[&str]) -> (Process, std::io::PipeReader) {
        self.try_start(&texts(args), false).await.expect("container starts")
    }

    async fn exec(&self, container: &Process, args: &[&str]) -> (i32, String) {
        let handle = container.handle().try_clone_to_owned().expect("handle");
        let program = Program { args: texts(args), env: env(), working_dir: None };
        let exec = Exec { container: handle.as_raw_fd(), program, tty: false, cgroups: Vec::new() };
        let (mut reader, writer) = std::io::pipe().expect("pipe");
        let stderr = writer.try_clone().expect("pipe");
        let stdio = Stdio3 { stdin: None, stdout: writer.into(), stderr: stderr.into() };
        let helper = match self.launcher.exec(&Request::Exec(exec), vec![handle], stdio).await {
            Ok(helper) => helper,
            Err(error) => return (-1, error.to_string()),
        };
        let code = helper.wait().await.expect("helper ends").code();
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("output");
        (code, text)
    }

    async fn sh(&self, container: &Process, script: &str) -> (i32, String) {
        self.exec(container, &["sh", "-c", script]).await
    }

    async fn podinfo_listens_before_it_is_reported(&self) {
        let start = Image::Podinfo.start(&[], &texts(&["--port=9898"]));
        for _ in 0..5 {
            let begun = Instant::now();
            let (process, _log) = self.try_start(&start.args, start.announces_ready).await.expect("podinfo");
            let elapsed = begun.elapsed();
            let mut stream = TcpStream::connect((self.pod.address(), 9898)).expect("it listens already");
            stream.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("request");
            let mut text = String::new();
            stream.read_to_string(&mut text).expect("answer");
            assert!(text.contains("\"hostname\": \"box\""), "{text}");
            eprintln!("podinfo listening after {elapsed:?}");
            kill(process).await;
        }
    }

    async fn escapes_fail(&self) {
        let (container, _log) = self.start(&["sleep", "1000"]).await;
        let secret = self.state.join("secret");
        fs::write(&secret, "secret").expect("file");
        let secret_path = secret.display().to_string();
        let own_pid = std::process::id().to_string();
        let forbidden = [
            "touch /usr/x",
            "touch /usr/bin/sh",
            "echo x > /opt/sluice/bin/sluice",
            "touch /etc/alternatives/x",
            "mount -t tmpfs none /tmp",
            "mount -o remount,rw /usr",
            "mount -t proc none /tmp",
            "umount /proc/sys",
            "unshare -U true",
            "unshare -m true",
            "unshare -n true",
            "mknod /tmp/disk b 8 0 && cat /tmp/disk",
            "mknod /tmp/mem c 1 1",
            "echo 1 > /proc/sys/kernel/panic",
            "echo x > /proc/sys/kernel/core_pattern",
            "echo h > /proc/sysrq-trigger",
            "test -s /proc/kcore",
            "ip link add dummy9 type dummy",
            "ip addr add 10.1.1.1/8 dev eth0",
            "nft list ruleset",
            "hostname other",
            "ls /home",
            "ls /root",
            "ls /run",
            "ls /var",
            "ls /sys",
            "ls /boot",
            "ls /etc/ssl/private",
            "cat /etc/shadow",
            "cat /proc/1/root/etc/shadow",
            "chroot /proc/1/root cat /etc/shadow",
            "nsenter -t 1 -m true",
            &format!("cat {secret_path}"),
            &format!("kill -0 {own_pid}"),
            "kill -9 1; kill -0 1 && false",
            "ls /tmp/.X11-unix",
            "dmesg -c",
            "chmod u+s /usr/bin/env",
        ];
        for script in forbidden {
            let (code, text) = self.sh(&container, script).await;
            assert_ne!(code, 0, "{script} succeeded: {text}");
        }
        assert_eq!(
            self.sh(&container, "(find / -xdev -type s; find /usr /tmp /dev -type s) 2>/dev/null; true")
                .await,
            (0, String::new())
        );
        let sockets = self.sh(&container, "tail -n +2 /proc/net/unix").await;
        assert_eq!(sockets, (0, String::new()), "no socket of the host, abstract ones included");
        kill(container).await;
    }

    async fn own_world(&self) {
        let (container, _log) = self.start(&["sleep", "1000"]).await;
        let expected = [
            ("hostname", "box\n"),
            ("id -u", "0\n"),
            ("pwd", "/\n"),
            ("echo $GREETING", "hello\n"),
            ("cat /proc/1/comm /proc/2/comm | tail -1", "sleep\n"),
            ("ls -d /proc/[0-9]* | wc -l | xargs test 7 -gt && echo few", "few\n"),
            ("ls / | tr '\\n' ' ' | sed 's/lib[^ ]* //g'", "bin data dev etc opt proc sbin tmp usr "),
            ("echo x > /tmp/a && cat /tmp/a", "x\n"),
            ("echo x >> /dev/null && echo y > /dev/shm/a && echo ok", "ok\n"),
            ("head -c 4 /dev/urandom | wc -c", "4\n"),
            ("stat -c %a /tmp /dev", "1777\n755\n"),
            ("grep ^NoNewPrivs /proc/self/status", "NoNewPrivs:\t1\n"),
            ("grep ^Seccomp: /proc/self/status", "Seccomp:\t2\n"),
            ("grep ^CapEff /proc/self/status", "CapEff:\t00000000800425fb\n"),
            ("grep ^CapBnd /proc/self/status", "CapBnd:\t00000000800425fb\n"),
            ("grep ^CapEff /proc/1/status", "CapEff:\t00000000800425fb\n"),
            ("cat /proc/1/environ | wc -c", "0\n"),
            ("ls /proc/1/fd | wc -l", "4\n"),
            ("ls /proc/self/fd | wc -l", "4\n"),
            (
                "ls /sys/class/net 2>/dev/null; tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '",
                "lo\neth0\n",
            ),
            ("ls -l /dev/ptmx | grep -c pts/ptmx", "1\n"),
        ];
        for (script, output) in expected {
            assert_eq!(self.sh(&container, script).await, (0, output.to_owned()), "{script}");
        }
        kill(container).await;
    }

    async fn exit_codes(&self) {
        for (script, expected) in
            [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 143), ("kill -KILL $$", 137)]
        {
            let (container, _log) = self.start(&["sh", "-c", script]).await;
            assert_eq!(container.wait().await.expect("ends"), Exit::Code(expected), "{script}");
        }
        let (container, mut log) = self.start(&["sh", "-c", "echo out; echo err >&2"]).await;
        container.wait().await.expect("ends");
        let mut text = String::new();
        log.read_to_string(&mut text).expect("log");
        assert_eq!(text, "out\nerr\n");
        let (container, _log) = self.start(&["sleep", "1000"]).await;
        assert_eq!(self.sh(&container, "exit 9").await.0, 9);
        let (code, text) = self.exec(&container, &["no-such-program"]).await;
        assert_eq!(
            (code, text.as_str()),
            (-1, "exec \"no-such-program\": executable file not found in $PATH")
        );
        kill(container).await;
    }

    async fn failures_name_the_step(&self) {
        let cases: [(&[&str], &str); 3] = [
            (&["no-such-program"], "exec \"no-such-program\": executable file not found in $PATH"),
            (&["/etc/hosts"], "exec \"/etc/hosts\": permission denied"),
            (&["/no/such"], "exec \"/no/such\": no such file or directory"),
        ];
        for (args, expected) in cases {
            let error = self.try_start(&texts(args), false).await.expect_err("cannot start");
            assert_eq!(error.to_string(), expected);
        }
    }

    async fn signals_and_zombies(&self) {
        let script =
            "trap 'echo got; exit 3' TERM; (sleep 0.05 &) ; (sleep 0.05 &) ; while :; do sleep 0.02; done";
        let (container, mut log) = self.start(&["sh", "-c", script]).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        let (_, zombies) = self.sh(&container, "grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null").await;
        assert_eq!(zombies, "", "orphans are reaped by init");
        container.signal(Signal::SIGTERM).expect("signal");
        assert_eq!(container.wait().await.expect("ends"), Exit::Code(3));
        let mut text = String::new();
        log.read_to_string(&mut text).expect("log");
        assert_eq!(text, "got\n");
    }

    async fn volumes(&self) {
        let (container, _log) = self.start(&["sleep", "1000"]).await;
        assert_eq!(
            self.sh(&container, "echo text > /data/file && cat /etc/config/file").await,
            (0, "text\n".into())
        );
        assert_ne!(self.sh(&container, "touch /etc/config/other").await.0, 0);
        assert_eq!(fs::read_to_string(self.state.join("data/file")).expect("written"), "text\n");
        kill(container).await;
    }

    async fn stand_ins_answer(&self) {
        let start = Image::Nginx.start(&[], &[]);
        let (container, mut log) = self.try_start(&start.args, start.announces_ready).await.expect("nginx");
        let script =
            "ln -s /opt/sluice/bin/sluice /tmp/curl && /tmp/curl -s 127.0.0.1 | grep -c 'Welcome to nginx'";
        assert_eq!(self.sh(&container, script).await.0, 0);
        let (code, text) = self.sh(&container, "/tmp/curl -s -i http://127.0.0.1/nowhere").await;
        assert!(code == 0 && text.starts_with("HTTP/1.1 404 Not Found"), "{code} {text}");
        container.signal(Signal::SIGTERM).expect("signal");
        assert_eq!(container.wait().await.expect("ends"), Exit::Code(0));
        let mut text = String::new();
        log.read_to_string(&mut text).expect("log");
        assert!(text.contains("\"GET /nowhere HTTP/1.1\" 404"), "{text}");
    }
}

async fn kill(container: Process) {
    container.signal(Signal::SIGKILL).expect("signal");
    assert_eq!(container.wait().await.expect("ends"), Exit::Signal(9));
}

/// Starts a container whose processes have a name of their own, says so, and waits to be killed.
async fn be_the_victim() {
    let bench = Bench::create(3);
    let marker = std::env::args().nth(2).expect("marker");
    let (_container, _log) = bench.start(&["sh", "-c", &format!("sleep {marker} & sleep {marker}")]).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    println!("{}", bench.state.display());
    std::future::pending::<()>().await;
}

/// kill -9 of the node process takes every container process along.
fn nothing_survives_the_node() {
    let marker = format!("{}.5", 100_000 + std::process::id());
    let mut victim = Command::new("/proc/self/exe")
        .args([VICTIM, &marker])
        .stdout(Stdio::piped())
        .spawn()
        .expect("a node process");
    let mut state = String::new();
    std::io::BufRead::read_line(
        &mut std::io::BufReader::new(victim.stdout.take().expect("pipe")),
        &mut state,
    )
    .expect("it has started");
    assert_eq!(processes_with(&marker), 3, "sh and two sleeps");
    victim.kill().expect("kill");
    victim.wait().expect("wait");
    let deadline = Instant::now() + Duration::from_secs(2);
    while processes_with(&marker) > 0 {
        assert!(Instant::now() < deadline, "container processes survived the node");
        std::thread::sleep(Duration::from_millis(10));
    }
    fs::remove_dir_all(state.trim()).expect("removal of its folder");
}

/// Processes, other than the victim itself, with the marker as a word of their command line.
fn processes_with(marker: &str) -> usize {
    let folders = fs::read_dir("/proc").expect("proc").flatten();
    folders
        .filter_map(|folder| fs::read(folder.path().join("cmdline")).ok())
        .filter(|line| {
            let line = String::from_utf8_lossy(line);
            line.contains(marker) && !line.contains(VICTIM)
        })
        .count()
}
