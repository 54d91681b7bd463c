//! One message of the kernel's trace (`NFT_MSG_TRACE`, `linux/netfilter/nf_tables.h`): where a packet was and what was
//! decided there.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::Comments;
use crate::netlink::{Attributes, Received};

/// `NFNL_SUBSYS_NFTABLES`.
pub(super) const SUBSYSTEM: u16 = 10;
const TRACE: u16 = 17;

const NFTA_TRACE_TABLE: u16 = 1;
const NFTA_TRACE_CHAIN: u16 = 2;
const NFTA_TRACE_RULE_HANDLE: u16 = 3;
const NFTA_TRACE_TYPE: u16 = 4;
const NFTA_TRACE_VERDICT: u16 = 5;
const NFTA_TRACE_ID: u16 = 6;
const NFTA_TRACE_NETWORK_HEADER: u16 = 8;
const NFTA_TRACE_TRANSPORT_HEADER: u16 = 9;
const NFTA_TRACE_IIF: u16 = 10;
const NFTA_TRACE_OIF: u16 = 12;
const NFTA_TRACE_NFPROTO: u16 = 15;
const NFTA_TRACE_POLICY: u16 = 16;
const NFTA_VERDICT_CODE: u16 = 1;
const NFTA_VERDICT_CHAIN: u16 = 2;
/// `NFT_TRACETYPE_POLICY`: the end of a base chain.
const AT_POLICY: u32 = 1;

/// What was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The packet goes on to the next chain of the kernel.
    Accept,
    /// It ends here. A refusal ends so too, after its answer was sent.
    Drop,
    /// The next rule is asked.
    Continue,
    /// Back to the chain that called.
    Return,
    /// On in another chain.
    Goto(String),
    /// On in another chain, and back.
    Jump(String),
    /// Anything else, by its number.
    Other(u32),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept => f.write_str("accept"),
            Self::Drop => f.write_str("drop"),
            Self::Continue => f.write_str("continue"),
            Self::Return => f.write_str("return"),
            Self::Goto(chain) => write!(f, "goto {chain}"),
            Self::Jump(chain) => write!(f, "jump {chain}"),
            Self::Other(code) => write!(f, "verdict {code}"),
        }
    }
}

/// Where the packet said it comes from and goes to, when it entered a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers {
    /// Sender.
    pub source: SocketAddr,
    /// Receiver.
    pub destination: SocketAddr,
}

/// One step of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The table.
    pub table: String,
    /// The chain.
    pub chain: String,
    /// What the rule says of itself; none at a chain's end.
    pub rule: Option<String>,
    /// What was decided.
    pub verdict: Verdict,
    /// Index of the interface that it came by.
    pub arrived_by: Option<u32>,
    /// Index of the interface that it leaves by, where that is known already.
    pub leaves_by: Option<u32>,
    /// Its addresses; the kernel tells them at the first step in a base chain.
    pub headers: Option<Headers>,
}

/// A message as received.
#[derive(Clone, Debug)]
pub(super) struct Event {
    /// The kernel's number of the packet.
    pub(super) packet: u32,
    pub(super) table: String,
    family: u8,
    chain: String,
    rule: Option<u64>,
    verdict: Verdict,
    arrived_by: Option<u32>,
    leaves_by: Option<u32>,
    headers: Option<Headers>,
}

impl Event {
    pub(super) fn parse(message: &Received<'_>) -> Option<Self> {
        if message.kind != SUBSYSTEM << 8 | TRACE {
            return None;
        }
        let trace = message.attributes();
        let text = |kind| Some(trace.text(kind)?.to_owned());
        let at_policy = trace.u32(NFTA_TRACE_TYPE) == Some(AT_POLICY);
        Some(Self {
            packet: trace.u32(NFTA_TRACE_ID)?,
            table: text(NFTA_TRACE_TABLE)?,
            family: u8::try_from(trace.u32(NFTA_TRACE_NFPROTO).unwrap_or(0)).unwrap_or(0),
            chain: text(NFTA_TRACE_CHAIN)?,
            rule: trace
                .get(NFTA_TRACE_RULE_HANDLE)
                .and_then(|handle| Some(u64::from_be_bytes(handle.try_into().ok()?))),
            verdict: match trace.u32(NFTA_TRACE_POLICY).filter(|_| at_policy) {
                Some(policy) => verdict(policy, None),
                None => read_verdict(&trace.nested(NFTA_TRACE_VERDICT)),
            },
            arrived_by: trace.u32(NFTA_TRACE_IIF),
            leaves_by: trace.u32(NFTA_TRACE_OIF),
            headers: headers(&trace),
        })
    }

    /// No rule, and nothing decided.
    pub(super) fn is_empty(&self) -> bool {
        self.rule.is_none() && self.verdict == Verdict::Continue && self.headers.is_none()
    }

    pub(super) fn step(self, comments: &Comments) -> Step {
        let unnamed = |handle: u64| format!("rule {handle}");
        let rule = self.rule.map(|handle| {
            let key = (self.family, format!("{}/{}", self.table, self.chain), handle);
            comments.get(&key).cloned().unwrap_or_else(|| unnamed(handle))
        });
        Step {
            table: self.table,
            chain: self.chain,
            rule,
            verdict: self.verdict,
            arrived_by: self.arrived_by,
            leaves_by: self.leaves_by,
            headers: self.headers,
        }
    }
}

fn read_verdict(nested: &Attributes<'_>) -> Verdict {
    let chain = nested.text(NFTA_VERDICT_CHAIN).map(str::to_owned);
    verdict(nested.u32(NFTA_VERDICT_CODE).unwrap_or(u32::MAX), chain)
}

/// `NF_DROP` 0, `NF_ACCEPT` 1, `NFT_CONTINUE` -1, `NFT_BREAK` -2, `NFT_JUMP` -3, `NFT_GOTO` -4, `NFT_RETURN` -5.
fn verdict(code: u32, chain: Option<String>) -> Verdict {
    match (code.cast_signed(), chain) {
        // The upper half of a drop is an error number.
        (code, _) if code >= 0 && code & 0xff == 0 => Verdict::Drop,
        (1, _) => Verdict::Accept,
        (-1 | -2, _) => Verdict::Continue,
        (-3, Some(chain)) => Verdict::Jump(chain),
        (-4, Some(chain)) => Verdict::Goto(chain),
        (-5, _) => Verdict::Return,
        _ => Verdict::Other(code),
    }
}

fn headers(trace: &Attributes<'_>) -> Option<Headers> {
    let network = trace.get(NFTA_TRACE_NETWORK_HEADER)?;
    let transport = trace.get(NFTA_TRACE_TRANSPORT_HEADER)?;
    let (source, destination) = addresses(network)?;
    let port = |at: usize| Some(u16::from_be_bytes(*transport.get(at..)?.first_chunk()?));
    Some(Headers {
        source: SocketAddr::new(source, port(0)?),
        destination: SocketAddr::new(destination, port(2)?),
    })
}

fn addresses(network: &[u8]) -> Option<(IpAddr, IpAddr)> {
    if network.first()? >> 4 == 4 {
        let at = |at: usize| Some(IpAddr::V4(Ipv4Addr::from(*network.get(at..)?.first_chunk::<4>()?)));
        Some((at(12)?, at(16)?))
    } else {
        let at = |at: usize| Some(IpAddr::V6(Ipv6Addr::from(*network.get(at..)?.first_chunk::<16>()?)));
        Some((at(8)?, at(24)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_by_number() {
        let named = |code: i32, chain: Option<&str>| {
            verdict(code.cast_unsigned(), chain.map(str::to_owned)).to_string()
        };
        assert_eq!(named(0, None), "drop");
        assert_eq!(named(1, None), "accept");
        assert_eq!(named(-1, None), "continue");
        assert_eq!(named(-4, Some("n3")), "goto n3");
        assert_eq!(named(-5, None), "return");
        assert_eq!(named(7, None), "verdict 7");
    }

    #[test]
    fn damaged_headers_are_none() {
        for bytes in [&[][..], &[0x45], &[0x45; 12], &[0x60; 20]] {
            assert_eq!(addresses(bytes), None);
        }
    }
}
