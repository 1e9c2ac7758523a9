// SPDX-License-Identifier: Apache-2.0
//! What several tests need.
#![allow(dead_code)] // each test is a program of its own

use mustafar::*;

pub const D: usize = 32;

/// One layer, one kv head, two query heads.
pub fn small() -> Geometry {
    Geometry::new(1, 2, 1, D as u32)
}

/// Numbers that differ, in -1 .. 1 (a splitmix generator, so that failures repeat).
pub fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let next = |_| {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    };
    (0..count).map(next).collect()
}

pub fn cache<'ctx>(context: &'ctx Context, recipe: &str, max_tokens: u32) -> Cache<'ctx> {
    let recipe = Recipe::parse(recipe).unwrap();
    Cache::new(context, &small(), &recipe, &CacheOptions::new(max_tokens)).unwrap()
}

/// Appends so many tokens of a seed, K and V alike.
pub fn append(cache: &mut Cache<'_>, tokens: usize, seed: u64) -> Result<()> {
    let rows = numbers(tokens * D, seed);
    let view = Tensor::new(&rows, &[tokens, 1, D])?;
    cache.append(0, &view, &view, Append::Committed)
}

pub fn snapshot(cache: &Cache<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    cache.save("", &mut bytes).unwrap();
    bytes
}
