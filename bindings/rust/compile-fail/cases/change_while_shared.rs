// SPDX-License-Identifier: Apache-2.0
// What changes a cache needs it alone.
use mustafar::*;

fn append_through(cache: &Cache<'_>, rows: &Tensor<'_>) -> Result<()> {
    cache.append(0, rows, rows, Append::Committed)
}

fn main() {
    let _ = append_through;
}
