// SPDX-License-Identifier: Apache-2.0
//! What each call does; the conformance vectors say how exactly.

mod common;

use common::*;
use mustafar::*;

/// Dense, without sums in f16.
const PRECISE: &str = r#"{"schema": "mustafar.recipe", "version": 1, "precise": true}"#;

/// softmax(q k / sqrt(d)) v of one query over rows that are keys and values alike.
fn dense_attention(q: &[f32], rows: &[f32]) -> (Vec<f64>, f64) {
    let score = |row: &[f32]| {
        row.iter().zip(q).map(|(k, q)| f64::from(*k) * f64::from(*q)).sum::<f64>() / (D as f64).sqrt()
    };
    let weights: Vec<f64> = rows.chunks(D).map(|row| score(row).exp()).collect();
    let sum: f64 = weights.iter().sum();
    let mut out = vec![0.0; D];
    for (row, weight) in rows.chunks(D).zip(&weights) {
        out.iter_mut().zip(row).for_each(|(out, v)| *out += weight / sum * f64::from(*v));
    }
    (out, sum.ln())
}

#[test]
fn attend_is_attention() -> Result<()> {
    let context = Context::new()?;
    let mut cache = cache(&context, PRECISE, 256);
    append(&mut cache, 100, 1)?;
    let (rows, q) = (cache.export(0, 0, Side::K, 0..100)?, numbers(2 * D, 2));
    let out = cache.attend(0, &Tensor::new(&q, &[1, 2, D])?, None, &AttendOptions::default())?;
    assert_eq!(out.len(), 2 * D);
    for head in 0..2 {
        let (want, _) = dense_attention(&q[head * D..][..D], &rows);
        for (got, want) in out[head * D..].iter().zip(want) {
            assert!((f64::from(*got) - want).abs() < 1e-5, "{} is not {}", got, want);
        }
    }
    Ok(())
}

#[test]
fn many_caches_at_once_are_each_alone() -> Result<()> {
    let context = Context::new()?;
    let mut caches: Vec<Cache<'_>> = (0..20).map(|_| cache(&context, "k16i8/v16i8", 256)).collect();
    for (i, cache) in caches.iter_mut().enumerate() {
        append(cache, 40 + i, i as u64)?;
    }
    let q = numbers(20 * 2 * D, 3);
    let (mut out, mut lse) = (vec![0.0f32; q.len()], vec![0.0f32; 40]);
    let outputs = AttendOutputs {
        lse: Some(TensorMut::new(&mut lse, &[20, 1, 2])?),
        ..AttendOutputs::new(TensorMut::new(&mut out, &[20, 1, 2, D])?)
    };
    let all: Vec<&Cache<'_>> = caches.iter().collect();
    attend(&all, 0, &Tensor::new(&q, &[20, 1, 2, D])?, None, &AttendOptions::default(), outputs)?;
    for (i, cache) in caches.iter().enumerate() {
        let q = Tensor::new(&q[i * 2 * D..][..2 * D], &[1, 2, D])?;
        let alone = cache.attend(0, &q, None, &AttendOptions::default())?;
        assert_eq!(alone, out[i * 2 * D..][..2 * D]);
    }
    assert!(lse.iter().all(|lse| lse.is_finite()));
    Ok(())
}

#[test]
fn parts_merge_to_the_whole() -> Result<()> {
    let context = Context::new()?;
    let q = numbers(2 * D, 4);
    let attended = |tokens: &[f32]| -> Result<(Vec<f32>, Vec<f32>)> {
        let mut cache = cache(&context, PRECISE, 256);
        let view = Tensor::new(tokens, &[tokens.len() / D, 1, D])?;
        cache.append(0, &view, &view, Append::Committed)?;
        let (mut out, mut lse) = (vec![0.0f32; 2 * D], vec![0.0f32; 2]);
        let outputs = AttendOutputs {
            lse: Some(TensorMut::new(&mut lse, &[1, 1, 2])?),
            ..AttendOutputs::new(TensorMut::new(&mut out, &[1, 1, 2, D])?)
        };
        let q = Tensor::new(&q, &[1, 1, 2, D])?;
        attend(&[&cache], 0, &q, None, &AttendOptions::default(), outputs)?;
        Ok((out, lse))
    };
    let tokens = numbers(90 * D, 5);
    let (whole, _) = attended(&tokens)?;
    let (mut out_a, mut lse_a) = attended(&tokens[..50 * D])?;
    let (out_b, lse_b) = attended(&tokens[50 * D..])?;
    let (mut out, mut lse) = ([0.0f32; 2 * D], [0.0f32; 2]);
    let (b, b_lse) = (Tensor::new(&out_b, &[2, D])?, Tensor::new(&lse_b, &[2])?);
    merge(
        &context,
        &Tensor::new(&out_a, &[2, D])?,
        &Tensor::new(&lse_a, &[2])?,
        &b,
        &b_lse,
        TensorMut::new(&mut out, &[2, D])?,
        TensorMut::new(&mut lse, &[2])?,
    )?;
    assert!(out.iter().zip(&whole).all(|(a, b)| (a - b).abs() < 1e-5));
    let into = TensorMut::new(&mut out_a, &[2, D])?;
    merge_into(&context, into, TensorMut::new(&mut lse_a, &[2])?, &b, &b_lse)?;
    assert_eq!((out_a.as_slice(), lse_a.as_slice()), (&out[..], &lse[..]));
    Ok(())
}

#[test]
fn tentative_tokens_go_without_a_trace() -> Result<()> {
    let context = Context::new()?;
    let mut cache = cache(&context, "lean", 256);
    append(&mut cache, 100, 6)?;
    let before = snapshot(&cache);
    let drafts = numbers(7 * D, 7);
    let view = Tensor::new(&drafts, &[7, 1, D])?;
    cache.append(0, &view, &view, Append::Tentative)?;
    assert_eq!((cache.length(0)?.committed, cache.length(0)?.tentative), (100, 7));
    cache.truncate(100, Truncate::Exact)?;
    assert_eq!(snapshot(&cache), before);
    cache.append(0, &view, &view, Append::Tentative)?;
    cache.commit(ALL)?;
    assert_eq!((cache.length(0)?.committed, cache.length(0)?.tentative), (107, 0));
    let error = cache.truncate(3, Truncate::Exact).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NotExact { smallest_exact: 96 }), "{:?}", error);
    cache.truncate(3, Truncate::KeepPacked)?;
    assert_eq!(cache.rows(0, 0)?.rows, 3);
    cache.reset()?;
    assert_eq!(cache.stats()?.rows, 0);
    Ok(())
}

#[test]
fn prune_marks_and_compress_packs() -> Result<()> {
    let context = Context::new()?;
    let options = CacheOptions { auto: false, ..CacheOptions::new(128) };
    let mut cache = Cache::new(&context, &small(), &Recipe::parse("k8/v8")?, &options)?;
    append(&mut cache, 64, 8)?;
    let weights = [1.0f32; D];
    let how = PruneOptions {
        method: PruneMethod::TokenTopk,
        keep: 8,
        channel_weights: Some(Tensor::new(&weights, &[1, D])?),
        ..PruneOptions::default()
    };
    cache.prune(0, ALL, Side::K, 0..32, &how)?;
    let (values, bitmaps) = cache.export_bitmaps(0, 0, Side::K, 0..64)?;
    let kept: u32 = bitmaps[..32 * D / 8].iter().map(|byte| byte.count_ones()).sum();
    assert_eq!(kept, 32 * 8);
    assert_eq!(values[..32 * D].iter().filter(|value| **value != 0.0).count(), 32 * 8);
    assert!(bitmaps[32 * D / 8..].iter().all(|byte| *byte == 0xFF));
    assert_eq!(cache.rows(0, 0)?.body, 0);
    cache.compress(ALL)?;
    assert_eq!(cache.rows(0, 0)?.body, 32);
    assert_eq!(cache.export(0, 0, Side::K, 0..64)?, values);
    let (bytes, stats) = (cache.bytes(ALL, ALL)?, cache.stats()?);
    assert_eq!((bytes.exact, stats.packed_rows, stats.pages), (true, 32, 1));
    assert_eq!(bytes.total, context.stats()?.page_bytes + context.stats()?.cache_bytes);
    Ok(())
}

#[test]
fn evict_keeps_what_it_should() -> Result<()> {
    let context = Context::new()?;
    let mut cache = cache(&context, "k16i4/v32i2/w8", 256);
    append(&mut cache, 100, 9)?;
    cache.evict(0, 0, &[1, 5, 40], Evict::Remove)?;
    let positions = cache.positions(0, 0)?;
    assert_eq!((positions.len(), &positions[..4]), (97, &[0, 2, 3, 4][..]));
    cache.evict(0, 0, &positions[10..90], Evict::Keep)?;
    let scores: Vec<f32> = (0..cache.rows(0, 0)?.rows).map(|row| row as f32).collect();
    cache.evict_scores(0, 0, &scores, 50)?;
    assert_eq!(cache.positions(0, 0)?, (50..100).collect::<Vec<i32>>());
    assert_eq!(cache.stats()?.evicted_rows, 50);
    Ok(())
}

#[test]
fn forks_share_until_one_writes() -> Result<()> {
    let context = Context::new()?;
    let mut first = cache(&context, "lean", 256);
    append(&mut first, 100, 10)?;
    let second = first.fork()?;
    assert_eq!(context.stats()?.shared_pages, 2);
    let before = snapshot(&second);
    first.evict(0, 0, &[0], Evict::Remove)?;
    append(&mut first, 20, 11)?;
    assert_eq!(snapshot(&second), before);
    drop(first);
    assert_eq!((context.stats()?.shared_pages, context.stats()?.caches), (0, 1));
    assert_eq!(snapshot(&second), before);
    Ok(())
}

#[test]
fn a_cache_tells_what_it_was_made_with() -> Result<()> {
    let context = Context::new()?;
    let geometry = Geometry { dtype: DType::BF16, head_dim_v: 64, ..Geometry::new(2, 4, 2, 32) };
    let recipe: Recipe = "k16i4/v64i4/w16".parse()?;
    let options = CacheOptions { reserve_tokens: 32, auto: false, ..CacheOptions::new(99) };
    let cache = Cache::new(&context, &geometry, &recipe, &options)?;
    assert_eq!((cache.geometry()?, cache.options()?), (geometry, options));
    assert_eq!(cache.recipe_json()?, recipe.json());
    assert_eq!(Recipe::parse(cache.recipe_json()?)?, recipe);
    assert_eq!(recipe.digest().len(), 32);
    assert_eq!(recipe.window(&geometry, 1, 1)?.recent, 16);
    let side = recipe.side(&geometry, 0, 0, Side::K)?;
    assert_eq!((side.keep, side.bits, side.encoding), (16, 4, Encoding::Exact));
    assert_eq!(plan(&recipe, &geometry, &options, 0, ALL)?, cache.bytes(ALL, ALL)?);
    Ok(())
}

#[test]
fn the_library_tells_what_it_is() -> Result<()> {
    assert_eq!(version(), env!("CARGO_PKG_VERSION"));
    assert_eq!(abi_version(), 0);
    assert!(!build_text().is_empty());
    assert_eq!((status_name(6), dtype_name(DType::BF16)), ("MUSTAFAR_NON_FINITE", "bf16"));
    assert!(backends()?.contains(&"ref".to_owned()));
    assert!(kernels()?.iter().any(|kernel| kernel.name == "attend_ref" && kernel.available));
    assert!(named_recipes().iter().any(|(name, sentence)| *name == "lean" && !sentence.is_empty()));
    let options = ContextOptions { backend: "ref", threads: 1, ..ContextOptions::default() };
    let context = Context::with(&options, Hooks::new())?;
    assert_eq!(context.kernel("attend")?.name, "attend_ref");
    assert_eq!(context.stats()?.threads, 1);
    Ok(())
}

#[test]
fn layouts_of_inputs_do_not_matter() -> Result<()> {
    let context = Context::new()?;
    let (mut plain, mut other) = (cache(&context, "lean", 64), cache(&context, "lean", 64));
    let rows = numbers(40 * D, 12);
    let view = Tensor::new(&rows, &[40, 1, D])?;
    plain.append(0, &view, &view, Append::Committed)?;
    let mut transposed = vec![0.0f32; rows.len()];
    for (i, value) in rows.iter().enumerate() {
        transposed[(i % D) * 40 + i / D] = *value;
    }
    let turned = Tensor::strided(&transposed, &[40, 1, D], &[1, 0, 40], 0)?;
    let backwards: Vec<f32> = rows.iter().rev().copied().collect();
    let reversed = Tensor::strided(&backwards, &[40, 1, D], &[-(D as isize), 0, -1], rows.len() - 1)?;
    other.append(0, &turned, &reversed, Append::Committed)?;
    assert_eq!(snapshot(&plain), snapshot(&other));
    let halves = vec![F16(0x3C00); D];
    let ones = Tensor::strided(&halves, &[10, 1, D], &[0, 0, 1], 0)?;
    plain.append(0, &ones, &ones, Append::Committed)?;
    assert!(plain.export(0, 0, Side::V, 40..50)?.iter().all(|value| *value == 1.0));
    Ok(())
}
