//! Generated sets of objects: what kube-proxy did with each question's packets, against Sluice's table and its rules.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use dataplane::forwarding_table::{ForwardingTable, Outcome, Packet};
use services::Model;
use testnet::harness::{self, Trial};
use testnet::judge::plane::Plane;
use testnet::oracle::answer::{Answer, Fate, Seen};
use testnet::oracle::kube_proxy::{self, KubeProxy};
use testnet::oracle::node::Node;
use testnet::oracle::objects::ObjectSet;
use testnet::oracle::profile::{self, PROFILES, Profile};
use testnet::oracle::question::{Question, Sender, questions};
use testnet::oracle::recording::{Recorded, Recording};
use testnet::oracle::site::Site;

use super::{done, program, recording, updates};

/// Three for each way to configure a node.
pub(super) fn trials() -> Vec<Trial> {
    let of = |profile: &'static Profile| {
        let name = profile.name;
        [
            Trial::new(format!("table::{name}"), || done(table_agrees(profile))),
            Trial::new(format!("kernel::{name}"), || done(kernel_agrees(profile))),
            Trial::new(format!("kube_proxy::{name}"), || done(kube_proxy_agrees(profile))),
        ]
    };
    PROFILES.iter().flat_map(of).collect()
}

/// A question that was answered in two ways.
struct Difference<'a> {
    set: &'a ObjectSet,
    question: &'a Question,
    ours: &'a Answer,
    theirs: &'a Answer,
}

/// Why an answer may differ from kube-proxy's; `None` when it may not.
///
/// Not seen here, because both count as `reject`: Sluice refuses TCP by a reset, which no rate limit holds back; kube-proxy
/// by ICMP.
fn deliberate(difference: &Difference<'_>) -> Option<&'static str> {
    let Sender::Endpoint(own) = difference.question.sender else { return None };
    let masquerade = |fate: &Fate| match *fate {
        Fate::Forward(endpoint, Seen::Sender) if endpoint.ip() == own => Fate::Forward(endpoint, Seen::Node),
        fate => fate,
    };
    let theirs: BTreeSet<Fate> = difference.theirs.fates.iter().map(masquerade).collect();
    let unknown = difference.set.nodes_of(own).contains(&None);
    (unknown && difference.ours.fates == theirs)
        .then_some("an endpoint of an unknown node may be this node's: its packets to itself are masqueraded")
}

/// The forwarding table says of every question what kube-proxy did.
fn table_agrees(profile: &Profile) -> Vec<String> {
    let recording = read(profile);
    let mut comparison = Comparison::default();
    for seed in chosen(profile) {
        let (set, recorded) = (ObjectSet::generate(seed), recorded(&recording, seed));
        let table = ForwardingTable::build(profile.node_facts(), &set.model().snapshot());
        let mut theirs = recorded.answers.clone();
        theirs.retain(|question, _| profile.detect.is_by_address() || !comes_from_pod(profile, question));
        let ours = theirs.keys().map(|question| (*question, judge(&table, question))).collect();
        comparison.compare(&set, &ours, &theirs);
    }
    comparison.finish(profile)
}

/// In the kernel, Sluice's rules do what kube-proxy's did. Each set takes the place of the one before, as a change.
fn kernel_agrees(profile: &Profile) -> Vec<String> {
    let mut node = node(&profile.site());
    let recording = read(profile);
    let table = ForwardingTable::new(profile.node_facts());
    let mut plane = Plane::open(node.namespace(), table).unwrap_or_else(|error| panic!("{error:?}"));
    let (mut model, mut before, mut comparison) = (Model::new(), None, Comparison::default());
    let every = std::env::var("ORACLE_EVERY").map_or(8, |number| number.parse().unwrap());
    for seed in chosen(profile).into_iter().step_by(every) {
        let (set, recorded) = (ObjectSet::generate(seed), recorded(&recording, seed));
        set.replace(before.as_ref(), &mut model);
        let changes = model.take_changes();
        plane
            .sync_snapshot(&model.snapshot(), &changes)
            .unwrap_or_else(|error| panic!("set {seed}: {error:?}"));
        comparison.compare(&set, &ask(&mut node, &set), &recorded.answers);
        before = Some(set);
    }
    comparison.finish(profile)
}

/// What was compared so far.
#[derive(Default)]
struct Comparison {
    questions: usize,
    reasons: BTreeMap<&'static str, u32>,
    differences: Vec<String>,
}

impl Comparison {
    fn compare(
        &mut self,
        set: &ObjectSet,
        ours: &BTreeMap<Question, Answer>,
        theirs: &BTreeMap<Question, Answer>,
    ) {
        self.questions += theirs.len();
        for (question, theirs) in theirs {
            let difference = Difference { set, question, ours: &ours[question], theirs };
            match (difference.ours == theirs, deliberate(&difference)) {
                (true, _) => {}
                (false, Some(reason)) => *self.reasons.entry(reason).or_default() += 1,
                (false, None) => self.differences.push(text(&difference)),
            }
        }
    }

    fn finish(self, profile: &Profile) -> Vec<String> {
        let Self { questions, reasons, differences } = self;
        eprintln!("{}: {questions} questions; deliberate differences: {reasons:?}", profile.name);
        differences
    }
}

fn text(difference: &Difference<'_>) -> String {
    let Difference { set, question, ours, theirs } = difference;
    format!("set {}: {question}\n    Sluice      {ours}\n    kube-proxy  {theirs}", set.seed)
}

/// A pod behind the node's interface for pods, which a table does not see.
fn comes_from_pod(profile: &Profile, question: &Question) -> bool {
    match question.sender {
        Sender::Pod => true,
        Sender::Endpoint(address) => profile.site().has_pod(address),
        _ => false,
    }
}

/// What the table says, in the words of a recording.
pub(super) fn judge(table: &ForwardingTable, question: &Question) -> Answer {
    let destination = question.destination.address;
    let source = question.sender.addresses(destination.is_ipv4(), 0)[0];
    let packet = Packet::new(source, question.destination.protocol, destination);
    let endpoints = match table.judge(&packet) {
        Outcome::Forward(endpoints) => endpoints,
        Outcome::Reject => return Fate::Reject.into(),
        Outcome::Drop => return Fate::Drop.into(),
        Outcome::Local | Outcome::Pass => return Fate::Pass.into(),
    };
    let fate = |endpoint: &std::net::SocketAddr| {
        // What the node itself sends has its address anyway, and what it delivers to itself keeps its source.
        let visible = question.sender != Sender::Node && !profile::is_own(endpoint.ip());
        let masquerades = visible && table.masquerades(source, &packet.destination, endpoint.ip());
        Fate::Forward(*endpoint, if masquerades { Seen::Node } else { Seen::Sender })
    };
    let affinity = table.frontend(&packet.destination).is_some_and(|frontend| frontend.affinity.is_some());
    Answer { fates: endpoints.iter().map(fate).collect(), sticky: affinity && endpoints.len() > 1 }
}

/// kube-proxy does what was recorded, or is recorded.
fn kube_proxy_agrees(profile: &Profile) -> Vec<String> {
    let program = program();
    let mut node = node(&profile.site());
    let mut proxy = KubeProxy::start(&program, &node).unwrap();
    let update = updates() && std::env::var_os("ORACLE_SET").is_none();
    let recording = if update { Recording::default() } else { read(profile) };
    let (mut sets, mut differences) = (Vec::new(), Vec::new());
    for seed in chosen(profile) {
        let set = ObjectSet::generate(seed);
        proxy.load(&mut node, &set).unwrap_or_else(|error| panic!("set {seed}: {error}"));
        let answers = ask(&mut node, &set);
        let torn = answers.iter().find(|(_, answer)| answer.is_torn());
        assert!(torn.is_none(), "set {seed}: a question met changing rules: {torn:?}");
        if !update {
            let known = &recorded(&recording, seed).answers;
            let differs = answers.iter().filter(|(question, answer)| known.get(question) != Some(answer));
            differences
                .extend(differs.map(|(question, answer)| format!("set {seed}: {question} => {answer}")));
        }
        sets.push(Recorded { seed, digest: set.digest(), answers });
    }
    if update {
        let version = kube_proxy::version(&program).unwrap();
        std::fs::write(file(profile), Recording { version, sets }.to_string()).unwrap();
    }
    differences
}

/// The answers of what runs on the node.
fn ask(node: &mut Node, set: &ObjectSet) -> BTreeMap<Question, Answer> {
    let ask = |(number, question): (usize, Question)| {
        let answer = node.ask(&question, number).unwrap();
        (question, answer)
    };
    questions(set).into_iter().enumerate().map(ask).collect()
}

pub(super) fn node(site: &Site) -> Node {
    Node::start(site)
        .unwrap_or_else(|error| harness::skip(format!("{error}: {:?}", std::error::Error::source(&error))))
}

/// The sets to look at.
fn chosen(profile: &Profile) -> Vec<u64> {
    let only: Option<u64> = std::env::var("ORACLE_SET").ok().map(|seed| seed.parse().unwrap());
    let chosen: Vec<u64> = profile.seeds().filter(|seed| only.is_none_or(|only| only == *seed)).collect();
    if only.is_some() {
        for object in chosen.iter().flat_map(|seed| ObjectSet::generate(*seed).objects) {
            eprintln!("{object}");
        }
    }
    chosen
}

fn file(profile: &Profile) -> PathBuf {
    recording(profile.name)
}

fn read(profile: &Profile) -> Recording {
    let path = file(profile);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Recording::parse(&text).unwrap()
}

fn recorded(recording: &Recording, seed: u64) -> &Recorded {
    let recorded = recording.sets.iter().find(|set| set.seed == seed);
    let recorded = recorded.unwrap_or_else(|| panic!("set {seed} is not recorded"));
    assert_eq!(
        recorded.digest,
        ObjectSet::generate(seed).digest(),
        "set {seed} was recorded of other objects"
    );
    recorded
}
