// SPDX-License-Identifier: Apache-2.0
//! Small things between C and Rust: structs with a size, texts, arrays.

use std::ffi::{CStr, CString};
use std::os::raw::c_char;

use mustafar_sys as sys;

use crate::{Error, Result};

/// A struct of the C API that states its size: all zero but for `struct_size` and the fields given.
macro_rules! sized {
    ($name:ident { $($field:ident : $value:expr),* $(,)? }) => {{
        // SAFETY: plain C structs of numbers, texts and nullable pointers: zero is a value of each.
        let mut made: mustafar_sys::$name = unsafe { std::mem::zeroed() };
        made.struct_size = std::mem::size_of::<mustafar_sys::$name>() as u32;
        $(made.$field = $value;)*
        made
    }};
}
pub(crate) use sized;

/// Static text of the library.
///
/// # Safety
/// `text` is NUL-terminated and never changes while `'a` lasts.
pub(crate) unsafe fn text<'a>(text: *const c_char) -> &'a str {
    // SAFETY: as promised by the caller. The library writes UTF-8 (sources are ASCII, JSON is checked).
    unsafe { CStr::from_ptr(text) }.to_str().unwrap_or("")
}

/// The text in an array of characters.
pub(crate) fn array_text(array: &[c_char]) -> String {
    let bytes: Vec<u8> = array.iter().map(|&c| c as u8).take_while(|&c| c != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Text for the library; one that holds a NUL is refused.
pub(crate) fn c_string(call: &str, name: &str, text: impl Into<Vec<u8>>) -> Result<CString> {
    CString::new(text).map_err(|error| {
        Error::invalid(format!("{}: {} holds a NUL at byte {}", call, name, error.nul_position()))
    })
}

/// `count` elements; memory that is not there is an error, not the end of the process.
pub(crate) fn filled<T: Copy>(call: &str, count: Option<usize>, value: T) -> Result<Vec<T>> {
    let mut made = Vec::new();
    match count {
        Some(count) if made.try_reserve_exact(count).is_ok() => {
            made.resize(count, value);
            Ok(made)
        }
        _ => Err(Error::new(
            sys::MUSTAFAR_OUT_OF_MEMORY,
            format!("{}: no memory for a result of {:?} elements", call, count),
        )),
    }
}

/// The product of sizes, None where it does not fit.
pub(crate) fn product(sizes: &[usize]) -> Option<usize> {
    sizes.iter().try_fold(1usize, |count, &size| count.checked_mul(size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_are_read_up_to_their_end() {
        assert_eq!(array_text(&[b'a' as c_char, b'b' as c_char, 0, b'c' as c_char]), "ab");
        assert_eq!(array_text(&[b'a' as c_char]), "a");
        assert_eq!(array_text(&[]), "");
    }

    #[test]
    fn memory_that_is_not_there_is_an_error() {
        assert!(filled("call", product(&[usize::MAX, 2]), 0f32).is_err());
        assert!(filled("call", product(&[usize::MAX]), 0f32).is_err());
        assert_eq!(filled("call", product(&[2, 3]), 1u8).unwrap(), [1; 6]);
    }

    #[test]
    fn structs_say_their_size() {
        let made = sized!(mustafar_bytes { total: 3 });
        assert_eq!((made.struct_size as usize, made.total, made.slack), (std::mem::size_of_val(&made), 3, 0));
    }

    #[test]
    fn a_nul_inside_is_refused() {
        assert!(c_string("call", "path", "a\0b").unwrap_err().message().contains("path"));
    }
}
