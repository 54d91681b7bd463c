//! The cluster that is asked, as objects for the model and as zone files for other servers, and what its pods ask.
//!
//! Service `n` is `s00000n` in the namespace `default`, with a virtual IP counted up from 10.100.0.0, the port `http` and a
//! number of endpoints counted up from 11.0.0.0.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use anyhow::Result;
use dns::message::records::kind_number;
use dns::name::Name;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::{Value, json};
use services::Model;

/// A size of cluster.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cluster {
    pub(crate) services: u32,
    pub(crate) endpoints: u32,
}

/// One kind of question, or the mix that a pod makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Workload {
    A,
    AaaaNodata,
    Srv,
    Ptr,
    Nxdomain,
    Mix,
}

impl Workload {
    pub(crate) const ALL: [Self; 6] =
        [Self::A, Self::AaaaNodata, Self::Srv, Self::Ptr, Self::Nxdomain, Self::Mix];

    /// As on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::AaaaNodata => "aaaa",
            Self::Srv => "srv",
            Self::Ptr => "ptr",
            Self::Nxdomain => "nxdomain",
            Self::Mix => "mix",
        }
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::AaaaNodata => "AAAA, no data",
            Self::Srv => "SRV",
            Self::Ptr => "PTR",
            Self::Nxdomain => "NXDOMAIN",
            Self::Mix => "mix of a pod",
        }
    }

    /// The questions about one Service. The mix is what a pod's resolver makes of `s`, `s.default` and `www.example.com`
    /// with the usual search path and `ndots:5`, as far as the cluster's zone answers it: A and AAAA of each.
    fn questions(self, number: u32) -> Vec<(String, &'static str)> {
        let service = service_name(number);
        match self {
            Self::A => vec![(format!("{service}.default.svc.cluster.local"), "A")],
            Self::AaaaNodata => vec![(format!("{service}.default.svc.cluster.local"), "AAAA")],
            Self::Srv => vec![(format!("_http._tcp.{service}.default.svc.cluster.local"), "SRV")],
            Self::Ptr => {
                let [a, b, c, d] = virtual_ip(number).octets();
                vec![(format!("{d}.{c}.{b}.{a}.in-addr.arpa"), "PTR")]
            }
            Self::Nxdomain => vec![(format!("x{number:06}.default.svc.cluster.local"), "A")],
            Self::Mix => mix(&service),
        }
    }

    /// Query packets in a scattered order, as clients of a cluster ask; `max` at most.
    pub(crate) fn packets(self, cluster: Cluster, max: usize) -> Result<Vec<Vec<u8>>> {
        let scattered = (0..cluster.services).map(|number| scatter(number, cluster.services));
        let questions = scattered.flat_map(|number| self.questions(number));
        questions.take(max).map(|(name, kind)| packet(&name, kind)).collect()
    }

    /// Whether an answer to the first question is the expected one: code, and whether it has records.
    pub(crate) fn is_answered(self, answer: &[u8]) -> bool {
        let expected = match self {
            Self::A | Self::Srv | Self::Ptr | Self::Mix => (0, true),
            Self::AaaaNodata => (0, false),
            Self::Nxdomain => (3, false),
        };
        answer.len() > 12 && (answer[3] & 15, answer[7] > 0) == expected
    }
}

fn mix(service: &str) -> Vec<(String, &'static str)> {
    let zone = "cluster.local";
    let names = [
        format!("{service}.default.svc.{zone}"),
        format!("{service}.default.default.svc.{zone}"),
        format!("{service}.default.svc.{zone}"),
        format!("www.example.com.default.svc.{zone}"),
        format!("www.example.com.svc.{zone}"),
        format!("www.example.com.{zone}"),
    ];
    names.into_iter().flat_map(|name| [(name.clone(), "A"), (name, "AAAA")]).collect()
}

/// A permutation of the numbers below `count`: neighbours come far apart.
fn scatter(number: u32, count: u32) -> u32 {
    // A prime that divides none of the sizes in use.
    (u64::from(number) * 7919 % u64::from(count.max(1))) as u32
}

pub(crate) fn packet(name: &str, kind: &str) -> Result<Vec<u8>> {
    let mut packet = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    packet.extend(name.parse::<Name>()?.as_wire());
    packet.extend(kind_number(kind).unwrap_or_default().to_be_bytes());
    packet.extend([0, 1]);
    Ok(packet)
}

fn service_name(number: u32) -> String {
    format!("s{number:06}")
}

fn virtual_ip(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from_be_bytes([10, 100, 0, 0]) + number)
}

impl Cluster {
    /// The objects of one Service, as the API has them.
    pub(crate) fn objects(self, number: u32) -> (Value, Value) {
        let name = service_name(number);
        let service = json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"namespace": "default", "name": name},
            "spec": {"clusterIP": virtual_ip(number), "ports": [{"name": "http", "port": 80}]}});
        let address = |endpoint: u32| Ipv4Addr::from(0x0b00_0000 + number * self.endpoints + endpoint);
        let endpoint = |endpoint: u32| {
            json!({"addresses": [address(endpoint)], "nodeName": format!("node-{}", endpoint % 100),
            "targetRef": {"kind": "Pod", "namespace": "default", "name": format!("{name}-5f7d8c9b6-{endpoint:05}")}})
        };
        let slice = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"namespace": "default", "name": format!("{name}-0"),
                         "labels": {"kubernetes.io/service-name": name}},
            "ports": [{"name": "http", "port": 8080}],
            "endpoints": (0..self.endpoints).map(endpoint).collect::<Vec<_>>()});
        (service, slice)
    }

    /// A model that has seen all objects.
    pub(crate) fn model(self) -> Result<Model> {
        self.fill(Model::new())
    }

    /// The model after all objects.
    pub(crate) fn fill(self, mut model: Model) -> Result<Model> {
        model.apply_namespace("default");
        for number in 0..self.services {
            let (service, slice) = self.objects(number);
            model.apply_service(&serde_json::from_value::<Service>(service)?)?;
            model.apply_slice(&serde_json::from_value::<EndpointSlice>(slice)?)?;
        }
        Ok(model)
    }

    /// The same names as zone files: of `cluster.local` and of `10.in-addr.arpa`.
    pub(crate) fn zone_files(self) -> [(&'static str, String); 2] {
        let head = |zone: &str| {
            format!(
                "$TTL 30\n$ORIGIN {zone}.\n@ SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 30\n@ NS ns.dns.cluster.local.\n"
            )
        };
        let (mut forward, mut reverse) = (head("cluster.local"), head("10.in-addr.arpa"));
        forward.push_str("ns.dns A 10.96.0.10\n");
        for number in 0..self.services {
            let (name, address) = (service_name(number), virtual_ip(number));
            let [_, b, c, d] = address.octets();
            let _ = writeln!(forward, "{name}.default.svc A {address}");
            let _ = writeln!(forward, "_http._tcp.{name}.default.svc SRV 0 100 80 {name}.default.svc");
            let _ = writeln!(reverse, "{d}.{c}.{b} PTR {name}.default.svc.cluster.local.");
        }
        [("cluster.local", forward), ("10.in-addr.arpa", reverse)]
    }
}
