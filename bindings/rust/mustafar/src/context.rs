// SPDX-License-Identifier: Apache-2.0
//! Contexts: where caches live; backend, threads, memory and log.

use std::fmt;
use std::os::raw::c_char;
use std::ptr::{null, null_mut, NonNull};

use mustafar_sys as sys;

use crate::c::{c_string, sized};
use crate::error::call;
use crate::hooks::Hooks;
use crate::types::{ContextStats, KernelInfo};
use crate::{Error, Result};

/// How a context is made; the default is all threads, no quota, the best backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ContextOptions<'a> {
    /// 0 = as many as the machine has; results do not depend on it
    pub threads: u32,
    /// most bytes the context may hold at once; 0 = no limit
    pub quota_bytes: u64,
    /// never land on the reference rows
    pub refuse_ref: bool,
    /// "" = the best available, else one of [`crate::backends`]; the environment variable MUSTAFAR_FORCE_BACKEND
    /// wins over it
    pub backend: &'a str,
}

impl ContextOptions<'_> {
    fn raw(&self) -> Result<sys::mustafar_context_options> {
        let mut raw = sized!(mustafar_context_options {
            threads: self.threads,
            quota_bytes: self.quota_bytes,
            flags: if self.refuse_ref { sys::MUSTAFAR_CONTEXT_REFUSE_REF } else { 0 },
        });
        let name = c_string("mustafar_context_create", "options.backend", self.backend)?;
        let bytes = name.as_bytes_with_nul();
        if bytes.len() > raw.backend.len() {
            return Err(Error::invalid(format!(
                "mustafar_context_create: options.backend has {} bytes; give at most {}",
                self.backend.len(),
                raw.backend.len() - 1
            )));
        }
        for (to, &from) in raw.backend.iter_mut().zip(bytes) {
            *to = from as c_char;
        }
        Ok(raw)
    }
}

/// Where caches live: backend, threads, allocator, byte quota, page pool. Caches borrow it.
///
/// ```
/// # fn main() -> mustafar::Result<()> {
/// let context = mustafar::Context::new()?;
/// assert_eq!(context.stats()?.caches, 0);
/// println!("attend runs on {}", context.kernel("attend")?.name);
/// # Ok(()) }
/// ```
pub struct Context {
    raw: NonNull<sys::mustafar_context>,
    _hooks: Hooks, // the library calls them until `raw` is destroyed
}

// SAFETY: "every call on a context may overlap any other: its counters are atomic and its workspaces are leased per
// call" (context.h); nothing in it belongs to a thread, and hooks are Send and Sync.
unsafe impl Send for Context {}
// SAFETY: as above.
unsafe impl Sync for Context {}

impl Context {
    /// A context with the defaults.
    pub fn new() -> Result<Self> {
        Context::with(&ContextOptions::default(), Hooks::new())
    }

    /// A context with options and hooks.
    pub fn with(options: &ContextOptions<'_>, hooks: Hooks) -> Result<Self> {
        refuse_older_library()?;
        let options = options.raw()?;
        let allocator = hooks.raw_allocator();
        let log = hooks.raw_log();
        let mut out = null_mut();
        // SAFETY: the structs state their sizes and are copied; what the hooks point to lives as long as the
        // context, and caches cannot outlive it.
        call(|error| unsafe {
            sys::mustafar_context_create(
                &options,
                allocator.as_ref().map_or(null(), |raw| raw),
                log.as_ref().map_or(null(), |raw| raw),
                &mut out,
                error,
            )
        })?;
        Ok(Context { raw: created(out)?, _hooks: hooks })
    }

    /// The row that serves `op`: "attend", "prune", "pack", "unpack", "merge", "order".
    pub fn kernel(&self, op: &str) -> Result<KernelInfo> {
        let op = c_string("mustafar_context_kernel", "op", op)?;
        let mut out = sized!(mustafar_kernel_info {});
        // SAFETY: a live handle, a NUL-terminated text, a struct of its stated size.
        call(|error| unsafe { sys::mustafar_context_kernel(self.raw(), op.as_ptr(), &mut out, error) })?;
        Ok(KernelInfo::from_raw(&out))
    }

    /// Memory and caches of this context.
    pub fn stats(&self) -> Result<ContextStats> {
        let mut out = sized!(mustafar_context_stats {});
        // SAFETY: a live handle, a struct of its stated size.
        call(|error| unsafe { sys::mustafar_context_get_stats(self.raw(), &mut out, error) })?;
        Ok(ContextStats::from_raw(&out))
    }

    pub(crate) fn raw(&self) -> *mut sys::mustafar_context {
        self.raw.as_ptr()
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: created by the library, given back once; all caches are gone, since they borrow the context.
        unsafe { sys::mustafar_context_destroy(self.raw()) }
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stats = self.stats();
        f.debug_struct("Context").field("stats", &stats).finish()
    }
}

/// What a call that succeeded has created.
pub(crate) fn created<T>(out: *mut T) -> Result<NonNull<T>> {
    NonNull::new(out).ok_or_else(|| Error::new(sys::MUSTAFAR_INTERNAL, "mustafar: no handle".into()))
}

/// A library of the same ABI may be newer than the headers of this crate, not older.
fn refuse_older_library() -> Result<()> {
    let made_for = [sys::MUSTAFAR_VERSION_MAJOR, sys::MUSTAFAR_VERSION_MINOR, sys::MUSTAFAR_VERSION_PATCH];
    let release = crate::version().split('-').next().unwrap_or("");
    let loaded: Vec<u32> = release.split('.').map(|part| part.parse().unwrap_or(0)).collect();
    if loaded.as_slice() < made_for.as_slice() {
        let [major, minor, patch] = made_for;
        let message = format!(
            "mustafar: libmustafar {} is older than {}.{}.{}, for which this crate was made; look into LD_LIBRARY_PATH",
            release, major, minor, patch
        );
        return Err(Error::new(sys::MUSTAFAR_UNSUPPORTED, message));
    }
    Ok(())
}
