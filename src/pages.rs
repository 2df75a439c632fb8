//! The size of the pages of memory that the program works in.

/// Asks the system for pages of 4 KiB from here on, not for huge ones, which the allocator (mimalloc 2) would have.
///
/// A buffer that is touched here and there takes up, and has zeroed for it, 2 MiB at each place with huge pages: a word count of
/// a topic had 30 to 60 MiB more in memory, and that of a file took a tenth more processor time (`benches/figures`).
/// Systems other than Linux have no such pages, and an old kernel may refuse: then all stays as it was.
pub fn use_small_pages() {
    #[cfg(target_os = "linux")]
    if let Err(refusal) = nix::sys::prctl::set_thp_disable(true) {
        tracing::debug!("huge pages stay on: {refusal}");
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #[test]
    fn huge_pages_are_off_once_asked() {
        super::use_small_pages();
        assert_eq!(nix::sys::prctl::get_thp_disable(), Ok(true));
    }
}
