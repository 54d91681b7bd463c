//! The data directory: what survives, and what is refused.

use std::sync::Arc;

use control_plane::{Config, ControlPlane, Error};

use crate::server::{CONFIG_MAPS, Redirect, SERVICES, Scratch, Server, config_map, service};

fn config(directory: &Scratch) -> Config {
    Config { data_dir: Some(directory.path().join("data")), ..Config::default() }
}

#[tokio::test]
async fn everything_survives_a_restart() {
    let directory = Scratch::new("restart");
    let server = Server::start_with(config(&directory), Redirect(None)).await;
    server.post(CONFIG_MAPS, &config_map("a", "1")).await;
    server.post(SERVICES, &service("web")).await;
    let (map, web) = (server.get(CONFIG_MAPS).await.json, server.get(SERVICES).await.json);
    let authority = server.control_plane.authority().ca_pem().to_owned();
    stop(server).await;

    let server = Server::start_with(config(&directory), Redirect(None)).await;
    assert_eq!(server.control_plane.authority().ca_pem(), authority);
    assert_eq!(server.get(CONFIG_MAPS).await.json["items"], map["items"]);
    assert_eq!(server.get(SERVICES).await.json["items"], web["items"]);
    let next = server.post(CONFIG_MAPS, &config_map("b", "1")).await.json;
    let number = |value: &serde_json::Value| {
        value["metadata"]["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap()
    };
    assert_eq!(number(&next), number(&web) + 1);
    let taken = server.post(CONFIG_MAPS, &config_map("a", "2")).await;
    assert_eq!(taken.code, 409);
}

/// Waits until nothing holds the directory any more.
async fn stop(server: Server) {
    let control_plane = Arc::downgrade(&server.control_plane);
    drop(server);
    for _ in 0..100 {
        if control_plane.strong_count() == 0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("the control plane is still held");
}

#[test]
fn a_second_one_in_the_same_directory_is_refused() {
    let directory = Scratch::new("second");
    let first = ControlPlane::open(config(&directory)).unwrap();
    let refused = ControlPlane::open(config(&directory)).err().unwrap();
    assert!(matches!(refused, Error::InUse { .. }), "{refused}");
    assert!(refused.to_string().contains("is in use by another sluice"), "{refused}");
    drop(first);
    ControlPlane::open(config(&directory)).unwrap();
}

#[test]
fn a_directory_of_somebody_else_is_left_alone() {
    let directory = Scratch::new("foreign");
    std::fs::create_dir(directory.path().join("data")).unwrap();
    std::fs::write(directory.path().join("data/photo.jpg"), "x").unwrap();
    let refused = ControlPlane::open(config(&directory)).err().unwrap();
    assert!(matches!(refused, Error::NotOurs { .. }), "{refused}");
    assert_eq!(std::fs::read_dir(directory.path().join("data")).unwrap().count(), 1);
}

#[test]
fn damaged_files_are_named() {
    let directory = Scratch::new("damaged");
    drop(ControlPlane::open(config(&directory)).unwrap());
    for (file, content) in
        [("store.redb", &b"garbage"[..]), ("store.redb", b""), ("ca.crt", b"garbage"), ("ca.key", b"garbage")]
    {
        let path = directory.path().join("data").join(file);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, content).unwrap();
        let refused = ControlPlane::open(config(&directory)).err().unwrap();
        assert!(matches!(refused, Error::Damaged { .. }), "{file}: {refused}");
        assert!(refused.to_string().contains(file), "{refused}");
        assert_eq!(std::fs::read(&path).unwrap(), content, "{file} was changed");
        std::fs::write(&path, whole).unwrap();
        drop(ControlPlane::open(config(&directory)).unwrap());
    }
}

#[test]
fn the_key_and_the_objects_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let directory = Scratch::new("modes");
    drop(ControlPlane::open(config(&directory)).unwrap());
    let mode =
        |file: &str| std::fs::metadata(directory.path().join(file)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("data"), mode("data/ca.key"), mode("data/store.redb")), (0o700, 0o600, 0o600));
}
