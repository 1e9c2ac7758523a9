// SPDX-License-Identifier: Apache-2.0
//! Create, append, attend, print stats.
use mustafar::{Append, AttendOptions, Cache, CacheOptions, Context, Geometry, Recipe, Tensor, ALL};

fn main() -> mustafar::Result<()> {
    let context = Context::new()?;
    let geometry = Geometry::new(1, 4, 2, 64); // layers, q_heads, kv_heads, head_dim
    let mut cache = Cache::new(&context, &geometry, &Recipe::parse("lean")?, &CacheOptions::new(4096))?;

    let numbers: Vec<f32> = (0..1024 * 2 * 64).map(|i| (i as f32 * 0.37).sin()).collect();
    let rows = Tensor::new(&numbers, &[1024, 2, 64])?; // tokens, kv_heads, head_dim
    cache.append(0, &rows, &rows, Append::Committed)?;
    let q = Tensor::new(&numbers[..4 * 64], &[1, 4, 64])?; // q_len, q_heads, head_dim
    let out = cache.attend(0, &q, None, &AttendOptions::default())?;

    let (bytes, stats) = (cache.bytes(ALL, ALL)?, cache.stats()?);
    println!("1024 tokens in {} bytes, out[0] = {:.6}", bytes.total, out[0]);
    println!("{} of {} rows packed by {}", stats.body_rows, stats.rows, stats.pack_kernel);
    println!(
        "{:.1} % of {} dense bytes",
        100.0 * bytes.total as f64 / stats.dense_bytes as f64,
        stats.dense_bytes
    );
    Ok(())
}
