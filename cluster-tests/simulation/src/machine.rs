//! The machine as all code in this process sees it: the C library's `getrandom` and
//! `clock_gettime`, from which the standard library, `rand` and tokio take everything
//! that is different from run to run. Until a seed is set they are the kernel's.
#![allow(unsafe_code, reason = "functions of the C library are replaced, and have its signatures")]

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::libc;
use rand::rngs::StdRng;
use rand::{RngCore as _, SeedableRng as _};

/// The first moment of every simulation, in seconds since 1970.
pub(crate) const BEGIN: u64 = 1_800_000_000;

static CHANCE: Mutex<Option<StdRng>> = Mutex::new(None);
/// Nanoseconds since 1970; 0 until a simulation begins.
static NOW: AtomicU64 = AtomicU64::new(0);

/// From now on chance and clock are the simulation's.
pub(crate) fn begin(seed: u64) {
    let mut chance = CHANCE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    *chance = Some(StdRng::seed_from_u64(seed));
    drop(chance);
    set(Duration::ZERO);
}

/// So much time has passed since the simulation began.
pub(crate) fn set(elapsed: Duration) {
    let now = Duration::from_secs(BEGIN) + elapsed;
    NOW.store(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
}

/// The simulation's time since 1970.
pub(crate) fn now() -> Duration {
    Duration::from_nanos(NOW.load(Ordering::Relaxed))
}

/// getrandom(2).
///
/// # Safety
/// As in C: `buffer` has room for `length` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut libc::c_void, length: usize, flags: libc::c_uint) -> isize {
    if let Ok(mut chance) = CHANCE.lock()
        && let Some(chance) = &mut *chance
    {
        // SAFETY: the caller says that there is room.
        let bytes = unsafe { std::slice::from_raw_parts_mut(buffer.cast::<u8>(), length) };
        chance.fill_bytes(bytes);
        return isize::try_from(length).unwrap_or(isize::MAX);
    }
    // SAFETY: these are the arguments of the system call.
    let got = unsafe { libc::syscall(libc::SYS_getrandom, buffer, length, flags) };
    isize::try_from(got).unwrap_or(-1)
}

/// clock_gettime(2): both the clock of the day and those that only go forward are the
/// simulation's.
///
/// # Safety
/// As in C: `time` may be written to.
#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(clock: libc::clockid_t, time: *mut libc::timespec) -> libc::c_int {
    let now = NOW.load(Ordering::Relaxed);
    if now == 0 || matches!(clock, libc::CLOCK_PROCESS_CPUTIME_ID | libc::CLOCK_THREAD_CPUTIME_ID) {
        // SAFETY: these are the arguments of the system call.
        let done = unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) };
        return libc::c_int::try_from(done).unwrap_or(-1);
    }
    let now = Duration::from_nanos(now);
    let now = libc::timespec {
        tv_sec: libc::time_t::try_from(now.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: now.subsec_nanos().into(),
    };
    // SAFETY: the caller says that it may be written to.
    unsafe { time.write(now) };
    0
}
