//! Puts the sections together into steps.

use std::time::Duration;

use super::section::{Section, cut};
use super::text::{Line, ParseError, Word, Words};
use super::{Dump, Facts, Scenario, Stage, Step, facts, objects, packet, query};

/// Sections, for the error message.
const SECTIONS: &str = "`facts`, `objects`, `apply`, `delete`, `wait`, `restart`, `services`, `skipped`, `forwarding`, `nft`, \
                        `zone`, `dns` or `packets`";

pub(super) fn parse(file: &str, text: &str) -> Result<Scenario, ParseError> {
    let (heading, sections) = cut(file, text)?;
    let mut facts = Facts::default();
    let mut steps: Vec<Step> = Vec::new();
    for (index, section) in sections.iter().enumerate() {
        let mut words = section.words();
        let name = words.need(SECTIONS)?;
        match name.text.trim_end_matches(':') {
            "facts" if index == 0 => facts = facts::parse(section)?,
            "facts" => return Err(name.expected("`facts` before every other section")),
            "objects" if steps.is_empty() => steps.push(parse_step(section, words)?),
            "objects" => {
                return Err(name.expected("`apply` or `delete`: `objects` comes once, as the first step"));
            }
            "apply" | "delete" | "wait" | "restart" if steps.is_empty() => {
                return Err(name.expected("`objects` as the first step"));
            }
            "apply" | "delete" | "wait" | "restart" => steps.push(parse_step(section, words)?),
            what => {
                let Some(step) = steps.last_mut() else { return Err(name.expected("`facts` or `objects`")) };
                if !parse_expectation(section, what, words, step, &facts)? {
                    return Err(name.expected(SECTIONS));
                }
            }
        }
    }
    if steps.is_empty() {
        let end = text.lines().count().max(1);
        let line = Line { file, number: end, text: "" };
        return Err(line.error(0, "expected a section `--- objects`, found the end of the file"));
    }
    let title = heading.first().copied().unwrap_or_default().to_owned();
    Ok(Scenario { file: file.to_owned(), title, facts, steps })
}

/// Reads a step; its header may go on with `: what happens`.
fn parse_step(section: &Section<'_>, mut rest: Words<'_>) -> Result<Step, ParseError> {
    let name = section.words().need(SECTIONS)?;
    let what = name.text.trim_end_matches(':');
    let mut last = name;
    let mut pause = Duration::ZERO;
    if what == "wait" {
        last = rest.need("seconds, as in `3s`")?;
        pause = parse_pause(&last)?;
    }
    if !last.text.ends_with(':') {
        rest.finish()?;
    }
    let mut said = section.body.iter().filter(|line| !line.is_blank());
    let events = match what {
        "delete" => said.map(|line| objects::parse_delete(*line)).collect::<Result<_, _>>()?,
        "wait" | "restart" => match said.next() {
            Some(line) => return Err(line.error(0, format!("expected a section, found `{}`", line.text))),
            None => Vec::new(),
        },
        _ => objects::parse_documents(&section.body)?,
    };
    Ok(Step {
        line: section.header.number,
        title: section.title().unwrap_or(what).to_owned(),
        events,
        pause,
        restart: what == "restart",
        dumps: Vec::new(),
        queries: Vec::new(),
        packets: Vec::new(),
    })
}

/// `3s`, or `3s:` before a title.
fn parse_pause(word: &Word<'_>) -> Result<Duration, ParseError> {
    let seconds = word.text.trim_end_matches(':').strip_suffix('s').and_then(|text| text.parse().ok());
    seconds.map(Duration::from_secs).ok_or_else(|| word.expected("seconds, as in `3s`"))
}

/// Adds what a section expects to the step. False when there is no such section.
fn parse_expectation(
    section: &Section<'_>,
    what: &str,
    words: Words<'_>,
    step: &mut Step,
    facts: &Facts,
) -> Result<bool, ParseError> {
    let said = section.body.iter().filter(|line| !line.is_blank()).copied();
    match what {
        "services" => add_dump(section, Stage::Services, words, step, facts)?,
        "skipped" => add_dump(section, Stage::Skipped, words, step, facts)?,
        "forwarding" => add_dump(section, Stage::Forwarding, words, step, facts)?,
        "nft" => add_dump(section, Stage::Nft, words, step, facts)?,
        "zone" => add_dump(section, Stage::Zone, words, step, facts)?,
        "dns" => {
            words.finish()?;
            step.queries.extend(said.map(query::parse).collect::<Result<Vec<_>, _>>()?);
        }
        "packets" => {
            words.finish()?;
            let cases = said.map(|line| packet::parse(line, facts)).collect::<Result<Vec<_>, _>>()?;
            step.packets.extend(cases.into_iter().flatten());
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn add_dump(
    section: &Section<'_>,
    stage: Stage,
    words: Words<'_>,
    step: &mut Step,
    facts: &Facts,
) -> Result<(), ParseError> {
    let dump = parse_dump(section, stage, words, facts)?;
    if step.dumps.iter().any(|other| (other.stage, &other.node) == (stage, &dump.node)) {
        let name = section.words().need(SECTIONS)?;
        return Err(name.expected("each stage of a node once in a step"));
    }
    step.dumps.push(dump);
    Ok(())
}

fn parse_dump(
    section: &Section<'_>,
    stage: Stage,
    mut words: Words<'_>,
    facts: &Facts,
) -> Result<Dump, ParseError> {
    let node = match (stage, words.peek()) {
        (Stage::Forwarding | Stage::Nft, Some(word)) => {
            words.take();
            let node = facts.node(word.text).ok_or_else(|| word.expected("the name of a node of `facts`"))?;
            node.name.clone()
        }
        _ => facts.nodes[0].name.clone(),
    };
    words.finish()?;
    let said = section.body.iter().rposition(|line| !line.text.trim().is_empty()).map_or(0, |last| last + 1);
    let lines = section.body[..said].iter().map(|line| line.text.trim_end().to_owned()).collect();
    let start = section.header.number;
    Ok(Dump { stage, node, line: start, lines, body: start..start + said })
}
