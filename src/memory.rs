//! How the process gives memory back to the system.
//!
//! The work is uneven: a request of a few bytes, then one of 64 MiB. glibc's allocator, left to itself, learns from the
//! large one to keep as much for ever, in each of up to eight heaps a core.

/// Work on more than this many bytes is followed by [`give_back`].
pub const LARGE: usize = 8 << 20;

/// Has freed memory returned to the system. Call it once, before threads are started; elsewhere than on glibc it does
/// nothing.
pub fn tune() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    for (parameter, value) in [
        // Setting a threshold also ends its growing with what was freed.
        (libc::M_MMAP_THRESHOLD, 512 << 10),
        (libc::M_TRIM_THRESHOLD, 4 << 20),
        (libc::M_ARENA_MAX, 4),
    ] {
        // SAFETY: mallopt takes any values; it fails for those it does not know, and then things are as they were.
        unsafe { libc::mallopt(parameter, value) };
    }
}

/// Returns what is free between allocations, after work that took much. Takes some milliseconds.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: malloc_trim takes no pointers and may be called by any thread at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}
