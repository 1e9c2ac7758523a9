// SPDX-License-Identifier: Apache-2.0
//! attend and merge.

use mustafar::{attend, merge, AttendOptions, AttendOutputs, DType};

use crate::runner::{Outcome, Runner, Stop};
use crate::vectors::{dtype_named, Array, Step};

fn options(step: &Step) -> AttendOptions {
    AttendOptions {
        q_position: step.parsed("q_position"),
        scale: step.real("scale"),
        softcap: step.real("softcap"),
        sliding_window: step.number("sliding_window"),
        drop_mass: step.real("drop_mass"),
    }
}

/// `out` of the step is exact. What was left out is a sum of V rows of at most `value_most`, with weights of at most
/// `dropped`, which is at most drop_mass.
fn certificate(runner: &Runner<'_>, step: &Step, out: &Array, dropped: &Array) -> Outcome {
    let exact = Array::read(step.text("out").unwrap_or(""), 0)?;
    if exact.len() != out.len() {
        return Err(Stop::Wrong("out: another count".into()));
    }
    let most = f64::from(step.real("value_most"));
    let mass = f64::from(step.real("drop_mass")) * (1.0 + 1e-6);
    let tolerance = runner.tolerance(step, "out") * most;
    let d = out.len() / dropped.len();
    for i in 0..dropped.len() {
        let bound = dropped.value(i);
        if !(0.0..=mass).contains(&bound) {
            return Err(Stop::Wrong(format!("dropped = {} is no bound", bound)));
        }
        for c in i * d..(i + 1) * d {
            let difference = (out.value(c) - exact.value(c)).abs();
            if difference.is_nan() || difference > bound * most + tolerance {
                let why = "out is farther from the exact one than `dropped` allows";
                return Err(Stop::Wrong(why.into()));
            }
        }
    }
    Ok(())
}

pub fn run_attend(runner: &Runner<'_>, step: &Step) -> Outcome {
    let g = runner.geometry(step)?;
    let slots: Vec<usize> = step.list("caches");
    let caches = slots.iter().map(|&slot| runner.cache_at(slot)).collect::<Result<Vec<_>, _>>()?;
    let q_len = step.parsed("q_len").unwrap_or(1);
    let heads = g.q_heads as usize;
    let shape = |last: u32| [caches.len(), q_len, heads, last as usize];
    let queries = caches.len() * q_len * heads;
    let width: u32 = step.number("weights_width");
    let dtype = step.text("out_dtype").map_or(Some(DType::F32), dtype_named);
    let dtype = dtype.ok_or_else(|| Stop::Wrong("an out_dtype that cannot be said".into()))?;

    let q = Array::read(step.text("q").unwrap_or(""), queries * g.head_dim_k as usize)?;
    let sinks = step.text("sinks").map(|text| Array::read(text, heads)).transpose()?;
    let mut out = Array::empty(dtype, queries * g.head_dim_v as usize);
    let mut lse = Array::empty(DType::F32, queries);
    let mut weights = Array::empty(DType::F32, queries * width as usize);
    let mut dropped = Array::empty(DType::F32, queries);
    let options = options(step);
    let drops = options.drop_mass > 0.0;
    let per_query = &shape(0)[..3];
    let outputs = AttendOutputs {
        out: out.view_mut(&shape(g.head_dim_v))?,
        lse: Some(lse.view_mut(per_query)?),
        weights: if width > 0 { Some(weights.view_mut(&shape(width))?) } else { None },
        dropped: if drops { Some(dropped.view_mut(per_query)?) } else { None },
    };
    let q = q.layout(&shape(g.head_dim_k), step, "q")?;
    let sinks = sinks.as_ref().map(|sinks| sinks.view(&[heads])).transpose()?;
    attend(&caches, step.index("layer"), &q, sinks.as_ref(), &options, outputs)?;

    runner.expect_close(step, "lse", &lse, false)?;
    if width > 0 {
        runner.expect_close(step, "weights", &weights, false)?;
    }
    if drops {
        certificate(runner, step, &out, &dropped)
    } else {
        runner.expect_close(step, "out", &out, true)
    }
}

pub fn run_merge(runner: &Runner<'_>, step: &Step) -> Outcome {
    let (rows, d) = (step.number::<u32>("rows") as usize, step.number::<u32>("dim") as usize);
    let read = |name: &str, count: usize| Array::read(step.text(name).unwrap_or(""), count);
    let (out_a, lse_a) = (read("out_a", rows * d)?, read("lse_a", rows)?);
    let (out_b, lse_b) = (read("out_b", rows * d)?, read("lse_b", rows)?);
    let dtype = match out_a {
        Array::F32(_) => DType::F32,
        Array::F16(_) => DType::F16,
        Array::Bf16(_) => DType::BF16,
        Array::U8(_) => DType::U8,
    };
    let mut out = Array::empty(dtype, rows * d);
    let mut lse = Array::empty(DType::F32, rows);
    merge(
        runner.context,
        &out_a.view(&[rows, d])?,
        &lse_a.view(&[rows])?,
        &out_b.view(&[rows, d])?,
        &lse_b.view(&[rows])?,
        out.view_mut(&[rows, d])?,
        lse.view_mut(&[rows])?,
    )?;
    runner.expect_close(step, "out", &out, true)?;
    runner.expect_close(step, "lse", &lse, false)
}
