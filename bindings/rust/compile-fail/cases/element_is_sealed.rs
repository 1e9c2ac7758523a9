// SPDX-License-Identifier: Apache-2.0
// Nobody else can say what an element is.
use mustafar::*;

#[derive(Clone, Copy)]
struct Pair(u8, u8);

impl Element for Pair {
    const DTYPE: DType = DType::F16;
}

fn main() {}
