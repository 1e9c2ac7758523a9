// SPDX-License-Identifier: Apache-2.0
//! Bad input is an error that names the argument, and changes nothing.

mod common;

use common::*;
use mustafar::*;

/// The call must fail with this kind and name the argument.
fn refused<T: std::fmt::Debug>(result: Result<T>, kind: fn(ErrorKind) -> bool, names: &str) {
    let error = result.unwrap_err();
    assert!(kind(error.kind()), "{:?}", error);
    assert!(error.message().contains(names), "{} is not named: {}", names, error);
    assert_eq!(error.to_string(), error.message());
}

fn invalid(kind: ErrorKind) -> bool {
    kind == ErrorKind::InvalidArgument
}

fn unsupported(kind: ErrorKind) -> bool {
    kind == ErrorKind::Unsupported
}

#[test]
fn contexts() {
    let with = |options: ContextOptions<'_>| Context::with(&options, Hooks::new());
    let named = |backend| with(ContextOptions { backend, ..ContextOptions::default() });
    refused(named("quantum"), unsupported, "quantum");
    refused(named("a name of more than thirty-one bytes"), invalid, "backend");
    refused(named("re\0f"), invalid, "backend");
    let both = ContextOptions { backend: "ref", refuse_ref: true, ..ContextOptions::default() };
    refused(with(both), unsupported, "ref");
    let context = Context::new().unwrap();
    refused(context.kernel("divide"), invalid, "op");
    refused(context.kernel("at\0tend"), invalid, "op");
}

#[test]
fn recipes() {
    for (text, names) in [("", ""), ("mustafar-51", "mustafar-51"), ("k\0", ""), ("{\"schema\":1}", "schema")]
    {
        refused(Recipe::parse(text), invalid, names);
    }
    let recipe = Recipe::parse("k200/v32").unwrap();
    refused(recipe.side(&small(), 0, 0, Side::K), unsupported, "200");
    refused(recipe.side(&small(), 9, 0, Side::K), |_| true, "");
    let lean = Recipe::parse("dense").unwrap();
    refused(lean.window(&small(), 0, 7), invalid, "kv_head");
    refused(
        plan(&lean, &small(), &CacheOptions::new(1), 2, ALL),
        |kind| kind != ErrorKind::Internal,
        "tokens",
    );
}

#[test]
fn geometries_and_options() {
    let context = Context::new().unwrap();
    let dense = Recipe::parse("dense").unwrap();
    let make = |geometry: Geometry, max_tokens| {
        Cache::new(&context, &geometry, &dense, &CacheOptions::new(max_tokens))
    };
    refused(make(small(), 0), invalid, "max_tokens");
    refused(make(small(), u32::MAX), invalid, "max_tokens");
    refused(make(Geometry::new(1, 2, 1, 100), 1), unsupported, "head_dim");
    refused(make(Geometry::new(0, 2, 1, 32), 1), |kind| invalid(kind) || unsupported(kind), "layers");
    refused(make(Geometry::new(1, 3, 2, 32), 1), |kind| invalid(kind) || unsupported(kind), "q_heads");
    let bytes = Geometry { dtype: DType::U8, ..small() };
    refused(make(bytes, 1), |kind| invalid(kind) || unsupported(kind), "dtype");
    assert_eq!(context.stats().unwrap().caches, 0);
}

#[test]
fn appends() {
    let context = Context::new().unwrap();
    let mut cache = cache(&context, "lean", 64);
    append(&mut cache, 40, 1).unwrap();
    let before = snapshot(&cache);
    let mut rows = numbers(4 * D, 2);
    let bytes = vec![0u8; 4 * D];
    {
        let good = Tensor::new(&rows, &[4, 1, D]).unwrap();
        let mut add = |layer, k: &Tensor<'_>, v: &Tensor<'_>| cache.append(layer, k, v, Append::Committed);
        refused(add(1, &good, &good), invalid, "layer");
        refused(add(0, &Tensor::new(&bytes, &[4, 1, D]).unwrap(), &good), invalid, "k.dtype");
        refused(add(0, &good, &Tensor::new(&rows, &[4, D]).unwrap()), invalid, "v.ndim");
        refused(add(0, &good, &Tensor::new(&rows, &[4, 2, D / 2]).unwrap()), invalid, "v.shape");
        refused(add(0, &good, &Tensor::new(&rows[..D], &[1, 1, D]).unwrap()), invalid, "v.shape");
        let many = Tensor::strided(&rows, &[65, 1, D], &[0, 0, 1], 0).unwrap();
        refused(
            add(0, &many, &many),
            |kind| kind == ErrorKind::Capacity { asked: 65, held: 40, limit: 64 },
            "max_tokens",
        );
        let huge = Tensor::strided(&rows, &[1 << 40, 1, D], &[0, 0, 1], 0).unwrap();
        refused(add(0, &huge, &huge), |kind| kind != ErrorKind::Internal, "");
        let none = Tensor::new::<f32>(&[], &[0, 1, D]).unwrap();
        refused(add(0, &none, &none), invalid, "k.shape");
    }
    for (bad, at) in [(f32::NAN, D + 3), (f32::INFINITY, D + 3), (1e30, D + 3)] {
        rows[at] = bad;
        let view = Tensor::new(&rows, &[4, 1, D]).unwrap();
        refused(
            cache.append(0, &view, &view, Append::Committed),
            |kind| kind == ErrorKind::NonFinite { index: [0, 1, 0, 3] },
            "",
        );
    }
    assert_eq!(snapshot(&cache), before);
}

#[test]
fn attends() {
    let context = Context::new().unwrap();
    let mut cache = cache(&context, "lean", 64);
    append(&mut cache, 40, 1).unwrap();
    let q = numbers(2 * D, 3);
    let view = Tensor::new(&q, &[1, 2, D]).unwrap();
    let with = |options: AttendOptions| cache.attend(0, &view, None, &options);
    refused(cache.attend(3, &view, None, &AttendOptions::default()), invalid, "layer");
    refused(with(AttendOptions { drop_mass: 2.0, ..AttendOptions::default() }), invalid, "drop_mass");
    refused(with(AttendOptions { scale: f32::NAN, ..AttendOptions::default() }), |_| true, "scale");
    refused(with(AttendOptions { q_position: Some(-1), ..AttendOptions::default() }), invalid, "q_position");
    let flat = Tensor::new(&q, &[2, D]).unwrap();
    refused(cache.attend(0, &flat, None, &AttendOptions::default()), invalid, "q");
    let four = Tensor::new(&q, &[1, 1, 2, D]).unwrap();
    refused(cache.attend(0, &four, None, &AttendOptions::default()), invalid, "q");
    let other = Tensor::new(&q, &[2, 1, D]).unwrap();
    refused(cache.attend(0, &other, None, &AttendOptions::default()), invalid, "q");
    let long = Tensor::strided(&q, &[1 << 60, 2, D], &[0, D as isize, 1], 0).unwrap();
    refused(cache.attend(0, &long, None, &AttendOptions::default()), |kind| kind != ErrorKind::Internal, "");
    let infinite = [f32::INFINITY; 2 * D];
    let view = Tensor::new(&infinite, &[1, 2, D]).unwrap();
    refused(
        cache.attend(0, &view, None, &AttendOptions::default()),
        |kind| kind == ErrorKind::NonFinite { index: [0, 0, 0, 0] },
        "",
    );
}

#[test]
fn outputs() {
    let context = Context::new().unwrap();
    let mut cache = cache(&context, "lean", 64);
    append(&mut cache, 40, 1).unwrap();
    let q = numbers(2 * D, 3);
    let query = Tensor::new(&q, &[1, 1, 2, D]).unwrap();
    let run = |out: TensorMut<'_>| attend(&[&cache], 0, &query, None, &AttendOptions::default(), out);
    let mut out = vec![7.0f32; 2 * D];
    refused(run(TensorMut::new(&mut out, &[1, 1, D, 2]).unwrap()), invalid, "out.shape");
    let overlapping = TensorMut::strided(&mut out, &[1, 1, 2, D], &[0, 0, 1, 1], 0).unwrap();
    refused(run(overlapping), invalid, "out");
    let repeated = TensorMut::strided(&mut out, &[1, 1, 2, D], &[0, 0, 0, 1], 0).unwrap();
    refused(run(repeated), invalid, "out");
    let mut bytes = vec![7u8; 2 * D];
    refused(run(TensorMut::new(&mut bytes, &[1, 1, 2, D]).unwrap()), invalid, "out.dtype");
    assert!(out.iter().all(|value| *value == 7.0) && bytes.iter().all(|value| *value == 7));
    let none =
        attend(&[], 0, &query, None, &AttendOptions::default(), TensorMut::new(&mut out, &[2, D]).unwrap());
    assert!(none.is_ok(), "no cache, nothing to do");
    let other = Context::new().unwrap();
    let stranger = common::cache(&other, "lean", 64);
    let mut out = vec![0.0f32; 4 * D];
    let view = TensorMut::new(&mut out, &[2, 1, 2, D]).unwrap();
    let queries = Tensor::strided(&q, &[2, 1, 2, D], &[0, 0, D as isize, 1], 0).unwrap();
    refused(
        attend(&[&cache, &stranger], 0, &queries, None, &AttendOptions::default(), view),
        invalid,
        "context",
    );
}

#[test]
fn changes_and_questions() {
    let context = Context::new().unwrap();
    let mut cache = cache(&context, "lean", 64);
    append(&mut cache, 40, 1).unwrap();
    let before = snapshot(&cache);
    refused(cache.commit(5), invalid, "layer");
    refused(cache.compress(5), invalid, "layer");
    refused(cache.evict(0, 5, &[0], Evict::Remove), invalid, "kv_head");
    refused(cache.evict(0, 0, &[3, 2], Evict::Remove), invalid, "positions");
    refused(cache.evict(0, 0, &[-1], Evict::Remove), invalid, "positions");
    refused(cache.evict_scores(0, 0, &[1.0], 33), invalid, "count");
    refused(cache.evict_scores(0, 0, &[f32::NAN; 40], 33), |_| true, "scores");
    refused(
        cache.prune(0, 0, Side::K, 0..40, &PruneOptions::default()),
        |kind| kind == ErrorKind::BadState,
        "",
    );
    #[allow(clippy::reversed_empty_ranges)]
    let backwards = 9..3;
    refused(cache.prune(0, 0, Side::K, backwards.clone(), &PruneOptions::default()), invalid, "begin");
    refused(cache.export(0, 0, Side::K, backwards), invalid, "begin");
    refused(cache.export(0, 0, Side::K, 0..u32::MAX), invalid, "end");
    refused(cache.export(0, 9, Side::V, 0..1), invalid, "kv_head");
    let mut values = vec![0.0f32; D];
    let view = TensorMut::new(&mut values, &[1, D]).unwrap();
    refused(cache.export_into(0, 0, Side::K, 0..1, view, Some(&mut [0; 3])), invalid, "bitmaps");
    refused(cache.length(9), invalid, "layer");
    refused(cache.rows(0, ALL), invalid, "kv_head");
    refused(cache.positions(0, 9), invalid, "kv_head");
    refused(cache.bytes(9, ALL), invalid, "layer");
    assert_eq!(snapshot(&cache), before);
}
