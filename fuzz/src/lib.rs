//! What all fuzz targets share: memory is counted, so that a few bytes that make a
//! parser take much are found.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Bytes that a target may have at a time beside those for its input.
const ROOM: usize = 256 << 10;
/// Bytes that a target may have at a time for each byte of its input: what was read
/// of it, a second reading to compare with, and what was written again. A repeated
/// message of protobuf takes two bytes, and in memory some hundred.
const FOR_EACH: usize = 1_024;

/// Makes a target of a function that takes bytes and panics where a rule is broken.
#[macro_export]
macro_rules! target {
    ($run:path) => {
        libfuzzer_sys::fuzz_target!(|bytes: &[u8]| $crate::measured(bytes, $run));
    };
}

/// Runs a target once.
///
/// # Panics
///
/// Where it had more memory at a time than its input accounts for.
pub fn measured(bytes: &[u8], run: fn(&[u8])) {
    let before = HELD.get();
    MOST.set(before);
    run(bytes);
    let most = MOST.get().saturating_sub(before);
    let may = ROOM + FOR_EACH * bytes.len();
    assert!(most <= may, "{} bytes of input took {most} bytes of memory", bytes.len());
}

thread_local! {
    /// Bytes that this thread holds.
    static HELD: Cell<usize> = const { Cell::new(0) };
    /// The most since it was set.
    static MOST: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn took(bytes: usize) {
    let held = HELD.get().saturating_add(bytes);
    HELD.set(held);
    MOST.set(MOST.get().max(held));
}

fn gave_back(bytes: usize) {
    HELD.set(HELD.get().saturating_sub(bytes));
}

// SAFETY: memory is the system's; only numbers are kept beside it, in cells that are
// made without taking memory and have nothing to drop.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        took(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        gave_back(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        gave_back(layout.size());
        took(size);
        // SAFETY: as the caller promises.
        unsafe { System.realloc(at, layout, size) }
    }
}
