// SPDX-License-Identifier: Apache-2.0
// A context cannot go while a cache is in use.
use mustafar::*;

fn main() -> Result<()> {
    let context = Context::new()?;
    let recipe = Recipe::parse("lean")?;
    let cache = Cache::new(&context, &Geometry::new(1, 1, 1, 64), &recipe, &CacheOptions::new(64))?;
    drop(context);
    println!("{:?}", cache.stats()?);
    Ok(())
}
