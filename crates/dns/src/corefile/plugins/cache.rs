//! `cache`.

use std::time::Duration;

use super::service::conflict;
use super::{Reader, Result};
use crate::corefile::config::{Cache, CacheSide, Prefetch, ServeStale};
use crate::corefile::tree::Directive;
use crate::corefile::words::root;

/// Entries of one kind, as CoreDNS.
const CAPACITY: usize = 9984;
/// Most entries that a Corefile may ask for.
const CAPACITY_MAX: usize = 10_000_000;
/// Longest lifetimes in seconds, unless the Corefile says otherwise, as CoreDNS.
const SUCCESS_TTL_MAX: u32 = 3600;
const DENIAL_TTL_MAX: u32 = 1800;
/// Shortest lifetime in seconds, as CoreDNS.
const TTL_MIN: u32 = 5;
/// Longest time that a failure may be kept (RFC 2308 §7.1).
const SERVFAIL_MAX: Duration = Duration::from_secs(300);

pub(super) fn read(line: &Directive, reader: &mut Reader) -> Result<Cache> {
    let side = |ttl_max| CacheSide { capacity: CAPACITY, ttl_max, ttl_min: TTL_MIN, disabled: Vec::new() };
    let mut cache = Cache {
        zones: Vec::new(),
        success: side(SUCCESS_TTL_MAX),
        denial: side(DENIAL_TTL_MAX),
        servfail: Duration::from_secs(5),
        prefetch: Prefetch { amount: 0, gap: Duration::from_secs(60), percentage: 10 },
        serve_stale: None,
        keep_ttl: false,
    };
    let mut zones = &line.arguments[..];
    if let Some(first) = zones.first().filter(|first| first.text.parse::<i64>().is_ok()) {
        let ttl = first.number(1..=u32::MAX)?;
        (cache.success.ttl_max, cache.denial.ttl_max) = (ttl, ttl);
        zones = &zones[1..];
    }
    cache.zones = reader.zones_or_block(zones)?;
    for option in &line.block {
        read_option(&mut cache, option, reader)?;
    }
    Ok(cache)
}

fn read_option(cache: &mut Cache, option: &Directive, reader: &mut Reader) -> Result<()> {
    match &option.name.text[..] {
        "success" => read_side(&mut cache.success, option),
        "denial" => read_side(&mut cache.denial, option),
        "prefetch" => read_prefetch(&mut cache.prefetch, option),
        "serve_stale" => {
            cache.serve_stale = Some(read_serve_stale(option)?);
            Ok(())
        }
        "serve_stale_policy" => {
            reader.option(option, "cache", "remove it; a good answer always goes before a stale denial");
            Ok(())
        }
        "servfail" => {
            let token = option.only("a duration up to 5m")?;
            cache.servfail = token.duration()?;
            if cache.servfail > SERVFAIL_MAX {
                return Err(token.unexpected("at most 5m: a failure may not be kept longer (RFC 2308)"));
            }
            Ok(())
        }
        "disable" => {
            let sides = [("success", true), ("denial", false)];
            let success = option.argument(0, "success or denial")?.one_of(&sides)?;
            let mut zones = crate::corefile::words::zones(&option.arguments[1..])?;
            if zones.is_empty() {
                zones.push(root());
            }
            let side = if success { &mut cache.success } else { &mut cache.denial };
            side.disabled = zones;
            Ok(())
        }
        "keepttl" => {
            option.bare()?;
            cache.keep_ttl = true;
            Ok(())
        }
        _ => {
            let known = "success, denial, prefetch, serve_stale, servfail, disable, keepttl";
            Err(option.unknown("cache", known))
        }
    }
}

/// `CAPACITY [TTL] [MINTTL]`.
fn read_side(side: &mut CacheSide, option: &Directive) -> Result<()> {
    option.at_most(3)?;
    side.capacity = option.argument(0, "a number of entries")?.number(1..=CAPACITY_MAX)?;
    if let Some(ttl) = option.arguments.get(1) {
        side.ttl_max = ttl.number(1..=u32::MAX)?;
    }
    if let Some(ttl) = option.arguments.get(2) {
        side.ttl_min = ttl.number(0..=u32::MAX)?;
    }
    Ok(())
}

/// `AMOUNT [DURATION] [PERCENTAGE%]`.
fn read_prefetch(prefetch: &mut Prefetch, option: &Directive) -> Result<()> {
    option.at_most(3)?;
    prefetch.amount = option.argument(0, "a number of questions")?.number(0..=u32::MAX)?;
    if let Some(gap) = option.arguments.get(1) {
        prefetch.gap = gap.duration()?;
    }
    if let Some(token) = option.arguments.get(2) {
        let number = token.text.strip_suffix('%').and_then(|number| number.parse().ok());
        let percentage = number.filter(|number| (10..=90).contains(number));
        prefetch.percentage = percentage.ok_or_else(|| token.unexpected("a percentage from 10% to 90%"))?;
    }
    Ok(())
}

/// `[DURATION] [immediate|verify [TIMEOUT]] [TTL]`.
fn read_serve_stale(option: &Directive) -> Result<ServeStale> {
    option.at_most(4)?;
    let mut stale = ServeStale { age_max: Duration::from_secs(3600), verify: false, patience: None, ttl: 0 };
    let mut rest = option.arguments.iter();
    if let Some(age) = rest.next() {
        stale.age_max = age.duration()?;
    }
    if let Some(mode) = rest.next() {
        stale.verify = mode.one_of(&[("immediate", false), ("verify", true)])?;
    }
    if stale.verify
        && let Some(patience) = rest.next()
    {
        stale.patience = Some(patience.duration()?).filter(|patience| !patience.is_zero());
    }
    if let Some(ttl) = rest.next() {
        stale.ttl = u32::try_from(ttl.duration()?.as_secs()).unwrap_or(u32::MAX);
    }
    match rest.next() {
        None => Ok(stale),
        Some(_) => {
            Err(conflict(option, "serve_stale takes a duration, a mode, a timeout for verify and a TTL"))
        }
    }
}
