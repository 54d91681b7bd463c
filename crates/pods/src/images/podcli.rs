//! The part of podinfo's command-line client that its manifests use in probes: `podcli check http|tcp TARGET`.

use std::net::{TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::time::Duration;

/// Runs one check; 0 if it succeeds.
pub(super) fn main(arguments: Vec<String>) -> ExitCode {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["check", "http", url, ..] => {
            let curl = ["-sSf", "-o", "/dev/null", "-m", "2", url];
            super::curl::main(curl.map(str::to_owned).to_vec())
        }
        ["check", "tcp", address, ..] => check_tcp(address),
        _ => super::arguments::fail("podcli", "usage: podcli check http URL | podcli check tcp HOST:PORT", 1),
    }
}

fn check_tcp(address: &str) -> ExitCode {
    let connected = address.to_socket_addrs().is_ok_and(|mut addresses| {
        addresses.any(|address| TcpStream::connect_timeout(&address, Duration::from_secs(2)).is_ok())
    });
    if connected {
        return ExitCode::SUCCESS;
    }
    super::arguments::fail("podcli", &format!("check failed: {address} does not answer"), 1)
}
