//! More than one transaction can carry, and failures in between.

use std::time::Instant;

use dataplane::nftables::cleanup;
use dataplane::reconcile::{Reconciler, Synced, dump};
use dataplane::{Call, Faults};
use serde_json::json;

use testnet::harness::skip;

use crate::namespace::isolated;
use crate::objects::{Proxy, apply, dual_stack_facts};
use crate::restart::nft;

const SERVICES: u16 = 3000;
/// `net.core.wmem_default` and `wmem_max` of most systems.
const SMALL_BUFFER: usize = 212_992;

fn address(service: u16) -> String {
    format!("10.96.{}.{}", 1 + service / 200, 1 + service % 200)
}

fn fill(proxy: &mut Proxy) {
    fill_with(proxy, |_| false);
}

fn fill_with(proxy: &mut Proxy, is_sticky: impl Fn(u16) -> bool) {
    for service in 0..SERVICES {
        let name = format!("service-{service}");
        if is_sticky(service) {
            let spec = json!({
                "type": "NodePort",
                "clusterIPs": [address(service)],
                "externalTrafficPolicy": "Local",
                "sessionAffinity": "ClientIP",
                "ports": [{"name": "tcp", "port": 80, "nodePort": 20_000 + service}],
            });
            apply(proxy, &name, &spec, &[]);
        } else {
            proxy.service(&name, &address(service), 80);
        }
        let pods: Vec<String> =
            (0..5).map(|pod| format!("10.244.{}.{}", pod + 1, 1 + service % 250)).collect();
        proxy.endpoints(&name, &pods.iter().map(String::as_str).collect::<Vec<_>>());
    }
}

/// An upgrade that changes the layout: services must not be missing between two transactions, however many there are.
pub(crate) fn another_layout_is_replaced_in_one_transaction() {
    isolated("load::another_layout_is_replaced_in_one_transaction", || {
        let mut proxy = Proxy::open();
        fill(&mut proxy);
        assert!(proxy.sync().transactions > 1, "it is more than one send carries");
        drop(proxy.reconciler);
        assert!(cleanup().unwrap());
        assert!(nft("add table ip sluice { comment \"sluice layout 0\"; }"));
        proxy.reconciler = Reconciler::open().unwrap();
        let replaced = proxy.reconciler.verify(&proxy.table).unwrap();
        proxy.assert_in_sync();
        assert_eq!(proxy.reconciler.verify(&proxy.table).unwrap(), Synced::default());
        if !may_force_buffers() {
            skip("one transaction is only had where the send buffer may be forced; all else holds");
        }
        assert_eq!(replaced.transactions, 1);
    });
}

/// Elsewhere than in the initial user namespace the system grants no larger send buffer than an ordinary user's.
fn may_force_buffers() -> bool {
    nix::unistd::geteuid().is_root()
        && std::fs::read_to_string("/proc/self/uid_map")
            .is_ok_and(|map| map.trim_end().ends_with("4294967295"))
}

/// A Service whose rules no send carries is set aside and told, and blocks no other.
pub(crate) fn a_sticky_service_beyond_the_send_buffer_blocks_no_other() {
    isolated("load::a_sticky_service_beyond_the_send_buffer_blocks_no_other", || {
        let mut proxy = Proxy::open();
        proxy.reconciler = proxy.reconciler.with_send_buffer(SMALL_BUFFER).unwrap();
        proxy.service("web", "10.96.1.1", 80);
        proxy.endpoints("web", &["10.244.1.2"]);
        let spec = json!({
            "clusterIPs": ["10.96.1.2"],
            "sessionAffinity": "ClientIP",
            "ports": [{"name": "tcp", "port": 80}],
        });
        apply(&mut proxy, "large", &spec, &[]);
        let pods: Vec<String> =
            (0..1000u16).map(|pod| format!("10.244.{}.{}", pod / 250, 1 + pod % 250)).collect();
        proxy.endpoints("large", &pods.iter().map(String::as_str).collect::<Vec<_>>());
        proxy.sync();
        let refused: Vec<String> = proxy.reconciler.unprogrammed().map(ToString::to_string).collect();
        if may_force_buffers() {
            assert_eq!(refused, Vec::<String>::new(), "room is made");
            return proxy.assert_in_sync();
        }
        assert_eq!(refused.len(), 1, "{refused:?}");
        let told = "default/large cannot be programmed: netlink: chain sticky-default/large/tcp/tcp";
        assert!(refused[0].contains(told) && refused[0].contains("net.core.wmem_max"), "{refused:?}");
        assert!(dump().unwrap().iter().any(|line| line.contains("10.244.1.2:9898")), "the other is there");
    });
}

pub(crate) fn a_load_beyond_the_send_buffer_goes_in_several() {
    isolated("load::a_load_beyond_the_send_buffer_goes_in_several", || {
        let mut proxy = Proxy::open();
        proxy.reconciler = proxy.reconciler.with_send_buffer(SMALL_BUFFER).unwrap();
        fill(&mut proxy);
        let start = Instant::now();
        let synced = proxy.sync();
        eprintln!("{} bytes in {} transactions, {:?}", synced.bytes, synced.transactions, start.elapsed());
        assert!(synced.transactions > 8);
        assert!(synced.bytes / synced.transactions as usize <= SMALL_BUFFER);
        proxy.assert_in_sync();
        assert_eq!(proxy.reconciler.verify(&proxy.table).unwrap(), Synced::default());
        for service in 0..SERVICES {
            proxy.delete(&format!("service-{service}"));
        }
        let synced = proxy.sync();
        assert!(synced.transactions > 1);
        proxy.assert_in_sync();
    });
}

pub(crate) fn one_change_among_many_is_small() {
    isolated("load::one_change_among_many_is_small", || {
        let mut proxy = Proxy::open();
        fill(&mut proxy);
        proxy.sync();
        proxy.endpoints("service-7", &["10.244.1.8", "10.244.2.8", "10.244.3.8", "10.244.4.8"]);
        let synced = proxy.sync();
        // For TCP and UDP: the endpoint goes, the service port counts four. The chain for four comes before, with its number.
        assert_eq!((synced.transactions, synced.elements), (2, 2 * 3 + 1));
        proxy.endpoints("service-7", &["10.244.1.8", "10.244.2.8", "10.244.3.8", "10.244.9.9"]);
        let synced = proxy.sync();
        assert_eq!((synced.transactions, synced.elements), (1, 2 * 2), "one number leads elsewhere");
        proxy.assert_in_sync();
    });
}

/// Lets so many transactions through, then fails all.
#[derive(Debug)]
pub(crate) struct After(pub(crate) usize);

impl Faults for After {
    fn strike(&mut self, call: Call) -> Option<i32> {
        if call != Call::Send {
            return None;
        }
        let Some(left) = self.0.checked_sub(1) else { return Some(libc::ENOBUFS) };
        self.0 = left;
        None
    }
}

pub(crate) fn a_load_that_ends_anywhere_leaves_no_half_service() {
    isolated("load::a_load_that_ends_anywhere_leaves_no_half_service", || {
        let mut proxy = Proxy::with_facts(dual_stack_facts());
        proxy.reconciler = proxy.reconciler.with_send_buffer(SMALL_BUFFER).unwrap();
        fill_with(&mut proxy, |service| service % 10 == 0);
        let mut table = proxy.table.clone();
        let touched = table.update(&proxy.model.snapshot(), &proxy.model.take_changes());
        let mut failures = 0;
        loop {
            // One to become the table's owner again, one that is of use.
            proxy.reconciler.set_faults(Some(Box::new(After(2))));
            if proxy.reconciler.sync(&table, &touched).is_ok() {
                break;
            }
            failures += 1;
            assert!(failures < 60, "no attempt gets further");
            let lines = dump().unwrap();
            let half: Vec<_> = lines.iter().filter(|line| line.contains("=> fault")).collect();
            assert!(half.is_empty(), "after {failures} transactions: {half:?}");
        }
        assert!(failures > 5, "each attempt goes on where the one before ended");
        assert_eq!(dump().unwrap(), table.lines());
    });
}
