// SPDX-License-Identifier: Apache-2.0
//! What the runner reads: a line of a twin file as words, and array texts (tests/conformance/README.md, "The twin",
//! "Arrays").

use std::str::FromStr;

use mustafar::{DType, Result, Tensor, TensorMut, ALL, BF16, F16};

/// One line: `op key=value key=value ...`.
pub struct Step {
    pub op: String,
    words: Vec<(String, String)>,
}

/// %25, %20, %0a: what a value may not contain.
fn decode(text: &str) -> String {
    text.replace("%20", " ").replace("%0a", "\n").replace("%25", "%")
}

impl Step {
    pub fn read(line: &str) -> Step {
        let mut words = line.split(' ');
        let op = words.next().unwrap_or("").to_owned();
        let pair = |word: &str| {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            (key.to_owned(), decode(value))
        };
        Step { op, words: words.map(pair).collect() }
    }

    /// The first word behind the op: the id of a case.
    pub fn name(&self) -> &str {
        self.words.first().map_or("", |word| &word.0)
    }

    pub fn text(&self, key: &str) -> Option<&str> {
        self.words.iter().find(|word| word.0 == key).map(|word| word.1.as_str())
    }

    pub fn parsed<T: FromStr>(&self, key: &str) -> Option<T> {
        self.text(key).and_then(|text| text.parse().ok())
    }

    pub fn number<T: FromStr + From<u8>>(&self, key: &str) -> T {
        self.parsed(key).unwrap_or_else(|| T::from(0))
    }

    pub fn flag(&self, key: &str) -> bool {
        self.number::<u32>(key) != 0
    }

    pub fn real(&self, key: &str) -> f32 {
        self.parsed(key).unwrap_or(0.0)
    }

    /// A layer or head; -1 = all of them.
    pub fn index(&self, key: &str) -> u32 {
        u32::try_from(self.number::<i64>(key)).unwrap_or(ALL)
    }

    pub fn list<T: FromStr>(&self, key: &str) -> Vec<T> {
        let text = self.text(key).unwrap_or("");
        text.split(',').filter_map(|number| number.parse().ok()).collect()
    }
}

/// The elements of an array, as their type.
pub enum Array {
    F32(Vec<f32>),
    F16(Vec<F16>),
    Bf16(Vec<BF16>),
    U8(Vec<u8>),
}

/// The same body for every type of element.
macro_rules! each {
    ($array:expr, $data:ident => $body:expr) => {
        match $array {
            Array::F32($data) => $body,
            Array::F16($data) => $body,
            Array::Bf16($data) => $body,
            Array::U8($data) => $body,
        }
    };
}

pub fn dtype_named(name: &str) -> Option<DType> {
    match name {
        "f32" => Some(DType::F32),
        "f16" => Some(DType::F16),
        "bf16" => Some(DType::BF16),
        "u8" => Some(DType::U8),
        _ => None,
    }
}

/// Steele, Lea and Flood, OOPSLA 2014, as a counter.
fn splitmix64(seed: u64, index: u64) -> u64 {
    let start = (seed << 32).wrapping_add(index).wrapping_add(1);
    let mut z = start.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn random_bits(dtype: DType, seed: u64, index: u64) -> u32 {
    let z = splitmix64(seed, index);
    let exponent = (z >> 32) as u32 & 7;
    match dtype {
        DType::F16 => z as u32 & 0x83FF | (8 + exponent) << 10,
        DType::BF16 => z as u32 & 0x807F | (120 + exponent) << 7,
        DType::F32 => z as u32 & 0x807F_FFFF | (120 + exponent) << 23,
        _ => z as u32 & 0xFF,
    }
}

impl Array {
    pub fn of_bits(dtype: DType, bits: &[u32]) -> Array {
        match dtype {
            DType::F32 => Array::F32(bits.iter().map(|&bits| f32::from_bits(bits)).collect()),
            DType::F16 => Array::F16(bits.iter().map(|&bits| F16(bits as u16)).collect()),
            DType::BF16 => Array::Bf16(bits.iter().map(|&bits| BF16(bits as u16)).collect()),
            _ => Array::U8(bits.iter().map(|&bits| bits as u8).collect()),
        }
    }

    /// For results: bits that no result has.
    pub fn empty(dtype: DType, count: usize) -> Array {
        Array::of_bits(dtype, &vec![0x5555_5555; count])
    }

    /// Makes an array of its text. `count` says how many elements `gen` and `all` have.
    pub fn read(text: &str, count: usize) -> Result<Array, String> {
        let broken = || format!("no array: {:.40}", text);
        let mut parts = text.split(';');
        let mut words = parts.next().unwrap_or("").split(':');
        let first = words.next().unwrap_or("");
        let made = first == "gen" || first == "all";
        let name = if made { words.next().unwrap_or("") } else { first };
        let dtype = dtype_named(name).ok_or_else(broken)?;
        let word = words.next().unwrap_or("");
        let hex = |digits: &str| u32::from_str_radix(digits, 16).map_err(|_| broken());
        let mut bits = Vec::with_capacity(count);
        match first {
            "all" => bits.resize(count, hex(word)?),
            "gen" => {
                let seed = word.parse().map_err(|_| broken())?;
                let mask = words.next().map_or(Ok(u32::MAX), hex)?;
                let from = words.next().map_or(Ok(0), str::parse).map_err(|_| broken())?;
                bits.extend((from..from + count as u64).map(|i| random_bits(dtype, seed, i) & mask));
            }
            _ => {
                let width = [8, 4, 4, 2][dtype.code() as usize - 1];
                for at in (0..word.len()).step_by(width) {
                    bits.push(hex(word.get(at..at + width).ok_or_else(broken)?)?);
                }
            }
        }
        for patch in parts {
            let (index, value) = patch.split_once('=').ok_or_else(broken)?;
            let index: usize = index.parse().map_err(|_| broken())?;
            *bits.get_mut(index).ok_or_else(broken)? = hex(value)?;
        }
        Ok(Array::of_bits(dtype, &bits))
    }

    pub fn len(&self) -> usize {
        each!(self, data => data.len())
    }

    pub fn value(&self, index: usize) -> f64 {
        match self {
            Array::F32(data) => f64::from(data[index]),
            Array::F16(data) => f64::from(half_value(data[index].0)),
            Array::Bf16(data) => f64::from(f32::from_bits(u32::from(data[index].0) << 16)),
            Array::U8(data) => f64::from(data[index]),
        }
    }

    pub fn view(&self, shape: &[usize]) -> Result<Tensor<'_>> {
        each!(self, data => Tensor::strided(data, shape, &contiguous(shape), 0))
    }

    /// With NAME_shape, NAME_strides and NAME_offset, where a step gives them.
    pub fn layout(&self, shape: &[usize], step: &Step, name: &str) -> Result<Tensor<'_>> {
        let mut shape = shape.to_vec();
        let given = step.list(&format!("{}_shape", name));
        if !given.is_empty() {
            shape = given;
        }
        let mut strides = contiguous(&shape);
        let told: Vec<isize> = step.list(&format!("{}_strides", name));
        strides.iter_mut().zip(told).for_each(|(stride, told)| *stride = told);
        let offset = step.parsed(&format!("{}_offset", name)).unwrap_or(0);
        each!(self, data => Tensor::strided(data, &shape, &strides, offset))
    }

    pub fn view_mut(&mut self, shape: &[usize]) -> Result<TensorMut<'_>> {
        each!(self, data => TensorMut::new(data, shape))
    }
}

fn contiguous(shape: &[usize]) -> Vec<isize> {
    let behind = |i: usize| shape[i + 1..].iter().product::<usize>() as isize;
    (0..shape.len()).map(behind).collect()
}

/// The value of binary16 bits.
fn half_value(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let exponent = u32::from(bits >> 10 & 31);
    let fraction = u32::from(bits & 0x3FF);
    match exponent {
        31 => f32::from_bits(sign | 0x7F80_0000 | fraction << 13),
        0 => fraction as f32 * 2f32.powi(-24) * if sign == 0 { 1.0 } else { -1.0 },
        _ => f32::from_bits(sign | (exponent + 112) << 23 | fraction << 13),
    }
}
