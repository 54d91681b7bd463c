//! `forward`.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::service::conflict;
use super::{Reader, Result};
use crate::corefile::config::{Forward, HealthCheck, Policy, Tls, To};
use crate::corefile::error::Position;
use crate::corefile::token::Token;
use crate::corefile::tree::Directive;
use crate::corefile::words::root;

/// Most upstreams, as CoreDNS.
const UPSTREAMS_MAX: usize = 15;
/// Ports of DNS and of DNS over TLS.
const PORT: u16 = 53;
const TLS_PORT: u16 = 853;
/// Idle connections kept for each upstream when the Corefile does not say.
const IDLE_MAX: usize = 16;

pub(super) fn read(line: &Directive, reader: &mut Reader) -> Result<Forward> {
    let from = line.argument(0, "a zone and the resolvers to ask")?;
    let zones = crate::corefile::words::zones(std::slice::from_ref(from))?;
    let [zone] = &zones[..] else {
        return Err(from.unexpected("one zone: write a forward line for each part of this network"));
    };
    line.argument(1, "at least one resolver: an address or /etc/resolv.conf")?;
    let to = line.arguments[1..].iter().map(read_to).collect::<Result<Vec<_>>>()?;
    if let Some(excess) = line.arguments.get(1 + UPSTREAMS_MAX) {
        return Err(excess.unexpected(format!("at most {UPSTREAMS_MAX} resolvers")));
    }
    let mut forward = Forward::new(line.name.position.clone(), zone.clone(), to);
    for option in &line.block {
        read_option(&mut forward, option, reader)?;
    }
    let named = forward.to.iter().any(|to| matches!(to, To::Tls(_, Some(_))));
    if named && forward.tls.server_name.is_some() {
        return Err(conflict(
            line,
            "name the TLS server once: with %name at the address or with tls_servername",
        ));
    }
    Ok(forward)
}

impl Forward {
    pub(super) fn new(position: Position, from: crate::name::Name, to: Vec<To>) -> Self {
        Self {
            position,
            from,
            to,
            except: Vec::new(),
            policy: Policy::default(),
            fails_max: 2,
            health_check: HealthCheck {
                interval: Duration::from_millis(500),
                recursion: true,
                domain: root(),
            },
            expire: Duration::from_secs(10),
            age_max: None,
            idle_max: IDLE_MAX,
            tries_max: None,
            sources: Vec::new(),
            read_timeout: Duration::from_secs(2),
            concurrent_max: None,
            force_tcp: false,
            prefer_udp: false,
            failfast: false,
            failover: Vec::new(),
            next: Vec::new(),
            next_on_nodata: false,
            tls: Tls::default(),
        }
    }
}

fn read_to(token: &Token) -> Result<To> {
    let (scheme, rest) = token.text.split_once("://").unwrap_or(("dns", &token.text));
    let expected = || token.unexpected("an address such as 10.0.0.10, 10.0.0.10:53, tls://1.1.1.1 or a file");
    match scheme {
        "dns" => match upstream_address(rest, PORT) {
            Some(address) => Ok(To::Dns(address)),
            None if rest.contains('/') => Ok(To::File(rest.into())),
            None => Err(expected()),
        },
        "tls" => {
            let (address, name) = match rest.rsplit_once('%') {
                Some((address, name)) => split_server_name(address, name),
                None => (rest.to_owned(), None),
            };
            let address = upstream_address(&address, TLS_PORT).ok_or_else(expected)?;
            Ok(To::Tls(address, name))
        }
        _ => Err(token.unexpected("dns:// or tls://: other transports are not served here")),
    }
}

/// `1.1.1.1%name:853` is the address with the port, and the name.
fn split_server_name(address: &str, name: &str) -> (String, Option<String>) {
    match name.rsplit_once(':') {
        Some((name, port)) => (format!("{address}:{port}"), Some(name.to_owned())),
        None => (address.to_owned(), Some(name.to_owned())),
    }
}

/// An address with an optional port: `10.0.0.1`, `10.0.0.1:54`, `::1`, `[::1]:54`.
#[must_use]
pub fn upstream_address(text: &str, default_port: u16) -> Option<SocketAddr> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Some(SocketAddr::new(address, default_port));
    }
    text.parse().ok()
}

fn read_option(forward: &mut Forward, option: &Directive, reader: &mut Reader) -> Result<()> {
    match &option.name.text[..] {
        "except" => {
            forward
                .except
                .extend(crate::corefile::words::zones(option.some("zones that are not forwarded")?)?);
        }
        "policy" => {
            let policies = [
                ("random", Policy::Random),
                ("round_robin", Policy::RoundRobin),
                ("sequential", Policy::Sequential),
            ];
            forward.policy = option.only("random, round_robin or sequential")?.one_of(&policies)?;
        }
        "max_fails" => forward.fails_max = option.only("a number")?.number(0..=u32::MAX)?,
        "health_check" => read_health_check(&mut forward.health_check, option)?,
        "expire" => forward.expire = option.only("a duration")?.duration()?,
        "read_timeout" => {
            let token = option.only("a duration")?;
            forward.read_timeout = token.duration()?;
            if forward.read_timeout.is_zero() {
                return Err(token.unexpected("a duration above zero"));
            }
        }
        "max_concurrent" => {
            let most: usize = option.only("a number of queries")?.number(0..=1_000_000)?;
            forward.concurrent_max = Some(most).filter(|most| *most > 0);
        }
        "force_tcp" => {
            option.bare()?;
            forward.force_tcp = true;
        }
        "prefer_udp" => {
            option.bare()?;
            forward.prefer_udp = true;
        }
        "tls" => read_tls(&mut forward.tls, option)?,
        "tls_servername" => {
            forward.tls.server_name = Some(option.only("a name")?.text.trim_end_matches('.').to_owned());
        }
        _ => return read_rare_option(forward, option, reader),
    }
    option.no_block()
}

fn read_rare_option(forward: &mut Forward, option: &Directive, reader: &mut Reader) -> Result<()> {
    let codes = || option.some("response codes")?.iter().map(Token::rcode).collect::<Result<Vec<_>>>();
    match &option.name.text[..] {
        "failfast_all_unhealthy_upstreams" => {
            option.bare()?;
            forward.failfast = true;
        }
        "failover" => forward.failover = codes()?,
        "next" => forward.next = codes()?,
        "max_age" => {
            let age = option.only("a duration; 0s for no limit")?.duration()?;
            forward.age_max = Some(age).filter(|age| !age.is_zero());
        }
        "max_idle_conns" => {
            // As CoreDNS, where 0 is no limit; ours then is what one upstream can be sent at a time.
            let most = option.only("a number of connections")?.number(0..=1_000_000)?;
            forward.idle_max = if most == 0 { IDLE_MAX } else { most };
        }
        "max_connect_attempts" => {
            let most = option.only("a number of tries")?.number(0..=1000)?;
            forward.tries_max = Some(most).filter(|most| *most > 0);
        }
        "next_on_nodata" => {
            option.bare()?;
            forward.next_on_nodata = true;
        }
        "source_address" => {
            let expected = "an address of this machine";
            let source = option.only(expected)?;
            forward.sources.push(source.text.parse().map_err(|_| source.unexpected(expected))?);
        }
        "resolver" => reader.option(option, "forward", "name the upstreams by their addresses"),
        "doh_method" => {
            reader.option(option, "forward", "remove it; upstreams are asked over UDP, TCP or TLS")
        }
        _ => {
            let known = "except, policy, max_fails, health_check, expire, read_timeout, max_concurrent, force_tcp, \
                         prefer_udp, tls, tls_servername, failover, next, next_on_nodata, \
                         failfast_all_unhealthy_upstreams, max_age, max_idle_conns, max_connect_attempts, source_address";
            return Err(option.unknown("forward", known));
        }
    }
    Ok(())
}

/// `DURATION [no_rec] [domain NAME]`.
fn read_health_check(check: &mut HealthCheck, option: &Directive) -> Result<()> {
    check.interval = option.argument(0, "a duration")?.duration()?;
    let mut words = option.arguments.iter().skip(1);
    while let Some(word) = words.next() {
        match &word.text[..] {
            "no_rec" => check.recursion = false,
            "domain" => {
                check.domain = words.next().ok_or_else(|| option.missing("a domain name"))?.name()?;
            }
            _ => return Err(word.unexpected("no_rec or domain")),
        }
    }
    Ok(())
}

/// Nothing, an authority, a certificate and a key, or all three.
fn read_tls(tls: &mut Tls, option: &Directive) -> Result<()> {
    option.at_most(3)?;
    let file = |index: usize| option.arguments[index].text.clone().into();
    match option.arguments.len() {
        1 => tls.authority = Some(file(0)),
        2 => tls.identity = Some([file(0), file(1)]),
        3 => (tls.identity, tls.authority) = (Some([file(0), file(1)]), Some(file(2))),
        _ => {}
    }
    Ok(())
}
