//! Answers made before they are asked for: what a map of the kernel would hold in the zone's place.
//!
//! The key is the whole query behind its identifier, so flags, letters' case and EDNS options are part of it: a client
//! that asks otherwise is not answered from the map but by the socket behind it.

use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Result, ensure};
use dns::answer::{Context, Outcome, Transport, answer};
use dns::zone::Zone;

use super::bpf;

/// A query's length and bytes behind the identifier; a multiple of 8, and short of the stack's 512.
pub(super) const KEY_BYTES: usize = 96;
/// An answer's length and bytes behind the identifier.
pub(super) const ANSWER_BYTES: usize = 256;

/// Queries with their answers.
pub(super) type Ready = Vec<(Vec<u8>, Vec<u8>)>;

/// What the zone answers to these.
pub(super) fn answers(zone: &Zone, queries: &[Vec<u8>]) -> Result<Ready> {
    let mut buffer = [0; 4096];
    let mut ready = Vec::with_capacity(queries.len());
    for query in queries {
        let context = Context { transport: Transport::Udp, synced: true, rotation: 0 };
        let Outcome::Reply(length) = answer(zone, query, context, &mut buffer) else { continue };
        ensure!(length <= ANSWER_BYTES && query.len() <= KEY_BYTES, "an answer too long for the map");
        ready.push((query.clone(), buffer[..length].to_vec()));
    }
    Ok(ready)
}

/// A map with all of them.
pub(super) fn map(ready: &Ready) -> Result<OwnedFd> {
    let map = bpf::map(bpf::Kind::Hash, KEY_BYTES, ANSWER_BYTES, ready.len())?;
    for (query, answer) in ready {
        let (key, value) = (entry::<KEY_BYTES>(query), entry::<ANSWER_BYTES>(answer));
        bpf::put(map.as_fd(), &key, &value)?;
    }
    Ok(map)
}

/// Length and bytes of a message without its identifier.
fn entry<const N: usize>(message: &[u8]) -> [u8; N] {
    let mut entry = [0; N];
    let bytes = &message[2..];
    entry[..2].copy_from_slice(&(bytes.len() as u16).to_ne_bytes());
    entry[2..2 + bytes.len()].copy_from_slice(bytes);
    entry
}
