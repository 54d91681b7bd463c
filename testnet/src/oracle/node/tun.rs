//! TUN devices: a wire whose far end is a file of IP packets.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

/// A device of this name in the calling thread's network namespace, that lives as long as the file. Reading does not block.
#[allow(unsafe_code, reason = "nix has no TUNSETIFF")]
pub(super) fn create(name: &str) -> io::Result<File> {
    let options = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).clone();
    let device = options.open("/dev/net/tun")?;
    let flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
    let mut request = libc::ifreq {
        ifr_name: [0; libc::IFNAMSIZ],
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: flags },
    };
    for (place, byte) in request.ifr_name[..libc::IFNAMSIZ - 1].iter_mut().zip(name.bytes()) {
        *place = byte as libc::c_char;
    }
    // SAFETY: `request` is an initialised ifreq with a terminated name, which the call reads and writes within its size.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNSETIFF as _, &raw mut request) };
    if result == 0 { Ok(device) } else { Err(io::Error::last_os_error()) }
}
