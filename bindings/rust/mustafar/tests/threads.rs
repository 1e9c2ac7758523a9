// SPDX-License-Identifier: Apache-2.0
//! Contexts and caches between threads.

mod common;

use std::sync::Mutex;
use std::thread;

use common::*;
use mustafar::*;

fn is_send_and_sync<T: Send + Sync>() {}

#[test]
fn everything_may_move_and_be_shared() {
    is_send_and_sync::<Context>();
    is_send_and_sync::<Recipe>();
    is_send_and_sync::<Cache<'static>>();
    is_send_and_sync::<Tensor<'static>>();
    is_send_and_sync::<TensorMut<'static>>();
    is_send_and_sync::<Error>();
}

#[test]
fn questions_overlap_on_one_cache() -> Result<()> {
    let context = Context::new()?;
    let mut cache = cache(&context, "k16i4/v32i2", 256);
    append(&mut cache, 200, 1)?;
    let (before, q) = (snapshot(&cache), numbers(2 * D, 2));
    let attended = || -> Result<Vec<f32>> {
        cache.attend(0, &Tensor::new(&q, &[1, 2, D])?, None, &AttendOptions::default())
    };
    let first = attended()?;
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    assert_eq!(attended().unwrap(), first);
                    assert_eq!(snapshot(&cache.fork().unwrap()), before);
                    assert_eq!(cache.stats().unwrap().rows, 200);
                }
            });
        }
    });
    assert_eq!(context.stats()?.caches, 1);
    Ok(())
}

#[test]
fn caches_of_one_context_grow_side_by_side() -> Result<()> {
    let context = Context::new()?;
    let saved = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut cache = cache(&context, "lean", 1024);
                (0..20).for_each(|seed| append(&mut cache, 37, seed).unwrap());
                saved.lock().unwrap().push(snapshot(&cache));
            });
        }
    });
    let saved = saved.into_inner().unwrap();
    assert_eq!(saved.len(), 4);
    assert!(saved.iter().all(|bytes| *bytes == saved[0]));
    assert_eq!(context.stats()?.caches, 0);
    Ok(())
}

#[test]
fn a_cache_may_be_dropped_elsewhere() -> Result<()> {
    let context = Context::new()?;
    let mut cache = cache(&context, "lean", 64);
    append(&mut cache, 40, 1)?;
    thread::scope(|scope| {
        scope.spawn(move || drop(cache));
    });
    assert_eq!(context.stats()?.caches, 0);
    Ok(())
}

#[test]
fn errors_belong_to_their_call() {
    let context = Context::new().unwrap();
    thread::scope(|scope| {
        for thread in 0..8u32 {
            let context = &context;
            scope.spawn(move || {
                let cache = cache(context, "lean", 64);
                for i in 0..2000 {
                    let layer = 1 + thread * 10_000 + i;
                    let error = cache.length(layer).unwrap_err();
                    assert!(error.message().contains(&format!("layer = {}", layer)), "{}", error);
                }
            });
        }
    });
}
