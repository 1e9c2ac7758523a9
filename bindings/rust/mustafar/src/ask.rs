// SPDX-License-Identifier: Apache-2.0
//! What a cache answers: lengths, positions, values, bytes, statistics.

use std::ops::Range;
use std::ptr::null_mut;

use mustafar_sys as sys;

use crate::c::{filled, product, sized, text};
use crate::cache::{Cache, CacheOptions};
use crate::error::call;
use crate::tensor::TensorMut;
use crate::types::{Bytes, CacheStats, Geometry, Length, Rows, Side};
use crate::{Error, Result};

const EXPORT: &str = "mustafar_cache_export";

impl Cache<'_> {
    /// Committed and tentative tokens of a layer.
    pub fn length(&self, layer: u32) -> Result<Length> {
        let mut out = Length::default();
        let Length { committed, tentative } = &mut out;
        // SAFETY: a live handle, two places to write.
        call(|error| unsafe {
            sys::mustafar_cache_length(self.raw_const(), layer, committed, tentative, error)
        })?;
        Ok(out)
    }

    /// Rows a kv head holds after evictions.
    pub fn rows(&self, layer: u32, kv_head: u32) -> Result<Rows> {
        let mut out = Rows::default();
        let Rows { rows, body } = &mut out;
        // SAFETY: a live handle, two places to write.
        call(|error| unsafe {
            sys::mustafar_cache_rows(self.raw_const(), layer, kv_head, rows, body, error)
        })?;
        Ok(out)
    }

    /// Positions of the rows of a kv head, ascending.
    pub fn positions(&self, layer: u32, kv_head: u32) -> Result<Vec<i32>> {
        let rows = self.rows(layer, kv_head)?.rows as usize;
        let mut out = filled("mustafar_cache_positions", Some(rows), 0i32)?;
        // SAFETY: a live handle, so many places to write.
        call(|error| unsafe {
            sys::mustafar_cache_positions(self.raw_const(), layer, kv_head, out.as_mut_ptr(), rows, error)
        })?;
        Ok(out)
    }

    /// Values of rows `[begin, end)` of one kv head and side as attend sees them, f32 `[end - begin, head_dim]`.
    pub fn export(&self, layer: u32, kv_head: u32, side: Side, rows: Range<u32>) -> Result<Vec<f32>> {
        let (count, d) = self.export_shape(layer, kv_head, side, &rows)?;
        let mut values = filled(EXPORT, product(&[count, d]), 0.0f32)?;
        let out = TensorMut::new(&mut values, &[count, d])?;
        self.export_into(layer, kv_head, side, rows, out, None)?;
        Ok(values)
    }

    /// The same, with survivors as bits `[end - begin, head_dim / 8]`, lowest bit first.
    pub fn export_bitmaps(
        &self,
        layer: u32,
        kv_head: u32,
        side: Side,
        rows: Range<u32>,
    ) -> Result<(Vec<f32>, Vec<u8>)> {
        let (count, d) = self.export_shape(layer, kv_head, side, &rows)?;
        let mut values = filled(EXPORT, product(&[count, d]), 0.0f32)?;
        let mut bitmaps = filled(EXPORT, product(&[count, d / 8]), 0u8)?;
        let out = TensorMut::new(&mut values, &[count, d])?;
        self.export_into(layer, kv_head, side, rows, out, Some(&mut bitmaps))?;
        Ok((values, bitmaps))
    }

    /// The same into arrays of the caller's; `bitmaps` must have (end - begin) * head_dim / 8 bytes.
    pub fn export_into(
        &self,
        layer: u32,
        kv_head: u32,
        side: Side,
        rows: Range<u32>,
        values: TensorMut<'_>,
        bitmaps: Option<&mut [u8]>,
    ) -> Result<()> {
        let mut bits = null_mut();
        if let Some(bitmaps) = bitmaps {
            let (count, d) = self.export_shape(layer, kv_head, side, &rows)?;
            if Some(bitmaps.len()) != product(&[count, d / 8]) {
                return Err(Error::invalid(format!(
                    "{}: bitmaps has {} bytes; give {} rows of {}",
                    EXPORT,
                    bitmaps.len(),
                    count,
                    d / 8
                )));
            }
            bits = bitmaps.as_mut_ptr();
        }
        let (begin, end) = (rows.start, rows.end);
        // SAFETY: a live handle, a checked view, and as many bytes as the rows have bits.
        call(|error| unsafe {
            let (cache, side) = (self.raw_const(), side.code());
            sys::mustafar_cache_export(cache, layer, kv_head, side, begin, end, values.raw(), bits, error)
        })
    }

    /// Rows and d of an export, refused before memory is taken for it.
    fn export_shape(
        &self,
        layer: u32,
        kv_head: u32,
        side: Side,
        rows: &Range<u32>,
    ) -> Result<(usize, usize)> {
        let held = self.rows(layer, kv_head)?.rows;
        if rows.start > rows.end || rows.end > held {
            return Err(Error::invalid(format!(
                "{}: begin = {}, end = {} leaves the {} rows of the head",
                EXPORT, rows.start, rows.end, held
            )));
        }
        let geometry = self.geometry()?;
        let d = if side == Side::K { geometry.head_dim_k } else { geometry.head_dim_v };
        Ok((rows.len(), d as usize))
    }

    /// What the cache was made with.
    pub fn geometry(&self) -> Result<Geometry> {
        let mut out = sized!(mustafar_geometry {});
        self.describe(&mut out, null_mut(), null_mut())?;
        Geometry::from_raw(&out)
    }

    /// What the cache was made with.
    pub fn options(&self) -> Result<CacheOptions> {
        let mut out = sized!(mustafar_cache_options {});
        self.describe(null_mut(), &mut out, null_mut())?;
        Ok(CacheOptions::from_raw(&out))
    }

    /// The canonical JSON of the recipe that the cache was made with.
    pub fn recipe_json(&self) -> Result<&str> {
        let mut out = std::ptr::null();
        self.describe(null_mut(), null_mut(), &mut out)?;
        // SAFETY: NUL-terminated, "alive as long as the cache" (cache.h).
        Ok(unsafe { text(out) })
    }

    fn describe(
        &self,
        geometry: *mut sys::mustafar_geometry,
        options: *mut sys::mustafar_cache_options,
        recipe: *mut *const std::os::raw::c_char,
    ) -> Result<()> {
        // SAFETY: a live handle; each output is null or a struct of its stated size.
        call(|error| unsafe {
            sys::mustafar_cache_describe(self.raw_const(), geometry, options, recipe, error)
        })
    }

    /// Bytes of the cache, of one layer, or of one kv head of it ([`crate::ALL`] for either).
    pub fn bytes(&self, layer: u32, kv_head: u32) -> Result<Bytes> {
        let mut out = sized!(mustafar_bytes {});
        // SAFETY: a live handle, a struct of its stated size.
        call(|error| unsafe {
            sys::mustafar_cache_bytes(self.raw_const(), layer, kv_head, &mut out, error)
        })?;
        Ok(Bytes::from_raw(&out))
    }

    /// Rows, pages, calls, times and kernels.
    pub fn stats(&self) -> Result<CacheStats> {
        let mut out = sized!(mustafar_cache_stats {});
        // SAFETY: a live handle, a struct of its stated size.
        call(|error| unsafe { sys::mustafar_cache_get_stats(self.raw_const(), &mut out, error) })?;
        Ok(CacheStats::from_raw(&out))
    }
}
