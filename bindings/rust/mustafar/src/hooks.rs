// SPDX-License-Identifier: Apache-2.0
//! What the library calls back: memory and log. No unwinding crosses C: a panic in a log is dropped, one in an
//! allocator is "no memory".

use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::CStr;
use std::os::raw::{c_char, c_void};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::Arc;

use mustafar_sys as sys;

use crate::c::sized;
use crate::error::InCallback;
use crate::types::LogLevel;

/// Where a context takes its memory from. Called from several threads; must not call back into the library.
pub type Allocator = Arc<dyn GlobalAlloc + Send + Sync>;

type LogFunction = Box<dyn Fn(LogLevel, &str) + Send + Sync>;

/// Memory and log of a context. Without any: the C library's memory, and silence.
#[derive(Default)]
pub struct Hooks {
    // The library keeps the addresses; unlike those of a Box they stay valid when this moves.
    allocator: Option<Arc<Allocator>>,
    log: Option<Arc<(LogLevel, LogFunction)>>,
}

impl Hooks {
    /// None.
    pub fn new() -> Self {
        Hooks::default()
    }

    /// Memory comes from `allocator`: any `GlobalAlloc`, [`CountingAllocator`] for one.
    pub fn allocator(mut self, allocator: Allocator) -> Self {
        self.allocator = Some(Arc::new(allocator));
        self
    }

    /// Lines at or below `level` go to `log`, on the thread of the call they speak of. It must not call the library:
    /// such a call is refused with [`crate::ErrorKind::BadState`]. A panic in it is caught and dropped.
    pub fn log(mut self, level: LogLevel, log: impl Fn(LogLevel, &str) + Send + Sync + 'static) -> Self {
        self.log = Some(Arc::new((level, Box::new(log))));
        self
    }

    pub(crate) fn raw_allocator(&self) -> Option<sys::mustafar_allocator> {
        self.allocator.as_ref().map(|allocator| {
            sized!(mustafar_allocator {
                user: Arc::as_ptr(allocator) as *mut c_void,
                allocate: Some(allocate),
                release: Some(release),
            })
        })
    }

    pub(crate) fn raw_log(&self) -> Option<sys::mustafar_log_hook> {
        self.log.as_ref().map(|log| {
            sized!(mustafar_log_hook {
                level: log.0.code(),
                user: Arc::as_ptr(log) as *mut c_void,
                write: Some(write_log),
            })
        })
    }
}

/// Runs what is the user's; a panic ends here, also one of what the panic carries.
fn guarded<T>(body: impl FnOnce() -> T) -> Option<T> {
    let dropped = |payload| {
        if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            std::mem::forget(again);
        }
    };
    catch_unwind(AssertUnwindSafe(body)).map_err(dropped).ok()
}

fn layout(bytes: usize, alignment: usize) -> Option<Layout> {
    Layout::from_size_align(bytes.max(1), alignment.max(1)).ok() // GlobalAlloc has no empty blocks
}

/// # Safety
/// Called by the library with the `user` of [`Hooks::raw_allocator`], which is alive.
unsafe extern "C" fn allocate(user: *mut c_void, bytes: usize, alignment: usize) -> *mut c_void {
    // SAFETY: see above; the layout is not empty.
    let made = guarded(|| unsafe {
        layout(bytes, alignment).map(|layout| (*user.cast::<Allocator>()).alloc(layout))
    });
    made.flatten().unwrap_or(null_mut()).cast()
}

/// # Safety
/// As `allocate`; `data` came from it, with the same two numbers.
unsafe extern "C" fn release(user: *mut c_void, data: *mut c_void, bytes: usize, alignment: usize) {
    if data.is_null() {
        return;
    }
    // SAFETY: see above.
    guarded(|| unsafe {
        if let Some(layout) = layout(bytes, alignment) {
            (*user.cast::<Allocator>()).dealloc(data.cast(), layout);
        }
    });
}

/// # Safety
/// Called by the library with the `user` of [`Hooks::raw_log`], which is alive, and NUL-terminated text.
unsafe extern "C" fn write_log(user: *mut c_void, level: i32, text: *const c_char) {
    let _inside = InCallback::enter();
    guarded(|| {
        // SAFETY: see above.
        let (log, text) = unsafe { (&*user.cast::<(LogLevel, LogFunction)>(), CStr::from_ptr(text)) };
        (log.1)(LogLevel::from_code(level).unwrap_or(LogLevel::Trace), &text.to_string_lossy());
    });
}

/// The system's memory, counted: to see leaks, or to make memory run out.
#[derive(Debug)]
pub struct CountingAllocator {
    live_bytes: AtomicI64,
    live_blocks: AtomicI64,
    allocations: AtomicI64,
    fail_after: AtomicI64,
}

impl CountingAllocator {
    /// Nothing is live, nothing fails.
    pub const fn new() -> Self {
        CountingAllocator {
            live_bytes: AtomicI64::new(0),
            live_blocks: AtomicI64::new(0),
            allocations: AtomicI64::new(0),
            fail_after: AtomicI64::new(-1),
        }
    }

    /// Bytes handed out and not given back.
    pub fn live_bytes(&self) -> i64 {
        self.live_bytes.load(Ordering::Relaxed)
    }

    /// Blocks handed out and not given back.
    pub fn live_blocks(&self) -> i64 {
        self.live_blocks.load(Ordering::Relaxed)
    }

    /// Blocks handed out so far.
    pub fn allocations(&self) -> i64 {
        self.allocations.load(Ordering::Relaxed)
    }

    /// So many allocations still succeed; None = all.
    pub fn fail_after(&self, allocations: Option<u32>) {
        self.fail_after.store(allocations.map_or(-1, i64::from), Ordering::Relaxed);
    }

    fn refuses(&self) -> bool {
        self.fail_after
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| (left > 0).then(|| left - 1))
            .is_err()
            && self.fail_after.load(Ordering::Relaxed) == 0
    }
}

impl Default for CountingAllocator {
    fn default() -> Self {
        CountingAllocator::new()
    }
}

// SAFETY: memory is the system's; counting changes nothing about it.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if self.refuses() {
            return null_mut();
        }
        // SAFETY: the caller's layout.
        let made = unsafe { System.alloc(layout) };
        if !made.is_null() {
            self.live_bytes.fetch_add(layout.size() as i64, Ordering::Relaxed);
            self.live_blocks.fetch_add(1, Ordering::Relaxed);
            self.allocations.fetch_add(1, Ordering::Relaxed);
        }
        made
    }

    unsafe fn dealloc(&self, data: *mut u8, layout: Layout) {
        self.live_bytes.fetch_sub(layout.size() as i64, Ordering::Relaxed);
        self.live_blocks.fetch_sub(1, Ordering::Relaxed);
        // SAFETY: the caller's block and layout.
        unsafe { System.dealloc(data, layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn memory_is_counted_and_runs_out() {
        let counting = Arc::new(CountingAllocator::new());
        let hooks = Hooks::new().allocator(counting.clone());
        let raw = hooks.raw_allocator().unwrap();
        let _moved = hooks; // as into a context
        let (allocate, release) = (raw.allocate.unwrap(), raw.release.unwrap());
        counting.fail_after(Some(2));
        // SAFETY: what the library does.
        unsafe {
            let block = allocate(raw.user, 100, 64);
            let empty = allocate(raw.user, 0, 8);
            assert_eq!((block as usize % 64, counting.live_blocks(), counting.live_bytes()), (0, 2, 101));
            assert!(allocate(raw.user, 1, 8).is_null());
            assert!(allocate(raw.user, usize::MAX, 64).is_null());
            assert!(allocate(raw.user, 1, 3).is_null(), "an alignment that is none");
            release(raw.user, block, 100, 64);
            release(raw.user, empty, 0, 8);
            release(raw.user, null_mut(), 0, 8);
        }
        assert_eq!((counting.live_bytes(), counting.live_blocks(), counting.allocations()), (0, 0, 2));
        counting.fail_after(None);
        assert!(!counting.refuses());
    }

    #[test]
    fn a_log_gets_lines() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let copy = lines.clone();
        let hooks = Hooks::new().log(LogLevel::Info, move |level, text| {
            copy.lock().unwrap().push((level, text.to_owned()));
        });
        let raw = hooks.raw_log().unwrap();
        let _moved = hooks; // as into a context
                            // SAFETY: what the library does.
        unsafe {
            raw.write.unwrap()(raw.user, 2, b"line\0".as_ptr().cast());
            raw.write.unwrap()(raw.user, 99, b"finer\0".as_ptr().cast());
        }
        let lines = lines.lock().unwrap();
        assert_eq!(*lines, [(LogLevel::Warning, "line".to_owned()), (LogLevel::Trace, "finer".to_owned())]);
    }

    #[test]
    fn panics_are_caught() {
        struct Panics;
        // SAFETY: hands out nothing.
        unsafe impl GlobalAlloc for Panics {
            unsafe fn alloc(&self, _: Layout) -> *mut u8 {
                panic!("in an allocator")
            }
            unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
        }
        let raw = Hooks::new().allocator(Arc::new(Panics));
        let raw_allocator = raw.raw_allocator().unwrap();
        // SAFETY: what the library does.
        assert!(unsafe { raw_allocator.allocate.unwrap()(raw_allocator.user, 8, 8) }.is_null());
        let hooks = Hooks::new().log(LogLevel::Info, |_, _| panic!("in a log"));
        let raw_log = hooks.raw_log().unwrap();
        // SAFETY: what the library does.
        unsafe { raw_log.write.unwrap()(raw_log.user, 1, b"x\0".as_ptr().cast()) };
        assert!(crate::error::call(|_| 0).is_ok(), "the mark of the callback is gone");
    }
}
