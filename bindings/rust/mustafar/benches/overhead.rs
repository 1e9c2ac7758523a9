// SPDX-License-Identifier: Apache-2.0
//! What a call costs above the C function: ns of one attend on a cache of one token, GB/s of a 64 MB append. The same in
//! C is bindings/python/bench/overhead.c; `cargo bench` runs this.

use std::ptr::{null, read_volatile};
use std::time::Instant;

use mustafar::*;
use mustafar_sys as sys;

const ROUNDS: usize = 400;
const CALLS: usize = 1000;
const TOKENS: usize = 16384;
const D: usize = 32;

/// `value`, of which the compiler knows nothing; `black_box` is younger than Rust 1.63.
fn opaque<T: Copy>(value: T) -> T {
    // SAFETY: a reference is valid to read.
    unsafe { read_volatile(&value) }
}

fn round(call: &mut dyn FnMut()) -> f64 {
    let start = Instant::now();
    (0..CALLS).for_each(|_| call());
    start.elapsed().as_nanos() as f64 / CALLS as f64
}

/// ns of each call, the best of some rounds, in turn: the machine has other work, too.
fn best(calls: &mut [(&str, &mut dyn FnMut())]) -> Vec<f64> {
    let mut best = vec![f64::INFINITY; calls.len()];
    for _ in 0..ROUNDS {
        for (best, (_, call)) in best.iter_mut().zip(calls.iter_mut()) {
            *best = best.min(round(call));
        }
    }
    best
}

fn view(data: *const f32, dims: u32) -> sys::mustafar_tensor {
    let strides = [D as i64, D as i64, D as i64, 1];
    let shape = [1, 1, 1, D as i64];
    let at = 4 - dims as usize;
    let mut raw = sys::mustafar_tensor {
        data: data as *mut _,
        dtype: sys::MUSTAFAR_F32 as i32,
        device: 0,
        ndim: dims,
        reserved: 0,
        shape: [0; 4],
        strides: [0; 4],
    };
    raw.shape[..4 - at].copy_from_slice(&shape[at..]);
    raw.strides[..4 - at].copy_from_slice(&strides[at..]);
    raw
}

/// A cache of one token through the C functions alone.
fn raw_cache(row: &[f32]) -> *mut sys::mustafar_cache {
    let (mut context, mut recipe, mut cache) =
        (std::ptr::null_mut(), std::ptr::null_mut(), std::ptr::null_mut());
    let k = view(row.as_ptr(), 3);
    // SAFETY: as overhead.c, from which it is taken; nothing is given back before the end.
    unsafe {
        let mut options: sys::mustafar_context_options = std::mem::zeroed();
        options.struct_size = std::mem::size_of_val(&options) as u32;
        options.threads = 1;
        let error = std::ptr::null_mut();
        assert_eq!(sys::mustafar_context_create(&options, null(), null(), &mut context, error), 0);
        assert_eq!(sys::mustafar_recipe_parse(b"dense".as_ptr().cast(), 5, &mut recipe, error), 0);
        let (d, dtype) = (D as u32, sys::MUSTAFAR_F16 as i32);
        let geometry = sys::mustafar_geometry {
            struct_size: std::mem::size_of::<sys::mustafar_geometry>() as u32,
            layers: 1,
            q_heads: 1,
            kv_heads: 1,
            head_dim_k: d,
            head_dim_v: d,
            dtype,
            reserved: 0,
        };
        let size = std::mem::size_of::<sys::mustafar_cache_options>() as u32;
        let options = sys::mustafar_cache_options {
            struct_size: size,
            max_tokens: TOKENS as u32,
            reserve_tokens: 0,
            flags: 0,
        };
        assert_eq!(sys::mustafar_cache_create(context, &geometry, recipe, &options, &mut cache, error), 0);
        assert_eq!(sys::mustafar_cache_append(cache, 0, &k, &k, 0, error), 0);
    }
    cache
}

fn attends(context: &Context) -> Result<()> {
    let mut row = vec![0.0f32; D];
    row[0] = 1.0;
    let raw = raw_cache(&row);
    let mut raw_out = vec![0.0f32; D];
    let (raw_q, raw_to) = (view(row.as_ptr(), 4), view(raw_out.as_mut_ptr(), 4));
    // SAFETY: all zero, but for its size.
    let mut error: sys::mustafar_error = unsafe { std::mem::zeroed() };
    error.struct_size = std::mem::size_of_val(&error) as u32;

    let options = CacheOptions { auto: false, ..CacheOptions::new(TOKENS as u32) };
    let dense = Recipe::parse("dense")?;
    let mut cache = Cache::new(context, &Geometry::new(1, 1, 1, D as u32), &dense, &options)?;
    let k = Tensor::new(&row, &[1, 1, D])?;
    cache.append(0, &k, &k, Append::Committed)?;
    let q = Tensor::new(&row, &[1, 1, 1, D])?;
    let defaults = AttendOptions::default();
    let (mut one, mut two) = (vec![0.0f32; D], vec![0.0f32; D]);
    let mut out = TensorMut::new(&mut one, &[1, 1, 1, D])?;

    let mut calls: [(&str, &mut dyn FnMut()); 4] = [
        ("mustafar_attend of mustafar-sys", &mut || {
            let caches = [raw as *const sys::mustafar_cache];
            // SAFETY: as overhead.c.
            let status = unsafe {
                let (q, to) = (&raw_q, &raw_to);
                sys::mustafar_attend(
                    caches.as_ptr(),
                    1,
                    0,
                    q,
                    null(),
                    null(),
                    to,
                    null(),
                    null(),
                    null(),
                    &mut error,
                )
            };
            assert_eq!(status, 0);
        }),
        ("attend, views made before", &mut || {
            attend(&[&cache], 0, &q, None, &defaults, out.reborrow()).unwrap();
        }),
        ("attend, views made each time", &mut || {
            let q = Tensor::new(&row, &[1, 1, 1, opaque(D)]).unwrap();
            let out = TensorMut::new(&mut two, &[1, 1, 1, opaque(D)]).unwrap();
            attend(&[&cache], 0, &q, None, &defaults, out).unwrap();
        }),
        ("cache.attend, a new Vec", &mut || {
            assert_eq!(cache.attend(0, &k, None, &defaults).unwrap().len(), D);
        }),
    ];
    let times = best(&mut calls);
    for ((name, _), ns) in calls.iter().zip(&times) {
        println!("{:<34} {:6.1} ns, {:+.1}", name, ns, ns - times[0]);
    }
    Ok(())
}

fn append_rate(context: &Context) -> Result<()> {
    let geometry = Geometry::new(1, 8, 8, 128);
    let options = CacheOptions { auto: false, ..CacheOptions::new(TOKENS as u32) };
    let mut cache = Cache::new(context, &geometry, &Recipe::parse("dense")?, &options)?;
    let ones = vec![F16(0x3C00); TOKENS * 8 * 128];
    let rows = Tensor::new(&ones, &[TOKENS, 8, 128])?;
    let mut best = f64::INFINITY;
    for _ in 0..20 {
        let start = Instant::now();
        cache.append(0, &rows, &rows, Append::Committed)?;
        best = best.min(start.elapsed().as_nanos() as f64);
        cache.reset()?;
    }
    println!("append of 64 MB                    {:6.3} GB/s", (ones.len() * 4) as f64 / best);
    Ok(())
}

fn main() -> Result<()> {
    let context = Context::with(&ContextOptions { threads: 1, ..ContextOptions::default() }, Hooks::new())?;
    attends(&context)?;
    append_rate(&context)
}
