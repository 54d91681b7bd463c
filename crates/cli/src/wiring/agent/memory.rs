//! Memory that the process holds beside what the agent uses: the C library's heaps, and pages of the program file that only
//! the start needed. Nothing here changes what is computed.
//!
//! The C library would give each thread a heap of its own, each with the holes that a first load leaves behind; the agent's
//! threads rarely allocate at the same time, and share one. musl, which the image is built with, has one heap for all threads to
//! begin with and no setting for it (`mallocng`), so there only the program's pages are given back.

use std::fs;

/// Gives all threads one heap. To be called before there are others.
#[cfg(target_env = "gnu")]
#[allow(unsafe_code, reason = "the allocator's parameters have no safe call")]
pub(crate) fn share_one_heap() {
    /// The C library's own beginning; left alone the limits would grow to the largest piece that was ever freed.
    const LARGE: libc::c_int = 128 * 1024;
    // SAFETY: mallopt(3) takes two integers and locks what it changes.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
        libc::mallopt(libc::M_TRIM_THRESHOLD, LARGE);
    }
}

#[cfg(not(target_env = "gnu"))]
pub(crate) fn share_one_heap() {}

/// Gives back what a load or the start has left; takes milliseconds.
pub(crate) fn give_back() {
    trim();
    // Without /proc they stay.
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let program = fs::read_link("/proc/self/exe").unwrap_or_default();
    for (start, length) in code(&maps, &program.to_string_lossy()) {
        forget(start, length);
    }
}

#[cfg(target_env = "gnu")]
#[allow(unsafe_code, reason = "the allocator's pages have no safe call")]
fn trim() {
    // SAFETY: malloc_trim(3) takes an integer and locks what it walks; nothing that is in use moves.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(not(target_env = "gnu"))]
fn trim() {}

/// Where the program's code is mapped, by proc_pid_maps(5): begin and length.
fn code(maps: &str, program: &str) -> Vec<(usize, usize)> {
    let mapping = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let (range, rights, file) = (words.next()?, words.next()?, words.nth(3)?);
        if rights != "r-xp" || file != program {
            return None;
        }
        let (start, end) = range.split_once('-')?;
        let address = |text| usize::from_str_radix(text, 16).ok();
        let (start, end) = (address(start)?, address(end)?);
        Some((start, end.checked_sub(start)?))
    };
    maps.lines().filter_map(mapping).collect()
}

/// Code has no relocations and is never written, so its pages are the file's: what runs is mapped again when it does.
#[allow(unsafe_code, reason = "advice about memory has no safe call")]
fn forget(start: usize, length: usize) {
    // SAFETY: the range is a private, clean mapping of the program file, whose pages come back as they were.
    unsafe {
        libc::madvise(std::ptr::with_exposed_provenance_mut(start), length, libc::MADV_DONTNEED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_programs_code_is_forgotten() {
        let maps = "\
55d0a0000000-55d0a0545000 r--p 00000000 fe:00 12 /usr/bin/sluice
55d0a0545000-55d0a0547000 r-xp 00544000 fe:00 12 /usr/bin/sluice
55d0a1440000-55d0a151e000 r--p 0143e000 fe:00 12 /usr/bin/sluice
7f0000000000-7f0000002000 r-xp 00000000 fe:00 13 /lib/libc.so.6
7ffc00000000-7ffc00002000 r-xp 00000000 00:00 0 [vdso]
";
        assert_eq!(code(maps, "/usr/bin/sluice"), [(0x55d0_a054_5000, 0x2000)]);
        give_back();
    }
}
