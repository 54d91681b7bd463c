//! One frontend that the kernel refuses blocks no other.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use dataplane::reconcile::dump;
use dataplane::{Call, Faults};

use crate::namespace::isolated;
use crate::objects::Proxy;

const SERVICES: u8 = 200;

/// A kernel that refuses every message with one of these bytes in it.
#[derive(Debug)]
struct Refusing {
    bytes: Vec<Vec<u8>>,
    refusals: Arc<AtomicU32>,
}

impl Faults for Refusing {
    fn strike(&mut self, _: Call) -> Option<i32> {
        None
    }

    fn refuse(&mut self, _: &str, message: &[u8]) -> Option<i32> {
        let found = self.bytes.iter().any(|bytes| message.windows(bytes.len()).any(|window| window == bytes));
        found.then(|| {
            self.refusals.fetch_add(1, Ordering::SeqCst);
            libc::EINVAL
        })
    }
}

/// Has the kernel refuse what is about these addresses' elements of frontends; how often it did.
fn refuse(proxy: &mut Proxy, addresses: &[&str]) -> Arc<AtomicU32> {
    let refusals = Arc::new(AtomicU32::new(0));
    // As in the key of a frontend: the address and then the port 80. The address alone may be a member of a set.
    let key = |address: &&str| match address.parse().unwrap() {
        IpAddr::V4(address) => [&address.octets()[..], &[0, 80]].concat(),
        IpAddr::V6(address) => [&address.octets()[..], &[0, 80]].concat(),
    };
    let bytes = addresses.iter().map(key).collect();
    proxy.reconciler.set_faults(Some(Box::new(Refusing { bytes, refusals: Arc::clone(&refusals) })));
    refusals
}

fn address(service: u8) -> String {
    format!("10.96.1.{service}")
}

fn fill(proxy: &mut Proxy) {
    for service in 0..SERVICES {
        let name = format!("service-{service}");
        proxy.service(&name, &address(service), 80);
        proxy.endpoints(&name, &["10.244.1.2", "10.244.2.2"]);
    }
}

/// The Services that are set aside, with the protocols' frontends of each.
fn unprogrammed(proxy: &Proxy) -> Vec<String> {
    let services = proxy.reconciler.unprogrammed().filter_map(|refused| refused.service.as_ref());
    let mut services: Vec<String> = services.map(ToString::to_string).collect();
    services.dedup();
    services
}

/// Asserts that the kernel lacks the frontends of these addresses and nothing else. The addresses themselves it has:
/// their ports are refused like undefined ones.
fn assert_all_but(proxy: &Proxy, addresses: &[&str]) {
    let held: BTreeSet<String> = dump().unwrap().into_iter().collect();
    let wanted: BTreeSet<String> = proxy.table.lines().into_iter().collect();
    let missing: Vec<&String> = wanted.difference(&held).collect();
    assert_eq!(missing.len(), 2 * addresses.len(), "{missing:?}");
    for address in addresses {
        let of = |line: &&&String| line.contains(&format!(" {address}:80 "));
        assert_eq!(missing.iter().filter(of).count(), 2, "{address}: {missing:?}");
    }
    let unwanted: Vec<&String> = held.difference(&wanted).collect();
    let faults: Vec<String> =
        addresses.iter().map(|address| format!("fault: {address} has no service port")).collect();
    assert_eq!(unwanted, faults.iter().collect::<Vec<_>>());
}

/// Syncs until nothing is set aside.
fn wait_until_programmed(proxy: &mut Proxy) {
    let end = Instant::now() + Duration::from_secs(30);
    while let Some(pause) = proxy.reconciler.retry_in() {
        assert!(Instant::now() < end, "{:?}", proxy.reconciler.unprogrammed().collect::<Vec<_>>());
        std::thread::sleep(pause);
        proxy.sync();
    }
    proxy.assert_in_sync();
}

pub(crate) fn one_bad_service_blocks_no_other() {
    isolated("refused::one_bad_service_blocks_no_other", || {
        let mut proxy = Proxy::open();
        fill(&mut proxy);
        let refusals = refuse(&mut proxy, &["10.96.1.77"]);
        proxy.sync();
        assert_eq!(unprogrammed(&proxy), ["default/service-77"]);
        let refused = proxy.reconciler.unprogrammed().next().unwrap().to_string();
        assert!(refused.contains("10.96.1.77:80 of default/service-77 cannot be programmed"), "{refused}");
        assert_all_but(&proxy, &["10.96.1.77"]);
        let found = refusals.load(Ordering::SeqCst);
        eprintln!("found with {found} refusals among {SERVICES} services");
        assert!(found < 30, "{found} refusals to find one service's two frontends");

        proxy.endpoints("service-5", &["10.244.1.9"]);
        assert_eq!(proxy.sync().transactions, 1);
        assert_eq!(refusals.load(Ordering::SeqCst), found, "a change of others is no occasion to try again");
        assert_all_but(&proxy, &["10.96.1.77"]);

        proxy.reconciler.set_faults(None);
        wait_until_programmed(&mut proxy);
    });
}

pub(crate) fn a_bad_change_keeps_what_was_there() {
    isolated("refused::a_bad_change_keeps_what_was_there", || {
        let mut proxy = Proxy::open();
        fill(&mut proxy);
        proxy.sync();
        let before = dump().unwrap();
        refuse(&mut proxy, &["10.96.1.7", "10.96.1.8"]);
        proxy.endpoints("service-7", &["10.244.3.3"]);
        proxy.delete("service-8");
        proxy.endpoints("service-9", &["10.244.3.3"]);
        proxy.sync();
        assert_eq!(unprogrammed(&proxy), ["default/service-7"]);
        assert_eq!(proxy.reconciler.unprogrammed().count(), 4, "TCP and UDP, changed and removed");
        let held = dump().unwrap();
        for address in ["10.96.1.7:", "10.96.1.8:"] {
            let of = |lines: &[String]| -> Vec<String> {
                lines.iter().filter(|line| line.contains(address)).cloned().collect()
            };
            assert_eq!(of(&held), of(&before), "{address}");
        }
        assert!(held.iter().any(|line| line.contains("10.96.1.9:") && line.contains("10.244.3.3")));
        proxy.reconciler.verify(&proxy.table).unwrap();
        assert_eq!(dump().unwrap(), held, "reading back is no occasion to try again either");

        proxy.reconciler.set_faults(None);
        wait_until_programmed(&mut proxy);
    });
}

/// A kernel that refuses an address as a member of sets, whatever else it takes of it.
#[derive(Debug)]
struct RefusingMember(IpAddr);

impl Faults for RefusingMember {
    fn strike(&mut self, _: Call) -> Option<i32> {
        None
    }

    fn refuse(&mut self, object: &str, message: &[u8]) -> Option<i32> {
        let IpAddr::V4(address) = self.0 else { return None };
        let of_members = object.ends_with(" of service-ips") || object.ends_with(" of hairpins");
        let found = message.windows(4).any(|window| window == address.octets());
        (of_members && found).then_some(libc::EINVAL)
    }
}

pub(crate) fn one_bad_member_of_a_set_blocks_no_other() {
    isolated("refused::one_bad_member_of_a_set_blocks_no_other", || {
        for (member, said) in [
            ("10.96.1.77", "the address 10.96.1.77 of default/service-77 cannot be programmed"),
            ("10.244.1.2", "the endpoint 10.244.1.2 of default/service-"),
        ] {
            let mut proxy = Proxy::open();
            fill(&mut proxy);
            proxy.reconciler.set_faults(Some(Box::new(RefusingMember(member.parse().unwrap()))));
            proxy.sync();
            let refused: Vec<String> = proxy.reconciler.unprogrammed().map(ToString::to_string).collect();
            assert_eq!(refused.len(), 1, "{refused:?}");
            assert!(refused[0].contains(said), "{refused:?}");
            let held: BTreeSet<String> = dump().unwrap().into_iter().collect();
            let missing: Vec<String> =
                proxy.table.lines().into_iter().filter(|line| !held.contains(line)).collect();
            assert!(missing.len() <= 1, "{missing:?}");
            proxy.endpoints("service-5", &["10.244.2.9"]);
            proxy.sync();
            proxy.reconciler.set_faults(None);
            wait_until_programmed(&mut proxy);
            drop(proxy);
            assert!(dataplane::nftables::cleanup().unwrap());
        }
    });
}

pub(crate) fn many_bad_services_end_in_time() {
    isolated("refused::many_bad_services_end_in_time", || {
        let mut proxy = Proxy::open();
        fill(&mut proxy);
        let addresses: Vec<String> = (0..SERVICES).map(address).collect();
        let refusals = refuse(&mut proxy, &addresses.iter().map(String::as_str).collect::<Vec<_>>());
        proxy.service("good", "10.96.2.1", 80);
        proxy.endpoints("good", &["10.244.1.2"]);
        proxy.sync();
        let first = refusals.load(Ordering::SeqCst);
        assert!(first < 300, "{first} refusals in one sync");
        proxy.reconciler.set_faults(None);
        wait_until_programmed(&mut proxy);
    });
}

pub(crate) fn a_refused_table_is_an_error() {
    isolated("refused::a_refused_table_is_an_error", || {
        let mut proxy = Proxy::open();
        fill(&mut proxy);
        let changes = proxy.model.take_changes();
        let touched = proxy.table.update(&proxy.model.snapshot(), &changes);
        let refusals = Arc::new(AtomicU32::new(0));
        let bytes = vec![b"nat-prerouting".to_vec()];
        proxy.reconciler.set_faults(Some(Box::new(Refusing { bytes, refusals: Arc::clone(&refusals) })));
        proxy.reconciler.sync(&proxy.table, &touched).unwrap_err();
        assert_eq!(proxy.reconciler.unprogrammed().count(), 0, "no frontend is to blame");
        assert!(refusals.load(Ordering::SeqCst) < 20);
        proxy.reconciler.set_faults(None);
        proxy.reconciler.sync(&proxy.table, &touched).unwrap();
        proxy.assert_in_sync();
    });
}
