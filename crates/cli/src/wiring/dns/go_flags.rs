//! CoreDNS's flags in Go's form: one dash or two, with `=` or without. clap knows two dashes only.

use std::ffi::OsString;

/// The flags of the coredns program, by the names they have here.
const FLAGS: [(&str, &str); 7] = [
    ("conf", "conf"),
    ("dns.port", "dns.port"),
    ("p", "dns.port"),
    ("plugins", "plugins"),
    ("version", "version"),
    ("pidfile", "pidfile"),
    ("quiet", "quiet"),
];

/// The same command line with two dashes, when it is one of `sluice dns`.
pub(crate) fn with_two_dashes(args: Vec<OsString>) -> Vec<OsString> {
    if args.get(1).is_none_or(|command| command != "dns") {
        return args;
    }
    args.into_iter().map(|arg| arg.to_str().and_then(translated).map_or(arg, OsString::from)).collect()
}

/// The flag with two dashes; `None` for anything else.
fn translated(arg: &str) -> Option<String> {
    let bare = arg.strip_prefix("--").or_else(|| arg.strip_prefix('-'))?;
    let (name, value) = match bare.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (bare, None),
    };
    let (_, own) = FLAGS.iter().find(|(known, _)| *known == name)?;
    Some(value.map_or_else(|| format!("--{own}"), |value| format!("--{own}={value}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_of_go_become_ours() {
        let line = |words: &str| words.split(' ').map(OsString::from).collect::<Vec<_>>();
        for (given, expected) in [
            ("sluice dns -conf /etc/coredns/Corefile", "sluice dns --conf /etc/coredns/Corefile"),
            ("sluice dns --conf=x -dns.port=1053 -quiet", "sluice dns --conf=x --dns.port=1053 --quiet"),
            ("sluice dns -p 1053 -pidfile a", "sluice dns --dns.port 1053 --pidfile a"),
            ("sluice dns --listen 127.0.0.1:53 -h", "sluice dns --listen 127.0.0.1:53 -h"),
            ("sluice get -p x", "sluice get -p x"),
        ] {
            assert_eq!(with_two_dashes(line(given)), line(expected), "{given}");
        }
    }
}
