//! Plugins about the server itself: where it listens, what it tells.

use std::net::IpAddr;
use std::time::Duration;

use super::{Reader, Result};
use crate::corefile::config::{
    Bind, Block, ErrorsConfig, HeaderBit, HeaderRule, Health, LogClass, LogRule, Ready, Reload,
};
use crate::corefile::error::Problem;
use crate::corefile::token::Token;
use crate::corefile::tree::Directive;
use crate::corefile::words::root;

/// CoreDNS's `{common}`, which is its default.
const COMMON: &str = "{remote}:{port} - {>id} \"{type} {class} {name} {proto} {size} {>do} {>bufsize}\" \
                      {rcode} {>rflags} {rsize} {duration}";

pub(super) fn read_bind(block: &mut Block, line: &Directive) -> Result<()> {
    let read = |tokens: &[Token]| tokens.iter().map(read_place).collect::<Result<Vec<_>>>();
    block.bind.extend(read(line.some("an address or an interface")?)?);
    for option in &line.block {
        match &option.name.text[..] {
            "except" => block.bind_except.extend(read(option.some("an address or an interface")?)?),
            _ => return Err(option.unknown("bind", "except")),
        }
    }
    Ok(())
}

fn read_place(token: &Token) -> Result<Bind> {
    if let Ok(address) = token.text.parse::<IpAddr>() {
        return Ok(Bind::Address(address));
    }
    // Names of interfaces have at most 15 bytes, and neither slash nor colon.
    if token.text.len() > 15 || token.text.contains(['/', ':']) {
        return Err(token.unexpected("an address such as 10.0.0.1 or an interface such as eth0"));
    }
    Ok(Bind::Interface(token.text.clone()))
}

pub(super) fn read_bufsize(line: &Directive) -> Result<u16> {
    line.no_block()?;
    line.at_most(1)?;
    line.arguments.first().map_or(Ok(1232), |size| size.number(512..=4096))
}

pub(super) fn read_errors(line: &Directive, reader: &mut Reader) -> Result<ErrorsConfig> {
    line.at_most(1)?;
    if let Some(file) = line.arguments.first().filter(|file| file.text != "stdout") {
        return Err(file.unexpected("stdout or nothing"));
    }
    let mut errors = ErrorsConfig::default();
    for option in &line.block {
        match &option.name.text[..] {
            "consolidate" => {
                let period = option.argument(0, "a duration and a regular expression")?.duration()?;
                let pattern = option.argument(1, "a regular expression")?.regex()?;
                option.at_most(4)?;
                for word in option.arguments.iter().skip(2) {
                    word.one_of(&[
                        ("warning", ()),
                        ("error", ()),
                        ("info", ()),
                        ("debug", ()),
                        ("show_first", ()),
                    ])?;
                }
                errors.consolidate.push((period, pattern));
            }
            "stacktrace" => reader.option(option, "errors", "remove it; there is no stack to show"),
            _ => return Err(option.unknown("errors", "consolidate")),
        }
    }
    Ok(errors)
}

pub(super) fn read_log(line: &Directive) -> Result<Vec<LogRule>> {
    let mut names = &line.arguments[..];
    let mut format = COMMON.to_owned();
    if let Some((last, rest)) =
        names.split_last().filter(|(last, rest)| last.text.contains('{') && !rest.is_empty())
    {
        let combined = format!("{COMMON} \"{{>opcode}}\"");
        format = last.text.replace("{common}", COMMON).replace("{combined}", &combined);
        names = rest;
    }
    let mut classes = Vec::new();
    for option in &line.block {
        match &option.name.text[..] {
            "class" => {
                let words = [
                    ("all", LogClass::All),
                    ("success", LogClass::Success),
                    ("denial", LogClass::Denial),
                    ("error", LogClass::Error),
                ];
                for word in option.some("all, success, denial or error")? {
                    classes.push(word.one_of(&words)?);
                }
            }
            _ => return Err(option.unknown("log", "class")),
        }
    }
    if classes.is_empty() {
        classes.push(LogClass::All);
    }
    let zones = if names.is_empty() {
        vec![root()]
    } else {
        names.iter().map(Token::name).collect::<Result<Vec<_>>>()?
    };
    Ok(zones
        .into_iter()
        .map(|zone| LogRule { zone, format: format.clone(), classes: classes.clone() })
        .collect())
}

/// `[address]:port`, where an empty address means all of them.
fn read_listen(line: &Directive, default: &str) -> Result<String> {
    line.at_most(1)?;
    let Some(token) = line.arguments.first() else { return Ok(default.into()) };
    listen_address(token)?;
    Ok(token.text.clone())
}

fn listen_address(token: &Token) -> Result<()> {
    let expected = || token.unexpected("an address such as :8080 or 127.0.0.1:8080");
    let (host, port) = token.text.rsplit_once(':').ok_or_else(expected)?;
    port.parse::<u16>().map_err(|_| expected())?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() || host == "localhost" || host.parse::<IpAddr>().is_ok() {
        Ok(())
    } else {
        Err(expected())
    }
}

pub(super) fn read_health(line: &Directive) -> Result<Health> {
    let mut health = Health { address: read_listen(line, ":8080")?, lameduck: Duration::ZERO };
    for option in &line.block {
        match &option.name.text[..] {
            "lameduck" => health.lameduck = option.only("a duration such as 5s")?.duration()?,
            _ => return Err(option.unknown("health", "lameduck")),
        }
    }
    Ok(health)
}

pub(super) fn read_ready(line: &Directive) -> Result<Ready> {
    for option in &line.block {
        match &option.name.text[..] {
            // Both come to the same here: what is synced stays so.
            "monitor" => {
                let choices = [("until-ready", ()), ("continuously", ())];
                option.only("until-ready or continuously")?.one_of(&choices)?;
            }
            _ => return Err(option.unknown("ready", "monitor")),
        }
    }
    Ok(Ready { address: read_listen(line, ":8181")? })
}

pub(super) fn read_prometheus(line: &Directive) -> Result<String> {
    line.no_block()?;
    read_listen(line, "localhost:9153")
}

pub(super) fn read_reload(line: &Directive) -> Result<Reload> {
    line.no_block()?;
    line.at_most(2)?;
    let interval = line.arguments.first().map_or(Ok(Duration::from_secs(30)), Token::duration)?;
    let jitter = line.arguments.get(1).map_or(Ok(Duration::from_secs(15)), Token::duration)?;
    if let Some(token) = line.arguments.first().filter(|_| interval < Duration::from_secs(2)) {
        return Err(token.unexpected("an interval of at least 2s"));
    }
    if let Some(token) = line.arguments.get(1)
        && !jitter.is_zero()
        && jitter < Duration::from_secs(1)
    {
        return Err(token.unexpected("a jitter of 0 or at least 1s"));
    }
    Ok(Reload { interval, jitter: jitter.min(interval / 2) })
}

pub(super) fn read_loadbalance(line: &Directive, reader: &mut Reader) -> Result<bool> {
    for option in &line.block {
        match &option.name.text[..] {
            "prefer" | "reload" => reader.option(option, "loadbalance", "remove it; the order is random"),
            _ => return Err(option.unknown("loadbalance", "prefer")),
        }
    }
    match line.arguments.first() {
        None => {}
        Some(policy) if policy.text == "round_robin" => line.at_most(1)?,
        Some(policy) if policy.text == "weighted" => {
            reader.option(line, "loadbalance", "use round_robin; weights are not served");
        }
        Some(policy) => return Err(policy.unexpected("round_robin")),
    }
    Ok(true)
}

/// `[response] set|clear BIT…` on lines of their own.
pub(super) fn read_header(line: &Directive, reader: &mut Reader) -> Result<Vec<HeaderRule>> {
    if line.block.is_empty() {
        return Err(line.missing("a block with response set ra, or response clear aa"));
    }
    let mut rules = Vec::new();
    for option in &line.block {
        let mut words: Vec<&Token> = std::iter::once(&option.name).chain(&option.arguments).collect();
        match &words[0].text[..] {
            "query" => {
                reader.option(option, "header", "remove it; the bits of a query stay as they are");
                continue;
            }
            "response" => drop(words.remove(0)),
            _ => {}
        }
        let (Some((action, bits)), expected) = (words.split_first(), "set or clear, and bits") else {
            return Err(option.missing("set or clear, and bits"));
        };
        let value = action.one_of(&[("set", true), ("clear", false)])?;
        if bits.is_empty() {
            return Err(option.missing(expected));
        }
        for bit in bits {
            let known = [("aa", HeaderBit::Authoritative), ("ra", HeaderBit::RecursionAvailable)];
            if bit.text == "rd" {
                reader.option(option, "header", "leave rd out; an answer repeats what the query says");
            } else {
                rules.push(HeaderRule { bit: bit.one_of(&known)?, value });
            }
        }
    }
    Ok(rules)
}

/// `[NUMBER]`, as many as there are processors by default.
pub(super) fn read_multisocket(line: &Directive) -> Result<usize> {
    line.no_block()?;
    line.at_most(1)?;
    let processors = || Ok(std::thread::available_parallelism().map_or(1, usize::from));
    line.arguments.first().map_or_else(processors, |number| number.number(1..=1024))
}

/// Two plugins, or two options, that exclude each other.
pub(super) fn conflict(line: &Directive, text: &str) -> crate::corefile::CorefileError {
    Problem::Conflict(text.into()).at(&line.name.position)
}
