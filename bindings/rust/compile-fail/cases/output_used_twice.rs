// SPDX-License-Identifier: Apache-2.0
// Two outputs cannot be one array.
use mustafar::*;

fn twice(data: &mut [f32]) -> Result<AttendOutputs<'_>> {
    let out = TensorMut::new(data, &[1, 1, 1, 64])?;
    Ok(AttendOutputs { lse: Some(TensorMut::new(data, &[1, 1, 64])?), ..AttendOutputs::new(out) })
}

fn main() {
    let _ = twice;
}
