// SPDX-License-Identifier: Apache-2.0
//! Memory: everything comes back, quotas hold, and running out at any point changes nothing.

mod common;

use std::sync::{Arc, Mutex};

use common::*;
use mustafar::*;

fn counted() -> (Arc<CountingAllocator>, Context) {
    let counting = Arc::new(CountingAllocator::new());
    let context =
        Context::with(&ContextOptions::default(), Hooks::new().allocator(counting.clone())).unwrap();
    (counting, context)
}

/// Something of everything that takes memory.
fn life(context: &Context) -> Result<()> {
    let recipe = Recipe::parse("k16i4/v32i2")?;
    let mut first = Cache::new(context, &small(), &recipe, &CacheOptions::new(512))?;
    append(&mut first, 200, 1)?;
    let mut second = first.fork()?;
    append(&mut second, 50, 2)?;
    second.evict(0, 0, &[1, 2, 70], Evict::Remove)?;
    let q = numbers(2 * D, 3);
    second.attend(0, &Tensor::new(&q, &[1, 2, D])?, None, &AttendOptions::default())?;
    let mut bytes = Vec::new();
    second.save("", &mut bytes)?;
    drop(first);
    let third = Cache::load(context, &Expected::default(), bytes.as_slice())?;
    let stats = context.stats()?;
    assert_eq!(stats.live_bytes, stats.page_bytes + stats.cache_bytes + stats.work_bytes);
    drop((second, third));
    Ok(())
}

#[test]
fn what_the_stats_say_is_what_the_allocator_handed_out() -> Result<()> {
    let (counting, context) = counted();
    let mut cache = cache(&context, "lean", 256);
    for tokens in [1, 40, 100] {
        append(&mut cache, tokens, 1)?;
        assert_eq!(context.stats()?.live_bytes as i64, counting.live_bytes());
        assert_eq!(context.stats()?.allocations as i64, counting.allocations());
    }
    assert!(cache.bytes(ALL, ALL)?.total as i64 <= counting.live_bytes());
    Ok(())
}

#[test]
fn everything_comes_back() {
    let (counting, context) = counted();
    life(&context).unwrap();
    assert_eq!(context.stats().unwrap().caches, 0);
    let _error = Recipe::parse("no such recipe").unwrap_err();
    drop(context);
    assert_eq!((counting.live_bytes(), counting.live_blocks()), (0, 0));
}

#[test]
fn running_out_at_any_point_leaks_nothing() {
    let (counting, context) = counted();
    life(&context).unwrap();
    let resting = counting.live_bytes(); // workspaces stay with the context
    let mut succeeded = false;
    for allocations in 0..200 {
        counting.fail_after(Some(allocations));
        let result = life(&context);
        counting.fail_after(None);
        match result {
            Ok(()) => succeeded = true,
            Err(error) => assert!(matches!(error.kind(), ErrorKind::OutOfMemory { .. }), "{:?}", error),
        }
        assert_eq!(context.stats().unwrap().caches, 0);
        assert!(counting.live_bytes() <= resting, "after {} allocations", allocations);
    }
    assert!(succeeded, "200 allocations are enough");
    drop(context);
    assert_eq!((counting.live_bytes(), counting.live_blocks()), (0, 0));
}

#[test]
fn a_quota_holds() -> Result<()> {
    let options = ContextOptions { quota_bytes: 200_000, ..ContextOptions::default() };
    let context = Context::with(&options, Hooks::new())?;
    let mut cache = cache(&context, "dense", 1 << 20);
    let error = (0..10_000).find_map(|seed| append(&mut cache, 32, seed).err()).unwrap();
    match error.kind() {
        ErrorKind::OutOfMemory { asked, used, limit } => {
            assert_eq!(limit, 200_000);
            assert!(asked > 0 && used <= limit && asked + used > limit, "{}", error);
        }
        kind => panic!("{:?}", kind),
    }
    assert!(context.stats()?.live_bytes <= 200_000);
    cache.reset()?;
    append(&mut cache, 32, 1)
}

#[test]
fn a_log_hears_of_calls_and_may_not_call() -> Result<()> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let copy = lines.clone();
    let hooks = Hooks::new().log(LogLevel::Trace, move |level, text| {
        assert_eq!(kernels().unwrap_err().kind(), ErrorKind::BadState);
        copy.lock().unwrap().push((level, text.to_owned()));
        panic!("nobody hears this");
    });
    let context = Context::with(&ContextOptions::default(), hooks)?;
    append(&mut cache(&context, "lean", 64), 3, 1)?;
    let lines = lines.lock().unwrap();
    assert!(
        lines.iter().any(|(level, text)| *level == LogLevel::Trace && text.contains("append")),
        "{:?}",
        lines
    );
    Ok(())
}
