//! Links: the bridge, veth pairs across namespaces, bringing an interface up.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, State,
};

use super::netlink::{Mode, Rtnetlink};
use super::{Error, sysctl};

/// A link-layer address.
pub(crate) type Mac = [u8; 6];

/// One end of a veth pair that is to be made.
pub(crate) struct End<'a> {
    /// Interface name, at most 15 bytes.
    pub(crate) name: &'a str,
    /// A fixed link-layer address, or the kernel's random one.
    pub(crate) mac: Option<Mac>,
}

impl End<'_> {
    fn attributes(&self) -> Vec<LinkAttribute> {
        let mut attributes = vec![LinkAttribute::IfName(self.name.to_owned())];
        attributes.extend(self.mac.map(|mac| LinkAttribute::Address(mac.to_vec())));
        attributes
    }
}

/// The bridge's own link-layer address. Without one it takes the lowest of its ports', another as ports come, and whoever
/// knows the one before talks to nobody until the neighbour entry is checked again, half a minute later.
const BRIDGE_MAC: Mac = [0x0a, 0x58, 0, 0, 0, 1];

/// Makes a bridge (no spanning tree, so ports forward at once) and brings it up; returns its index.
pub(crate) fn create_bridge(netlink: &mut Rtnetlink, name: &str) -> Result<u32, Error> {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(name.to_owned()));
    message.attributes.push(LinkAttribute::Address(BRIDGE_MAC.to_vec()));
    message.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]));
    netlink.request(
        &format!("creation of bridge {name}"),
        RouteNetlinkMessage::NewLink(message),
        Mode::Create,
    )?;
    set_up(netlink, name)
}

/// Makes a veth pair: `near` in the socket's namespace, `far` in the one behind `far_namespace`. The near end is up
/// (the far one cannot be yet); once the far one is, `near` is to be used after [`wait_until_usable`] only.
pub(crate) fn create_veth(
    netlink: &mut Rtnetlink,
    near: &End<'_>,
    far: &End<'_>,
    far_namespace: BorrowedFd<'_>,
) -> Result<(), Error> {
    let mut peer = LinkMessage::default();
    peer.attributes = far.attributes();
    peer.attributes.push(LinkAttribute::NetNsFd(far_namespace.as_raw_fd()));
    let mut message = LinkMessage::default();
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    message.attributes = near.attributes();
    message.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Veth),
        LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
    ]));
    let operation = format!("creation of veth {} with peer {}", near.name, far.name);
    netlink.request(&operation, RouteNetlinkMessage::NewLink(message), Mode::Create)
}

/// Brings an interface up; returns its index.
pub(crate) fn set_up(netlink: &mut Rtnetlink, name: &str) -> Result<u32, Error> {
    let index = netlink.link_index(name)?;
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    netlink.request(&format!("bringing {name} up"), RouteNetlinkMessage::SetLink(message), Mode::Change)?;
    Ok(index)
}

/// How long the kernel may take to notice that both ends are up; it does so once a second when it is busy.
const CARRIER_PATIENCE: Duration = Duration::from_secs(2);

/// Waits until a link that is up can transmit; returns its index.
///
/// The end of a veth pair that was brought up first starts to transmit only when a kernel worker has seen that the
/// other is up too. Until then its packets are dropped, and a lost first packet costs a second.
pub(crate) fn wait_until_usable(netlink: &mut Rtnetlink, name: &str) -> Result<u32, Error> {
    let deadline = Instant::now() + CARRIER_PATIENCE;
    loop {
        let link = netlink.link(name)?;
        let usable = link.attributes.contains(&LinkAttribute::OperState(State::Up));
        if usable || Instant::now() >= deadline {
            return Ok(link.header.index);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Makes `port` a port of the bridge with index `bridge`.
pub(crate) fn set_controller(netlink: &mut Rtnetlink, port: &str, bridge: u32) -> Result<(), Error> {
    let mut message = LinkMessage::default();
    message.header.index = netlink.link_index(port)?;
    message.attributes.push(LinkAttribute::Controller(bridge));
    let operation = format!("joining {port} to the bridge");
    netlink.request(&operation, RouteNetlinkMessage::SetLink(message), Mode::Change)
}

/// Deletes an interface (of a veth pair: both ends). An interface that is not there is no error.
pub(crate) fn delete(netlink: &mut Rtnetlink, name: &str) -> Result<(), Error> {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(name.to_owned()));
    let operation = format!("deletion of interface {name}");
    match netlink.request(&operation, RouteNetlinkMessage::DelLink(message), Mode::Change) {
        Err(error) if error.errno() == Some(libc::ENODEV) => Ok(()),
        result => result,
    }
}

/// Settings of a fresh namespace that must precede its first interface: no router solicitations, no multicast
/// reports and no duplicate-address detection on links that carry IPv4 only (mode 1 of `addr_gen_mode`: no
/// link-local address). A kernel without IPv6 has no such file, and needs none.
pub(crate) fn quiet_ipv6() -> Result<(), Error> {
    sysctl::set_if_present("net/ipv6/conf/default/addr_gen_mode", "1")
}
