//! Cuts a file into its heading comment and its `--- name` sections.

use super::text::{Line, ParseError, Words};

/// One section: its header and the lines up to the next header.
#[derive(Debug)]
pub(super) struct Section<'a> {
    pub(super) header: Line<'a>,
    pub(super) body: Vec<Line<'a>>,
}

impl<'a> Section<'a> {
    /// The header's words after `---`.
    pub(super) fn words(&self) -> Words<'a> {
        let mut words = self.header.words();
        words.take();
        words
    }

    /// What the header says after its first colon.
    pub(super) fn title(&self) -> Option<&'a str> {
        let (_, title) = self.header.text.split_once(':')?;
        Some(title.trim())
    }
}

/// The heading comment's lines without `#`, and the sections.
pub(super) fn cut<'a>(file: &'a str, text: &'a str) -> Result<(Vec<&'a str>, Vec<Section<'a>>), ParseError> {
    let mut heading = Vec::new();
    let mut sections: Vec<Section<'a>> = Vec::new();
    for (index, text) in text.lines().enumerate() {
        let line = Line { file, number: index + 1, text };
        if text.starts_with("--- ") {
            sections.push(Section { header: line, body: Vec::new() });
        } else if let Some(section) = sections.last_mut() {
            section.body.push(line);
        } else if let Some(comment) = text.strip_prefix('#') {
            heading.push(comment.trim());
        } else if !text.trim().is_empty() {
            return Err(line.error(0, format!("expected a `# comment` or a `--- section`, found `{text}`")));
        }
    }
    if heading.is_empty() {
        let line = Line { file, number: 1, text: "" };
        return Err(line.error(0, "expected a heading comment that says what the scenario shows, found none"));
    }
    Ok((heading, sections))
}
