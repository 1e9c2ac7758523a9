// SPDX-License-Identifier: Apache-2.0
// A cache borrows its context.
use mustafar::*;

fn main() -> Result<()> {
    let recipe = Recipe::parse("lean")?;
    let cache = {
        let context = Context::new()?;
        Cache::new(&context, &Geometry::new(1, 1, 1, 64), &recipe, &CacheOptions::new(64))?
    };
    println!("{:?}", cache.stats()?);
    Ok(())
}
