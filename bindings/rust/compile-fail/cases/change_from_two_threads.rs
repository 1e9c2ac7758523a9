// SPDX-License-Identifier: Apache-2.0
// Two threads cannot change one cache.
use mustafar::*;

fn both(cache: &mut Cache<'_>) {
    std::thread::scope(|scope| {
        scope.spawn(|| cache.reset());
        scope.spawn(|| cache.reset());
    });
}

fn main() {
    let _ = both;
}
