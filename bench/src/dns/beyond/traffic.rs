//! What a program at the pod's interface costs everything else that passes there: packets that are not for DNS.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::middle;
use super::site::{DNS, Site};
use super::ways::{WAYS, Way};
use crate::dns::servers::{GENERATOR_CORE, SERVER_CORE, stay_on};
use crate::measure::print_table;

/// What one connection carries, and what one write or read moves.
const BYTES: usize = 256 << 20;
const BLOCK: usize = 128 * 1024;
/// Patience with a connection that stands still.
const PATIENCE: Duration = Duration::from_secs(5);
/// The ways whose presence is measured, as the table of ways calls them; the first changes nothing.
const PRESENT: [&str; 5] = [
    "echo, a socket",
    "echo, veth with NAPI",
    "XDP, a map of answers, XDP_TX",
    "XDP, a map of answers, redirect",
    "tc, a map of answers, redirect",
];

/// Long TCP connections both ways, with each of these present in turn; prints a table.
pub(super) fn run(site: &Site, rounds: usize) -> Result<()> {
    let present: Vec<&Way> = WAYS.iter().filter(|way| PRESENT.contains(&way.name)).collect();
    let mut found = vec![[Vec::new(), Vec::new()]; present.len()];
    let mut reason = vec![None; present.len()];
    for _ in 0..rounds {
        for (place, way) in
            present.iter().enumerate().filter(|(place, _)| reason[*place].is_none()).collect::<Vec<_>>()
        {
            match way.start(site) {
                Ok(_running) => {
                    for (to_node, speeds) in [true, false].into_iter().zip(&mut found[place]) {
                        speeds.push(connection(site, to_node)?);
                    }
                }
                Err(error) => reason[place] = Some(format!("not here: {error:#}")),
            }
        }
    }
    let rows = present.iter().zip(&found).zip(reason).map(|((way, speeds), reason)| {
        let mut row = vec![way.name.to_owned()];
        row.extend(reason.map_or_else(|| cells(speeds, &found[0]), |reason| vec![reason]));
        row
    });
    println!(
        "\nOne TCP connection, Gbit/s, while this is at the pod's interface; in brackets divided by the first row's:\n"
    );
    print_table(&["", "pod to node", "node to pod"], &rows.collect::<Vec<_>>());
    Ok(())
}

fn cells(speeds: &[Vec<f64>; 2], first: &[Vec<f64>; 2]) -> Vec<String> {
    let cell = |(speeds, first): (&Vec<f64>, &Vec<f64>)| {
        let ratios = speeds.iter().zip(first).map(|(speed, first)| speed / first);
        format!("{:.1} ({:.2})", middle(speeds.clone()), middle(ratios.collect()))
    };
    speeds.iter().zip(first).map(cell).collect()
}

/// Gbit/s of one connection.
fn connection(site: &Site, to_node: bool) -> Result<f64> {
    let listener = site.on_node(|| TcpListener::bind((DNS, 0)))?.context("a listener on the node")?;
    let port = listener.local_addr()?.port();
    let stream = site.in_pod(|| TcpStream::connect((DNS, port)))?.context("a connection")?;
    let (accepted, _) = listener.accept()?;
    let (from, to) = if to_node { (stream, accepted) } else { (accepted, stream) };
    let start = Instant::now();
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            stay_on(GENERATOR_CORE);
            send(from)
        });
        stay_on(SERVER_CORE);
        let received = receive(to);
        sender.join().map_err(|_| anyhow::anyhow!("the sender panicked"))?.and(received)
    })?;
    Ok(BYTES as f64 * 8.0 / start.elapsed().as_secs_f64() / 1e9)
}

fn send(mut stream: TcpStream) -> Result<()> {
    stream.set_write_timeout(Some(PATIENCE))?;
    let block = vec![0; BLOCK];
    (0..BYTES / BLOCK).try_for_each(|_| stream.write_all(&block)).context("sending")
}

fn receive(mut stream: TcpStream) -> Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut block = vec![0; BLOCK];
    while stream.read(&mut block).context("receiving")? > 0 {}
    Ok(())
}
