// SPDX-License-Identifier: Apache-2.0
// A tensor borrows its data.
use mustafar::*;

fn ones() -> Result<Tensor<'static>> {
    let data = vec![1.0f32; 64];
    Tensor::new(&data, &[1, 1, 64])
}

fn main() {
    let _ = ones;
}
