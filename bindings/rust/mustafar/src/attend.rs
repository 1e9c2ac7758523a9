// SPDX-License-Identifier: Apache-2.0
//! Attention over compressed caches, and the merge of partial results.

use std::ptr;

use mustafar_sys as sys;

use crate::c::sized;
use crate::cache::Cache;
use crate::context::Context;
use crate::error::call;
use crate::tensor::{pointer, Tensor, TensorMut};
use crate::Result;

/// How to attend; the default is exact attention over all rows with scale 1 / sqrt(head_dim_k).
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct AttendOptions {
    /// Position of query 0, 0 .. 2^40, the same for every cache; None: the queries are the last tokens.
    pub q_position: Option<i64>,
    /// 0 = 1 / sqrt(head_dim_k)
    pub scale: f32,
    /// 0 = none; else s -> softcap * tanh(s / softcap)
    pub softcap: f32,
    /// 0 = none; else w: position p sees p - w + 1 .. p
    pub sliding_window: u32,
    /// 0 = exact; else V rows may be left out whose weights sum to at most this (0 .. 1) per query
    pub drop_mass: f32,
}

impl AttendOptions {
    fn raw(&self) -> sys::mustafar_attend_options {
        sized!(mustafar_attend_options {
            flags: if self.q_position.is_some() { sys::MUSTAFAR_ATTEND_AT } else { 0 },
            q_position: self.q_position.unwrap_or(0),
            scale: self.scale,
            softcap: self.softcap,
            sliding_window: self.sliding_window,
            drop_mass: self.drop_mass,
        })
    }
}

/// Where results go. Made of `out` alone by `into()`.
#[derive(Debug)]
pub struct AttendOutputs<'a> {
    /// `[caches, q_len, q_heads, head_dim_v]`, f16, bf16 or f32
    pub out: TensorMut<'a>,
    /// f32 `[caches, q_len, q_heads]`: ln of the sum of e^score, -inf where there is no row
    pub lse: Option<TensorMut<'a>>,
    /// f32 `[caches, q_len, q_heads, w]`, w >= rows of any kv head: weights in row order, 0 behind the last
    pub weights: Option<TensorMut<'a>>,
    /// f32 `[caches, q_len, q_heads]`: with `drop_mass`, a bound of the weight left out
    pub dropped: Option<TensorMut<'a>>,
}

impl<'a> AttendOutputs<'a> {
    /// `out` and nothing else; `AttendOutputs { lse: Some(lse), ..AttendOutputs::new(out) }` gives more.
    pub fn new(out: TensorMut<'a>) -> Self {
        AttendOutputs { out, lse: None, weights: None, dropped: None }
    }
}

impl<'a> From<TensorMut<'a>> for AttendOutputs<'a> {
    fn from(out: TensorMut<'a>) -> Self {
        AttendOutputs::new(out)
    }
}

/// Attends one layer of caches of any lengths, one geometry, one context; recipes may differ. Query i of a cache
/// stands at position length - q_len + i and sees the rows at its own position and before.
///
/// - `q`: `[caches, q_len, q_heads, head_dim_k]`, f16, bf16 or f32, any strides
/// - `sinks`: f32 `[q_heads]`, learned sinks: one more score per query head without a value
///
/// ```
/// # fn main() -> mustafar::Result<()> {
/// use mustafar::*;
/// let context = Context::new()?;
/// let geometry = Geometry::new(1, 4, 2, 64);
/// let mut cache = Cache::new(&context, &geometry, &Recipe::parse("lean")?, &CacheOptions::new(1024))?;
/// let k = vec![0.5f32; 100 * 2 * 64];
/// let rows = Tensor::new(&k, &[100, 2, 64])?;
/// cache.append(0, &rows, &rows, Append::Committed)?;
///
/// let q = vec![0.1f32; 4 * 64];
/// let (mut out, mut lse) = (vec![0.0f32; 4 * 64], [0.0f32; 4]);
/// let outputs = AttendOutputs {
///     lse: Some(TensorMut::new(&mut lse, &[1, 1, 4])?),
///     ..AttendOutputs::new(TensorMut::new(&mut out, &[1, 1, 4, 64])?)
/// };
/// attend(&[&cache], 0, &Tensor::new(&q, &[1, 1, 4, 64])?, None, &AttendOptions::default(), outputs)?;
/// assert!((out[0] - 0.5).abs() < 1e-3);
/// # Ok(()) }
/// ```
#[inline]
pub fn attend<'a, O: Into<AttendOutputs<'a>>>(
    caches: &[&Cache<'_>],
    layer: u32,
    q: &Tensor<'_>,
    sinks: Option<&Tensor<'_>>,
    options: &AttendOptions,
    outputs: O,
) -> Result<()> {
    attend_raw(caches, layer, q, sinks, options, outputs.into())
}

/// So many handles are handed over without an allocation.
const FEW: usize = 8;

fn attend_raw(
    caches: &[&Cache<'_>],
    layer: u32,
    q: &Tensor<'_>,
    sinks: Option<&Tensor<'_>>,
    options: &AttendOptions,
    outputs: AttendOutputs<'_>,
) -> Result<()> {
    let mut few = [ptr::null(); FEW];
    let mut many = Vec::new();
    let handles: &[*const sys::mustafar_cache] = if caches.len() <= FEW {
        few.iter_mut().zip(caches).for_each(|(handle, cache)| *handle = cache.raw_const());
        &few[..caches.len()]
    } else {
        many.extend(caches.iter().map(|cache| cache.raw_const()));
        &many
    };
    let AttendOutputs { out, lse, weights, dropped } = &outputs;
    let options = options.raw();
    // SAFETY: live handles, views that were checked against their slices; `outputs` are unique borrows, so that
    // "no output may overlap an input or another output" holds.
    call(|error| unsafe {
        sys::mustafar_attend(
            handles.as_ptr(),
            handles.len(),
            layer,
            q.raw(),
            pointer(sinks.map(Tensor::raw)),
            &options,
            out.raw(),
            pointer(lse.as_ref().map(TensorMut::raw)),
            pointer(weights.as_ref().map(TensorMut::raw)),
            pointer(dropped.as_ref().map(TensorMut::raw)),
            error,
        )
    })
}

/// Joins two partial results over disjoint rows of the same queries.
///
/// - `out_a`, `out_b`, `out`: `[..., head_dim_v]` of one shape
/// - `lse_a`, `lse_b`, `lse`: f32, the same shape without the last dimension
pub fn merge(
    context: &Context,
    out_a: &Tensor<'_>,
    lse_a: &Tensor<'_>,
    out_b: &Tensor<'_>,
    lse_b: &Tensor<'_>,
    out: TensorMut<'_>,
    lse: TensorMut<'_>,
) -> Result<()> {
    // SAFETY: a live handle, checked views; outputs are unique borrows.
    call(|error| unsafe {
        sys::mustafar_merge(
            context.raw(),
            out_a.raw(),
            lse_a.raw(),
            out_b.raw(),
            lse_b.raw(),
            out.raw(),
            lse.raw(),
            error,
        )
    })
}

/// The same in place: `out` and `lse` hold the first part and get the result.
pub fn merge_into(
    context: &Context,
    out: TensorMut<'_>,
    lse: TensorMut<'_>,
    out_b: &Tensor<'_>,
    lse_b: &Tensor<'_>,
) -> Result<()> {
    // SAFETY: as `merge`; "out may be out_a or out_b itself" (attend.h), and likewise lse.
    call(|error| unsafe {
        sys::mustafar_merge(
            context.raw(),
            out.raw(),
            lse.raw(),
            out_b.raw(),
            lse_b.raw(),
            out.raw(),
            lse.raw(),
            error,
        )
    })
}
