// SPDX-License-Identifier: Apache-2.0
//! Steps that make or change caches.

use mustafar::{
    Append, Cache, CacheOptions, Evict, Expected, PruneMethod, PruneOptions, Side, Truncate, ALL,
};

use crate::runner::{expect_bytes, side, Outcome, Runner, Stop};
use crate::vectors::{Array, Step};

fn options(step: &Step) -> CacheOptions {
    CacheOptions {
        max_tokens: step.number("max_tokens"),
        reserve_tokens: step.number("reserve_tokens"),
        auto: step.text("auto").is_none() || step.flag("auto"),
    }
}

pub fn create(runner: &mut Runner<'_>, step: &Step) -> Outcome {
    let recipe = runner.recipe(step)?;
    let cache = Cache::new(runner.context, &runner.geometry(step)?, &recipe, &options(step))?;
    runner.keep(step, "cache", cache);
    Ok(())
}

pub fn append(runner: &mut Runner<'_>, step: &Step) -> Outcome {
    let g = runner.geometry(step)?;
    let tokens = step.number::<u32>("tokens") as usize;
    let read = |name: &str, d: u32| {
        let shape = [tokens, g.kv_heads as usize, d as usize];
        let count = step.parsed(&format!("{}_count", name));
        let text = step.text(name).unwrap_or("");
        Array::read(text, count.unwrap_or_else(|| shape.iter().product())).map(|array| (array, shape))
    };
    let (k, shape_k) = read("k", g.head_dim_k)?;
    let (v, shape_v) = read("v", g.head_dim_v)?;
    let how = if step.flag("tentative") { Append::Tentative } else { Append::Committed };
    let (k, v) = (k.layout(&shape_k, step, "k")?, v.layout(&shape_v, step, "v")?);
    Ok(runner.cache_mut(step)?.append(step.index("layer"), &k, &v, how)?)
}

fn method(step: &Step) -> Result<PruneMethod, Stop> {
    let name = step.text("method").unwrap_or("");
    Ok(match name {
        "recipe" => PruneMethod::Recipe,
        "none" => PruneMethod::None,
        "token_topk" => PruneMethod::TokenTopk,
        "n_m" => PruneMethod::NM,
        "channels" => PruneMethod::Channels,
        "channel_topk" => PruneMethod::ChannelTopk,
        "threshold" => PruneMethod::Threshold,
        "mask" => PruneMethod::Mask,
        _ => return Err(Stop::Wrong(format!("method {} cannot be said", name))),
    })
}

pub fn prune(runner: &mut Runner<'_>, step: &Step) -> Outcome {
    let g = runner.geometry(step)?;
    let (side, head) = (side(step), step.index("head"));
    let heads = if head == ALL { g.kv_heads as usize } else { 1 };
    let d = if side == Side::K { g.head_dim_k } else { g.head_dim_v } as usize;
    let positions = step.number::<u32>("begin")..step.number::<u32>("end");
    let range = positions.len();
    let read = |name: &str, count: usize| step.text(name).map(|text| Array::read(text, count)).transpose();
    let channel_weights = read("channel_weights", heads * d)?;
    let token_weights = read("token_weights", heads * range)?;
    let mask = read("mask", heads * range * d / 8)?;
    let options = PruneOptions {
        method: method(step)?,
        keep: step.number("keep"),
        of: step.number("of"),
        threshold: step.real("threshold"),
        channel_weights: channel_weights.as_ref().map(|a| a.view(&[heads, d])).transpose()?,
        token_weights: token_weights.as_ref().map(|a| a.view(&[heads, range])).transpose()?,
        mask: mask.as_ref().map(|a| a.view(&[heads, range, d / 8])).transpose()?,
    };
    Ok(runner.cache_mut(step)?.prune(step.index("layer"), head, side, positions, &options)?)
}

pub fn evict(runner: &mut Runner<'_>, step: &Step) -> Outcome {
    let which = if step.flag("keep") { Evict::Keep } else { Evict::Remove };
    let positions: Vec<i32> = step.list("positions");
    let (layer, head) = (step.index("layer"), step.index("head"));
    Ok(runner.cache_mut(step)?.evict(layer, head, &positions, which)?)
}

pub fn evict_scores(runner: &mut Runner<'_>, step: &Step) -> Outcome {
    let (layer, head) = (step.index("layer"), step.index("head"));
    let cache = runner.cache_mut(step)?;
    let rows = cache.rows(layer, head)?.rows as usize;
    let count = step.parsed("count").unwrap_or(rows);
    let scores = Array::read(step.text("scores").unwrap_or(""), count)?;
    let scores: Vec<f32> = (0..scores.len()).map(|i| scores.value(i) as f32).collect();
    Ok(cache.evict_scores(layer, head, &scores, step.number("budget"))?)
}

pub fn save(runner: &mut Runner<'_>, step: &Step) -> Outcome {
    let mut bytes = Vec::new();
    let model_id = step.text("model_id").unwrap_or("");
    runner.cache(step)?.save(model_id, &mut bytes)?;
    let compared = expect_bytes(step, "snapshot", &bytes);
    let earlier = step.parsed::<usize>("same_as");
    let same = earlier.map_or(true, |slot| runner.saved.get(slot) == Some(&bytes));
    runner.keep_saved(step.number("cache"), bytes);
    compared?;
    if same {
        return Ok(());
    }
    Err(Stop::Wrong("not the bytes of the earlier save".into()))
}

/// Damage is applied to a copy: "patch" offset,byte,..., then "cut" to so many bytes.
pub fn load(runner: &mut Runner<'_>, step: &Step) -> Outcome {
    let saved = runner.saved.get(step.number::<usize>("saved"));
    let mut bytes = saved.cloned().ok_or_else(|| Stop::Wrong("nothing was saved".into()))?;
    for pair in step.list::<usize>("patch").chunks_exact(2) {
        bytes[pair[0]] = pair[1] as u8;
    }
    bytes.truncate(step.parsed("cut").unwrap_or(bytes.len()));
    let geometry = step.text("geometry").map(|_| runner.geometry(step)).transpose()?;
    let recipe = step.text("recipe").map(|_| runner.recipe(step)).transpose()?;
    let with_options = step.text("max_tokens").or_else(|| step.text("auto")).is_some();
    let options = options(step);
    let expected = Expected {
        geometry: geometry.as_ref(),
        recipe: recipe.as_ref(),
        model_id: step.text("model_id"),
        options: with_options.then_some(&options),
    };
    let cache = Cache::load(runner.context, &expected, bytes.as_slice())?;
    runner.keep(step, "to", cache);
    Ok(())
}

pub fn truncate(runner: &mut Runner<'_>, step: &Step) -> Outcome {
    let how = if step.flag("keep_packed") { Truncate::KeepPacked } else { Truncate::Exact };
    Ok(runner.cache_mut(step)?.truncate(step.index("length"), how)?)
}

pub fn fork(runner: &mut Runner<'_>, step: &Step) -> Outcome {
    let cache = runner.cache(step)?.fork()?;
    runner.keep(step, "to", cache);
    Ok(())
}
