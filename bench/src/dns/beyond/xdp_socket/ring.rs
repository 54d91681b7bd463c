//! Memory shared with the kernel, and a ring in it with one writer and one reader, one of which is the kernel.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};
use nix::libc;

/// A mapping, which ends with its value.
pub(super) struct Mapping {
    start: *mut u8,
    bytes: usize,
}

// The pointer is to memory that this value alone owns in this process.
#[allow(unsafe_code, reason = "a pointer that is owned")]
// SAFETY: no thread but the one that has the value reaches the memory through it.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Memory for frames.
    pub(super) fn anonymous(bytes: usize) -> io::Result<Self> {
        Self::new(bytes, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)
    }

    #[allow(unsafe_code, reason = "mmap has no safe form")]
    fn new(bytes: usize, flags: libc::c_int, fd: libc::c_int, offset: u64) -> io::Result<Self> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at a place that the kernel chooses; nobody else's memory is touched.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                access,
                flags | libc::MAP_POPULATE,
                fd,
                offset as libc::off_t,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { start: start.cast(), bytes })
    }

    /// Where it begins.
    pub(super) fn address(&self) -> u64 {
        self.start.expose_provenance() as u64
    }

    /// A part of it; none where it would lie outside.
    #[allow(unsafe_code, reason = "memory shared with the kernel")]
    pub(super) fn bytes(&mut self, start: usize, length: usize) -> &mut [u8] {
        if start.checked_add(length).is_none_or(|end| end > self.bytes) {
            return &mut [];
        }
        // SAFETY: within the mapping, which lives as long as the borrow; the kernel has given the frame to us and does
        // not touch it before it gets it back.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), length) }
    }
}

impl Drop for Mapping {
    #[allow(unsafe_code, reason = "munmap has no safe form")]
    fn drop(&mut self) {
        // SAFETY: our own mapping, to which no reference is left.
        unsafe { libc::munmap(self.start.cast(), self.bytes) };
    }
}

/// A ring of `T`, whose places are a power of two.
pub(super) struct Ring<T> {
    memory: Mapping,
    offsets: [usize; 3],
    places: u32,
    entry: std::marker::PhantomData<T>,
}

impl<T: Copy> Ring<T> {
    /// The ring of a socket that is at this offset.
    pub(super) fn map(
        socket: BorrowedFd<'_>,
        page: u64,
        layout: &libc::xdp_ring_offset,
        places: usize,
    ) -> Result<Self> {
        let offsets = [layout.producer, layout.consumer, layout.desc].map(|offset| offset as usize);
        let bytes = offsets[2] + places * size_of::<T>();
        let memory = Mapping::new(bytes, libc::MAP_SHARED, socket.as_raw_fd(), page)
            .context("a ring is not mapped")?;
        Ok(Self { memory, offsets, places: places as u32, entry: std::marker::PhantomData })
    }

    #[allow(unsafe_code, reason = "memory shared with the kernel")]
    fn counter(&self, which: usize) -> &AtomicU32 {
        // SAFETY: the kernel says that an aligned 32-bit counter is there, and touches it atomically too.
        unsafe { &*self.memory.start.add(self.offsets[which]).cast() }
    }

    fn place(&self, number: u32) -> *mut T {
        let at = self.offsets[2] + (number & (self.places - 1)) as usize * size_of::<T>();
        self.memory.start.wrapping_add(at).cast()
    }

    /// The next entry that the kernel has written.
    #[allow(unsafe_code, reason = "memory shared with the kernel")]
    pub(super) fn pop(&mut self) -> Option<T> {
        let next = self.counter(1).load(Ordering::Relaxed);
        if next == self.counter(0).load(Ordering::Acquire) {
            return None;
        }
        // SAFETY: within the mapping and aligned, as the kernel lays it out; written before the counter said so.
        let entry = unsafe { self.place(next).read() };
        self.counter(1).store(next.wrapping_add(1), Ordering::Release);
        Some(entry)
    }

    /// Gives entries to the kernel. There are never more of them than places.
    #[allow(unsafe_code, reason = "memory shared with the kernel")]
    pub(super) fn push(&mut self, entries: impl Iterator<Item = T>) {
        let mut next = self.counter(0).load(Ordering::Relaxed);
        for entry in entries {
            // SAFETY: within the mapping and aligned; the kernel does not read it before the counter says so.
            unsafe { self.place(next).write(entry) };
            next = next.wrapping_add(1);
        }
        self.counter(0).store(next, Ordering::Release);
    }

    /// Whether the kernel has taken everything.
    pub(super) fn is_taken(&self) -> bool {
        self.counter(0).load(Ordering::Relaxed) == self.counter(1).load(Ordering::Acquire)
    }
}
