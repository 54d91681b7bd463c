//! Where tables cannot be owned, others' edits are noticed and repaired.

use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use dataplane::reconcile::{Closer, Edit, Reconciler, Synced, dump};

use crate::namespace::{isolated, output};
use crate::objects::Proxy;
use crate::restart::nft;

/// A proxy whose table anybody may edit, as on kernels before 6.9, with two services.
fn unowned() -> Proxy {
    let mut proxy = Proxy::open();
    proxy.reconciler = Reconciler::open().unwrap().without_ownership();
    proxy.service("web", "10.96.1.1", 80);
    proxy.endpoints("web", &["10.244.1.2", "10.244.2.2", "10.244.2.3"]);
    proxy
}

/// Edits as a thread hears of them.
fn listen(proxy: &Proxy) -> (Receiver<Edit>, Closer) {
    let (mut monitor, closer) = proxy.reconciler.monitor().unwrap().expect("the table is not owned");
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        while let Some(edit) = monitor.wait().unwrap() {
            sender.send(edit).unwrap();
        }
    });
    (receiver, closer)
}

pub(crate) fn edits_by_others_are_noticed_and_repaired() {
    isolated("monitor::edits_by_others_are_noticed_and_repaired", || {
        let mut proxy = unowned();
        let (edits, closer) = listen(&proxy);
        proxy.sync();
        for edit in [
            "delete element ip sluice services { tcp . 10.96.1.1 . 80 }",
            "flush chain ip sluice nat-prerouting",
            "flush ruleset",
        ] {
            let start = Instant::now();
            assert!(nft(edit), "{edit}");
            let heard = edits.recv_timeout(Duration::from_secs(2)).expect(edit);
            assert_eq!(heard.process.as_ref().map(|(name, _)| name.as_str()), Some("nft"), "{edit}");
            assert!(!heard.alike, "{heard}");
            assert_eq!(proxy.reconciler.repair(&proxy.table).unwrap().transactions, 1, "{edit}");
            assert!(start.elapsed() < Duration::from_secs(2), "{:?} for {edit}", start.elapsed());
            assert_eq!(dump().unwrap(), proxy.table.lines(), "{edit}");
        }
        drop(closer);
        let end = edits.recv_timeout(Duration::from_secs(2)).unwrap_err();
        assert_eq!(end, std::sync::mpsc::RecvTimeoutError::Disconnected, "the thread has ended");
    });
}

/// What a rule does is not read back: a repair writes all of them anew.
pub(crate) fn an_edit_that_keeps_the_comments_is_repaired() {
    isolated("monitor::an_edit_that_keeps_the_comments_is_repaired", || {
        let mut proxy = unowned();
        let (edits, _closer) = listen(&proxy);
        proxy.sync();
        let chain = |name: &str| output("nft", &["list", "chain", "ip", "sluice", name]).unwrap();
        for (name, comments) in [
            ("n3", ["one of 3", "this number has just gone: the first"]),
            ("nat-prerouting", ["a service port", "no port of this service"]),
        ] {
            let before = chain(name);
            let rules =
                comments.map(|comment| format!("add rule ip sluice {name} accept comment \"{comment}\""));
            assert!(nft(&format!("flush chain ip sluice {name}; {}; {}", rules[0], rules[1])));
            assert_ne!(chain(name), before);
            assert_eq!(dump().unwrap(), proxy.table.lines(), "it looks the same");
            edits.recv_timeout(Duration::from_secs(2)).unwrap();
            assert_eq!(proxy.reconciler.repair(&proxy.table).unwrap().transactions, 1);
            assert_eq!(chain(name), before);
            assert_eq!(proxy.reconciler.verify(&proxy.table).unwrap(), Synced::default());
        }
    });
}

pub(crate) fn our_own_transactions_and_others_tables_are_no_edits() {
    isolated("monitor::our_own_transactions_and_others_tables_are_no_edits", || {
        let mut proxy = unowned();
        let (edits, _closer) = listen(&proxy);
        // More than a queue of notifications holds.
        for service in 0..2000u16 {
            let name = format!("service-{service}");
            proxy.service(&name, &format!("10.96.{}.{}", 2 + service / 200, 1 + service % 200), 80);
            proxy.endpoints(&name, &["10.244.1.2", "10.244.2.2"]);
        }
        proxy.sync();
        assert!(nft(
            "add table ip other; add chain ip other c; add rule ip other c drop; delete table ip other"
        ));
        let heard = edits.recv_timeout(Duration::from_millis(500));
        assert!(heard.is_err(), "{heard:?}");
    });
}

pub(crate) fn a_rival_is_called_one_and_does_not_keep_us_busy() {
    isolated("monitor::a_rival_is_called_one_and_does_not_keep_us_busy", || {
        let mut proxy = unowned();
        let (edits, _closer) = listen(&proxy);
        proxy.sync();
        let mut rival = Reconciler::open().unwrap().without_ownership();
        let empty = dataplane::forwarding_table::ForwardingTable::new(crate::objects::facts());
        let start = Instant::now();
        let mut answers = 0;
        loop {
            rival.verify(&empty).unwrap();
            let heard = edits.recv_timeout(Duration::from_secs(3)).unwrap();
            proxy.reconciler.repair(&proxy.table).unwrap();
            assert!(heard.to_string().contains("another sluice agent"), "told at once: {heard}");
            answers += 1;
            if heard.repeated && start.elapsed() > Duration::from_secs(3) {
                break;
            }
        }
        assert!(answers < 15, "{answers} answers in {:?}", start.elapsed());
        proxy.assert_in_sync();
    });
}
