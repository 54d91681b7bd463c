//! A small stand-in for nslookup where the host has none: A, AAAA, SRV, PTR and CNAME over UDP, with the search list.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::process::ExitCode;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(5);

/// Record types by number (RFC 1035, 3596, 2782).
const TYPES: [(&str, u16); 5] = [("A", 1), ("CNAME", 5), ("PTR", 12), ("AAAA", 28), ("SRV", 33)];

struct Query {
    name: String,
    kind: u16,
    server: IpAddr,
    search: Vec<String>,
    dots: usize,
}

/// Looks one name up: `nslookup [-type=TYPE] NAME [SERVER]`.
pub(super) fn main(arguments: Vec<String>) -> ExitCode {
    let configuration = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let query = match parse(arguments, &configuration) {
        Ok(query) => query,
        Err(message) => return super::arguments::fail("nslookup", &message, 1),
    };
    let (text, found) = match resolve(&query) {
        Ok(answer) => answer,
        Err(error) => return super::arguments::fail("nslookup", &format!("{}: {error}", query.server), 1),
    };
    let server = SocketAddr::new(query.server, 53);
    let head = format!("Server:\t\t{}\nAddress:\t{}#{}\n\n", server.ip(), server.ip(), server.port());
    io::stdout().write_all((head + &text).as_bytes()).ok();
    if found { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn parse(arguments: Vec<String>, configuration: &str) -> Result<Query, String> {
    let mut kind = None;
    let mut names = Vec::new();
    for argument in arguments {
        match argument.strip_prefix("-type=").or_else(|| argument.strip_prefix("-query=")) {
            Some(name) => kind = Some(type_number(name).ok_or(format!("unknown query type: {name}"))?),
            None if argument.starts_with('-') => return Err(format!("unknown option {argument}")),
            None => names.push(argument),
        }
    }
    let mut names = names.into_iter();
    let name = names.next().ok_or("usage: nslookup [-type=TYPE] NAME [SERVER]")?;
    let words = |key: &str| {
        let lines = configuration.lines().filter_map(|line| line.trim().strip_prefix(key));
        lines.map(str::split_whitespace).map(Iterator::collect::<Vec<_>>).next_back().unwrap_or_default()
    };
    let server = match names.next() {
        Some(server) => server,
        None => words("nameserver").first().ok_or("no nameserver in /etc/resolv.conf")?.to_string(),
    };
    let server = server.parse().map_err(|_| format!("server {server:?} is not an address"))?;
    let search = words("search").into_iter().map(str::to_owned).collect();
    let dots =
        words("options").iter().find_map(|word| word.strip_prefix("ndots:")?.parse().ok()).unwrap_or(1);
    Ok(match name.parse::<IpAddr>() {
        Ok(address) => Query { name: reverse(address), kind: 12, server, search: Vec::new(), dots: 0 },
        Err(_) => Query { name, kind: kind.unwrap_or(1), server, search, dots },
    })
}

fn type_number(name: &str) -> Option<u16> {
    TYPES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, number)| *number)
}

fn reverse(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa.")
        }
        IpAddr::V6(address) => {
            let nibbles = address.octets().into_iter().rev().flat_map(|byte| [byte & 15, byte >> 4]);
            nibbles.fold(String::new(), |text, nibble| text + &format!("{nibble:x}.")) + "ip6.arpa."
        }
    }
}

/// The names to ask for, in order (resolver(5): `ndots` and the search list).
fn candidates(query: &Query) -> Vec<String> {
    let name = query.name.trim_end_matches('.');
    if query.name.ends_with('.') {
        return vec![name.to_owned()];
    }
    let mut names: Vec<String> = query.search.iter().map(|domain| format!("{name}.{domain}")).collect();
    let absolute_first = name.matches('.').count() >= query.dots;
    names.insert(if absolute_first { 0 } else { names.len() }, name.to_owned());
    names
}

fn resolve(query: &Query) -> io::Result<(String, bool)> {
    let socket = UdpSocket::bind(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0))?;
    socket.connect((query.server, 53))?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    let mut last_code = 3;
    for (id, name) in (1..).zip(candidates(query)) {
        let Some(message) = encode(id, &name, query.kind) else { continue };
        socket.send(&message)?;
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer)?;
        let reply = &buffer[..length];
        let text = decode(reply).ok_or(io::ErrorKind::InvalidData)?;
        if !text.is_empty() {
            return Ok((text, true));
        }
        last_code = reply[3] & 15;
    }
    let reason = match last_code {
        0 => "No answer".to_owned(),
        2 => "SERVFAIL".to_owned(),
        3 => "NXDOMAIN".to_owned(),
        5 => "REFUSED".to_owned(),
        code => format!("response code {code}"),
    };
    Ok((format!("** server can't find {}: {reason}\n", query.name.trim_end_matches('.')), false))
}

fn encode(id: u16, name: &str, kind: u16) -> Option<Vec<u8>> {
    let mut message = id.to_be_bytes().to_vec();
    // Recursion desired, one question.
    message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..64).contains(length))?;
        message.push(length);
        message.extend(label.as_bytes());
    }
    message.push(0);
    message.extend(kind.to_be_bytes());
    message.extend([0, 1]);
    Some(message)
}

/// The answer section as text; `None` for a message that is cut off or malformed.
fn decode(message: &[u8]) -> Option<String> {
    let word = |at: usize| Some(u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]));
    let (questions, answers) = (word(4)?, word(6)?);
    let mut at = 12;
    for _ in 0..questions {
        at = read_name(message, at)?.1 + 4;
    }
    let mut text = String::new();
    for _ in 0..answers {
        let (name, after) = read_name(message, at)?;
        let (kind, length) = (word(after)?, usize::from(word(after + 8)?));
        let data = message.get(after + 10..after + 10 + length)?;
        describe(&mut text, message, &name, kind, data, after + 10)?;
        at = after + 10 + length;
    }
    Some(text)
}

fn describe(text: &mut String, message: &[u8], name: &str, kind: u16, data: &[u8], at: usize) -> Option<()> {
    match kind {
        1 => {
            let address = Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?);
            writeln!(text, "Name:\t{name}\nAddress: {address}").ok()
        }
        28 => {
            let address = Ipv6Addr::from(<[u8; 16]>::try_from(data).ok()?);
            writeln!(text, "Name:\t{name}\nAddress: {address}").ok()
        }
        5 => writeln!(text, "{name}\tcanonical name = {}.", read_name(message, at)?.0).ok(),
        12 => writeln!(text, "{name}\tname = {}.", read_name(message, at)?.0).ok(),
        33 => {
            let number = |at: usize| Some(u16::from_be_bytes([*data.get(at)?, *data.get(at + 1)?]));
            let (priority, weight, port) = (number(0)?, number(2)?, number(4)?);
            let target = read_name(message, at + 6)?.0;
            writeln!(text, "{name}\tservice = {priority} {weight} {port} {target}.").ok()
        }
        _ => Some(()),
    }
}

/// A name and the offset after it. Pointers must point backwards, so the walk ends (RFC 1035 §4.1.4).
fn read_name(message: &[u8], start: usize) -> Option<(String, usize)> {
    let (mut at, mut limit, mut after) = (start, start + 1, None);
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*message.get(at)?);
        match length {
            0 => return Some((labels.join("."), after.unwrap_or(at + 1))),
            1..64 => {
                labels.push(String::from_utf8_lossy(message.get(at + 1..at + 1 + length)?).into_owned());
                at += 1 + length;
            }
            192.. => {
                let target = (length & 63) << 8 | usize::from(*message.get(at + 1)?);
                after.get_or_insert(at + 2);
                if target >= limit.min(at) {
                    return None;
                }
                (at, limit) = (target, target);
            }
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIGURATION: &str = "nameserver 10.96.0.10\nsearch default.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n";

    fn query(line: &str) -> Query {
        parse(line.split_whitespace().map(str::to_owned).collect(), CONFIGURATION).expect("valid")
    }

    #[test]
    fn search_list_and_ndots() {
        let names = candidates(&query("podinfo"));
        assert_eq!(names[0], "podinfo.default.svc.cluster.local");
        assert_eq!(names[3], "podinfo");
        assert_eq!(candidates(&query("a.b.c.d.e.f"))[0], "a.b.c.d.e.f");
        assert_eq!(candidates(&query("podinfo.")), ["podinfo"]);
        assert_eq!(candidates(&query("10.96.0.1")), ["1.0.96.10.in-addr.arpa"]);
    }

    #[test]
    fn answers_are_printed() {
        let mut message = encode(1, "podinfo.default", 1).expect("valid");
        message[7] = 1;
        message.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 10, 96, 1, 2]);
        assert_eq!(decode(&message).as_deref(), Some("Name:\tpodinfo.default\nAddress: 10.96.1.2\n"));
        for length in 0..message.len() {
            assert_eq!(decode(&message[..length]), None, "cut off at {length}");
        }
    }

    #[test]
    fn pointers_that_loop_are_refused() {
        let mut message = vec![0; 12];
        message.extend([0xc0, 12]);
        assert_eq!(read_name(&message, 12), None);
    }
}
