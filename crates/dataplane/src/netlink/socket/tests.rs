//! Replies that a kernel gives on a bad day, and some that it never does.

use std::collections::VecDeque;

use super::*;
use crate::netlink::Header;
use crate::netlink::batch::{DUMP, request};

const OBJECT: &str = "the list of tests";
const KIND: u16 = 0x0a00;
const MULTI: u16 = 2;

#[derive(Debug)]
struct Script(VecDeque<io::Result<Vec<u8>>>);

impl Wire for Script {
    fn send(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn receive(&mut self, buffer: &mut [u8], wait: bool) -> io::Result<usize> {
        // Nothing is left over from before: what the script holds are answers to what is asked now.
        if !wait && matches!(self.0.front(), Some(Ok(bytes)) if bytes.is_empty()) {
            self.0.pop_front();
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let bytes = self.0.pop_front().unwrap_or(Err(io::ErrorKind::WouldBlock.into()))?;
        let fits = bytes.len().min(buffer.len());
        buffer[..fits].copy_from_slice(&bytes[..fits]);
        Ok(bytes.len())
    }
}

/// A socket that finds nothing to drain and then receives these.
fn socket(replies: impl IntoIterator<Item = io::Result<Vec<u8>>>) -> Socket {
    let drained = std::iter::once(Ok(Vec::new()));
    Socket::over(Box::new(Script(drained.chain(replies).collect())))
}

fn message(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&u32::try_from(16 + body.len()).unwrap().to_ne_bytes());
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(&flags.to_ne_bytes());
    bytes.extend_from_slice(&sequence.to_ne_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(body);
    bytes
}

fn outcome(kind: u16, sequence: u32, errno: i32) -> Vec<u8> {
    message(kind, MULTI, sequence, &(-errno).to_ne_bytes())
}

fn errno(code: i32) -> io::Result<Vec<u8>> {
    Err(io::Error::from_raw_os_error(code))
}

/// How many objects a dump brings.
fn dump(replies: impl IntoIterator<Item = io::Result<Vec<u8>>>) -> Result<usize, Error> {
    let header = Header { kind: KIND, flags: DUMP, family: 2 };
    let found = socket(replies).collect(OBJECT, &request(header, |_| ()), |_| Some(()))?;
    Ok(found.len())
}

fn object(sequence: u32) -> Vec<u8> {
    message(KIND, MULTI, sequence, &[0; 8])
}

#[test]
fn dumps_come_in_pieces_and_signals_do_not_matter() {
    let two = [object(1), object(1)].concat();
    let replies = [Ok(two), errno(libc::EINTR), Ok(object(1)), Ok(outcome(NLMSG_DONE, 1, 0))];
    assert_eq!(dump(replies).unwrap(), 3);
    let others = [Ok(object(77)), Ok(outcome(NLMSG_DONE, 77, 0)), Ok(outcome(NLMSG_DONE, 1, 0))];
    assert_eq!(dump(others).unwrap(), 0, "answers to others are not ours");
}

#[test]
fn half_a_dump_is_an_error() {
    let cases = [
        ("ends with an error", vec![Ok(object(1)), Ok(outcome(NLMSG_DONE, 1, libc::ENOMEM))]),
        ("is refused", vec![Ok(object(1)), Ok(outcome(NLMSG_ERROR, 1, libc::EPERM))]),
        ("an acknowledgement instead", vec![Ok(outcome(NLMSG_ERROR, 1, 0))]),
        ("lost datagrams", vec![Ok(object(1)), errno(libc::ENOBUFS), Ok(outcome(NLMSG_DONE, 1, 0))]),
        ("silence", vec![Ok(object(1))]),
        ("an end without its number", vec![Ok(message(NLMSG_DONE, MULTI, 1, &[]))]),
        ("a number that is no error", vec![Ok(outcome(NLMSG_DONE, 1, -5))]),
        ("a message longer than its datagram", vec![Ok(object(1)[..20].to_vec())]),
        ("a message shorter than its header", vec![Ok(vec![3; 16])]),
        ("a datagram that was cut off", vec![Ok(vec![0; RECEIVE_BUFFER + 1])]),
    ];
    for (name, replies) in cases {
        let error = dump(replies).expect_err(name);
        assert!(!matches!(error, Error::Interrupted), "{name}: {error}");
    }
}

#[test]
fn an_interrupted_dump_is_taken_again() {
    let interrupted = |sequence| {
        let mut end = outcome(NLMSG_DONE, sequence, 0);
        end[6..8].copy_from_slice(&NLM_F_DUMP_INTR.to_ne_bytes());
        [Ok(object(sequence)), Ok(end), Ok(Vec::new())]
    };
    let second = [Ok(object(2)), Ok(object(2)), Ok(outcome(NLMSG_DONE, 2, 0))];
    assert_eq!(dump(interrupted(1).into_iter().chain(second)).unwrap(), 2);
    let error = dump((1..=DUMP_ATTEMPTS).flat_map(interrupted)).unwrap_err();
    assert!(matches!(error, Error::Interrupted), "{error}");
}

fn transact(replies: Vec<io::Result<Vec<u8>>>) -> Result<(), Error> {
    let mut batch = Batch::new(10);
    for label in ["table a", "table b"] {
        batch.push(Header { kind: KIND, flags: 0, family: 2 }, label, |_| ());
    }
    socket(replies).transact(&mut batch)
}

#[test]
fn a_transaction_ends_with_the_last_acknowledgement_and_no_refusal() {
    let ack = |sequence| Ok(outcome(NLMSG_ERROR, sequence, 0));
    let refusal = |sequence, code| Ok(outcome(NLMSG_ERROR, sequence, code));
    transact(vec![errno(libc::EINTR), ack(2)]).unwrap();
    let error = transact(vec![refusal(1, libc::EEXIST), refusal(2, libc::ENOENT), ack(2)]).unwrap_err();
    assert_eq!(error.to_string(), "netlink: the kernel refused table a");
    assert!(error.is_verdict());
    let error = transact(vec![refusal(0, libc::ENOMEM)]).unwrap_err();
    assert_eq!(error.to_string(), "netlink: the kernel refused the transaction as a whole");
    assert!(!error.is_verdict(), "lack of memory says nothing about the messages");
    let error = transact(vec![refusal(1, libc::EINVAL), errno(libc::ENOBUFS)]).unwrap_err();
    assert_eq!(error.errno(), Some(libc::EINVAL), "the refusal is known, whatever else was lost");
    for replies in [vec![], vec![ack(1)], vec![errno(libc::ENOBUFS)], vec![Ok(vec![7; 40])]] {
        let error = transact(replies).unwrap_err();
        assert!(!error.is_verdict(), "{error}");
    }
}

#[test]
fn calls_have_an_outcome_each() {
    let header = Header { kind: KIND, flags: 0, family: 2 };
    let mut requests = vec![request(header, |_| ()); 3];
    let answers = [
        outcome(NLMSG_ERROR, 2, libc::ENOENT),
        outcome(NLMSG_ERROR, 2, 0),
        outcome(NLMSG_ERROR, 9, 0),
        outcome(NLMSG_ERROR, 3, 0),
    ];
    let replies = [Ok(answers.concat()), Ok(outcome(NLMSG_ERROR, 1, 0))];
    assert_eq!(socket(replies).call(OBJECT, &mut requests).unwrap(), [0, libc::ENOENT, 0]);
    assert!(socket([]).call(OBJECT, &mut requests).is_err());
    assert!(socket([]).call(OBJECT, &mut []).unwrap().is_empty());
}
