//! From a write to the first correct answer: how long after the API has answered a write, DNS says what was written.
//!
//! `bench dns freshness --peers DIR [--sluice PATH] [--without sluice|CoreDNS] [--services N] [--changes N]`. `DIR` holds
//! `etcd`, `kube-apiserver` and `coredns`; the first two are started with all files in memory, and end with the measurement.
//! Both servers take the same Corefile, one after the other.

use std::net::{Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use testnet::peers::Store;

use super::names::packet;
use super::servers::{Target, loopback};
use crate::measure::{milliseconds, percentile, print_table};
use crate::proxy::api::{Api, NAMESPACE};
use crate::proxy::fill;

/// The Service whose endpoint changes.
const HEADLESS: &str = "fresh";
/// Pause between two questions.
const PAUSE: Duration = Duration::from_micros(200);
/// Longest wait for a change.
const PATIENCE: Duration = Duration::from_secs(60);
/// Endpoints of each Service beside those that change.
const ENDPOINTS: u32 = 2;

struct Options {
    peers: PathBuf,
    programs: Vec<(&'static str, PathBuf)>,
    services: u32,
    changes: u32,
}

impl Options {
    fn read(arguments: &[String]) -> Result<Self> {
        let (mut peers, mut without) = (None, "");
        let mut sluice = PathBuf::from("target/release/sluice");
        let (mut services, mut changes) = (10_000, 100);
        for pair in arguments.chunks(2) {
            let [name, value] = pair else { bail!("{} wants a value", pair[0]) };
            match name.as_str() {
                "--peers" => peers = Some(PathBuf::from(value)),
                "--sluice" => sluice = value.into(),
                "--without" => without = value,
                "--services" => services = value.parse()?,
                "--changes" => changes = value.parse()?,
                _ => {
                    bail!("{name} is unknown; there are --peers, --sluice, --without, --services, --changes")
                }
            }
        }
        let peers = peers.context("--peers is needed: where etcd, kube-apiserver and coredns are")?;
        let mut programs = vec![("sluice", sluice), ("CoreDNS", peers.join("coredns"))];
        programs.retain(|(name, _)| *name != without);
        Ok(Self { peers, programs, services, changes })
    }
}

/// Measures every program and prints the table.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let options = Options::read(arguments)?;
    let store = Store::start(&options.peers)?;
    fill::fill(&store, options.services, ENDPOINTS)?;
    let control_plane = store.serve()?;
    let api = Api::connect(&control_plane.kubeconfig).with_context(|| control_plane.log())?;
    api.create_service(HEADLESS, "None")?;
    api.create_slice(HEADLESS, 1)?;
    let mut rows = Vec::new();
    for (name, program) in &options.programs {
        let target = Target::program(name, program, &corefile(&control_plane.kubeconfig))?;
        let last = question(&crate::objects::name(options.services - 1))?;
        target.wait(&last, |answer| answer.len() > 12 && answer[7] == 1)?;
        let changed = (0..options.changes).map(|turn| endpoint_changed(&api, &target, turn));
        let changed = changed.collect::<Result<Vec<_>>>()?;
        let added = (0..options.changes).map(|turn| service_added(&api, &target, turn));
        let added = added.collect::<Result<Vec<_>>>()?;
        let mut row = vec![(*name).to_owned()];
        for samples in [changed, added] {
            row.extend([50, 99, 100].map(|percent| milliseconds(percentile(samples.clone(), percent))));
        }
        rows.push(row);
    }
    println!(
        "\n{} Services × {ENDPOINTS}, {} changes of each kind; from the API's answer to a write to the first",
        options.services, options.changes
    );
    println!("correct answer of DNS:\n");
    print_table(
        &["", "EndpointSlice changed p50", "p99", "longest", "Service added p50", "p99", "longest"],
        &rows,
    );
    Ok(())
}

fn corefile(kubeconfig: &Path) -> String {
    format!(
        ".:PORT {{\n bind 127.0.0.1\n errors\n kubernetes cluster.local {{\n kubeconfig {}\n }}\n}}\n",
        kubeconfig.display()
    )
}

/// Gives the headless Service another endpoint.
fn endpoint_changed(api: &Api, target: &Target, turn: u32) -> Result<Duration> {
    let host = 2 + u8::try_from(turn % 100)?;
    api.move_endpoint(HEADLESS, host)?;
    until(target, HEADLESS, Ipv4Addr::new(10, 200, 0, host))
}

/// Creates a Service, and deletes it afterwards.
fn service_added(api: &Api, target: &Target, turn: u32) -> Result<Duration> {
    // Another name each time.
    let name = format!("fresh-{turn}-{}", target.name.to_lowercase());
    let address = Ipv4Addr::new(10, 96, 0, 201 + u8::try_from(turn % 40)?);
    api.create_service(&name, &address.to_string())?;
    let taken = until(target, &name, address);
    api.delete_service(&name)?;
    taken
}

fn question(service: &str) -> Result<Vec<u8>> {
    packet(&format!("{service}.{NAMESPACE}.svc.cluster.local"), "A")
}

/// Asks for a Service's address until it is this one, and tells how long that took.
fn until(target: &Target, name: &str, expected: Ipv4Addr) -> Result<Duration> {
    let start = Instant::now();
    let query = question(name)?;
    let socket = UdpSocket::bind(loopback(0))?;
    socket.connect(target.address)?;
    socket.set_read_timeout(Some(Duration::from_millis(200)))?;
    while start.elapsed() < PATIENCE {
        socket.send(&query)?;
        let mut answer = [0; 512];
        let length = socket.recv(&mut answer).unwrap_or(0);
        // A single address is the end of the answer: neither server is asked with EDNS.
        if length > 12 && answer[7] == 1 && answer[..length].ends_with(&expected.octets()) {
            return Ok(start.elapsed());
        }
        std::thread::sleep(PAUSE);
    }
    bail!("{name} did not become {expected} within {PATIENCE:?}")
}
