// SPDX-License-Identifier: Apache-2.0
//! The enums and structs of the C API; names and order are those of the headers.

use mustafar_sys as sys;

use crate::c::{array_text, sized};
use crate::{Error, Result};

/// Every layer or kv head, wherever a call takes it.
pub const ALL: u32 = sys::MUSTAFAR_ALL;

macro_rules! c_enum {
    ($(#[$doc:meta])* $name:ident: $code:ty { $($(#[$about:meta])* $item:ident = $value:ident),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$about])* $item = sys::$value as isize),*
        }
        impl $name {
            /// The number in the C API.
            pub fn code(self) -> $code {
                self as $code
            }
            /// The item of a number, None where this crate does not know it.
            pub fn from_code(code: $code) -> Option<Self> {
                $(if code == sys::$value as $code {
                    return Some(Self::$item);
                })*
                None
            }
        }
    };
}

c_enum! {
    /// Element types.
    DType: i32 {
        /// IEEE 754 binary32
        F32 = MUSTAFAR_F32,
        /// IEEE 754 binary16
        F16 = MUSTAFAR_F16,
        /// upper half of binary32
        BF16 = MUSTAFAR_BF16,
        /// bytes
        U8 = MUSTAFAR_U8,
        /// 32-bit integers
        I32 = MUSTAFAR_I32,
    }
}

c_enum! {
    /// Which half of the cache.
    Side: u32 {
        /// keys
        K = MUSTAFAR_SIDE_K,
        /// values
        V = MUSTAFAR_SIDE_V,
    }
}

c_enum! {
    /// How body rows are encoded.
    Encoding: u32 {
        /// exactly k of d in every row; no bitmap when k = d
        Exact = MUSTAFAR_ENCODING_EXACT,
        /// any number of d in a row
        Ragged = MUSTAFAR_ENCODING_RAGGED,
        /// k = d, a scale and zero per 32 or 64 channels
        Grouped = MUSTAFAR_ENCODING_GROUPED,
        /// k = d, a scale and zero per channel over 32 rows
        Channel = MUSTAFAR_ENCODING_CHANNEL,
    }
}

c_enum! {
    /// Which elements survive.
    PruneMethod: u32 {
        /// whatever the recipe says
        Recipe = MUSTAFAR_PRUNE_RECIPE,
        /// keep all
        None = MUSTAFAR_PRUNE_NONE,
        /// the k largest magnitudes of each row
        TokenTopk = MUSTAFAR_PRUNE_TOKEN_TOPK,
        /// the n largest of every m neighbouring channels
        NM = MUSTAFAR_PRUNE_N_M,
        /// k whole channels of a head
        Channels = MUSTAFAR_PRUNE_CHANNELS,
        /// in each channel, k of every 32 rows
        ChannelTopk = MUSTAFAR_PRUNE_CHANNEL_TOPK,
        /// magnitudes of at least t
        Threshold = MUSTAFAR_PRUNE_THRESHOLD,
        /// the bits the caller gives
        Mask = MUSTAFAR_PRUNE_MASK,
    }
}

c_enum! {
    /// How fine the log is.
    LogLevel: i32 {
        /// what failed
        Error = MUSTAFAR_LOG_ERROR,
        /// what may surprise
        Warning = MUSTAFAR_LOG_WARNING,
        /// what was chosen
        Info = MUSTAFAR_LOG_INFO,
        /// one line per call that changes, forks or saves a cache
        Trace = MUSTAFAR_LOG_TRACE,
    }
}

/// Shape of a model's cache; query head h reads kv head h / (q_heads / kv_heads).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Geometry {
    /// 1 .. 4096
    pub layers: u32,
    /// a multiple of kv_heads, at most 1024 and 64 * kv_heads
    pub q_heads: u32,
    /// 1 .. 1024
    pub kv_heads: u32,
    /// 32 .. 256 in steps of 8
    pub head_dim_k: u32,
    /// 32 .. 256 in steps of 8
    pub head_dim_v: u32,
    /// How 16-bit values are stored: F16 or BF16
    pub dtype: DType,
}

impl Geometry {
    /// Keys and values of one size, stored as F16. Nothing is checked before the geometry is used.
    pub fn new(layers: u32, q_heads: u32, kv_heads: u32, head_dim: u32) -> Self {
        Geometry { layers, q_heads, kv_heads, head_dim_k: head_dim, head_dim_v: head_dim, dtype: DType::F16 }
    }

    pub(crate) fn raw(&self) -> sys::mustafar_geometry {
        sized!(mustafar_geometry {
            layers: self.layers,
            q_heads: self.q_heads,
            kv_heads: self.kv_heads,
            head_dim_k: self.head_dim_k,
            head_dim_v: self.head_dim_v,
            dtype: self.dtype.code(),
        })
    }

    pub(crate) fn from_raw(raw: &sys::mustafar_geometry) -> Result<Self> {
        Ok(Geometry {
            layers: raw.layers,
            q_heads: raw.q_heads,
            kv_heads: raw.kv_heads,
            head_dim_k: raw.head_dim_k,
            head_dim_v: raw.head_dim_v,
            dtype: known(DType::from_code(raw.dtype), "dtype", raw.dtype)?,
        })
    }
}

/// What a newer library may say and this crate does not know.
fn known<T>(item: Option<T>, name: &str, code: impl std::fmt::Display) -> Result<T> {
    item.ok_or_else(|| {
        let message = format!("mustafar: {} = {} is not known to this crate; use a newer one", name, code);
        Error::new(sys::MUSTAFAR_UNSUPPORTED, message)
    })
}

/// A struct that the library fills: its fields, and how it is made of the C struct.
macro_rules! filled_struct {
    ($(#[$doc:meta])* $name:ident of $raw:ident { $($(#[$about:meta])* $field:ident: $type:ty = $make:expr),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct $name {
            $($(#[$about])* pub $field: $type),*
        }
        impl $name {
            pub(crate) fn from_raw(raw: &sys::$raw) -> Self {
                $name { $($field: $make(&raw.$field)),* }
            }
        }
    };
}

/// A field as it is.
fn as_is<T: Copy>(value: &T) -> T {
    *value
}

/// 0 or 1.
fn truth(value: &u32) -> bool {
    *value != 0
}

/// An array of characters.
fn string<const N: usize>(array: &[std::os::raw::c_char; N]) -> String {
    array_text(array)
}

filled_struct! {
    /// Bytes by part; `total` is their sum and what the allocator handed out.
    Bytes of mustafar_bytes {
        /// false where a plan is an upper bound, since the data decide (ragged)
        exact: bool = truth,
        /// the sum of the parts
        total: u64 = as_is,
        /// codes of body rows that are in use
        values: u64 = as_is,
        /// their bitmaps, and the offsets of ragged rows
        bitmaps: u64 = as_is,
        /// their scales and zeros
        meta: u64 = as_is,
        /// alignment, unfilled and evicted rows, readable padding of pages
        slack: u64 = as_is,
        /// dense rows: the whole buffers, filled or not, and prune marks
        window: u64 = as_is,
        /// int32 per row, once a head has evicted
        positions: u64 = as_is,
        /// page headers and tables, per-head records, centres, the handle itself
        tables: u64 = as_is,
    }
}

filled_struct! {
    /// Memory and caches of a context; live_bytes == page_bytes + cache_bytes + work_bytes.
    ContextStats of mustafar_context_stats {
        /// threads in use
        threads: u32 = as_is,
        /// what the allocator handed out and did not get back
        live_bytes: u64 = as_is,
        /// the largest live_bytes so far
        peak_bytes: u64 = as_is,
        /// 0 = no limit
        quota_bytes: u64 = as_is,
        /// calls of the allocator so far
        allocations: u64 = as_is,
        /// live bytes in pages, each shared page once
        page_bytes: u64 = as_is,
        /// live bytes of caches besides pages: windows, positions, tables
        cache_bytes: u64 = as_is,
        /// live bytes of workspaces
        work_bytes: u64 = as_is,
        /// live pages
        pages: u64 = as_is,
        /// live pages that more than one cache holds
        shared_pages: u64 = as_is,
        /// live caches
        caches: u64 = as_is,
    }
}

filled_struct! {
    /// Counters of a cache.
    CacheStats of mustafar_cache_stats {
        /// tokens of the longest layer
        longest: u32 = as_is,
        /// rows held, all layers and kv heads
        rows: u64 = as_is,
        /// packed ones among them
        body_rows: u64 = as_is,
        /// removed by evict since creation or reset
        evicted_rows: u64 = as_is,
        /// pages held
        pages: u64 = as_is,
        /// pages that another cache holds as well
        shared_pages: u64 = as_is,
        /// what these rows would take as plain 16-bit values
        dense_bytes: u64 = as_is,
        /// tokens taken by append, per layer, since creation
        appended_tokens: u64 = as_is,
        /// rows packed (K and V count as one), since creation
        packed_rows: u64 = as_is,
        /// layers attended, since creation
        attend_calls: u64 = as_is,
        /// wall time in append and commit, packing included
        append_ns: u64 = as_is,
        /// wall time in prune, quantize and pack, wherever it happened
        pack_ns: u64 = as_is,
        /// wall time in attend
        attend_ns: u64 = as_is,
        /// the row of the dispatch table that attends
        attend_kernel: String = string,
        /// the row of the dispatch table that packs
        pack_kernel: String = string,
    }
}

filled_struct! {
    /// One row of a dispatch table.
    KernelInfo of mustafar_kernel_info {
        /// this machine can run it
        available: bool = truth,
        /// "attend", "prune", "pack", "unpack", "merge", "order"
        op: String = string,
        /// "ref", ...: what [`crate::ContextOptions::backend`] takes
        backend: String = string,
        /// function name, as a profiler shows it
        name: String = string,
        /// why not available; empty when it is
        reason: String = string,
    }
}

/// What a recipe means for one side of one kv head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SideInfo {
    /// d
    pub head_dim: u32,
    /// k elements of d kept in each row; 0 where the data decide (ragged)
    pub keep: u32,
    /// 16, 8, 4, 2
    pub bits: u32,
    /// how body rows are encoded
    pub encoding: Encoding,
    /// which elements survive
    pub method: PruneMethod,
    /// channels per scale of [`Encoding::Grouped`], else 0
    pub group: u32,
    /// a fixed vector is subtracted first
    pub centred: bool,
    /// bytes of one body row; 0 for ragged rows
    pub row_bytes: u64,
    /// data bytes of this side in a page of 32 rows; 0 for ragged rows
    pub page_bytes: u64,
}

impl SideInfo {
    pub(crate) fn from_raw(raw: &sys::mustafar_side_info) -> Result<Self> {
        Ok(SideInfo {
            head_dim: raw.head_dim,
            keep: raw.keep,
            bits: raw.bits,
            encoding: known(Encoding::from_code(raw.encoding), "encoding", raw.encoding)?,
            method: known(PruneMethod::from_code(raw.method), "method", raw.method)?,
            group: raw.group,
            centred: raw.centred != 0,
            row_bytes: raw.row_bytes,
            page_bytes: raw.page_bytes,
        })
    }
}

/// Window and budget of one kv head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Window {
    /// newest tokens kept dense
    pub recent: u32,
    /// first tokens kept dense
    pub sink: u32,
    /// rows packed at a time
    pub step: u32,
    /// tokens the head may hold after eviction; 0 = no limit
    pub budget: u32,
}

/// Tokens of a layer; the next one takes position committed + tentative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Length {
    /// committed tokens
    pub committed: u32,
    /// tentative ones behind them
    pub tentative: u32,
}

/// Rows a kv head holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Rows {
    /// all of them
    pub rows: u32,
    /// the packed ones among them
    pub body: u32,
}
