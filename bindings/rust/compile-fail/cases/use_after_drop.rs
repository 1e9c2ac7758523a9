// SPDX-License-Identifier: Apache-2.0
// A cache that was dropped cannot be used.
use mustafar::*;

fn last_words(cache: Cache<'_>) -> Result<CacheStats> {
    drop(cache);
    cache.stats()
}

fn main() {
    let _ = last_words;
}
