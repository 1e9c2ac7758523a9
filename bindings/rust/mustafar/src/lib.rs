// SPDX-License-Identifier: Apache-2.0
//! A KV cache that stays small: keys and values are pruned, quantized and attended in packed form.
//!
//! Names, order and defaults are those of the C API (`docs/api.md` of the source tree); this crate adds ownership,
//! lifetimes, slices and [`Error`].
//!
//! ```
//! use mustafar::{Append, AttendOptions, Cache, CacheOptions, Context, Geometry, Recipe, Tensor, ALL};
//!
//! fn main() -> mustafar::Result<()> {
//!     let context = Context::new()?;
//!     let geometry = Geometry::new(1, 8, 2, 128); // layers, q_heads, kv_heads, head_dim
//!     let recipe = Recipe::parse("lean")?;
//!     let mut cache = Cache::new(&context, &geometry, &recipe, &CacheOptions::new(4096))?;
//!     let k: Vec<f32> = (0..1000 * 2 * 128).map(|i| (i as f32).sin()).collect();
//!     let rows = Tensor::new(&k, &[1000, 2, 128])?; // tokens, kv_heads, head_dim
//!     cache.append(0, &rows, &rows, Append::Committed)?;
//!     let q = Tensor::new(&k[..8 * 128], &[1, 8, 128])?; // q_len, q_heads, head_dim
//!     let out = cache.attend(0, &q, None, &AttendOptions::default())?;
//!     println!("{} numbers, {} bytes", out.len(), cache.bytes(ALL, ALL)?.total);
//!     Ok(())
//! }
//! ```
//!
//! **Ownership** A [`Cache`] borrows its [`Context`]; recipes are free. Dropping gives everything back.
//!
//! **Threads** All types are `Send` and `Sync`. What changes a cache takes `&mut self`, all else may overlap.
//!
//! **Errors** A failed call changes nothing; [`ErrorKind`] has the numbers. Nothing panics on input. A log, a reader or
//! a writer must not call the library: such a call is refused with [`ErrorKind::BadState`].
#![deny(missing_docs, unsafe_op_in_unsafe_fn)]

mod ask;
mod attend;
mod c;
mod cache;
mod context;
mod error;
mod hooks;
mod info;
mod recipe;
mod snapshot;
mod tensor;
mod types;

pub use attend::{attend, merge, merge_into, AttendOptions, AttendOutputs};
pub use cache::{Append, Cache, CacheOptions, Evict, PruneOptions, Truncate};
pub use context::{Context, ContextOptions};
pub use error::{Error, ErrorKind, Result};
pub use hooks::{Allocator, CountingAllocator, Hooks};
pub use info::{abi_version, backends, build_text, dtype_name, kernels, status_name, version};
pub use recipe::{named_recipes, plan, Recipe};
pub use snapshot::Expected;
pub use tensor::{Element, Tensor, TensorMut, BF16, F16, MAX_DIMS};
pub use types::{
    Bytes, CacheStats, ContextStats, DType, Encoding, Geometry, KernelInfo, Length, LogLevel, PruneMethod,
    Rows, Side, SideInfo, Window, ALL,
};

/// The Rust block of README.md is a test.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
