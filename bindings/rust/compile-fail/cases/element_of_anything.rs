// SPDX-License-Identifier: Apache-2.0
// Not every type is an element: usize is of no dtype.
use mustafar::*;

fn main() -> Result<()> {
    Tensor::new(&[1usize, 2], &[2])?;
    Ok(())
}
