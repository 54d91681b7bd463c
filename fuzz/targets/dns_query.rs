//! A client's packet against a zone with something of everything.

#![no_main]

use std::sync::{Arc, OnceLock};

use dns::answer::{Context, Outcome, Transport, answer};
use dns::message::{parse_query, records::read_response};
use dns::zone::{Zone, ZoneConfig};
use libfuzzer_sys::fuzz_target;
use serde_json::json;

fn zone() -> &'static Zone {
    static ZONE: OnceLock<Zone> = OnceLock::new();
    ZONE.get_or_init(|| {
        let mut model = services::Model::new();
        model.apply_namespace("default");
        let ports = json!([{"name": "http", "port": 80}]);
        for (name, spec) in [
            ("a", json!({"clusterIPs": ["10.96.0.1", "fd00::1"], "ports": ports})),
            ("b", json!({"clusterIP": "None", "ports": ports})),
            ("c", json!({"type": "ExternalName", "externalName": "a.default.svc.cluster.local"})),
            ("d", json!({"type": "ExternalName", "externalName": "example.com"})),
        ] {
            let service = json!({"metadata": {"namespace": "default", "name": name}, "spec": spec});
            model.apply_service(&serde_json::from_value(service).unwrap()).unwrap();
        }
        let endpoints: Vec<_> = (0..60).map(|last| json!({"addresses": [format!("10.244.0.{last}")]})).collect();
        let slice = json!({"addressType": "IPv4", "ports": ports, "endpoints": endpoints,
            "metadata": {"namespace": "default", "name": "b-0", "labels": {"kubernetes.io/service-name": "b"}}});
        model.apply_slice(&serde_json::from_value(slice).unwrap()).unwrap();
        Zone::build(Arc::new(ZoneConfig::cluster("cluster.local").unwrap()), &model.snapshot(), 1)
    })
}

fuzz_target!(|packet: &[u8]| {
    let mut buffer = [0; 65_535];
    for (transport, synced) in [(Transport::Udp, true), (Transport::Tcp, false)] {
        let context = Context { transport, synced, rotation: 5 };
        if let Outcome::Reply(length) | Outcome::Chase(length) = answer(zone(), packet, context, &mut buffer) {
            assert_eq!(buffer[..2], packet[..2]);
            assert!(read_response(&buffer[..length]).is_some());
            let takes = parse_query(packet).ok().and_then(|query| query.edns).map_or(512, |edns| edns.udp_size);
            assert!(transport == Transport::Tcp || length <= usize::from(takes));
        }
    }
});
