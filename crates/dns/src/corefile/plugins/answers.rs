//! Plugins that make answers themselves: `autopath`, `template`, `hosts`.

use std::time::Duration;

use regex::Regex;

use super::pattern::Pattern;
use super::{Reader, Result};
use crate::corefile::config::{Autopath, Hosts, SearchSource, Template};
use crate::corefile::token::Token;
use crate::corefile::tree::Directive;

pub(super) fn read_autopath(line: &Directive, reader: &mut Reader) -> Result<Autopath> {
    line.no_block()?;
    let expected = "@kubernetes or a file with a search line";
    let Some((source, zones)) = line.arguments.split_last() else { return Err(line.missing(expected)) };
    let search = match source.text.strip_prefix('@') {
        Some("kubernetes") => SearchSource::Kubernetes,
        Some(_) => return Err(source.unexpected(expected)),
        None => SearchSource::File(source.text.clone().into()),
    };
    Ok(Autopath { zones: reader.zones_or_block(zones)?, search })
}

pub(super) fn read_template(line: &Directive, reader: &mut Reader) -> Result<Template> {
    let class = line.argument(0, "a class and a type, such as IN A")?;
    let kind = line.argument(1, "a type such as A or ANY")?;
    let class = class.one_of(&[("IN", Some(1)), ("CH", Some(3)), ("HS", Some(4)), ("ANY", None)])?;
    let kind = kind.kind()?;
    let mut template = Template {
        position: line.name.position.clone(),
        class,
        kind: (kind != 255).then_some(kind),
        zones: reader.zones_or_block(&line.arguments[2..])?,
        matches: Vec::new(),
        answer: Vec::new(),
        authority: Vec::new(),
        additional: Vec::new(),
        rcode: 0,
        fallthrough: Vec::new(),
    };
    for option in &line.block {
        let patterns =
            || option.some("a record in quotes")?.iter().map(Pattern::read).collect::<Result<Vec<_>>>();
        match &option.name.text[..] {
            "match" => {
                let read = option.some("a regular expression")?.iter().map(Token::regex);
                template.matches.extend(read.collect::<Result<Vec<_>>>()?);
            }
            "answer" => template.answer.extend(patterns()?),
            "authority" => template.authority.extend(patterns()?),
            "additional" => template.additional.extend(patterns()?),
            "rcode" => template.rcode = option.only("a response code")?.rcode()?,
            "fallthrough" => template.fallthrough = option.zones_or_root(0)?,
            "upstream" => {}
            "ederror" => reader.option(option, "template", "remove it; extended errors are not sent"),
            _ => {
                let known = "match, answer, authority, additional, rcode, fallthrough";
                return Err(option.unknown("template", known));
            }
        }
    }
    if template.matches.is_empty() {
        template.matches.extend(Regex::new(""));
    }
    Ok(template)
}

pub(super) fn read_hosts(line: &Directive, reader: &mut Reader) -> Result<Hosts> {
    let (file, zones) = match line.arguments.split_first() {
        Some((file, zones)) => (file.text.clone(), zones),
        None => ("/etc/hosts".into(), &[][..]),
    };
    let mut hosts = Hosts {
        file: file.into(),
        inline: Vec::new(),
        zones: reader.zones_or_block(zones)?,
        ttl: 3600,
        no_reverse: false,
        reload: Duration::from_secs(5),
        fallthrough: Vec::new(),
    };
    for option in &line.block {
        match &option.name.text[..] {
            "fallthrough" => hosts.fallthrough = option.zones_or_root(0)?,
            "no_reverse" => {
                option.bare()?;
                hosts.no_reverse = true;
            }
            "ttl" => hosts.ttl = option.only("seconds from 1 to 65535")?.number(1..=65_535)?,
            "reload" => hosts.reload = option.only("a duration; 0s reads the file once")?.duration()?,
            "fallthrough_unsupported" => {
                reader.option(option, "hosts", "remove it; types without a record are no data");
            }
            _ => hosts.inline.push(read_host_line(option)?),
        }
    }
    Ok(hosts)
}

/// An address and its names.
fn read_host_line(option: &Directive) -> Result<String> {
    if option.name.text.parse::<std::net::IpAddr>().is_err() {
        let expected = "an address with names, fallthrough, ttl, reload or no_reverse";
        return Err(option.name.unexpected(expected));
    }
    let mut line = option.name.text.clone();
    for name in option.some("the names of the address")? {
        name.name()?;
        line += " ";
        line += &name.text;
    }
    Ok(line)
}
