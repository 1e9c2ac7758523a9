// SPDX-License-Identifier: Apache-2.0
//! The types of the crate `half` as elements.
#![cfg(feature = "half")]

mod common;

use common::*;
use half::{bf16, f16};
use mustafar::*;

#[test]
fn halves_are_the_bits_that_they_are() -> Result<()> {
    let context = Context::new()?;
    let numbers = numbers(40 * D, 1);
    let halves: Vec<f16> = numbers.iter().map(|number| f16::from_f32(*number)).collect();
    let bits: Vec<F16> = halves.iter().map(|half| F16(half.to_bits())).collect();
    let (mut typed, mut raw) = (cache(&context, "lean", 64), cache(&context, "lean", 64));
    let view = Tensor::new(&halves, &[40, 1, D])?;
    typed.append(0, &view, &view, Append::Committed)?;
    let view = Tensor::new(&bits, &[40, 1, D])?;
    raw.append(0, &view, &view, Append::Committed)?;
    assert_eq!(snapshot(&typed), snapshot(&raw));
    Ok(())
}

#[test]
fn results_come_as_halves() -> Result<()> {
    let context = Context::new()?;
    let mut cache = cache(&context, "dense", 64);
    let ones = vec![bf16::ONE; 10 * D];
    let view = Tensor::new(&ones, &[10, 1, D])?;
    cache.append(0, &view, &view, Append::Committed)?;
    let q = vec![f16::ZERO; 2 * D];
    let mut out = vec![bf16::ZERO; 2 * D];
    let into = TensorMut::new(&mut out, &[1, 1, 2, D])?;
    attend(&[&cache], 0, &Tensor::new(&q, &[1, 1, 2, D])?, None, &AttendOptions::default(), into)?;
    assert_eq!(out, vec![bf16::ONE; 2 * D]);
    Ok(())
}
