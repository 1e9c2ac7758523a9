// SPDX-License-Identifier: Apache-2.0
//! Steps that ask a cache or a recipe.

use mustafar::{plan, Side, ALL};

use crate::runner::{expect, expect_bytes, expect_least, side, Outcome, Runner, Stop};
use crate::vectors::{Array, Step};

pub fn state(runner: &Runner<'_>, step: &Step) -> Outcome {
    let cache = runner.cache(step)?;
    let (layer, head) = (step.index("layer"), step.index("head"));
    let length = cache.length(layer)?;
    let rows = cache.rows(layer, head)?;
    expect(step, "committed", length.committed)?;
    expect(step, "tentative", length.tentative)?;
    expect(step, "rows", rows.rows)?;
    expect(step, "body", rows.body)?;
    let positions = cache.positions(layer, head)?;
    if positions != step.list::<i32>("positions") {
        return Err(Stop::Wrong(format!("positions are {:?}", positions)));
    }
    Ok(())
}

pub fn export(runner: &Runner<'_>, step: &Step) -> Outcome {
    let (layer, head) = (step.index("layer"), step.index("head"));
    let rows = step.index("begin")..step.index("end");
    let (values, bitmaps) = runner.cache(step)?.export_bitmaps(layer, head, side(step), rows)?;
    expect_bytes(step, "bitmaps", &bitmaps)?;
    runner.expect_close(step, "values", &Array::F32(values), true)
}

/// Alignment is the backend's own business (docs/format.md, section 4): compared for ref alone.
pub fn bytes(runner: &Runner<'_>, step: &Step) -> Outcome {
    let got = runner.cache(step)?.bytes(step.index("layer"), step.index("head"))?;
    let parts = [got.values, got.bitmaps, got.meta, got.slack, got.window, got.positions, got.tables];
    if parts.iter().sum::<u64>() != got.total {
        return Err(Stop::Wrong("total is not the sum of the parts".into()));
    }
    if step.parsed::<u64>("positions_least") == Some(0) && got.positions != 0 {
        return Err(Stop::Wrong("positions before any eviction".into()));
    }
    expect(step, "values", got.values)?;
    expect(step, "bitmaps", got.bitmaps)?;
    expect(step, "meta", got.meta)?;
    if runner.strict {
        expect(step, "slack", got.slack)?;
    }
    expect_least(step, "window_least", got.window)?;
    expect_least(step, "positions_least", got.positions)
}

/// What plan foretells is what the cache occupies; of ragged rows, at least that.
pub fn plan_bytes(runner: &Runner<'_>, step: &Step) -> Outcome {
    let cache = runner.cache(step)?;
    let (recipe, geometry) = (runner.recipe(step)?, runner.geometry(step)?);
    let got = plan(&recipe, &geometry, &cache.options()?, step.number("tokens"), ALL)?;
    let want = cache.bytes(ALL, ALL)?;
    if if got.exact { got == want } else { got.total >= want.total } {
        return Ok(());
    }
    Err(Stop::Wrong(format!("plan says {:?}, the cache takes {:?}", got, want)))
}

pub fn stats(runner: &Runner<'_>, step: &Step) -> Outcome {
    let got = runner.cache(step)?.stats()?;
    expect(step, "longest", got.longest)?;
    expect(step, "rows", got.rows)?;
    expect(step, "body_rows", got.body_rows)?;
    expect(step, "evicted_rows", got.evicted_rows)?;
    expect(step, "pages", got.pages)?;
    expect(step, "shared_pages", got.shared_pages)?;
    expect(step, "dense_bytes", got.dense_bytes)?;
    expect(step, "appended_tokens", got.appended_tokens)?;
    expect(step, "packed_rows", got.packed_rows)
}

pub fn recipe(runner: &Runner<'_>, step: &Step) -> Outcome {
    let recipe = runner.recipe(step)?;
    match step.text("canonical") {
        Some(want) if want != recipe.json() => {
            Err(Stop::Wrong(format!("canonical text is {}", recipe.json())))
        }
        _ => Ok(()),
    }
}

pub fn side_info(runner: &Runner<'_>, step: &Step) -> Outcome {
    let (layer, head) = (step.index("layer"), step.index("head"));
    let which: Side = side(step);
    let got = runner.recipe(step)?.side(&runner.geometry(step)?, layer, head, which)?;
    expect(step, "keep", got.keep)?;
    expect(step, "bits", got.bits)?;
    expect(step, "encoding", got.encoding.code())?;
    expect(step, "method", got.method.code())?;
    expect(step, "group", got.group)?;
    expect(step, "centred", u32::from(got.centred))?;
    expect(step, "row_bytes", got.row_bytes)?;
    if runner.strict {
        expect(step, "page_bytes", got.page_bytes)?;
    }
    Ok(())
}

pub fn window(runner: &Runner<'_>, step: &Step) -> Outcome {
    let (layer, head) = (step.index("layer"), step.index("head"));
    let got = runner.recipe(step)?.window(&runner.geometry(step)?, layer, head)?;
    expect(step, "recent", got.recent)?;
    expect(step, "sink", got.sink)?;
    expect(step, "step", got.step)?;
    expect(step, "budget", got.budget)
}
