//! A small stand-in for curl where the host has none: HTTP/1.1 over TCP, the flags of daily use, curl's exit codes.
//!
//! No TLS, no redirects, no proxies: an unknown flag or scheme is refused with curl's code for it.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// What the command line asks for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    url: String,
    method: Option<String>,
    headers: Vec<String>,
    data: Option<String>,
    output: Option<String>,
    silent: bool,
    show_error: bool,
    fail: bool,
    include: bool,
    head: bool,
    max_time: Option<Duration>,
    connect_timeout: Option<Duration>,
}

/// Exit code and message (curl's manual page, "EXIT CODES").
struct Failure(u8, String);

/// Runs one request.
pub(super) fn main(arguments: Vec<String>) -> ExitCode {
    let options = match parse(arguments) {
        Ok(options) => options,
        Err(message) => return super::arguments::fail("curl", &message, 2),
    };
    match transfer(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure(code, message)) => {
            if !options.silent || options.show_error {
                return super::arguments::fail("curl", &format!("({code}) {message}"), code);
            }
            ExitCode::from(code)
        }
    }
}

fn parse(arguments: Vec<String>) -> Result<Options, String> {
    let mut options = Options::default();
    let mut rest = arguments.into_iter();
    while let Some(argument) = rest.next() {
        if let Some(letters) = argument.strip_prefix('-').filter(|letters| !letters.starts_with('-')) {
            for (at, letter) in letters.char_indices() {
                let attached = &letters[at + letter.len_utf8()..];
                if options.short(letter, attached, &mut rest)? {
                    break;
                }
            }
        } else if let Some(flag) = argument.strip_prefix("--") {
            options.long(flag, &mut rest)?;
        } else if options.url.is_empty() {
            options.url = argument;
        } else {
            return Err(format!("one URL only: {argument:?} is a second"));
        }
    }
    if options.url.is_empty() {
        return Err("no URL specified".to_owned());
    }
    Ok(options)
}

impl Options {
    /// Applies a short flag; true if it took the attached text as its value.
    fn short(
        &mut self,
        letter: char,
        attached: &str,
        rest: &mut impl Iterator<Item = String>,
    ) -> Result<bool, String> {
        let name = match letter {
            's' => "silent",
            'S' => "show-error",
            'f' => "fail",
            'i' => "include",
            'I' => "head",
            'm' => "max-time",
            'X' => "request",
            'H' => "header",
            'd' => "data",
            'o' => "output",
            'k' | 'L' | 'g' | '4' => return Ok(false),
            _ => return Err(format!("option -{letter}: is unknown to this stand-in")),
        };
        let takes_value = matches!(letter, 'm' | 'X' | 'H' | 'd' | 'o');
        if takes_value && !attached.is_empty() {
            self.long(name, &mut std::iter::once(attached.to_owned()))?;
        } else {
            self.long(name, rest)?;
        }
        Ok(takes_value)
    }

    fn long(&mut self, name: &str, rest: &mut impl Iterator<Item = String>) -> Result<(), String> {
        let mut value = || rest.next().ok_or_else(|| format!("option --{name}: requires parameter"));
        match name {
            "silent" => self.silent = true,
            "show-error" => self.show_error = true,
            "fail" => self.fail = true,
            "include" => self.include = true,
            "head" => self.head = true,
            "no-progress-meter" | "ipv4" => {}
            "max-time" => self.max_time = Some(seconds(&value()?)?),
            "connect-timeout" => self.connect_timeout = Some(seconds(&value()?)?),
            "request" => self.method = Some(value()?),
            "header" => self.headers.push(value()?),
            "data" => self.data = Some(value()?),
            "output" => self.output = Some(value()?),
            _ => return Err(format!("option --{name}: is unknown to this stand-in")),
        }
        Ok(())
    }

    fn request(&self, host: &str, path: &str) -> String {
        let data = self.data.as_deref();
        let default = if self.head {
            "HEAD"
        } else if data.is_some() {
            "POST"
        } else {
            "GET"
        };
        let method = self.method.as_deref().unwrap_or(default);
        let mut text = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n");
        let given = |name: &str| {
            self.headers.iter().any(|header| header.to_lowercase().starts_with(&format!("{name}:")))
        };
        if !given("user-agent") {
            text.push_str("User-Agent: curl/8 (sluice)\r\n");
        }
        text.push_str("Accept: */*\r\nConnection: close\r\n");
        for header in &self.headers {
            text.push_str(&format!("{header}\r\n"));
        }
        if let Some(data) = data {
            if !given("content-type") {
                text.push_str("Content-Type: application/x-www-form-urlencoded\r\n");
            }
            text.push_str(&format!("Content-Length: {}\r\n", data.len()));
        }
        text + "\r\n" + data.unwrap_or_default()
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text.parse().map_err(|_| format!("expected a number of seconds, not {text:?}"))?;
    Duration::try_from_secs_f64(number).map_err(|_| format!("{text:?} is no time"))
}

/// Host with port as in the Host header, the address to connect to, the path.
fn split(url: &str) -> Result<(String, String, String), Failure> {
    let rest = match url.split_once("://") {
        Some(("http", rest)) => rest,
        Some((scheme, _)) => return Err(Failure(1, format!("Protocol \"{scheme}\" not supported"))),
        None => url,
    };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (host, path) = rest.split_at(end);
    if host.is_empty() {
        return Err(Failure(3, "URL using bad/illegal format or missing URL".to_owned()));
    }
    let has_port = host.rsplit(']').next().is_some_and(|tail| tail.contains(':'));
    let address = if has_port { host.to_owned() } else { format!("{host}:80") };
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    Ok((host.to_owned(), address, path))
}

fn transfer(options: &Options) -> Result<(), Failure> {
    let deadline = options.max_time.map(|time| Instant::now() + time);
    let (host, address, path) = split(&options.url)?;
    let mut stream = connect(options, &host, &address, deadline)?;
    let broken = |error: io::Error| match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Failure(28, "Operation timed out".to_owned()),
        _ => Failure(56, format!("Recv failure: {error}")),
    };
    stream.write_all(options.request(&host, &path).as_bytes()).map_err(broken)?;
    let mut reader = BufReader::new(Deadline { stream, deadline });
    let head = read_head(&mut reader).map_err(broken)?;
    let status: u16 = head.split_whitespace().nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    if status == 0 {
        return Err(Failure(1, "Received HTTP/0.9 when not allowed".to_owned()));
    }
    if options.fail && status >= 400 {
        return Err(Failure(22, format!("The requested URL returned error: {status}")));
    }
    let mut output = open_output(options)?;
    let write_failed = |_| Failure(23, "Failure writing output to destination".to_owned());
    if options.include || options.head {
        output.write_all(head.as_bytes()).map_err(write_failed)?;
    }
    if !options.head {
        copy_body(&head, &mut reader, &mut output).map_err(broken)?;
    }
    output.flush().map_err(write_failed)
}

fn open_output(options: &Options) -> Result<Box<dyn Write>, Failure> {
    match options.output.as_deref() {
        None | Some("-") => Ok(Box::new(io::stdout())),
        Some(file) => match File::create(file) {
            Ok(file) => Ok(Box::new(file)),
            Err(error) => Err(Failure(23, format!("Failed to open the file {file}: {error}"))),
        },
    }
}

fn connect(
    options: &Options,
    host: &str,
    address: &str,
    deadline: Option<Instant>,
) -> Result<TcpStream, Failure> {
    let begun = Instant::now();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let addresses: Vec<SocketAddr> = address
        .to_socket_addrs()
        .map_err(|_| Failure(6, format!("Could not resolve host: {name}")))?
        .collect();
    let limit = options.connect_timeout.or_else(|| deadline.map(|deadline| deadline - begun));
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        let result = match limit {
            Some(limit) => TcpStream::connect_timeout(&address, limit.max(Duration::from_millis(1))),
            None => TcpStream::connect(address),
        };
        match result {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    let after = begun.elapsed().as_millis();
    if last.kind() == io::ErrorKind::TimedOut {
        return Err(Failure(28, format!("Connection timed out after {after} milliseconds")));
    }
    let port = address.rsplit(':').next().unwrap_or("80");
    Err(Failure(7, format!("Failed to connect to {name} port {port} after {after} ms: {last}")))
}

/// Reads that respect one point in time for the whole transfer.
struct Deadline {
    stream: TcpStream,
    deadline: Option<Instant>,
}

impl Read for Deadline {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(deadline) = self.deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.stream.set_read_timeout(Some(left))?;
        }
        self.stream.read(buffer)
    }
}

/// The head may be this long.
const HEAD_LIMIT: u64 = 64 * 1024;

fn read_head(reader: &mut impl BufRead) -> io::Result<String> {
    let mut head = String::new();
    let mut limited = reader.take(HEAD_LIMIT);
    while !head.ends_with("\r\n\r\n") {
        if limited.read_line(&mut head)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(head)
}

fn copy_body(head: &str, reader: &mut impl BufRead, output: &mut impl Write) -> io::Result<()> {
    let header = |name: &str| {
        head.lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim().to_owned())
    };
    if header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        return copy_chunks(reader, output);
    }
    match header("content-length").and_then(|length| length.parse().ok()) {
        Some(length) => io::copy(&mut reader.take(length), output).map(drop),
        None => io::copy(reader, output).map(drop),
    }
}

fn copy_chunks(reader: &mut impl BufRead, output: &mut impl Write) -> io::Result<()> {
    loop {
        let mut line = String::new();
        reader.take(32).read_line(&mut line)?;
        let size = line.trim().split(';').next().unwrap_or_default();
        let size = u64::from_str_radix(size, 16).map_err(|_| io::ErrorKind::InvalidData)?;
        if size == 0 {
            return Ok(());
        }
        io::copy(&mut reader.take(size), output)?;
        reader.take(2).read_line(&mut String::new())?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(line: &str) -> Result<Options, String> {
        parse(line.split_whitespace().map(str::to_owned).collect())
    }

    #[test]
    fn flags_as_people_type_them() {
        let parsed = options("-sS -m2 -fo /dev/null http://a/b").expect("valid");
        let expected = Options {
            url: "http://a/b".to_owned(),
            silent: true,
            show_error: true,
            fail: true,
            max_time: Some(Duration::from_secs(2)),
            output: Some("/dev/null".to_owned()),
            ..Options::default()
        };
        assert_eq!(parsed, expected);
        assert!(options("--max-time").is_err());
        assert!(options("-Z http://a").is_err());
        assert!(options("-s").is_err());
    }

    #[test]
    fn urls_without_scheme_and_with_port() {
        let cases = [
            ("podinfo", ("podinfo", "podinfo:80", "/")),
            ("http://10.0.0.1:9898/env?x", ("10.0.0.1:9898", "10.0.0.1:9898", "/env?x")),
            ("[::1]/a", ("[::1]", "[::1]:80", "/a")),
            ("[::1]:81?q", ("[::1]:81", "[::1]:81", "/?q")),
        ];
        for (url, (host, address, path)) in cases {
            let expected = (host.to_owned(), address.to_owned(), path.to_owned());
            assert_eq!(split(url).ok(), Some(expected), "{url}");
        }
        assert!(split("https://a").is_err());
    }

    #[test]
    fn chunked_bodies_are_joined() {
        let mut output = Vec::new();
        copy_chunks(&mut &b"5\r\nhello\r\n1;x=y\r\n!\r\n0\r\n\r\n"[..], &mut output).expect("valid");
        assert_eq!(output, b"hello!");
    }
}
