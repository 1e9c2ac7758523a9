// SPDX-License-Identifier: Apache-2.0
//! The one error type, and the one way in which functions of the C API are called.

use std::cell::Cell;
use std::ffi::CStr;
use std::fmt;
use std::io;
use std::mem::{size_of, MaybeUninit};
use std::ptr::addr_of_mut;

use mustafar_sys as sys;

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A call failed and changed nothing. One pointer wide.
pub struct Error(Box<Content>);

struct Content {
    code: i32,
    values: [i64; 4],
    message: String,
    source: Option<io::Error>,
}

/// What kind of failure it was, with the numbers behind the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Shape, stride, range, malformed text; the message names the argument.
    InvalidArgument,
    /// Well formed, but not served here; the message says what is missing.
    Unsupported,
    /// Quota or allocator, in bytes; `limit` 0: the allocator refused.
    OutOfMemory {
        /// Bytes that were asked for.
        asked: i64,
        /// Bytes in use.
        used: i64,
        /// The quota.
        limit: i64,
    },
    /// More than `max_tokens`, in tokens.
    Capacity {
        /// Tokens that were to be added.
        asked: i64,
        /// Tokens that are there.
        held: i64,
        /// `max_tokens`.
        limit: i64,
    },
    /// The call does not fit the state of the cache, or came from inside a callback.
    BadState,
    /// NaN, infinity, or beyond what is stored.
    NonFinite {
        /// append: side (0 K, 1 V), token, head, channel; attend: cache, query, head, channel (-1: a sink).
        index: [i64; 4],
    },
    /// `truncate` asks packed rows back.
    NotExact {
        /// The smallest length that can be restored exactly.
        smallest_exact: i64,
    },
    /// Damaged or malformed bytes.
    Corrupt {
        /// Byte offset of the section at fault, where known.
        offset: i64,
    },
    /// A snapshot of another geometry, recipe, model, options or version.
    Mismatch,
    /// File system, reader or writer; `std::error::Error::source` has the `io::Error` of the latter two.
    Io {
        /// errno, 0 where there is none.
        errno: i64,
    },
    /// The device or its driver failed.
    Device,
    /// A bug of the library; please report the text.
    Internal,
    /// A status of a newer library.
    Unknown(i32),
}

impl Error {
    /// The kind, to be matched.
    pub fn kind(&self) -> ErrorKind {
        let [a, b, c, _] = self.0.values;
        match self.0.code as u32 {
            sys::MUSTAFAR_INVALID_ARGUMENT => ErrorKind::InvalidArgument,
            sys::MUSTAFAR_UNSUPPORTED => ErrorKind::Unsupported,
            sys::MUSTAFAR_OUT_OF_MEMORY => ErrorKind::OutOfMemory { asked: a, used: b, limit: c },
            sys::MUSTAFAR_CAPACITY => ErrorKind::Capacity { asked: a, held: b, limit: c },
            sys::MUSTAFAR_BAD_STATE => ErrorKind::BadState,
            sys::MUSTAFAR_NON_FINITE => ErrorKind::NonFinite { index: self.0.values },
            sys::MUSTAFAR_NOT_EXACT => ErrorKind::NotExact { smallest_exact: a },
            sys::MUSTAFAR_CORRUPT => ErrorKind::Corrupt { offset: a },
            sys::MUSTAFAR_MISMATCH => ErrorKind::Mismatch,
            sys::MUSTAFAR_IO => ErrorKind::Io { errno: a },
            sys::MUSTAFAR_DEVICE => ErrorKind::Device,
            sys::MUSTAFAR_INTERNAL => ErrorKind::Internal,
            _ => ErrorKind::Unknown(self.0.code),
        }
    }

    /// The status of the C API, `MUSTAFAR_NON_FINITE` for one.
    pub fn code(&self) -> i32 {
        self.0.code
    }

    /// Numbers behind the text; what they mean depends on the kind.
    pub fn values(&self) -> [i64; 4] {
        self.0.values
    }

    /// "call: argument = value, limit, way out".
    pub fn message(&self) -> &str {
        &self.0.message
    }

    #[cold]
    pub(crate) fn new(code: u32, message: String) -> Self {
        Error(Box::new(Content { code: code as i32, values: [0; 4], message, source: None }))
    }

    #[cold]
    pub(crate) fn invalid(message: String) -> Self {
        Error::new(sys::MUSTAFAR_INVALID_ARGUMENT, message)
    }

    /// A reader or writer failed inside `call`.
    pub(crate) fn of_stream(call: &str, source: io::Error) -> Self {
        let mut error = Error::new(sys::MUSTAFAR_IO, format!("{}: {}", call, source));
        error.0.values[0] = i64::from(source.raw_os_error().unwrap_or(0));
        error.0.source = Some(source);
        error
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.kind())
            .field("values", &self.0.values)
            .field("message", &self.0.message)
            .finish()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|source| source as _)
    }
}

thread_local! {
    #[allow(clippy::declare_interior_mutable_const)] // what the macro makes of it, says clippy 1.63
    static IN_CALLBACK: Cell<bool> = const { Cell::new(false) };
}

/// Marks this thread as inside a callback of the library, which "must not call back into the library" (context.h,
/// snapshot.h).
pub(crate) struct InCallback {
    outer: bool,
}

impl InCallback {
    pub(crate) fn enter() -> Self {
        InCallback { outer: IN_CALLBACK.with(|flag| flag.replace(true)) }
    }
}

impl Drop for InCallback {
    fn drop(&mut self) {
        IN_CALLBACK.with(|flag| flag.set(self.outer));
    }
}

/// Calls a function of the C API, which gets a place for its error.
#[inline]
pub(crate) fn call(function: impl FnOnce(*mut sys::mustafar_error) -> sys::mustafar_status) -> Result<()> {
    if IN_CALLBACK.with(Cell::get) {
        return Err(Error::new(
            sys::MUSTAFAR_BAD_STATE,
            "mustafar: called from inside a log, a reader or a writer; return from it first".into(),
        ));
    }
    // 512 bytes of text are not cleared for every call that succeeds.
    let mut error = MaybeUninit::<sys::mustafar_error>::uninit();
    let place = error.as_mut_ptr();
    // SAFETY: `place` is valid for writes; the fields are written through raw pointers, without a reference to
    // what is not initialised.
    unsafe {
        addr_of_mut!((*place).struct_size).write(size_of::<sys::mustafar_error>() as u32);
        addr_of_mut!((*place).values).write([0; 4]);
        addr_of_mut!((*place).message).cast::<u8>().write(0);
    }
    let status = function(place);
    if status == sys::MUSTAFAR_OK as i32 {
        return Ok(());
    }
    // SAFETY: `place` was filled above, and by the library since the call failed.
    Err(unsafe { read(status, place) })
}

/// # Safety
/// `values` are initialised and `message` is NUL-terminated ("always NUL-terminated and cut to fit", types.h).
#[cold]
unsafe fn read(status: i32, place: *mut sys::mustafar_error) -> Error {
    // SAFETY: as promised by the caller.
    let (values, message) = unsafe {
        let message = CStr::from_ptr(addr_of_mut!((*place).message).cast());
        (addr_of_mut!((*place).values).read(), message.to_string_lossy().into_owned())
    };
    Error(Box::new(Content { code: status, values, message, source: None }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::raw::c_char;

    fn fail(status: u32, values: [i64; 4], text: &[u8]) -> Error {
        call(|place| {
            // SAFETY: what the library does, to a place that `call` made.
            unsafe {
                addr_of_mut!((*place).values).write(values);
                for (i, byte) in text.iter().chain([0].iter()).enumerate() {
                    addr_of_mut!((*place).message).cast::<c_char>().add(i).write(*byte as c_char);
                }
            }
            status as i32
        })
        .unwrap_err()
    }

    #[test]
    fn kinds_carry_their_numbers() {
        let error = fail(sys::MUSTAFAR_CAPACITY, [3, 7, 8, 0], b"call: text");
        assert_eq!(error.kind(), ErrorKind::Capacity { asked: 3, held: 7, limit: 8 });
        assert_eq!((error.message(), error.code()), ("call: text", 4));
        assert_eq!(fail(99, [0; 4], b"").kind(), ErrorKind::Unknown(99));
        assert_eq!(fail(7, [160, 0, 0, 0], b"\xff").kind(), ErrorKind::NotExact { smallest_exact: 160 });
    }

    #[test]
    fn a_failure_without_text_reads_as_empty() {
        let error = call(|_| sys::MUSTAFAR_INTERNAL as i32).unwrap_err();
        assert_eq!((error.kind(), error.message(), error.values()), (ErrorKind::Internal, "", [0; 4]));
    }

    #[test]
    fn inside_a_callback_every_call_is_refused() {
        let guard = InCallback::enter();
        assert_eq!(call(|_| unreachable!()).unwrap_err().kind(), ErrorKind::BadState);
        drop(guard);
        assert!(call(|_| 0).is_ok());
    }

    #[test]
    fn streams_give_their_cause() {
        let error = Error::of_stream("call", io::Error::from_raw_os_error(5));
        assert_eq!(error.kind(), ErrorKind::Io { errno: 5 });
        assert!(std::error::Error::source(&error).is_some());
    }
}
