// SPDX-License-Identifier: Apache-2.0
//! The C API of libmustafar as bindgen sees it; the safe crate is `mustafar`.
//!
//! The contract is in the C headers (`capi/include/mustafar/*.h`). Every function here is unsafe to call: pointers
//! must be valid, `struct_size` set, and calls that take a handle that is not `const` need it alone.
//! Macros that initialise structs (`MUSTAFAR_ERROR_INIT`) have no counterpart here.
#![allow(non_camel_case_types, non_upper_case_globals)]

#[allow(clippy::all, missing_docs)]
mod bindings;
pub use bindings::*;
