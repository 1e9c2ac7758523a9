// SPDX-License-Identifier: Apache-2.0
//! Tentative tokens, roll-back, a fork and a snapshot.
use mustafar::{
    Append, Cache, CacheOptions, Context, ErrorKind, Expected, Geometry, Recipe, Tensor, Truncate, ALL,
};

fn main() -> mustafar::Result<()> {
    let context = Context::new()?;
    let geometry = Geometry::new(1, 2, 1, 64);
    let mut cache = Cache::new(&context, &geometry, &Recipe::parse("k32i4/v64i4")?, &CacheOptions::new(512))?;
    let numbers: Vec<f32> = (0..200 * 64).map(|i| (i as f32 * 0.11).cos()).collect();
    let prompt = Tensor::new(&numbers, &[200, 1, 64])?;
    cache.append(0, &prompt, &prompt, Append::Committed)?;

    // Five drafts, of which the model accepts two.
    let drafts = Tensor::new(&numbers[..5 * 64], &[5, 1, 64])?;
    cache.append(0, &drafts, &drafts, Append::Tentative)?;
    cache.truncate(202, Truncate::Exact)?;
    cache.commit(ALL)?;
    println!("{:?}", cache.length(0)?);

    // A deeper roll-back would ask packed rows back: it is refused, and says how far it can go.
    if let Err(error) = cache.truncate(10, Truncate::Exact) {
        if let ErrorKind::NotExact { smallest_exact } = error.kind() {
            println!("{}: back to {} is exact", error, smallest_exact);
        }
    }
    let branch = cache.fork()?; // pages are shared copy-on-write
    println!("{} of {} pages shared", branch.stats()?.shared_pages, branch.stats()?.pages);

    let mut snapshot = Vec::new();
    branch.save("my model", &mut snapshot)?;
    let expected = Expected { geometry: Some(&geometry), model_id: Some("my model"), ..Expected::default() };
    let loaded = Cache::load(&context, &expected, snapshot.as_slice())?;
    assert_eq!(loaded.positions(0, 0)?, cache.positions(0, 0)?);
    println!("{} bytes of snapshot", snapshot.len());
    Ok(())
}
