//! Reading a log back: the last lines, since a time, with or without stamps, and following what is added.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::PathBuf;

use jiff::Timestamp;
use tokio::sync::watch;

use super::{LogFile, Progress, rotated};

/// What is asked for; the names are those of the API's query.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) follow: bool,
    pub(crate) tail_lines: Option<usize>,
    pub(crate) since: Option<Timestamp>,
    pub(crate) timestamps: bool,
    pub(crate) limit_bytes: Option<usize>,
}

/// Hands a log out in pieces.
pub(crate) struct Reader {
    options: Options,
    progress: watch::Receiver<Progress>,
    seen: Progress,
    current: BufReader<File>,
    path: PathBuf,
    left: Option<usize>,
    pending: Vec<u8>,
    begun: bool,
}

impl Reader {
    /// Opens the log; nothing is read yet.
    pub(crate) fn open(log: &LogFile, options: Options) -> io::Result<Self> {
        let mut progress = log.progress();
        let seen = *progress.borrow_and_update();
        let current = BufReader::new(File::open(log.path())?);
        let path = log.path().to_owned();
        let left = options.limit_bytes;
        Ok(Self { options, progress, seen, current, path, left, pending: Vec::new(), begun: false })
    }

    /// The next piece; `None` at the end (with `follow`: when the container has ended and all is read).
    pub(crate) async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            let piece = self.read_piece()?;
            let piece = self.limit(piece);
            if !piece.is_empty() {
                return Ok(Some(piece));
            }
            if self.left == Some(0) || !self.advance().await? {
                return Ok(None);
            }
        }
    }

    fn read_piece(&mut self) -> io::Result<Vec<u8>> {
        if !self.begun {
            self.begun = true;
            return self.beginning();
        }
        let mut output = Vec::new();
        self.read_current(|options, line| render(options, line, &mut output))?;
        Ok(output)
    }

    /// What is there already: the rotated file and the current one, cut to the last lines.
    fn beginning(&mut self) -> io::Result<Vec<u8>> {
        let mut lines = Vec::new();
        let older = File::open(rotated(&self.path));
        // After a rotation meanwhile, the older file is the one that is open already.
        if let (Ok(older), true) = (older, self.progress.borrow().generation == self.seen.generation) {
            read_lines(&mut BufReader::new(older), &mut Vec::new(), |line| lines.push(line.to_vec()))?;
        }
        self.read_current(|_, line| lines.push(line.to_vec()))?;
        let start = self.options.tail_lines.map_or(0, |count| first_of_last(&lines, count));
        let mut output = Vec::new();
        lines[start..].iter().for_each(|line| render(&self.options, line, &mut output));
        Ok(output)
    }

    fn read_current(&mut self, mut each: impl FnMut(&Options, &[u8])) -> io::Result<()> {
        let options = self.options;
        read_lines(&mut self.current, &mut self.pending, |line| each(&options, line))
    }

    fn limit(&mut self, mut piece: Vec<u8>) -> Vec<u8> {
        if let Some(left) = &mut self.left {
            piece.truncate(*left);
            *left -= piece.len();
        }
        piece
    }

    /// Waits for more, and moves to the next file after a rotation. False at the end.
    async fn advance(&mut self) -> io::Result<bool> {
        if !self.options.follow {
            return Ok(false);
        }
        let now = *self.progress.borrow_and_update();
        if now.generation > self.seen.generation {
            // What was written between the last read and the rotation is still in the open file.
            if self.current.fill_buf()?.is_empty() {
                self.current = BufReader::new(File::open(&self.path)?);
                self.seen = now;
            }
            return Ok(true);
        }
        if now.written > self.seen.written {
            self.seen = now;
            return Ok(true);
        }
        Ok(!now.closed && self.progress.changed().await.is_ok())
    }
}

/// Calls `each` for every complete line; the beginning of one that is still being written stays in `pending`.
fn read_lines(
    reader: &mut impl BufRead,
    pending: &mut Vec<u8>,
    mut each: impl FnMut(&[u8]),
) -> io::Result<()> {
    while reader.read_until(b'\n', pending)? > 0 {
        if pending.last() == Some(&b'\n') {
            each(pending);
            pending.clear();
        }
    }
    Ok(())
}

/// Pieces of one line count once.
fn first_of_last(lines: &[Vec<u8>], count: usize) -> usize {
    let mut ends = 0;
    for (index, line) in lines.iter().enumerate().rev() {
        ends += usize::from(parse(line).is_some_and(|line| line.complete) || index + 1 == lines.len());
        if ends > count {
            return index + 1;
        }
    }
    0
}

struct Line<'a> {
    stamp: &'a str,
    complete: bool,
    text: &'a [u8],
}

fn parse(line: &[u8]) -> Option<Line<'_>> {
    let mut parts = line.splitn(4, |byte| *byte == b' ');
    let stamp = std::str::from_utf8(parts.next()?).ok()?;
    let _stream = parts.next()?;
    let complete = parts.next()? == b"F";
    let text = parts.next()?;
    Some(Line { stamp, complete, text: text.strip_suffix(b"\n").unwrap_or(text) })
}

fn render(options: &Options, line: &[u8], output: &mut Vec<u8>) {
    let Some(line) = parse(line) else {
        return;
    };
    let old = |since: Timestamp| line.stamp.parse::<Timestamp>().is_ok_and(|stamp| stamp < since);
    if options.since.is_some_and(old) {
        return;
    }
    if options.timestamps {
        output.extend_from_slice(line.stamp.as_bytes());
        output.push(b' ');
    }
    output.extend_from_slice(line.text);
    if line.complete {
        output.push(b'\n');
    }
}

#[cfg(test)]
mod tests;
