//! YAML strings as go-yaml v2 writes them: which style a text gets, and how each style escapes and folds.
//!
//! Style: literal where the text holds a line break, plain where reading it back gives the same string, else double
//! quotes; the text's own characters may then force single or double quotes (libyaml's analysis).

use super::yaml_scalar_resolve::is_other_type;

/// libyaml's default line width: a space beyond this column becomes a line break.
const COLUMNS_BEST: usize = 80;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Plain,
    Single,
    Double,
    Literal,
}

/// What the characters of a text allow.
struct Analysis {
    plain: bool,
    single: bool,
    block: bool,
    multiline: bool,
}

/// The text of a scalar that starts at `column` and continues on lines indented by `indent`; a key never breaks lines.
pub(crate) fn render(text: &str, indent: usize, column: usize, key: bool) -> String {
    let fold = Fold { indent, column, allowed: !key };
    match style(text, key) {
        Style::Plain => plain(text, fold),
        Style::Single => single(text, fold),
        Style::Double => double(text, fold),
        Style::Literal => literal(text, indent),
    }
}

fn style(text: &str, key: bool) -> Style {
    let analysis = analyse(text);
    let wanted = if text.contains('\n') {
        Style::Literal
    } else if is_other_type(text) {
        Style::Double
    } else {
        Style::Plain
    };
    if key && analysis.multiline {
        return Style::Double;
    }
    match wanted {
        Style::Plain if analysis.plain => Style::Plain,
        Style::Plain if analysis.single => Style::Single,
        Style::Literal if analysis.block && !key => Style::Literal,
        _ => Style::Double,
    }
}

fn analyse(text: &str) -> Analysis {
    let characters: Vec<char> = text.chars().collect();
    let last = characters.len().saturating_sub(1);
    let mut indicators = text.starts_with("---") || text.starts_with("...");
    let (mut special, mut breaks, mut break_space, mut space_break) = (false, false, false, false);
    for (at, character) in characters.iter().copied().enumerate() {
        let before = at.checked_sub(1).map(|before| characters[before]);
        let blank_after =
            characters.get(at + 1).is_none_or(|next| matches!(next, ' ' | '\t') || is_break(*next));
        let blank_before = before.is_none_or(|before| matches!(before, ' ' | '\t') || is_break(before));
        indicators |= is_indicator(character, at == 0, blank_before, blank_after);
        special |= !is_printable(character);
        breaks |= is_break(character);
        break_space |= character == ' ' && before.is_some_and(is_break);
        space_break |= is_break(character) && before == Some(' ');
    }
    let edge = |test: fn(char) -> bool| {
        characters.first().copied().is_some_and(test) || characters.get(last).copied().is_some_and(test)
    };
    let trailing_space = characters.last() == Some(&' ');
    let hard = space_break || special;
    Analysis {
        plain: !(edge(|c| c == ' ') || edge(is_break) || break_space || hard || breaks || indicators),
        single: !(break_space || hard),
        block: !characters.is_empty() && !trailing_space && !hard,
        multiline: breaks,
    }
}

fn is_indicator(character: char, first: bool, blank_before: bool, blank_after: bool) -> bool {
    match character {
        '#' => first || blank_before,
        ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`' => first,
        '?' | '-' => first && blank_after,
        ':' => blank_after,
        _ => false,
    }
}

fn is_break(character: char) -> bool {
    matches!(character, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

fn is_printable(character: char) -> bool {
    matches!(character, '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}')
}

/// Where lines may be broken at spaces.
#[derive(Clone, Copy)]
struct Fold {
    indent: usize,
    column: usize,
    allowed: bool,
}

/// Text under way, with libyaml's count of columns (in characters).
struct Line {
    text: String,
    fold: Fold,
    after_space: bool,
}

impl Line {
    fn new(fold: Fold, opening: &str) -> Self {
        let mut line = Self { text: String::new(), fold, after_space: false };
        line.push(opening);
        line
    }

    fn push(&mut self, text: &str) {
        self.text.push_str(text);
        self.fold.column += text.chars().count();
    }

    fn over(&self) -> bool {
        self.fold.allowed && !self.after_space && self.fold.column > COLUMNS_BEST
    }

    fn break_here(&mut self) {
        self.text.push('\n');
        self.text.extend(std::iter::repeat_n(' ', self.fold.indent));
        self.fold.column = self.fold.indent;
    }
}

fn plain(text: &str, fold: Fold) -> String {
    let mut line = Line::new(fold, "");
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        if character == ' ' && line.over() && characters.peek() != Some(&' ') {
            line.break_here();
        } else {
            line.push(character.encode_utf8(&mut [0; 4]));
        }
        line.after_space = character == ' ';
    }
    line.text
}

fn single(text: &str, fold: Fold) -> String {
    let mut line = Line::new(fold, "'");
    let characters: Vec<char> = text.chars().collect();
    for (at, character) in characters.iter().copied().enumerate() {
        let inside = at > 0 && at + 1 < characters.len();
        if character == ' ' && line.over() && inside && characters[at + 1] != ' ' {
            line.break_here();
        } else if character == '\'' {
            line.push("''");
        } else {
            line.push(character.encode_utf8(&mut [0; 4]));
        }
        line.after_space = character == ' ';
    }
    line.text.push('\'');
    line.text
}

fn double(text: &str, fold: Fold) -> String {
    let mut line = Line::new(fold, "\"");
    let characters: Vec<char> = text.chars().collect();
    for (at, character) in characters.iter().copied().enumerate() {
        let inside = at > 0 && at + 1 < characters.len();
        if character == ' ' && line.over() && inside {
            line.break_here();
            if characters[at + 1] == ' ' {
                line.push("\\");
            }
        } else {
            line.push(&escaped(character));
        }
        line.after_space = character == ' ';
    }
    line.text.push('"');
    line.text
}

fn escaped(character: char) -> String {
    let named = match character {
        '\0' => "\\0",
        '\u{7}' => "\\a",
        '\u{8}' => "\\b",
        '\t' => "\\t",
        '\n' => "\\n",
        '\u{b}' => "\\v",
        '\u{c}' => "\\f",
        '\r' => "\\r",
        '\u{1b}' => "\\e",
        '"' => "\\\"",
        '\\' => "\\\\",
        '\u{85}' => "\\N",
        '\u{a0}' => return "\u{a0}".to_owned(),
        '\u{2028}' => "\\L",
        '\u{2029}' => "\\P",
        other if is_printable(other) => return other.to_string(),
        other => return numeric_escape(u32::from(other)),
    };
    named.to_owned()
}

fn numeric_escape(code: u32) -> String {
    match code {
        0..=0xff => format!("\\x{code:02X}"),
        0x100..=0xffff => format!("\\u{code:04X}"),
        _ => format!("\\U{code:08X}"),
    }
}

fn literal(text: &str, indent: usize) -> String {
    let mut out = String::from("|");
    if text.starts_with([' ', '\n']) {
        out.push('2');
    }
    if !text.ends_with('\n') {
        out.push('-');
    } else if text == "\n" || text.ends_with("\n\n") {
        out.push('+');
    }
    let body = text.strip_suffix('\n').unwrap_or(text);
    for line in body.split('\n') {
        out.push('\n');
        if !line.is_empty() {
            out.extend(std::iter::repeat_n(' ', indent));
            out.push_str(line);
        }
    }
    out
}
