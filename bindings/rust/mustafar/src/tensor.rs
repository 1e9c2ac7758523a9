// SPDX-License-Identifier: Apache-2.0
//! Borrowed views of strided arrays: what `mustafar_tensor` is in C, with bounds checked against a slice.

use std::marker::PhantomData;
use std::os::raw::c_void;

use mustafar_sys as sys;

use crate::types::DType;
use crate::{Error, Result};

/// Most dimensions of a tensor.
pub const MAX_DIMS: usize = sys::MUSTAFAR_MAX_DIMS as usize;

/// The bits of an IEEE 754 binary16 number; with the feature `half`, `half::f16` is an element as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(transparent)]
pub struct F16(pub u16);

/// The upper half of an IEEE 754 binary32 number; with the feature `half`, `half::bf16` is an element as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(transparent)]
pub struct BF16(pub u16);

mod sealed {
    pub trait Sealed {}
}

/// Element types of tensors: `f32`, [`F16`], [`BF16`], `u8`, `i32`, and those of the crate `half`.
///
/// Sealed: each is a plain number of the size that its dtype says, and any bits are a value of it.
pub trait Element: Copy + sealed::Sealed {
    /// How the C API calls it.
    const DTYPE: DType;
}

macro_rules! element {
    ($($type:ty => $dtype:ident),*) => {$(
        impl sealed::Sealed for $type {}
        impl Element for $type {
            const DTYPE: DType = DType::$dtype;
        }
    )*};
}
element!(f32 => F32, F16 => F16, BF16 => BF16, u8 => U8, i32 => I32);
#[cfg(feature = "half")]
element!(half::f16 => F16, half::bf16 => BF16);

/// A view to read: any strides, zero and negative ones included.
///
/// ```
/// # fn main() -> mustafar::Result<()> {
/// let data = [0.0f32; 6];
/// let tensor = mustafar::Tensor::new(&data, &[2, 3])?;
/// let transposed = mustafar::Tensor::strided(&data, &[3, 2], &[1, 3], 0)?;
/// assert!(mustafar::Tensor::new(&data, &[2, 4]).is_err());
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Tensor<'a> {
    raw: sys::mustafar_tensor,
    data: PhantomData<&'a [u8]>,
}

/// A view to write: contiguous, or with positive strides of which no two elements share a place.
#[derive(Debug)]
pub struct TensorMut<'a> {
    raw: sys::mustafar_tensor,
    data: PhantomData<&'a mut [u8]>,
}

// SAFETY: a view is a slice of plain numbers with a shape, and as free to move and share as `&[T]` is.
unsafe impl Send for Tensor<'_> {}
// SAFETY: as above.
unsafe impl Sync for Tensor<'_> {}
// SAFETY: as `&mut [T]`.
unsafe impl Send for TensorMut<'_> {}
// SAFETY: as `&mut [T]`.
unsafe impl Sync for TensorMut<'_> {}

impl<'a> Tensor<'a> {
    /// All of `data`, contiguous, the last dimension fastest.
    #[inline]
    pub fn new<T: Element>(data: &'a [T], shape: &[usize]) -> Result<Self> {
        let raw = contiguous(data.as_ptr(), data.len(), shape)?;
        Ok(Tensor { raw, data: PhantomData })
    }

    /// Elements of `data` from `offset` on, `strides[i]` elements apart in dimension i.
    pub fn strided<T: Element>(
        data: &'a [T],
        shape: &[usize],
        strides: &[isize],
        offset: usize,
    ) -> Result<Self> {
        let raw = strided(data.as_ptr(), data.len(), shape, strides, offset)?;
        Ok(Tensor { raw, data: PhantomData })
    }

    /// Sizes of the dimensions.
    pub fn shape(&self) -> &[i64] {
        &self.raw.shape[..self.raw.ndim as usize]
    }

    pub(crate) fn raw(&self) -> &sys::mustafar_tensor {
        &self.raw
    }

    /// The same with a dimension of one in front.
    pub(crate) fn in_front(&self, call: &str) -> Result<Tensor<'a>> {
        let dims = self.raw.ndim as usize;
        if dims >= MAX_DIMS {
            return Err(Error::invalid(format!(
                "{}: q.ndim = {}; give [q_len, q_heads, head_dim]",
                call, dims
            )));
        }
        let mut raw = self.raw;
        raw.shape.copy_within(..dims, 1);
        raw.strides.copy_within(..dims, 1);
        raw.shape[0] = 1;
        raw.strides[0] = 0;
        raw.ndim += 1;
        Ok(Tensor { raw, data: PhantomData })
    }
}

impl<'a> TensorMut<'a> {
    /// All of `data`, contiguous, the last dimension fastest.
    #[inline]
    pub fn new<T: Element>(data: &'a mut [T], shape: &[usize]) -> Result<Self> {
        let raw = contiguous(data.as_mut_ptr(), data.len(), shape)?;
        Ok(TensorMut { raw, data: PhantomData })
    }

    /// Elements of `data` from `offset` on, `strides[i]` elements apart in dimension i; the call that writes
    /// refuses strides that are not positive or let elements overlap.
    pub fn strided<T: Element>(
        data: &'a mut [T],
        shape: &[usize],
        strides: &[isize],
        offset: usize,
    ) -> Result<Self> {
        let raw = strided(data.as_mut_ptr(), data.len(), shape, strides, offset)?;
        Ok(TensorMut { raw, data: PhantomData })
    }

    /// A view that ends earlier, so that this one can be used again.
    #[inline]
    pub fn reborrow(&mut self) -> TensorMut<'_> {
        TensorMut { raw: self.raw, data: PhantomData }
    }

    /// Sizes of the dimensions.
    pub fn shape(&self) -> &[i64] {
        &self.raw.shape[..self.raw.ndim as usize]
    }

    pub(crate) fn raw(&self) -> &sys::mustafar_tensor {
        &self.raw
    }
}

/// The pointer of an optional view.
pub(crate) fn pointer(view: Option<&sys::mustafar_tensor>) -> *const sys::mustafar_tensor {
    view.map_or(std::ptr::null(), |raw| raw)
}

#[inline]
fn empty_view<T: Element>(data: *const T, dims: usize) -> Result<sys::mustafar_tensor> {
    if dims == 0 || dims > MAX_DIMS {
        return Err(Error::invalid(format!("Tensor: shape has {} dimensions; give 1..{}", dims, MAX_DIMS)));
    }
    Ok(sys::mustafar_tensor {
        data: data as *mut c_void,
        dtype: T::DTYPE as i32,
        device: 0,
        ndim: dims as u32,
        reserved: 0,
        shape: [0; MAX_DIMS],
        strides: [0; MAX_DIMS],
    })
}

#[inline]
fn contiguous<T: Element>(data: *const T, len: usize, shape: &[usize]) -> Result<sys::mustafar_tensor> {
    let mut raw = empty_view(data, shape.len())?;
    let (mut count, mut fits) = (1i64, true);
    for (i, &size) in shape.iter().enumerate().rev() {
        raw.shape[i] = size as i64;
        raw.strides[i] = count;
        let (product, overflow) = count.overflowing_mul(size as i64);
        fits &= !overflow && size <= isize::MAX as usize;
        count = product;
    }
    if !fits || count as usize != len {
        return Err(wrong_count(shape, len));
    }
    Ok(raw)
}

#[cold]
fn wrong_count(shape: &[usize], len: usize) -> Error {
    Error::invalid(format!("Tensor: shape = {:?} does not have the {} elements of the slice", shape, len))
}

fn dimension(size: usize) -> Result<i64> {
    i64::try_from(size).map_err(|_| Error::invalid(format!("Tensor: shape has a dimension of {}", size)))
}

fn strided<T: Element>(
    data: *const T,
    len: usize,
    shape: &[usize],
    strides: &[isize],
    offset: usize,
) -> Result<sys::mustafar_tensor> {
    let mut raw = empty_view(data, shape.len())?;
    if strides.len() != shape.len() {
        return Err(Error::invalid(format!("Tensor: shape = {:?} but strides = {:?}", shape, strides)));
    }
    // First and last element that the view reaches; sizes are below 2^63, so products fit.
    let (mut low, mut high) = (offset as i128, offset as i128);
    for (i, (&size, &stride)) in shape.iter().zip(strides).enumerate() {
        raw.shape[i] = dimension(size)?;
        raw.strides[i] = stride as i64;
        let reach = (size as i128 - 1) * stride as i128;
        low = low.saturating_add(reach.min(0));
        high = high.saturating_add(reach.max(0));
    }
    let inside = if shape.contains(&0) { offset <= len } else { low >= 0 && high < len as i128 };
    if !inside {
        return Err(Error::invalid(format!(
            "Tensor: shape = {:?}, strides = {:?}, offset = {} leave the {} elements of the slice",
            shape, strides, offset, len
        )));
    }
    // SAFETY: offset <= len, so the pointer stays inside the slice or just behind it.
    raw.data = unsafe { data.add(offset) } as *mut c_void;
    Ok(raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The elements of a view, as the library would read them.
    fn elements(view: &Tensor<'_>) -> Vec<f32> {
        let raw = view.raw();
        let mut found = Vec::new();
        for i in 0..raw.shape[0] {
            for j in 0..raw.shape[1] {
                let at = i * raw.strides[0] + j * raw.strides[1];
                // SAFETY: the view was checked against its slice; miri checks the checks.
                found.push(unsafe { *(raw.data as *const f32).offset(at as isize) });
            }
        }
        found
    }

    #[test]
    fn views_reach_what_they_say() {
        let data = [1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0];
        assert_eq!(elements(&Tensor::new(&data, &[2, 3]).unwrap()), data);
        let transposed = Tensor::strided(&data, &[3, 2], &[1, 3], 0).unwrap();
        assert_eq!(elements(&transposed), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
        let backwards = Tensor::strided(&data, &[2, 2], &[-3, -1], 5).unwrap();
        assert_eq!(elements(&backwards), [6.0, 5.0, 3.0, 2.0]);
        let repeated = Tensor::strided(&data, &[2, 2], &[0, 1], 4).unwrap();
        assert_eq!(elements(&repeated), [5.0, 6.0, 5.0, 6.0]);
    }

    #[test]
    fn views_that_leave_their_slice_are_refused() {
        let data = [0.0f32; 6];
        assert!(Tensor::new(&data, &[]).is_err());
        assert!(Tensor::new(&data, &[1, 1, 1, 1, 6]).is_err());
        assert!(Tensor::new(&data, &[7]).is_err());
        assert!(Tensor::new(&data, &[usize::MAX, usize::MAX]).is_err());
        assert!(Tensor::new(&data, &[1 << 62, 4, 0]).is_err());
        for (shape, strides, offset) in [
            ([2, 3], [3, 1], 1),
            ([2, 3], [-3, 1], 2),
            ([usize::MAX, usize::MAX], [isize::MAX, isize::MIN], 0),
            ([isize::MAX as usize; 2], [isize::MIN; 2], 0),
            ([isize::MAX as usize; 2], [isize::MAX; 2], 0),
            ([1, 0], [1, 1], 7),
            ([1, 1], [1, 1], usize::MAX),
        ] {
            assert!(Tensor::strided(&data, &shape, &strides, offset).is_err(), "{:?}", shape);
        }
        assert!(Tensor::strided(&data, &[2, 3], &[1], 0).is_err());
        assert!(Tensor::strided(&data, &[0, 3], &[3, 1], 6).is_ok());
        assert!(Tensor::new::<f32>(&[], &[0, 4]).is_ok());
    }

    #[test]
    fn a_dimension_in_front() {
        let data = [0.0f32; 6];
        let view = Tensor::new(&data, &[1, 2, 3]).unwrap().in_front("call").unwrap();
        assert_eq!(view.shape(), [1, 1, 2, 3]);
        assert_eq!(view.raw().strides[1..], [6, 3, 1]);
        assert!(view.in_front("call").is_err());
    }

    #[test]
    fn a_view_can_be_used_again() {
        let mut data = [0u8; 4];
        let mut view = TensorMut::new(&mut data, &[4]).unwrap();
        for value in [3u8, 4] {
            let part = view.reborrow();
            // SAFETY: one element of a view that is alive.
            unsafe { *(part.raw().data as *mut u8) = value };
        }
        assert_eq!(data[0], 4);
    }
}
