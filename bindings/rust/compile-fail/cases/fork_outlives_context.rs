// SPDX-License-Identifier: Apache-2.0
// A fork borrows the context of its cache.
use mustafar::*;

fn fork_of<'a>(cache: &Cache<'_>) -> Result<Cache<'a>> {
    cache.fork()
}

fn main() {
    let _ = fork_of;
}
