// SPDX-License-Identifier: Apache-2.0
// An output cannot overlap an input.
use mustafar::*;

fn in_place(cache: &Cache<'_>, data: &mut [f32]) -> Result<()> {
    let q = Tensor::new(data, &[1, 1, 1, 64])?;
    let out = TensorMut::new(data, &[1, 1, 1, 64])?;
    attend(&[cache], 0, &q, None, &AttendOptions::default(), out)
}

fn main() {
    let _ = in_place;
}
