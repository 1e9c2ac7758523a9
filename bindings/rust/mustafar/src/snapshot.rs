// SPDX-License-Identifier: Apache-2.0
//! Saving a cache and loading it again, through files or any `io::Write` and `io::Read`.

use std::any::Any;
use std::ffi::CString;
use std::io;
use std::os::raw::c_void;
use std::os::unix::ffi::OsStrExt;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::path::Path;
use std::ptr::{null, null_mut};

use mustafar_sys as sys;

use crate::c::c_string;
use crate::cache::{Cache, CacheOptions};
use crate::context::Context;
use crate::error::{call, InCallback};
use crate::recipe::Recipe;
use crate::types::Geometry;
use crate::{Error, Result};

/// What a snapshot must match; None is taken from the snapshot.
#[derive(Debug, Clone, Copy, Default)]
pub struct Expected<'a> {
    /// compared field by field
    pub geometry: Option<&'a Geometry>,
    /// compared by digest
    pub recipe: Option<&'a Recipe>,
    /// compared byte by byte
    pub model_id: Option<&'a str>,
    /// max_tokens 0 = as saved; `auto` must equal the saved one
    pub options: Option<&'a CacheOptions>,
}

/// The same as the library takes it.
struct RawExpected {
    geometry: Option<sys::mustafar_geometry>,
    recipe: *const sys::mustafar_recipe,
    model_id: Option<CString>,
    options: Option<sys::mustafar_cache_options>,
}

impl Expected<'_> {
    fn raw(&self, call: &str) -> Result<RawExpected> {
        Ok(RawExpected {
            geometry: self.geometry.map(Geometry::raw),
            recipe: self.recipe.map_or(null(), |recipe| recipe.raw()),
            model_id: self.model_id.map(|text| c_string(call, "model_id", text)).transpose()?,
            options: self.options.map(CacheOptions::raw),
        })
    }
}

impl RawExpected {
    fn geometry(&self) -> *const sys::mustafar_geometry {
        self.geometry.as_ref().map_or(null(), |raw| raw)
    }

    fn model_id(&self) -> *const std::os::raw::c_char {
        self.model_id.as_ref().map_or(null(), |text| text.as_ptr())
    }

    fn options(&self) -> *const sys::mustafar_cache_options {
        self.options.as_ref().map_or(null(), |raw| raw)
    }
}

/// A reader or writer while the library uses it. Unwinding stops in front of C and goes on behind it.
struct Stream<'a, T: ?Sized> {
    inner: &'a mut T,
    failure: Option<io::Error>,
    panic: Option<Box<dyn Any + Send>>,
}

impl<'a, T: ?Sized> Stream<'a, T> {
    fn new(inner: &'a mut T) -> Self {
        Stream { inner, failure: None, panic: None }
    }

    /// Runs the user's part of a callback; None: end the call.
    fn run<R>(&mut self, body: impl FnOnce(&mut T) -> io::Result<R>) -> Option<R> {
        let _inside = InCallback::enter();
        match catch_unwind(AssertUnwindSafe(|| body(self.inner))) {
            Ok(Ok(result)) => Some(result),
            Ok(Err(failure)) => {
                self.failure = Some(failure);
                None
            }
            Err(panic) => {
                self.panic = Some(panic);
                None
            }
        }
    }

    /// What the call means, now that it is over.
    fn finish(self, name: &str, result: Result<()>) -> Result<()> {
        if let Some(panic) = self.panic {
            resume_unwind(panic);
        }
        match self.failure {
            Some(failure) => Err(Error::of_stream(name, failure)),
            None => result,
        }
    }
}

type Writer<'a> = Stream<'a, dyn io::Write + 'a>;
type Reader<'a> = Stream<'a, dyn io::Read + 'a>;

/// # Safety
/// Called by the library with a `Writer` that is alive and `bytes` readable bytes.
unsafe extern "C" fn write_all(user: *mut c_void, data: *const c_void, bytes: usize) -> i32 {
    // SAFETY: see above; no slice is made of a null pointer.
    let (stream, data) = unsafe {
        let data = if bytes == 0 { &[][..] } else { std::slice::from_raw_parts(data.cast::<u8>(), bytes) };
        (&mut *user.cast::<Writer<'_>>(), data)
    };
    i32::from(stream.run(|writer| writer.write_all(data)).is_none())
}

/// # Safety
/// Called by the library with a `Reader` that is alive, `bytes` writable bytes and a place for a number.
unsafe extern "C" fn read_some(user: *mut c_void, data: *mut c_void, bytes: usize, got: *mut usize) -> i32 {
    // SAFETY: see above; a reader may look at its buffer, which therefore is filled first.
    let (stream, buffer) = unsafe {
        let buffer = if bytes == 0 {
            &mut [][..]
        } else {
            data.cast::<u8>().write_bytes(0, bytes);
            std::slice::from_raw_parts_mut(data.cast::<u8>(), bytes)
        };
        (&mut *user.cast::<Reader<'_>>(), buffer)
    };
    let read = stream.run(|reader| loop {
        match reader.read(buffer) {
            Err(failure) if failure.kind() == io::ErrorKind::Interrupted => continue,
            Ok(count) if count > bytes => {
                let text = format!("the reader claims {} bytes of {}", count, bytes);
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
            other => return other,
        }
    });
    match read {
        Some(count) => {
            // SAFETY: see above.
            unsafe { *got = count };
            0
        }
        None => 1,
    }
}

/// A path as the library takes it.
fn path_text(call: &str, path: &Path) -> Result<CString> {
    c_string(call, "path", path.as_os_str().as_bytes())
}

impl<'ctx> Cache<'ctx> {
    /// Writes a snapshot. `model_id` is any text that names weights and position encoding; load compares it.
    ///
    /// ```
    /// # fn main() -> mustafar::Result<()> {
    /// use mustafar::*;
    /// # let context = Context::new()?;
    /// # let geometry = Geometry::new(1, 4, 2, 64);
    /// # let cache = Cache::new(&context, &geometry, &Recipe::parse("lean")?, &CacheOptions::new(64))?;
    /// let mut bytes = Vec::new();
    /// cache.save("my model", &mut bytes)?;
    /// let expected = Expected { model_id: Some("my model"), ..Expected::default() };
    /// let copy = Cache::load(&context, &expected, &mut bytes.as_slice())?;
    /// assert_eq!(copy.length(0)?, cache.length(0)?);
    /// # Ok(()) }
    /// ```
    pub fn save<W: io::Write>(&self, model_id: &str, mut writer: W) -> Result<()> {
        const NAME: &str = "mustafar_cache_save";
        let model_id = c_string(NAME, "model_id", model_id)?;
        let mut stream: Writer<'_> = Stream::new(&mut writer);
        let user: *mut Writer<'_> = &mut stream;
        // SAFETY: a live handle, NUL-terminated text, a stream that lives through the call.
        let result = call(|error| unsafe {
            sys::mustafar_cache_save(self.raw_const(), model_id.as_ptr(), Some(write_all), user.cast(), error)
        });
        stream.finish(NAME, result)
    }

    /// The same into a file: written beside it, synced, then renamed over it.
    pub fn save_file<P: AsRef<Path>>(&self, model_id: &str, path: P) -> Result<()> {
        const NAME: &str = "mustafar_cache_save_file";
        let model_id = c_string(NAME, "model_id", model_id)?;
        let path = path_text(NAME, path.as_ref())?;
        // SAFETY: a live handle, NUL-terminated texts.
        call(|error| unsafe {
            sys::mustafar_cache_save_file(self.raw_const(), model_id.as_ptr(), path.as_ptr(), error)
        })
    }

    /// A new cache from a snapshot. Reads exactly its bytes and not more.
    pub fn load<R: io::Read>(context: &'ctx Context, expected: &Expected<'_>, mut reader: R) -> Result<Self> {
        const NAME: &str = "mustafar_cache_load";
        let raw = expected.raw(NAME)?;
        let mut stream: Reader<'_> = Stream::new(&mut reader);
        let user: *mut Reader<'_> = &mut stream;
        let mut out = null_mut();
        // SAFETY: a live handle, structs of their stated sizes, a stream that lives through the call.
        let result = call(|error| unsafe {
            sys::mustafar_cache_load(
                context.raw(),
                raw.geometry(),
                raw.recipe,
                raw.model_id(),
                raw.options(),
                Some(read_some),
                user.cast(),
                &mut out,
                error,
            )
        });
        stream.finish(NAME, result)?;
        Cache::adopt(context, out)
    }

    /// The same from a file; bytes behind the snapshot are refused.
    pub fn load_file<P: AsRef<Path>>(
        context: &'ctx Context,
        expected: &Expected<'_>,
        path: P,
    ) -> Result<Self> {
        const NAME: &str = "mustafar_cache_load_file";
        let raw = expected.raw(NAME)?;
        let path = path_text(NAME, path.as_ref())?;
        let mut out = null_mut();
        // SAFETY: a live handle, structs of their stated sizes, NUL-terminated texts.
        call(|error| unsafe {
            sys::mustafar_cache_load_file(
                context.raw(),
                raw.geometry(),
                raw.recipe,
                raw.model_id(),
                raw.options(),
                path.as_ptr(),
                &mut out,
                error,
            )
        })?;
        Cache::adopt(context, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads as the library does.
    fn read(reader: &mut dyn io::Read, bytes: usize) -> (i32, Vec<u8>, Result<()>) {
        let mut stream: Reader<'_> = Stream::new(reader);
        let user: *mut Reader<'_> = &mut stream;
        let (mut buffer, mut got) = (vec![1u8; bytes], 0);
        // SAFETY: what the library does.
        let status = unsafe { read_some(user.cast(), buffer.as_mut_ptr().cast(), bytes, &mut got) };
        buffer.truncate(got);
        (status, buffer, stream.finish("call", Ok(())))
    }

    #[test]
    fn bytes_pass() {
        let mut written = Vec::new();
        let mut stream: Writer<'_> = Stream::new(&mut written);
        let user: *mut Writer<'_> = &mut stream;
        // SAFETY: what the library does, an empty piece included.
        unsafe {
            assert_eq!(write_all(user.cast(), b"abc".as_ptr().cast(), 3), 0);
            assert_eq!(write_all(user.cast(), null(), 0), 0);
        }
        assert!(stream.finish("call", Ok(())).is_ok());
        assert_eq!(written, b"abc");
        let (status, got, result) = read(&mut &b"abcdef"[..], 4);
        assert_eq!((status, got.as_slice(), result.is_ok()), (0, &b"abcd"[..], true));
        assert_eq!(read(&mut io::empty(), 0).0, 0);
    }

    #[test]
    fn failures_come_out_as_they_are() {
        struct Broken(u32);
        impl io::Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                self.0 += 1;
                match self.0 {
                    1 => Err(io::ErrorKind::Interrupted.into()),
                    _ => Err(io::Error::from_raw_os_error(5)),
                }
            }
        }
        let (status, _, result) = read(&mut Broken(0), 4);
        assert_eq!((status, result.unwrap_err().values()[0]), (1, 5));
    }

    #[test]
    fn a_reader_that_claims_too_much_is_refused() {
        struct Liar;
        impl io::Read for Liar {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                Ok(buffer.len() + 1)
            }
        }
        let (status, got, result) = read(&mut Liar, 4);
        assert_eq!((status, got.len(), result.is_err()), (1, 0, true));
    }

    #[test]
    #[should_panic(expected = "in a writer")]
    fn a_panic_goes_on_behind_the_call() {
        struct Panics;
        impl io::Write for Panics {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                panic!("in a writer")
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut writer = Panics;
        let mut stream: Writer<'_> = Stream::new(&mut writer);
        let user: *mut Writer<'_> = &mut stream;
        // SAFETY: what the library does.
        assert_eq!(unsafe { write_all(user.cast(), b"a".as_ptr().cast(), 1) }, 1);
        let _ = stream.finish("call", Ok(()));
    }
}
