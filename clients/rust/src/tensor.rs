// SPDX-License-Identifier: Apache-2.0
use crate::error::{Error, Result};

/// An array as it is sent: little-endian, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// f16, bf16 or f32.
    pub dtype: String,
    pub shape: Vec<usize>,
    pub data: Vec<u8>,
}

impl Tensor {
    /// Halves, given as their bits.
    pub fn f16(words: &[u16], shape: &[usize]) -> Tensor {
        Tensor::of("f16", shape, words.iter().flat_map(|word| word.to_le_bytes()).collect())
    }

    /// bfloat16, given as their bits: the upper halves of f32.
    pub fn bf16(words: &[u16], shape: &[usize]) -> Tensor {
        Tensor::of("bf16", shape, words.iter().flat_map(|word| word.to_le_bytes()).collect())
    }

    pub fn f32(values: &[f32], shape: &[usize]) -> Tensor {
        Tensor::of("f32", shape, values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    fn of(dtype: &str, shape: &[usize], data: Vec<u8>) -> Tensor {
        Tensor { dtype: dtype.into(), shape: shape.to_vec(), data }
    }

    /// The elements of an f16 or bf16 tensor, as bits.
    pub fn words(&self) -> Vec<u16> {
        self.data.chunks_exact(2).map(|two| u16::from_le_bytes([two[0], two[1]])).collect()
    }

    /// The elements of an f32 tensor.
    pub fn floats(&self) -> Vec<f32> {
        self.data
            .chunks_exact(4)
            .map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]))
            .collect()
    }

    pub(crate) fn check(&self, what: &str, ndim: usize) -> Result<()> {
        let wrong = |text| Err(Error::Argument(format!("{what}: {} {:?}: {text}", self.dtype, self.shape)));
        let size = match self.dtype.as_str() {
            "f16" | "bf16" => 2usize,
            "f32" => 4,
            _ => return wrong("f16, bf16 or f32 is expected".to_string()),
        };
        if self.shape.len() != ndim || self.shape.contains(&0) {
            return wrong(format!("{ndim} axes are expected, none of them 0"));
        }
        let bytes = self.shape.iter().try_fold(size, |product, one| product.checked_mul(*one));
        if bytes != Some(self.data.len()) {
            return wrong(format!("there are {} bytes", self.data.len()));
        }
        Ok(())
    }
}
