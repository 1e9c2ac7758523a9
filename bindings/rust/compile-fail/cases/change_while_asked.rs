// SPDX-License-Identifier: Apache-2.0
// The text of a recipe lives as long as the cache is not changed.
use mustafar::*;

fn reset_and_read(cache: &mut Cache<'_>) -> Result<usize> {
    let text = cache.recipe_json()?;
    cache.reset()?;
    Ok(text.len())
}

fn main() {
    let _ = reset_and_read;
}
