//! Clients that never stop, while what they use is changed, and while its proxy is killed.
//!
//! No connection to a Service that always has a ready endpoint may fail, no connection that stands may break, and a UDP
//! client that keeps its port may be without answers for a second at most. `SLUICE_LOAD=long` does ten times as much.

mod agent;
mod clients;
mod dns;
mod lab;
mod objects;

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use testnet::harness::{self, Outcome, Trial};
use testnet::judge::Order;

use lab::Lab;
use objects::{Member, PODS};

/// A test and its name; it returns the longest time that a UDP client was without an answer.
type Test = (&'static str, fn() -> Duration);

/// How long that may be.
const HOLE: Duration = Duration::from_secs(1);

/// How often a test may be made until it is not longer: a busy machine is no wrong rule. All else must be right each time.
const ATTEMPTS: usize = 3;

fn main() -> ExitCode {
    if let Some(node) = std::env::var_os(agent::NODE) {
        return agent::run(&node.to_string_lossy());
    }
    if let Some(node) = std::env::var_os(dns::NODE) {
        return dns::run(&node.to_string_lossy());
    }
    let trials: [Test; 4] = [
        ("rolling_restart", rolling_restart),
        ("scale_up_and_down", scale_up_and_down),
        ("hundred_services_changed_a_second", hundred_services_changed_a_second),
        ("proxies_killed_and_restarted", proxies_killed_and_restarted),
    ];
    let trial = |(name, test): Test| {
        Trial::new(name, move || {
            let holes: Vec<Duration> = within(test);
            if holes.last().is_some_and(|hole| *hole <= HOLE) {
                Outcome::Passed
            } else {
                Outcome::Failed(format!("UDP clients were without answers for {holes:?}, in each attempt"))
            }
        })
    };
    let mut trials: Vec<Trial> = trials.into_iter().map(trial).collect();
    trials.extend(testnet::trials![
        dns::servers_killed,
        dns::the_only_server_killed,
        dns::connections_stay_where_they_are
    ]);
    harness::run_in_namespaces(trials)
}

/// The longest hole of each attempt, up to the first that is short enough.
fn within(test: fn() -> Duration) -> Vec<Duration> {
    let mut holes = Vec::new();
    while holes.len() < ATTEMPTS && holes.last().is_none_or(|hole| *hole > HOLE) {
        holes.push(test());
    }
    holes
}

/// How many times as much as in the short form.
fn times() -> usize {
    if std::env::var("SLUICE_LOAD").is_ok_and(|form| form == "long") { 10 } else { 1 }
}

/// Pod by pod, as a Deployment does it: a new one comes and gets ready, an old one terminates and goes.
fn rolling_restart() -> Duration {
    let mut lab = Lab::start();
    let load = lab.load();
    let mut members: Vec<usize> = (0..PODS / 2).collect();
    for round in 0..PODS * times() {
        let (old, new) = (members.remove(0), (round + PODS / 2) % PODS);
        let mut all = objects::ready(&members);
        all.push(Member::ready(old));
        lab.apply_and_wait(&[&all[..], &[Member::unready(new)]].concat());
        lab.apply_and_wait(&[&all[..], &[Member::ready(new)]].concat());
        members.push(new);
        lab.apply_and_wait(&[&objects::ready(&members)[..], &[Member::terminating(old)]].concat());
        lab.apply_and_wait(&objects::ready(&members));
    }
    load.finish("rolling restart")
}

fn scale_up_and_down() -> Duration {
    let mut lab = Lab::start();
    let load = lab.load();
    let mut order = Order::seeded(u64::from(std::process::id()));
    for _ in 0..60 * times() {
        let (first, count) = (order.below(PODS), 1 + order.below(PODS - 1));
        let members: Vec<usize> = (first..first + count).map(|index| index % PODS).collect();
        lab.apply_and_wait(&objects::ready(&members));
    }
    load.finish("scale up and down")
}

fn hundred_services_changed_a_second() -> Duration {
    let mut lab = Lab::start();
    let load = lab.load();
    let begun = Instant::now();
    let changes = 300 * u32::try_from(times()).unwrap_or(1);
    for change in 0..changes {
        lab.change_other(change);
        let due = Duration::from_millis(10) * (change + 1);
        thread::sleep(due.saturating_sub(begun.elapsed()));
    }
    let rate = f64::from(changes) / begun.elapsed().as_secs_f64();
    load.finish(&format!("{rate:.0} services changed a second"))
}

/// Proxies that are processes of their own change the Service all the time, and are killed in the midst of it.
fn proxies_killed_and_restarted() -> Duration {
    let mut lab = Lab::start();
    let load = lab.load();
    lab.drop_planes();
    let mut order = Order::seeded(u64::from(std::process::id()));
    let kills = 10 * times();
    for _ in 0..kills {
        let mut agents = lab.start_agents();
        agents.iter_mut().for_each(agent::Agent::await_adoption);
        thread::sleep(Duration::from_millis(u64::try_from(order.below(40)).unwrap_or(0)));
        drop(agents);
    }
    lab.adopt();
    lab.apply_and_wait(&objects::ready(&[0, 7]));
    let hole = load.finish(&format!("{kills} kills of both proxies"));
    assert_eq!(lab.verify(), 0, "elements that a later comparison repaired");
    hole
}
