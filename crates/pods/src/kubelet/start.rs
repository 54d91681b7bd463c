//! Starting one container: its environment, its mounts, its log, and the runner.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Container;
use tokio::task::JoinHandle;

use super::environment::{self, Objects, Sources};
use super::events::Kind;
use super::pod::{PodContext, hostname};
use super::record::{Running, State};
use super::{etc, limits, volumes};
use crate::images::{Image, Start};
use crate::logs::{self, LogFile};
use crate::runner::PROGRAMS;
use crate::runner::launch::Stdio3;
use crate::runner::protocol::{self, Program, Request};

/// A container is not delayed by a process of its that keeps the log open for longer.
const LOG_DRAIN: Duration = Duration::from_secs(1);

const ID_SCHEME: &str = "sluice://";

/// Our own programs first; the host's folders as usual.
const FOLDERS: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Why a container did not start.
#[derive(Debug)]
pub(crate) enum Error {
    /// It refers to what is not there yet: worth another try.
    Configuration(String),
    /// The runner's failure: this run is over.
    Run(String),
}

/// A container that runs.
pub(crate) struct Started {
    pub(crate) running: Running,
    pub(crate) since: Timestamp,
    pub(crate) id: String,
    log: JoinHandle<()>,
}

impl Started {
    /// Waits until the log has all that the container wrote.
    pub(crate) async fn finish_log(&self) {
        let deadline = tokio::time::Instant::now() + LOG_DRAIN;
        while !self.log.is_finished() && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// Starts the container and records it as running.
pub(crate) async fn start(
    context: &Arc<PodContext>,
    index: usize,
    container: &Container,
    image: Image,
) -> Result<Started, Error> {
    announce_image(context, container, image);
    let program = program(context, container, image).await?;
    let id = container_id();
    let limits = limits::apply(context, container, &id[ID_SCHEME.len()..][..16]).map_err(run_error)?;
    let network = context.network.namespace().try_clone_to_owned().map_err(run_error)?;
    let request = Request::Start(Box::new(protocol::Container {
        network: network.as_raw_fd(),
        hostname: hostname(&context.pod),
        staging: context.node.staging.clone(),
        etc: etc_files(context),
        volumes: volumes::mounts(container, &context.pod, &context.volumes).map_err(configuration_error)?,
        program: program.program.clone(),
        announces_ready: program.announces_ready,
        limits: limits.rlimits,
        cgroups: limits.group.entrances(),
    }));
    let log = open_log(context, index, container).map_err(run_error)?;
    let (stdio, pump) = pipes(&log).map_err(run_error)?;
    context.event(
        Some(&container.name),
        Kind::Normal,
        "Created",
        format!("Created container: {}", container.name),
    );
    let process = context.node.launcher.start_container(&request, vec![network], stdio).await;
    let process = Arc::new(process.map_err(|error| Error::Run(super::chain(&error)))?);
    context.event(
        Some(&container.name),
        Kind::Normal,
        "Started",
        format!("Started container {}", container.name),
    );
    let running = Running { process, program: program.program, cgroups: limits.group };
    let since = Timestamp::now();
    // Without startup or readiness probe the first status of the run says ready, not one after it.
    let started = container.startup_probe.is_none();
    context.records.update(index, |record| {
        record.state = State::Running { since };
        record.started = started;
        record.ready = started && container.readiness_probe.is_none();
        record.id = Some(id.clone());
        record.running = Some(running.clone());
    });
    Ok(Started { running, since, id, log: pump })
}

fn announce_image(context: &PodContext, container: &Container, image: Image) {
    let reference = container.image.as_deref().unwrap_or_default();
    let stand_in = format!(
        "Image \"{reference}\" was not pulled: a stand-in for {} that is built into sluice is used",
        image.name()
    );
    context.event(Some(&container.name), Kind::Normal, "BuiltInImage", stand_in);
    let pulled = format!("Container image \"{reference}\" already present on machine");
    context.event(Some(&container.name), Kind::Normal, "Pulled", pulled);
}

struct Prepared {
    program: Program,
    announces_ready: bool,
}

async fn program(context: &PodContext, container: &Container, image: Image) -> Result<Prepared, Error> {
    let (address, node) = (context.address.to_string(), context.node.config.address.addr().to_string());
    let namespace = context.pod.metadata.namespace.as_deref().unwrap_or_default();
    let objects = Objects::new(context.node.client.clone(), namespace);
    context.node.services.synced().await;
    let links = context.spec().enable_service_links.unwrap_or(true);
    let sources = Sources {
        pod: &context.pod,
        objects: &objects,
        address: &address,
        node: &node,
        services: context.node.services.variables(namespace, links),
    };
    let own = environment::variables(container, &sources).await.map_err(configuration_error)?;
    let lookup = |name: &str| own.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    let expand = |list: &Option<Vec<String>>| {
        list.iter().flatten().map(|text| environment::expand(text, lookup)).collect::<Vec<_>>()
    };
    let Start { args, announces_ready } = image.start(&expand(&container.command), &expand(&container.args));
    let mut env = vec![
        ("PATH".to_owned(), format!("{PROGRAMS}:{FOLDERS}")),
        ("HOSTNAME".to_owned(), hostname(&context.pod)),
        ("HOME".to_owned(), "/".to_owned()),
    ];
    for (name, value) in own {
        env.retain(|(known, _)| *known != name);
        env.push((name, value));
    }
    let working_dir = container.working_dir.clone().filter(|folder| !folder.is_empty());
    Ok(Prepared { program: Program { args, env, working_dir }, announces_ready })
}

fn etc_files(context: &PodContext) -> Vec<(String, String)> {
    let namespace = context.pod.metadata.namespace.as_deref().unwrap_or_default();
    let hostname = hostname(&context.pod);
    let names = etc::Names { namespace, hostname: &hostname, address: context.address, spec: context.spec() };
    etc::files(&context.node.config, &names)
}

/// Each run has a file of its own; only this run's and the previous one's are kept.
fn open_log(context: &PodContext, index: usize, container: &Container) -> std::io::Result<Arc<LogFile>> {
    let restarts = context.records.read(index, |record| record.restarts);
    let path = context.folder.join("logs").join(&container.name).join(format!("{restarts}.log"));
    let log = Arc::new(LogFile::create(path)?);
    context.records.update(index, |record| {
        let before = record.log.replace(Arc::clone(&log));
        if let Some(older) = std::mem::replace(&mut record.previous_log, before) {
            older.remove();
        }
    });
    Ok(log)
}

fn pipes(log: &Arc<LogFile>) -> std::io::Result<(Stdio3, JoinHandle<()>)> {
    let (out_reader, out_writer) = std::io::pipe()?;
    let (err_reader, err_writer) = std::io::pipe()?;
    let pump = logs::pump(OwnedFd::from(out_reader), OwnedFd::from(err_reader), Arc::clone(log));
    let stdio = Stdio3 { stdin: None, stdout: out_writer.into(), stderr: err_writer.into() };
    Ok((stdio, tokio::spawn(pump)))
}

/// `sluice://` and 32 random bytes in hexadecimal digits, the form that clients cut short.
fn container_id() -> String {
    let bytes: [u8; 32] = random();
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{ID_SCHEME}{digits}")
}

/// From the kernel; if it has none to give, from the clock: the name need only be unlike others.
fn random() -> [u8; 32] {
    use std::io::Read;
    let mut bytes = [0; 32];
    let read = std::fs::File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut bytes));
    if read.is_err() {
        bytes[..16].copy_from_slice(&Timestamp::now().as_nanosecond().to_be_bytes());
    }
    bytes
}

fn configuration_error(error: impl std::error::Error) -> Error {
    Error::Configuration(super::chain(&error))
}

fn run_error(error: std::io::Error) -> Error {
    Error::Run(error.to_string())
}
