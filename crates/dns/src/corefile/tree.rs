//! From words to server blocks with directives: keys, nesting, snippets, imports and variables.
//!
//! The rules are those of CoreDNS's parser: a directive is a line, with a block when the line ends in `{`; `import` puts
//! a snippet's or a file's words in its place; `(name) { … }` defines a snippet; a file of one server needs no braces.

use std::collections::HashMap;

use super::error::{CorefileError, Position, Problem};
use super::sources::{Sources, has_wildcard};
use super::token::{Token, tokens};

/// Imports of one Corefile, all levels together: a cycle ends here.
const IMPORTS_MAX: usize = 1000;
/// Words of one Corefile with everything imported: snippets that import each other could double without end.
const TOKENS_MAX: usize = 200_000;
/// Depth of nested blocks.
const DEPTH_MAX: usize = 16;

/// One line with what its braces hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directive {
    /// Its first word.
    pub name: Token,
    /// The other words of the line.
    pub arguments: Vec<Token>,
    /// The lines of its block.
    pub block: Vec<Directive>,
}

/// Keys and what stands in their braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerBlock {
    /// What it answers for: zones with ports.
    pub keys: Vec<Token>,
    /// Its plugins.
    pub directives: Vec<Directive>,
}

/// Parses a Corefile.
///
/// # Errors
/// [`CorefileError`] at the first word out of place.
pub fn parse(text: &str, file: &str, sources: &dyn Sources) -> Result<Vec<ServerBlock>, CorefileError> {
    let mut words = tokens(text, file)?;
    words.reverse();
    let mut parser = Parser { words, snippets: HashMap::new(), imports: 0, sources };
    let mut blocks = Vec::new();
    while let Some(block) = parser.server_block()? {
        blocks.extend(block);
    }
    Ok(blocks)
}

struct Parser<'s> {
    /// What is still to be read, the next word last.
    words: Vec<Token>,
    snippets: HashMap<String, (Position, Vec<Token>)>,
    imports: usize,
    sources: &'s dyn Sources,
}

impl Parser<'_> {
    /// The next word with its variables filled in.
    fn next(&mut self) -> Option<Token> {
        let mut token = self.words.pop()?;
        token.text = fill(&token.text, self.sources);
        Some(token)
    }

    fn peek(&self) -> Option<&Token> {
        self.words.last()
    }

    /// The next server block; `Some(None)` for a snippet, `None` at the end.
    fn server_block(&mut self) -> Result<Option<Option<ServerBlock>>, CorefileError> {
        let Some(keys) = self.keys()? else { return Ok(None) };
        let Some(first) = keys.first().cloned() else { return Ok(Some(None)) };
        let braces = self.peek().is_some_and(|token| token.is("{"));
        if let Some(name) = snippet_name(&keys) {
            self.snippet(name.to_owned(), &first, braces)?;
            return Ok(Some(None));
        }
        if braces {
            self.words.pop();
        }
        let directives = self.directives(&first, braces, 0)?;
        Ok(Some(Some(ServerBlock { keys, directives })))
    }

    /// The keys in front of a block; a comma at the end of a line continues them on the next.
    fn keys(&mut self) -> Result<Option<Vec<Token>>, CorefileError> {
        let mut keys: Vec<Token> = Vec::new();
        let mut comma = None;
        while let Some(next) = self.peek() {
            if next.is("{") {
                if let Some(comma) = comma {
                    return Err(
                        Problem::Missing { after: comma, expected: "another key".into() }.at(&next.position)
                    );
                }
                if keys.is_empty() {
                    return Err(next.unexpected("a zone such as \".:53\" in front of the block"));
                }
                break;
            }
            if !keys.is_empty() && comma.is_none() && next.first {
                break;
            }
            if next.is("import") && next.first {
                self.import()?;
                continue;
            }
            let Some(mut token) = self.next() else { break };
            if token.is("}") {
                return Err(token.unexpected("a zone such as \".:53\": no block is open here"));
            }
            comma = token.text.ends_with(',').then(|| token.text.clone());
            token.text = token.text.trim_end_matches(',').to_owned();
            if !token.text.is_empty() {
                keys.push(token);
            }
        }
        match (comma, keys.last()) {
            (Some(after), Some(last)) if self.peek().is_none() => {
                Err(Problem::Missing { after, expected: "another key".into() }.at(&last.position))
            }
            _ => Ok((!keys.is_empty() || self.peek().is_some()).then_some(keys)),
        }
    }

    /// The lines up to the closing brace, or up to the end of the file.
    fn directives(
        &mut self,
        opener: &Token,
        braces: bool,
        depth: usize,
    ) -> Result<Vec<Directive>, CorefileError> {
        let mut directives = Vec::new();
        loop {
            let Some(next) = self.peek() else {
                if braces {
                    return Err(Problem::Unclosed { name: opener.text.clone() }.at(&opener.position));
                }
                return Ok(directives);
            };
            if next.is("}") {
                if !braces {
                    return Err(next.unexpected("a plugin: no block is open here"));
                }
                self.words.pop();
                return Ok(directives);
            }
            if next.is("import") {
                self.import()?;
                continue;
            }
            if next.is("{") {
                return Err(next.unexpected("a plugin or an option in front of the block"));
            }
            let Some(name) = self.next() else { continue };
            directives.push(self.directive(name, depth)?);
        }
    }

    /// The rest of a line, with its block.
    fn directive(&mut self, name: Token, depth: usize) -> Result<Directive, CorefileError> {
        let mut directive = Directive { name, arguments: Vec::new(), block: Vec::new() };
        while let Some(next) = self.peek().filter(|next| !next.first && !next.is("}")) {
            if next.is("{") {
                if depth >= DEPTH_MAX {
                    return Err(next.unexpected(format!("blocks no deeper than {DEPTH_MAX}")));
                }
                self.words.pop();
                directive.block = self.directives(&directive.name.clone(), true, depth + 1)?;
                break;
            }
            let Some(argument) = self.next() else { break };
            directive.arguments.push(argument);
        }
        Ok(directive)
    }

    /// Keeps the words of a snippet; they are read where they are imported.
    fn snippet(&mut self, name: String, at: &Token, braces: bool) -> Result<(), CorefileError> {
        if let Some((first, _)) = self.snippets.get(&name) {
            return Err(Problem::Twice { name, first: first.clone() }.at(&at.position));
        }
        if !braces {
            let expected = "\"{\" on the same line: a snippet is a block".into();
            return Err(Problem::Missing { after: at.text.clone(), expected }.at(&at.position));
        }
        self.words.pop();
        let (mut words, mut depth) = (Vec::new(), 0_usize);
        while let Some(token) = self.words.pop() {
            match () {
                () if token.is("{") => depth += 1,
                () if token.is("}") && depth == 0 => {
                    self.snippets.insert(name, (at.position.clone(), words));
                    return Ok(());
                }
                () if token.is("}") => depth -= 1,
                () => {}
            }
            words.push(token);
        }
        Err(Problem::Unclosed { name: at.text.clone() }.at(&at.position))
    }

    /// Puts what is imported in the place of `import NAME`.
    fn import(&mut self) -> Result<(), CorefileError> {
        let Some(directive) = self.next() else { return Ok(()) };
        let name = match self.peek() {
            Some(name) if !name.first => self.next(),
            _ => None,
        };
        let Some(name) = name.filter(|name| !name.text.is_empty()) else {
            let expected = "the name of a snippet, a file or a pattern".into();
            return Err(Problem::Missing { after: directive.text, expected }.at(&directive.position));
        };
        if let Some(next) = self.peek().filter(|next| !next.first && !next.is("}")) {
            let problem = Problem::Excess { after: "import".into(), found: next.text.clone() };
            return Err(problem.at(&next.position));
        }
        let failed = |reason: String| Problem::Import { name: name.text.clone(), reason }.at(&name.position);
        self.imports += 1;
        if self.imports > IMPORTS_MAX {
            return Err(failed(format!("more than {IMPORTS_MAX} imports: do they import each other?")));
        }
        let mut words = match self.snippets.get(&name.text) {
            Some((_, words)) => words.clone(),
            None => self.imported_files(&name)?,
        };
        if words.len() + self.words.len() > TOKENS_MAX {
            return Err(failed(format!("more than {TOKENS_MAX} words: do snippets import each other?")));
        }
        // Wherever they stood, in their new place they begin a line.
        if let Some(first) = words.first_mut() {
            first.first = true;
        }
        self.words.extend(words.into_iter().rev());
        Ok(())
    }

    fn imported_files(&self, name: &Token) -> Result<Vec<Token>, CorefileError> {
        let failed = |reason: String| Problem::Import { name: name.text.clone(), reason }.at(&name.position);
        if name.text.matches(['*', '?']).count() > 1 || name.text.contains('[') {
            return Err(failed("a pattern may hold one \"*\" or \"?\" and nothing else".into()));
        }
        let files = self.sources.files(&name.text, &name.position.file);
        let files = files.map_err(|error| failed(format!("no such snippet or file ({error})")))?;
        if files.is_empty() && !has_wildcard(&name.text) {
            return Err(failed("no such snippet or file".into()));
        }
        let mut words = Vec::new();
        for (file, text) in files {
            words.extend(tokens(&text, &file)?);
        }
        Ok(words)
    }
}

/// The name in `(name)`.
fn snippet_name(keys: &[Token]) -> Option<&str> {
    let [key] = keys else { return None };
    key.text.strip_prefix('(')?.strip_suffix(')').filter(|name| !name.is_empty())
}

/// The text with `{$NAME}` and `{%NAME%}` replaced by the environment's values; one that is unset is empty.
fn fill(text: &str, sources: &dyn Sources) -> String {
    let mut filled = text.to_owned();
    for (open, close) in [("{$", "}"), ("{%", "%}")] {
        let mut rest = std::mem::take(&mut filled);
        while let Some(start) = rest.find(open) {
            let Some(length) = rest[start + open.len()..].find(close) else { break };
            let name = &rest[start + open.len()..start + open.len() + length];
            filled.push_str(&rest[..start]);
            filled.push_str(&sources.variable(name).unwrap_or_default());
            rest = rest[start + open.len() + length + close.len()..].to_owned();
        }
        filled.push_str(&rest);
    }
    filled
}
