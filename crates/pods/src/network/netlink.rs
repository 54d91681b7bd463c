//! One blocking rtnetlink socket: a request, its acknowledgement, and the kernel's errno as an error.
//!
//! A socket belongs to the network namespace in which it was opened and keeps acting there, even after its
//! thread has moved on; [`super::pod`] relies on it to hold two namespaces at once.

use std::io;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use super::Error;

/// How an object that exists already is met.
#[derive(Clone, Copy)]
pub(crate) enum Mode {
    /// Make it; fail with EEXIST where it exists.
    Create,
    /// Make it, or replace what is there.
    Replace,
    /// Change or delete what is there.
    Change,
}

impl Mode {
    fn flags(self) -> u16 {
        match self {
            Mode::Create => NLM_F_CREATE | NLM_F_EXCL,
            Mode::Replace => NLM_F_CREATE | NLM_F_REPLACE,
            Mode::Change => 0,
        }
    }
}

/// A blocking rtnetlink socket in the namespace of the thread that opened it.
pub(crate) struct Rtnetlink {
    socket: Socket,
    sequence: u32,
}

impl Rtnetlink {
    /// Opens the socket in the calling thread's network namespace.
    pub(crate) fn open() -> Result<Self, Error> {
        Self::connect().map_err(|source| Error::Netlink { operation: "opening a socket".to_owned(), source })
    }

    fn connect() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Sends one request and waits for its acknowledgement. `operation` names it in errors.
    pub(crate) fn request(
        &mut self,
        operation: &str,
        message: RouteNetlinkMessage,
        mode: Mode,
    ) -> Result<(), Error> {
        self.transact(message, NLM_F_ACK | mode.flags(), operation).map(drop)
    }

    /// The index of the interface called `name` in this socket's namespace.
    pub(crate) fn link_index(&mut self, name: &str) -> Result<u32, Error> {
        self.link(name).map(|link| link.header.index)
    }

    /// What the kernel says of the interface called `name`. Since kernel 6.8 this also completes a change of its
    /// carrier that is still queued.
    pub(crate) fn link(&mut self, name: &str) -> Result<LinkMessage, Error> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        let operation = format!("looking up interface {name}");
        match self.transact(RouteNetlinkMessage::GetLink(message), 0, &operation)? {
            Some(RouteNetlinkMessage::NewLink(link)) => Ok(link),
            _ => Err(Error::Netlink { operation, source: io::ErrorKind::InvalidData.into() }),
        }
    }

    fn transact(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
        operation: &str,
    ) -> Result<Option<RouteNetlinkMessage>, Error> {
        let broken = |source| Error::Netlink { operation: operation.to_owned(), source };
        self.sequence += 1;
        self.send(message, flags).map_err(broken)?;
        loop {
            let (bytes, _) = self.socket.recv_from_full().map_err(broken)?;
            let reply = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&bytes)
                .map_err(|error| broken(io::Error::new(io::ErrorKind::InvalidData, error)))?;
            if reply.header.sequence_number != self.sequence {
                continue;
            }
            return match reply.payload {
                NetlinkPayload::Error(answer) if answer.code.is_some() => {
                    Err(Error::Refused { operation: operation.to_owned(), source: answer.to_io() })
                }
                NetlinkPayload::InnerMessage(message) => Ok(Some(message)),
                _ => Ok(None),
            };
        }
    }

    fn send(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut request = NetlinkMessage::new(header, NetlinkPayload::from(message));
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.socket.send(&bytes, 0).map(drop)
    }
}
