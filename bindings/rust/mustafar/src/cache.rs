// SPDX-License-Identifier: Apache-2.0
//! Caches: the keys and values of one sequence, all layers.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;
use std::ptr::{null_mut, NonNull};

use mustafar_sys as sys;

use crate::attend::{attend, AttendOptions};
use crate::c::{filled, product, sized};
use crate::context::{created, Context};
use crate::error::call;
use crate::recipe::Recipe;
use crate::tensor::{pointer, Tensor, TensorMut};
use crate::types::{Geometry, PruneMethod, Side};
use crate::{Error, Result};

/// How a cache is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheOptions {
    /// per layer, 1 .. 2^31-1; 0 is refused: there is no good default
    pub max_tokens: u32,
    /// memory for so many tokens is taken at creation, so that append cannot run out; 0 = none
    pub reserve_tokens: u32,
    /// pack rows as they leave the window; without it only [`Cache::compress`] packs
    pub auto: bool,
}

impl CacheOptions {
    /// The defaults with room for `max_tokens`.
    pub fn new(max_tokens: u32) -> Self {
        CacheOptions { max_tokens, ..CacheOptions::default() }
    }

    pub(crate) fn raw(&self) -> sys::mustafar_cache_options {
        sized!(mustafar_cache_options {
            max_tokens: self.max_tokens,
            reserve_tokens: self.reserve_tokens,
            flags: if self.auto { sys::MUSTAFAR_CACHE_AUTO } else { 0 },
        })
    }

    pub(crate) fn from_raw(raw: &sys::mustafar_cache_options) -> Self {
        CacheOptions {
            max_tokens: raw.max_tokens,
            reserve_tokens: raw.reserve_tokens,
            auto: raw.flags & sys::MUSTAFAR_CACHE_AUTO != 0,
        }
    }
}

impl Default for CacheOptions {
    fn default() -> Self {
        CacheOptions { max_tokens: 0, reserve_tokens: 0, auto: true }
    }
}

/// Are the tokens of an append packed as they leave the window?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Append {
    /// Yes.
    Committed,
    /// Only after [`Cache::commit`]; until then they may be attended and truncated.
    Tentative,
}

/// Which of the positions given to [`Cache::evict`] go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evict {
    /// The ones given.
    Remove,
    /// All others; the window and the sinks stay anyway.
    Keep,
}

/// How far [`Cache::truncate`] may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truncate {
    /// As if the tokens had never been appended, or [`crate::ErrorKind::NotExact`].
    Exact,
    /// Packed rows inside the window are accepted.
    KeepPacked,
}

/// How [`Cache::prune`] chooses; the default is as the recipe says. A number that `method` does not use must be 0.
#[derive(Debug, Clone, Copy)]
pub struct PruneOptions<'a> {
    /// which elements survive
    pub method: PruneMethod,
    /// TokenTopk, Channels: elements of a row; ChannelTopk: rows of every 32; NM: n
    pub keep: u32,
    /// NM: m, a divisor of head_dim
    pub of: u32,
    /// Threshold: smallest magnitude kept, >= 0
    pub threshold: f32,
    /// f32 `[kv_heads, head_dim]`: magnitudes are multiplied by these first
    pub channel_weights: Option<Tensor<'a>>,
    /// f32 `[kv_heads, end - begin]`: the same per position
    pub token_weights: Option<Tensor<'a>>,
    /// Mask: u8 `[kv_heads, end - begin, head_dim / 8]`, bit c (lowest first) of a row is channel c
    pub mask: Option<Tensor<'a>>,
}

impl Default for PruneOptions<'_> {
    fn default() -> Self {
        PruneOptions {
            method: PruneMethod::Recipe,
            keep: 0,
            of: 0,
            threshold: 0.0,
            channel_weights: None,
            token_weights: None,
            mask: None,
        }
    }
}

/// The keys and values of one sequence, all layers.
///
/// A call that fails changes nothing. What takes `&self` may overlap on one cache, from any threads; what changes it
/// takes `&mut self`. It borrows its context:
///
/// ```compile_fail,E0505
/// # use mustafar::*;
/// # fn main() -> Result<()> {
/// let context = Context::new()?;
/// let cache = Cache::new(&context, &Geometry::new(1, 1, 1, 64), &Recipe::parse("lean")?, &CacheOptions::new(64))?;
/// drop(context);
/// cache.stats()?;
/// # Ok(()) }
/// ```
pub struct Cache<'ctx> {
    raw: NonNull<sys::mustafar_cache>,
    q_heads: u32,
    head_dim_v: u32,
    context: PhantomData<&'ctx Context>,
}

// SAFETY: "calls on `const mustafar_cache *` may overlap on one cache; any other call needs it alone" (cache.h).
// Nothing in a cache belongs to a thread, and it borrows a context that is Sync, so it may move.
unsafe impl Send for Cache<'_> {}
// SAFETY: `&self` reaches the const calls only, which may overlap; the others take `&mut self`.
unsafe impl Sync for Cache<'_> {}

impl<'ctx> Cache<'ctx> {
    /// An empty cache. Everything that recipe, geometry and backend cannot do together is refused here.
    pub fn new(
        context: &'ctx Context,
        geometry: &Geometry,
        recipe: &Recipe,
        options: &CacheOptions,
    ) -> Result<Self> {
        let mut out = null_mut();
        // SAFETY: live handles, structs of their stated sizes.
        call(|error| unsafe {
            let (geometry, options) = (geometry.raw(), options.raw());
            sys::mustafar_cache_create(context.raw(), &geometry, recipe.raw(), &options, &mut out, error)
        })?;
        Cache::adopt(context, out)
    }

    /// Takes over what the library has created in `context`.
    pub(crate) fn adopt(_context: &'ctx Context, out: *mut sys::mustafar_cache) -> Result<Self> {
        Cache::own(created(out)?)
    }

    fn own(raw: NonNull<sys::mustafar_cache>) -> Result<Self> {
        let mut cache = Cache { raw, q_heads: 0, head_dim_v: 0, context: PhantomData };
        let geometry = cache.geometry()?;
        cache.q_heads = geometry.q_heads;
        cache.head_dim_v = geometry.head_dim_v;
        Ok(cache)
    }

    /// A second cache with the same content; pages are shared copy-on-write.
    pub fn fork(&self) -> Result<Cache<'ctx>> {
        let mut out = null_mut();
        // SAFETY: a live handle; the fork lives in the same context.
        call(|error| unsafe { sys::mustafar_cache_fork(self.raw_const(), &mut out, error) })?;
        Cache::own(created(out)?)
    }

    /// Appends tokens to one layer: k `[tokens, kv_heads, head_dim_k]`, v `[tokens, kv_heads, head_dim_v]`, f16, bf16
    /// or f32, any strides. The bytes are those of appending the rows one at a time.
    pub fn append(&mut self, layer: u32, k: &Tensor<'_>, v: &Tensor<'_>, tokens: Append) -> Result<()> {
        let flags = if tokens == Append::Tentative { sys::MUSTAFAR_APPEND_TENTATIVE } else { 0 };
        // SAFETY: a live handle that is ours alone, views that were checked against their slices.
        call(|error| unsafe { sys::mustafar_cache_append(self.raw(), layer, k.raw(), v.raw(), flags, error) })
    }

    /// Makes the tentative tokens of `layer` (or [`crate::ALL`]) committed.
    pub fn commit(&mut self, layer: u32) -> Result<()> {
        // SAFETY: a live handle that is ours alone.
        call(|error| unsafe { sys::mustafar_cache_commit(self.raw(), layer, error) })
    }

    /// Marks the survivors of dense rows at `positions` outside the window, without packing them. `layer` and `kv_head`
    /// are indices or [`crate::ALL`]; where one kv head is named, the leading dimension of weights and mask is 1.
    pub fn prune(
        &mut self,
        layer: u32,
        kv_head: u32,
        side: Side,
        positions: Range<u32>,
        options: &PruneOptions<'_>,
    ) -> Result<()> {
        let raw = sized!(mustafar_prune_options {
            method: options.method.code(),
            keep: options.keep,
            of: options.of,
            threshold: options.threshold,
        });
        // SAFETY: a live handle that is ours alone, a struct of its stated size, checked views.
        call(|error| unsafe {
            sys::mustafar_cache_prune(
                self.raw(),
                layer,
                kv_head,
                side.code(),
                positions.start,
                positions.end,
                &raw,
                pointer(options.channel_weights.as_ref().map(Tensor::raw)),
                pointer(options.token_weights.as_ref().map(Tensor::raw)),
                pointer(options.mask.as_ref().map(Tensor::raw)),
                error,
            )
        })
    }

    /// Packs every row of `layer` (or [`crate::ALL`]) that is outside the window.
    pub fn compress(&mut self, layer: u32) -> Result<()> {
        // SAFETY: a live handle that is ours alone.
        call(|error| unsafe { sys::mustafar_cache_compress(self.raw(), layer, error) })
    }

    /// Removes rows of one kv head for good, by strictly ascending positions.
    pub fn evict(&mut self, layer: u32, kv_head: u32, positions: &[i32], which: Evict) -> Result<()> {
        let flags = if which == Evict::Keep { sys::MUSTAFAR_EVICT_KEEP } else { 0 };
        let (data, count) = (positions.as_ptr(), positions.len());
        // SAFETY: a live handle that is ours alone, so many numbers.
        call(|error| unsafe {
            sys::mustafar_cache_evict(self.raw(), layer, kv_head, data, count, flags, error)
        })
    }

    /// Removes the rows of one kv head with the lowest scores (one per row, in row order) until it holds `budget` rows;
    /// 0 = what the recipe says. Window and sinks stay.
    pub fn evict_scores(&mut self, layer: u32, kv_head: u32, scores: &[f32], budget: u32) -> Result<()> {
        let (data, count) = (scores.as_ptr(), scores.len());
        // SAFETY: a live handle that is ours alone, so many numbers.
        call(|error| unsafe {
            sys::mustafar_cache_evict_scores(self.raw(), layer, kv_head, data, count, budget, error)
        })
    }

    /// Rolls every layer back to its first `length` tokens.
    pub fn truncate(&mut self, length: u32, how: Truncate) -> Result<()> {
        let flags = if how == Truncate::KeepPacked { sys::MUSTAFAR_TRUNCATE_KEEP_PACKED } else { 0 };
        // SAFETY: a live handle that is ours alone.
        call(|error| unsafe { sys::mustafar_cache_truncate(self.raw(), length, flags, error) })
    }

    /// Empties the cache; geometry, recipe and buffers stay.
    pub fn reset(&mut self) -> Result<()> {
        // SAFETY: a live handle that is ours alone.
        call(|error| unsafe { sys::mustafar_cache_reset(self.raw(), error) })
    }

    /// [`crate::attend()`] on this cache alone: `q` `[q_len, q_heads, head_dim_k]` gives f32
    /// `[q_len, q_heads, head_dim_v]`.
    pub fn attend(
        &self,
        layer: u32,
        q: &Tensor<'_>,
        sinks: Option<&Tensor<'_>>,
        options: &AttendOptions,
    ) -> Result<Vec<f32>> {
        const NAME: &str = "mustafar_attend";
        let q = q.in_front(NAME)?;
        let given = q.shape();
        if given.len() != 4 || given[2] != i64::from(self.q_heads) {
            return Err(Error::invalid(format!(
                "{}: q.shape = {:?}; give [q_len, q_heads = {}, head_dim_k]",
                NAME,
                &given[1..],
                self.q_heads
            )));
        }
        let shape = [1, given[1] as usize, self.q_heads as usize, self.head_dim_v as usize];
        let mut out = filled(NAME, product(&shape), 0.0f32)?;
        attend(&[self], layer, &q, sinks, options, TensorMut::new(&mut out, &shape)?)?;
        Ok(out)
    }

    pub(crate) fn raw(&self) -> *mut sys::mustafar_cache {
        self.raw.as_ptr()
    }

    pub(crate) fn raw_const(&self) -> *const sys::mustafar_cache {
        self.raw.as_ptr()
    }
}

impl Drop for Cache<'_> {
    fn drop(&mut self) {
        // SAFETY: created by the library, given back once, before its context.
        unsafe { sys::mustafar_cache_destroy(self.raw()) }
    }
}

impl fmt::Debug for Cache<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("stats", &self.stats()).finish()
    }
}
