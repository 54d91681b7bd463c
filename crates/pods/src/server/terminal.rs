//! A pseudo terminal of a container's own devpts, so that `tty` and job control work inside.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use nix::errno::Errno;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};

/// Device number 5:2, the multiplexer of every devpts.
const PTMX: u64 = nix::libc::makedev(5, 2);

/// The master side.
#[derive(Debug)]
pub(super) struct Terminal {
    master: Arc<AsyncFd<OwnedFd>>,
}

/// A reader and writer of the master side.
pub(super) struct Half {
    master: Arc<AsyncFd<OwnedFd>>,
}

impl Terminal {
    /// Opens a new terminal in the mount namespace of `init`, which must be a child that has not been reaped;
    /// returns the slave side too.
    #[allow(unsafe_code, reason = "ioctls and descriptors without safe forms")]
    pub(super) fn open(init: u32) -> io::Result<(Self, OwnedFd)> {
        let path = format!("/proc/{init}/root/dev/pts/ptmx");
        let flags = libc::O_NOCTTY | libc::O_NONBLOCK | libc::O_CLOEXEC;
        let master = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?;
        let metadata = master.metadata()?;
        if !metadata.file_type().is_char_device() || metadata.rdev() != PTMX {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the container's /dev/pts is not a devpts",
            ));
        }
        let unlock: libc::c_int = 0;
        // SAFETY: TIOCSPTLCK reads one int.
        Errno::result(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlock) })?;
        let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
        // SAFETY: TIOCGPTPEER takes flags and returns a new descriptor that nobody else owns (kernel 4.13).
        let slave = unsafe {
            let number = Errno::result(libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags))?;
            OwnedFd::from_raw_fd(number)
        };
        let interest = Interest::READABLE | Interest::WRITABLE;
        // SAFETY: an OwnedFd keeps its descriptor open, and the same, for its whole life.
        let master = unsafe { AsyncFd::register_with_interest(OwnedFd::from(master), interest) }?;
        Ok((Self { master: Arc::new(master) }, slave))
    }

    /// For reading or writing.
    pub(super) fn half(&self) -> Half {
        Half { master: Arc::clone(&self.master) }
    }

    /// Tells the programs on the terminal its new size. A terminal that is gone needs none.
    #[allow(unsafe_code, reason = "an ioctl without a safe form")]
    pub(super) fn resize(&self, width: u16, height: u16) {
        let size = libc::winsize { ws_row: height, ws_col: width, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: TIOCSWINSZ reads one winsize.
        unsafe { libc::ioctl(self.master.get_ref().as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
    }
}

impl AsyncRead for Half {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.master.poll_read_ready(context))?;
            let unfilled = buffer.initialize_unfilled();
            let result = guard.try_io(|master| Ok(nix::unistd::read(master.get_ref(), unfilled)?));
            if let Ok(result) = result {
                return Poll::Ready(result.map(|length| buffer.advance(length)));
            }
        }
    }
}

impl AsyncWrite for Half {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.master.poll_write_ready(context))?;
            let result = guard.try_io(|master| Ok(nix::unistd::write(master.get_ref(), data)?));
            if let Ok(result) = result {
                return Poll::Ready(result);
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
