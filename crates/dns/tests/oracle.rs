//! Compares whole answers with CoreDNS: what a real one said of generated objects, recorded in `tests/oracle/`, for each way
//! to configure it.
//!
//! ```text
//! cargo xtask oracle dns --peer /path/to/coredns            # CoreDNS and Sluice against the recordings
//! cargo xtask oracle dns --peer /path/to/coredns --record   # records anew
//! cargo xtask oracle dns --set 17                           # Sluice against one set, its objects are shown
//! ```
//! Every name that exists, its suffixes, prefixes of these, near misses and other letters' case are asked for every type.
//! Where we differ, one of the reasons in `crates/dns/differences.md` must hold: [`reason`] says when.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;

use support::corefile::Served;
use testnet::harness::{self, Outcome, Trial};
use testnet::oracle::dns::coredns::{self, Client, CoreDns};
use testnet::oracle::dns::objects::ObjectSet;
use testnet::oracle::dns::profile::{PROFILES, Profile};
use testnet::oracle::dns::question::{KINDS, names, packet};
use testnet::oracle::dns::recording::{Recorded, Recording};
use testnet::oracle::dns::reply;
use testnet::oracle::dns::upstream::Upstream;

/// What the documentation says of the differences.
const DIFFERENCES: &str = include_str!("../differences.md");

fn main() -> ExitCode {
    let of = |profile: &'static Profile| {
        [
            Trial::new(format!("sluice::{}", profile.name), move || sluice_agrees(profile)),
            Trial::new(format!("coredns::{}", profile.name), move || coredns_agrees(profile)),
        ]
    };
    let documented = Trial::of("every_difference_is_documented", every_difference_is_documented);
    harness::run(PROFILES.iter().flat_map(of).chain([documented]).collect())
}

/// A question that was answered in two ways.
struct Difference<'a> {
    name: &'a str,
    kind: &'a str,
    ours: &'a str,
    theirs: &'a str,
}

/// The key of the reason why an answer may differ from CoreDNS's; `None` when it may not.
fn reason(d: &Difference<'_>) -> Option<&'static str> {
    let lower = d.name.to_ascii_lowercase();
    // What is missing here may exist upstream, and does not in these tests.
    let missing =
        |answer: &str| answer.starts_with("nx ") || answer.starts_with("NXDOMAIN (rd ra) | auth example");
    let no_data = d.ours.starts_with("no ");
    let (ours_missing, theirs_missing) = (missing(d.ours), missing(d.theirs));
    let is_pod = lower.contains(".pod.");
    match () {
        () if no_data && theirs_missing && lower.ends_with(".arpa") => Some("reverse-branch"),
        () if no_data && theirs_missing && lower.starts_with('_') => Some("empty-non-terminal"),
        () if no_data && theirs_missing && lower.ends_with("dns.cluster.local") => Some("name-server-branch"),
        () if no_data && theirs_missing && (d.kind == "TXT" || lower.starts_with("dns-version.")) => {
            Some("type-does-not-decide")
        }
        () if ours_missing && d.theirs.starts_with("no ") && is_odd(d.kind) => Some("type-does-not-decide"),
        () if ours_missing && (is_pod || lower.ends_with(".arpa")) && is_below(&lower) => {
            Some("labels-before-an-address")
        }
        () if is_pod && d.kind == "SRV" && no_data => Some("pod-without-ports"),
        () if d.ours.contains(" CNAME ") => Some("alias-to-nowhere"),
        () if d.ours == "SERVFAIL (rd)" && (d.theirs.contains(" CNAME ") || d.kind == "TXT") => {
            Some("alias-that-fails")
        }
        () if d.kind == "PTR" && lower.ends_with(".arpa") && is_part(d.ours, d.theirs) => {
            Some("alias-without-endpoints")
        }
        () if d.kind == "SRV" && without_weights(d.ours) == without_weights(d.theirs) => {
            Some("weight-of-duplicates")
        }
        () if d.kind == "TXT"
            && ours_missing
            && lower.starts_with("dns-version.")
            && lower.ends_with(".arpa") =>
        {
            Some("version-of-reverse-zones")
        }
        () => None,
    }
}

/// Types for which CoreDNS makes no difference between a name that exists and one that does not.
fn is_odd(kind: &str) -> bool {
    !matches!(kind, "A" | "AAAA" | "SRV" | "TXT")
}

/// True for a name with labels in front of an address.
fn is_below(name: &str) -> bool {
    let labels = name.split('.').count();
    labels
        > if name.ends_with(".in-addr.arpa") {
            6
        } else if name.ends_with(".ip6.arpa") {
            34
        } else {
            5
        }
}

/// True when all records of one answer, if it has any, are in the other.
fn is_part(part: &str, whole: &str) -> bool {
    let records = part.strip_prefix("NOERROR | ").into_iter().flat_map(|records| records.split("; "));
    whole.starts_with("NOERROR | ") && records.into_iter().all(|record| whole.contains(record))
}

/// The text without the third number of every SRV record.
fn without_weights(text: &str) -> String {
    let mut words: Vec<&str> = text.split(' ').collect();
    for at in 2..words.len() {
        if words[at - 2] == "SRV" {
            words[at] = "*";
        }
    }
    words.join(" ")
}

/// Sluice says what was recorded.
fn sluice_agrees(profile: &'static Profile) -> Outcome {
    let (recording, upstream) = (read(profile), Upstream::start().unwrap());
    let (mut questions, mut reasons, mut wrong) = (0, BTreeMap::<_, u32>::new(), Vec::new());
    for seed in chosen(profile) {
        let set = ObjectSet::generate(seed);
        let recorded = recorded(&recording, &set);
        for ((name, kind), ours) in &ours(profile, &set, &upstream) {
            questions += 1;
            let theirs = recorded.answer(name, *kind);
            if ours == theirs {
                continue;
            }
            let difference = Difference { name, kind: KINDS[*kind], ours, theirs };
            match reason(&difference) {
                Some(reason) => *reasons.entry(reason).or_default() += 1,
                None => wrong.push(text(seed, &difference)),
            }
        }
    }
    eprintln!("{}: {questions} questions; deliberate differences: {reasons:?}", profile.name);
    done(&wrong)
}

/// CoreDNS says what was recorded, or is recorded.
fn coredns_agrees(profile: &'static Profile) -> Outcome {
    let Some(program) = std::env::var_os("COREDNS").map(PathBuf::from) else {
        harness::skip("cargo xtask oracle dns --peer FILE compares a CoreDNS with the recordings");
    };
    let update = std::env::var_os("UPDATE").is_some() && std::env::var_os("ORACLE_SET").is_none();
    let recording = if update { Recording::default() } else { read(profile) };
    let (upstream, mut sets, mut wrong) = (Upstream::start().unwrap(), Vec::new(), Vec::new());
    for seed in chosen(profile) {
        let set = ObjectSet::generate(seed);
        let server =
            CoreDns::start(&program, profile, &set, &upstream).unwrap_or_else(|e| panic!("set {seed}: {e}"));
        let answers = ask(&set, &Client::new(server.address()).unwrap());
        if !update {
            let known = recorded(&recording, &set);
            for ((name, kind), theirs) in answers.iter().filter(|((n, k), it)| known.answer(n, *k) != **it) {
                wrong.push(format!("set {seed}: {name} {}\n    {theirs}", KINDS[*kind]));
            }
        }
        sets.push(Recorded::new(seed, digest(&set), answers));
    }
    if update {
        let version = coredns::version(&program).unwrap();
        std::fs::write(file(profile), Recording { version, sets }.to_string()).unwrap();
    }
    done(&wrong)
}

/// The list in the documentation and the rules here are of the same reasons.
fn every_difference_is_documented() {
    let lines = DIFFERENCES.lines().filter_map(|line| line.strip_prefix("- `")?.split_once('`'));
    let listed: BTreeSet<&str> = lines.map(|(key, _)| key).collect();
    let text = include_str!("oracle.rs");
    let rules = text.split_once("fn reason").and_then(|(_, rest)| rest.split_once("\n}\n")).unwrap().0;
    let used: BTreeSet<&str> =
        rules.split("Some(\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let elsewhere: BTreeSet<&str> = ["several-questions", "edns-size"].into();
    assert_eq!(listed.difference(&elsewhere).copied().collect::<BTreeSet<_>>(), used);
}

/// Sluice's answers to all questions of a set.
fn ours(profile: &Profile, set: &ObjectSet, upstream: &Upstream) -> BTreeMap<(String, usize), String> {
    let served = Served::with_objects(
        &profile.corefile(0, "127.0.0.1:1".parse().unwrap(), upstream.address),
        &set.objects,
    );
    ask(set, &Client::new(served.address()).unwrap())
}

fn ask(set: &ObjectSet, client: &Client) -> BTreeMap<(String, usize), String> {
    let mut answers = BTreeMap::new();
    for name in names(set) {
        for (index, kind) in KINDS.iter().enumerate() {
            let query = packet(&name, kind);
            let (answer, cut) = client.ask(&query).unwrap_or_else(|error| panic!("{name} {kind}: {error}"));
            let text = reply::text(&query, &answer) + if cut { " | udp cut" } else { "" };
            answers.insert((name.clone(), index), text);
        }
    }
    answers
}

fn text(seed: u64, difference: &Difference<'_>) -> String {
    let Difference { name, kind, ours, theirs } = difference;
    format!("set {seed}: {name} {kind}\n    Sluice   {ours}\n    CoreDNS  {theirs}")
}

fn done(wrong: &[String]) -> Outcome {
    if wrong.is_empty() {
        return Outcome::Passed;
    }
    let shown = wrong.iter().take(60).cloned().collect::<Vec<_>>().join("\n");
    Outcome::Failed(format!("{} differences:\n{shown}", wrong.len()))
}

/// The sets to look at.
fn chosen(profile: &Profile) -> Vec<u64> {
    let only: Option<u64> = std::env::var("ORACLE_SET").ok().map(|seed| seed.parse().unwrap());
    let chosen: Vec<u64> =
        profile.seeds.clone().filter(|seed| only.is_none_or(|only| only == *seed)).collect();
    if only.is_some() {
        for object in chosen.iter().flat_map(|seed| ObjectSet::generate(*seed).objects) {
            eprintln!("{object}");
        }
    }
    chosen
}

fn file(profile: &Profile) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/oracle/{}.txt", profile.name))
}

fn read(profile: &Profile) -> Recording {
    let path = file(profile);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Recording::parse(&text).unwrap()
}

/// Of the objects and of the names that are asked for.
fn digest(set: &ObjectSet) -> u64 {
    names(set)
        .iter()
        .flat_map(|name| name.bytes())
        .fold(set.digest(), |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn recorded<'a>(recording: &'a Recording, set: &ObjectSet) -> &'a Recorded {
    let recorded = recording.sets.iter().find(|recorded| recorded.seed == set.seed);
    let recorded = recorded.unwrap_or_else(|| panic!("set {} is not recorded", set.seed));
    assert_eq!(recorded.digest, digest(set), "set {} was recorded of other objects or names", set.seed);
    recorded
}
