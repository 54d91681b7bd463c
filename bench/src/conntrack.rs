//! What it costs to cut UDP flows to endpoints that left, in a large table and beside syncs.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use dataplane::conntrack::generated::{Generated, translated};
use dataplane::conntrack::{Conntrack, Flow, Sweep, Sweeper};
use dataplane::forwarding_table::FrontendKey;
use services::Protocol;

use crate::measure::{median, milliseconds, percentile, print_table, time};
use crate::namespace;
use crate::node::Node;
use crate::objects::{service, slice};

/// Flows in the kernel's table.
const REAL: u32 = 200_000;
/// Flows of a table that exists only as its dump.
const GENERATED: u64 = 7_000_000;
/// Frontends that the flows go to, each with two endpoints.
const FRONTENDS: u32 = 100;
/// Syncs beside sweeps, and without.
const SYNCS: u32 = 500;

/// Measures sweeps in the kernel's table, syncs beside them, and a stream that no kernel here could hold.
pub(crate) fn run() -> Result<()> {
    namespace::enter()?;
    let mut conntrack = Conntrack::open()?;
    println!("{REAL} flows in the kernel's table, to {FRONTENDS} frontends with two endpoints:\n");
    fill(&mut conntrack)?;
    let rows = [1, FRONTENDS - 1, FRONTENDS].map(|frontends| sweep_row(&mut conntrack, frontends));
    let head = ["one endpoint left", "flows sent by the kernel", "flows cut", "time", "of a core"];
    print_table(&head, &rows.into_iter().collect::<Result<Vec<_>>>()?);
    println!("\n{SYNCS} syncs of one replaced endpoint each, 1,000 services:\n");
    fill(&mut conntrack)?;
    print_table(&["", "median", "99th percentile", "longest"], &syncs(&mut conntrack)?);
    println!("\nA generated stream, of which one in a hundred is cut:\n");
    print_table(&["flows", "time", "of a core, each", "memory more than before"], &[generated()?]);
    Ok(())
}

fn fill(conntrack: &mut Conntrack) -> Result<()> {
    // Some are there already; those that are to be cut are not.
    for flow in (0..REAL).map(flow) {
        let _ = conntrack.delete(&flow)?;
    }
    conntrack.insert((0..REAL).map(flow)).context("net.netfilter.nf_conntrack_max may be too small")?;
    Ok(())
}

/// Flow `number`: the first of a frontend's endpoints is the one that leaves.
fn flow(number: u32) -> Flow {
    let [_, a, b, c] = number.to_be_bytes();
    let client = SocketAddr::from(([172, 16 + a, b, c], 4000));
    let [_, _, _, frontend] = (number % FRONTENDS).to_be_bytes();
    let [_, _, _, endpoint] = (number / FRONTENDS % 2).to_be_bytes();
    let frontend = SocketAddr::from(([10, 255, 1, frontend], 53));
    translated(Protocol::Udp, client, frontend, ([10, 244, 1, endpoint], 53).into())
}

/// The first `frontends` have lost an endpoint.
fn sweep(frontends: u32) -> Sweep {
    let keys = (0..frontends).map(|number| flow(number).frontend());
    Sweep::of(keys.map(|key| (key, [SocketAddr::from(([10, 244, 1, 1], 53))])))
}

fn sweep_row(conntrack: &mut Conntrack, frontends: u32) -> Result<Vec<String>> {
    let busy = processor_time()?;
    let (swept, duration) = time(|| conntrack.sweep(&sweep(frontends)));
    let (swept, busy) = (swept?, processor_time()?.saturating_sub(busy));
    Ok(vec![
        format!("{frontends} frontends"),
        swept.sent.to_string(),
        swept.deleted.to_string(),
        milliseconds(duration),
        milliseconds(busy),
    ])
}

/// Syncs with nothing beside them, then beside sweeps that never end.
fn syncs(conntrack: &mut Conntrack) -> Result<Vec<Vec<String>>> {
    let mut node = Node::loaded()?;
    let alone = row("alone", node.syncs(|| ())?);
    let sweeper = Sweeper::new();
    let beside = std::thread::scope(|scope| {
        scope.spawn(|| sweeper.run(conntrack));
        let samples = node.syncs(|| sweeper.push(sweep(FRONTENDS)));
        sweeper.close();
        samples
    });
    Ok(vec![alone, row("beside sweeps", beside?)])
}

fn row(title: &str, samples: Vec<Duration>) -> Vec<String> {
    let longest = samples.iter().max().copied().unwrap_or_default();
    let shown = [median(samples.clone()), percentile(samples, 99), longest].map(milliseconds);
    std::iter::once(title.to_owned()).chain(shown).collect()
}

impl Node {
    fn loaded() -> Result<Self> {
        let mut node = Self::open()?;
        for number in 0..1000 {
            node.model.apply_service(&service(number))?;
            node.model.apply_slice(&slice(number, 2, 0))?;
        }
        node.sync()?;
        Ok(node)
    }

    fn syncs(&mut self, mut before: impl FnMut()) -> Result<Vec<Duration>> {
        let mut samples = Vec::new();
        for turn in 0..SYNCS {
            before();
            self.model.apply_slice(&slice(turn, 2, samples.len() as u32 % 2 + 1))?;
            let start = Instant::now();
            self.sync()?;
            samples.push(start.elapsed());
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(samples)
    }
}

fn generated() -> Result<Vec<String>> {
    let frontend = SocketAddr::from(([10, 255, 1, 1], 53));
    let dumps = Generated::new(GENERATED, move |number| {
        let [.., a, b, c] = number.to_be_bytes();
        let endpoint = if number % 100 == 0 { [10, 244, 1, 0] } else { [10, 244, 1, 1] };
        translated(Protocol::Udp, ([10, a, b, c], 4000).into(), frontend, (endpoint, 53).into())
    });
    let no_more = Generated::new(0, |_| unreachable!("it is asked for no dump"));
    let mut conntrack = Conntrack::over(Box::new(dumps), Box::new(no_more));
    let key = FrontendKey::new(Protocol::Udp, frontend.ip(), frontend.port());
    let targets = Sweep::of([(key, [SocketAddr::from(([10, 244, 1, 1], 53))])]);
    let (before, busy) = (resident()?, processor_time()?);
    let (swept, duration) = time(|| conntrack.sweep(&targets));
    let busy = processor_time()?.saturating_sub(busy);
    let grown = resident()?.saturating_sub(before);
    anyhow::ensure!(swept?.sent == GENERATED, "all of the stream was read");
    let each = busy.as_nanos() / u128::from(GENERATED);
    Ok(vec![
        GENERATED.to_string(),
        milliseconds(duration),
        format!("{each} ns"),
        format!("{:.1} MB", grown as f64 / 1e6),
    ])
}

/// What the calling thread has used of a core.
fn processor_time() -> Result<Duration> {
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let busy = statistics.split(' ').next().context("/proc/thread-self/schedstat is empty")?;
    Ok(Duration::from_nanos(busy.parse()?))
}

/// Bytes of memory that the process holds.
fn resident() -> Result<usize> {
    let pages = std::fs::read_to_string("/proc/self/statm")?;
    let pages: usize = pages.split(' ').nth(1).context("/proc/self/statm is short")?.parse()?;
    Ok(pages * 4096)
}
