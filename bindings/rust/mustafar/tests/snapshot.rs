// SPDX-License-Identifier: Apache-2.0
//! Snapshots: what comes back, what is refused, and what readers and writers may do.

mod common;

use std::io::{self, Read, Write};
use std::panic::{catch_unwind, AssertUnwindSafe};

use common::*;
use mustafar::*;

fn filled(context: &Context) -> Cache<'_> {
    let mut cache = cache(context, "k16i4/v32i2", 256);
    append(&mut cache, 100, 1).unwrap();
    cache
}

/// A file of this process, gone at the end.
struct File(std::path::PathBuf);

impl File {
    fn new(name: &str) -> Self {
        File(std::env::temp_dir().join(format!("mustafar-{}-{}", std::process::id(), name)))
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn what_was_saved_comes_back() -> Result<()> {
    let context = Context::new()?;
    let first = filled(&context);
    let mut bytes = Vec::new();
    first.save("model", &mut bytes)?;
    let again = Cache::load(&context, &Expected::default(), bytes.as_slice())?;
    let mut copy = Vec::new();
    again.save("model", &mut copy)?;
    assert_eq!(bytes, copy);
    // Exactly the snapshot is read, and what is behind it stays.
    bytes.extend(b"behind");
    let mut reader = bytes.as_slice();
    Cache::load(&context, &Expected::default(), &mut reader)?;
    assert_eq!(reader, b"behind");

    let file = File::new("whole");
    first.save_file("model", &file.0)?;
    assert_eq!(std::fs::read(&file.0).unwrap(), copy);
    let expected = Expected { model_id: Some("model"), ..Expected::default() };
    let loaded = Cache::load_file(&context, &expected, &file.0)?;
    assert_eq!(snapshot(&loaded), snapshot(&first));
    Ok(())
}

#[test]
fn mismatches_and_damage_are_refused() -> Result<()> {
    let context = Context::new()?;
    let bytes = snapshot(&filled(&context));
    let load = |expected: Expected<'_>, bytes: &[u8]| {
        Cache::load(&context, &expected, bytes).map(|_| ()).map_err(|error| error.kind())
    };
    let (geometry, recipe) = (Geometry::new(1, 4, 1, 32), Recipe::parse("lean")?);
    let none = Expected::default();
    assert_eq!(load(Expected { model_id: Some("other"), ..none }, &bytes), Err(ErrorKind::Mismatch));
    assert_eq!(load(Expected { geometry: Some(&geometry), ..none }, &bytes), Err(ErrorKind::Mismatch));
    assert_eq!(load(Expected { recipe: Some(&recipe), ..none }, &bytes), Err(ErrorKind::Mismatch));
    let few = CacheOptions::new(10);
    let less = load(Expected { options: Some(&few), ..none }, &bytes);
    assert!(matches!(less, Err(ErrorKind::Capacity { .. })), "{:?}", less);
    for at in (0..bytes.len()).step_by(97) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x40;
        assert!(load(none, &damaged).is_err(), "byte {}", at);
        assert!(load(none, &bytes[..at]).is_err(), "cut to {}", at);
    }
    assert_eq!(context.stats()?.caches, 0);
    let nul = Expected { model_id: Some("a\0b"), ..none };
    assert_eq!(load(nul, &bytes), Err(ErrorKind::InvalidArgument));
    Ok(())
}

#[test]
fn files_that_fail() {
    let context = Context::new().unwrap();
    let cache = filled(&context);
    let missing = std::path::Path::new("/nowhere/at/all");
    let no_such_file = ErrorKind::Io { errno: 2 };
    assert_eq!(cache.save_file("", missing).unwrap_err().kind(), no_such_file);
    let loaded = Cache::load_file(&context, &Expected::default(), missing);
    assert_eq!(loaded.unwrap_err().kind(), no_such_file);
    let error = cache.save_file("", "a\0b").unwrap_err();
    assert!(error.kind() == ErrorKind::InvalidArgument && error.message().contains("path"));
    let error = cache.save("a\0b", io::sink()).unwrap_err();
    assert!(error.kind() == ErrorKind::InvalidArgument && error.message().contains("model_id"));
    let error = cache.save(&"x".repeat(2000), io::sink()).unwrap_err();
    assert!(error.kind() == ErrorKind::InvalidArgument && error.message().contains("model_id"));
}

/// Passes so many bytes, then does what it is told.
struct Until<F> {
    left: usize,
    then: F,
}

impl<F: FnMut() -> io::Result<usize>> Write for Until<F> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.left < data.len() {
            return (self.then)();
        }
        self.left -= data.len();
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<F: FnMut() -> io::Result<usize>> Read for Until<F> {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        (self.then)()
    }
}

#[test]
fn a_stream_that_fails_gives_its_own_error() {
    let context = Context::new().unwrap();
    let cache = filled(&context);
    let broken = |left| Until { left, then: || Err(io::Error::from_raw_os_error(28)) };
    let error = cache.save("", broken(1000)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io { errno: 28 });
    assert!(std::error::Error::source(&error).is_some());
    let error = Cache::load(&context, &Expected::default(), broken(0)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io { errno: 28 });
    assert_eq!(context.stats().unwrap().caches, 1);
}

#[test]
fn a_panic_in_a_stream_passes_and_leaves_the_cache_usable() {
    let context = Context::new().unwrap();
    let cache = filled(&context);
    let before = snapshot(&cache);
    let panics = |left| Until { left, then: || panic!("in a stream") };
    let saved = catch_unwind(AssertUnwindSafe(|| cache.save("", panics(1000))));
    assert_eq!(*saved.unwrap_err().downcast::<&str>().unwrap(), "in a stream");
    let loaded =
        catch_unwind(AssertUnwindSafe(|| Cache::load(&context, &Expected::default(), panics(0)).map(|_| ())));
    assert!(loaded.is_err());
    assert_eq!(snapshot(&cache), before);
}

#[test]
fn the_library_is_not_called_from_inside() {
    let context = Context::new().unwrap();
    let cache = filled(&context);
    let inside = Until {
        left: 0,
        then: || {
            let error = cache.stats().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BadState);
            Err(io::ErrorKind::Other.into())
        },
    };
    assert_eq!(cache.save("", inside).unwrap_err().kind(), ErrorKind::Io { errno: 0 });
    assert!(cache.stats().is_ok());
}
