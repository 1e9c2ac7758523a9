// SPDX-License-Identifier: Apache-2.0
//! The crates against capi/abi/api.json: nothing is missing, renamed or laid out otherwise.

#[path = "common/json.rs"]
mod json;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use json::Json;
use mustafar::*;
use mustafar_sys as sys;

/// The root of the source tree.
fn source() -> PathBuf {
    match std::env::var_os("MUSTAFAR_SOURCE_DIR") {
        Some(folder) => folder.into(),
        None => concat!(env!("CARGO_MANIFEST_DIR"), "/../../..").into(),
    }
}

fn api() -> Json {
    Json::read(&std::fs::read_to_string(source().join("capi/abi/api.json")).unwrap())
}

/// Name of a C function, where it is in this crate; both must exist.
macro_rules! wrapped {
    ($($c:ident => $rust:expr),* $(,)?) => {{
        $(let _ = (sys::$c as *const (), $rust);)*
        [$(stringify!($c)),*]
    }};
}

const NOT_WRAPPED: [(&str, &str); 2] = [
    ("mustafar_tensor_from_dlpack", "inline; no Rust library hands out DLPack tensors, slices do"),
    ("mustafar_dl_refuse", "inline, a part of mustafar_tensor_from_dlpack"),
];

#[test]
fn every_function_is_wrapped_or_listed() {
    let wrapped = wrapped! {
        mustafar_version => version,
        mustafar_abi_version => abi_version,
        mustafar_build_text => build_text,
        mustafar_status_name => status_name,
        mustafar_dtype_name => dtype_name,
        mustafar_kernel_count => kernels,
        mustafar_kernel_at => kernels,
        mustafar_context_create => Context::with,
        mustafar_context_destroy => drop::<Context>,
        mustafar_context_kernel => Context::kernel,
        mustafar_context_get_stats => Context::stats,
        mustafar_recipe_parse => Recipe::parse,
        mustafar_recipe_destroy => drop::<Recipe>,
        mustafar_recipe_json => Recipe::json,
        mustafar_recipe_digest => Recipe::digest,
        mustafar_recipe_count => named_recipes,
        mustafar_recipe_name => named_recipes,
        mustafar_recipe_sentence => named_recipes,
        mustafar_recipe_side => Recipe::side,
        mustafar_recipe_window => Recipe::window,
        mustafar_cache_create => Cache::new,
        mustafar_cache_destroy => drop::<Cache>,
        mustafar_cache_fork => Cache::fork,
        mustafar_cache_append => Cache::append,
        mustafar_cache_commit => Cache::commit,
        mustafar_cache_prune => Cache::prune,
        mustafar_cache_compress => Cache::compress,
        mustafar_cache_evict => Cache::evict,
        mustafar_cache_evict_scores => Cache::evict_scores,
        mustafar_cache_truncate => Cache::truncate,
        mustafar_cache_reset => Cache::reset,
        mustafar_cache_length => Cache::length,
        mustafar_cache_rows => Cache::rows,
        mustafar_cache_positions => Cache::positions,
        mustafar_cache_export => Cache::export,
        mustafar_cache_describe => Cache::geometry,
        mustafar_cache_bytes => Cache::bytes,
        mustafar_cache_get_stats => Cache::stats,
        mustafar_plan => plan,
        mustafar_attend => attend::<TensorMut>,
        mustafar_merge => merge,
        mustafar_cache_save => Cache::save::<Vec<u8>>,
        mustafar_cache_save_file => Cache::save_file::<&str>,
        mustafar_cache_load => Cache::load::<&[u8]>,
        mustafar_cache_load_file => Cache::load_file::<&str>,
    };
    let listed: Vec<&str> = NOT_WRAPPED.iter().map(|(name, _)| *name).collect();
    let ours: BTreeSet<&str> = wrapped.iter().chain(&listed).copied().collect();
    let api = api();
    let kinds = [&api.map()["functions"], &api.map()["inline"]];
    let told = kinds.iter().flat_map(|kind| kind.list()).map(|f| f.map()["name"].text()).collect();
    assert_eq!(ours, told);
    assert_eq!(ours.len(), wrapped.len() + listed.len(), "each once");
    assert!(NOT_WRAPPED.iter().all(|(_, reason)| !reason.is_empty()));
}

#[test]
fn every_function_is_called() {
    let mut text = String::new();
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src")).unwrap() {
        text += &std::fs::read_to_string(entry.unwrap().path()).unwrap();
    }
    for function in api().map()["functions"].list() {
        let name = function.map()["name"].text();
        assert!(text.contains(&format!("sys::{}(", name)), "{} is called nowhere", name);
    }
}

macro_rules! constants {
    ($($name:ident),* $(,)?) => {
        [$((stringify!($name), sys::$name as i64)),*]
    };
}

#[test]
fn constants() {
    let ours = constants![
        MUSTAFAR_OK,
        MUSTAFAR_INVALID_ARGUMENT,
        MUSTAFAR_UNSUPPORTED,
        MUSTAFAR_OUT_OF_MEMORY,
        MUSTAFAR_CAPACITY,
        MUSTAFAR_BAD_STATE,
        MUSTAFAR_NON_FINITE,
        MUSTAFAR_NOT_EXACT,
        MUSTAFAR_CORRUPT,
        MUSTAFAR_MISMATCH,
        MUSTAFAR_IO,
        MUSTAFAR_DEVICE,
        MUSTAFAR_INTERNAL,
        MUSTAFAR_F32,
        MUSTAFAR_F16,
        MUSTAFAR_BF16,
        MUSTAFAR_U8,
        MUSTAFAR_I32,
        MUSTAFAR_MAX_DIMS,
        MUSTAFAR_SIDE_K,
        MUSTAFAR_SIDE_V,
        MUSTAFAR_ALL,
        MUSTAFAR_VERSION_MAJOR,
        MUSTAFAR_VERSION_MINOR,
        MUSTAFAR_VERSION_PATCH,
        MUSTAFAR_LOG_ERROR,
        MUSTAFAR_LOG_WARNING,
        MUSTAFAR_LOG_INFO,
        MUSTAFAR_LOG_TRACE,
        MUSTAFAR_CONTEXT_REFUSE_REF,
        MUSTAFAR_ENCODING_EXACT,
        MUSTAFAR_ENCODING_RAGGED,
        MUSTAFAR_ENCODING_GROUPED,
        MUSTAFAR_ENCODING_CHANNEL,
        MUSTAFAR_PRUNE_RECIPE,
        MUSTAFAR_PRUNE_NONE,
        MUSTAFAR_PRUNE_TOKEN_TOPK,
        MUSTAFAR_PRUNE_N_M,
        MUSTAFAR_PRUNE_CHANNELS,
        MUSTAFAR_PRUNE_CHANNEL_TOPK,
        MUSTAFAR_PRUNE_THRESHOLD,
        MUSTAFAR_PRUNE_MASK,
        MUSTAFAR_CACHE_AUTO,
        MUSTAFAR_APPEND_TENTATIVE,
        MUSTAFAR_EVICT_KEEP,
        MUSTAFAR_TRUNCATE_KEEP_PACKED,
        MUSTAFAR_ATTEND_AT,
        MUSTAFAR_MODEL_ID_MAX,
    ];
    let api = api();
    let told = api.map()["constants"].map();
    assert_eq!(ours.len() + 1, told.len(), "MUSTAFAR_VERSION is the text among them");
    for (name, value) in ours {
        assert_eq!(told[name].number(), value, "{}", name);
    }
    let version = std::str::from_utf8(sys::MUSTAFAR_VERSION).unwrap();
    assert_eq!(told["MUSTAFAR_VERSION"].text(), version.trim_end_matches('\0'));
    assert_eq!(env!("CARGO_PKG_VERSION"), version.trim_end_matches('\0'));
}

type Layout = (i64, BTreeMap<String, (i64, i64)>);

fn bytes_behind<T>(_: *const T) -> i64 {
    std::mem::size_of::<T>() as i64
}

macro_rules! layouts {
    ($($name:ident { $($field:ident),* $(,)? })*) => {{
        let mut found: BTreeMap<String, Layout> = BTreeMap::new();
        $({
            let place = std::mem::MaybeUninit::<sys::$name>::uninit();
            let start = place.as_ptr();
            let mut fields = BTreeMap::new();
            $({
                // SAFETY: an address, nothing is read.
                let field = unsafe { std::ptr::addr_of!((*start).$field) };
                let offset = field as usize - start as usize;
                fields.insert(stringify!($field).to_owned(), (offset as i64, bytes_behind(field)));
            })*
            found.insert(stringify!($name).to_owned(), (bytes_behind(start), fields));
        })*
        found
    }};
}

#[test]
fn struct_layouts() {
    let ours = layouts! {
        mustafar_error { struct_size, code, values, message }
        mustafar_tensor { data, dtype, device, ndim, reserved, shape, strides }
        mustafar_geometry { struct_size, layers, q_heads, kv_heads, head_dim_k, head_dim_v, dtype, reserved }
        mustafar_bytes { struct_size, exact, total, values, bitmaps, meta, slack, window, positions, tables }
        mustafar_kernel_info { struct_size, available, op, backend, name, reason }
        mustafar_allocator { struct_size, reserved, user, allocate, release }
        mustafar_log_hook { struct_size, level, user, write }
        mustafar_context_options { struct_size, threads, quota_bytes, flags, reserved, backend }
        mustafar_context_stats { struct_size, threads, live_bytes, peak_bytes, quota_bytes, allocations, page_bytes, cache_bytes, work_bytes, pages, shared_pages, caches }
        mustafar_side_info { struct_size, head_dim, keep, bits, encoding, method, group, centred, row_bytes, page_bytes }
        mustafar_cache_options { struct_size, max_tokens, reserve_tokens, flags }
        mustafar_prune_options { struct_size, method, keep, of, threshold, reserved }
        mustafar_cache_stats { struct_size, longest, rows, body_rows, evicted_rows, pages, shared_pages, dense_bytes, appended_tokens, packed_rows, attend_calls, append_ns, pack_ns, attend_ns, attend_kernel, pack_kernel }
        mustafar_attend_options { struct_size, flags, q_position, scale, softcap, sliding_window, drop_mass, reserved }
    };
    let api = api();
    let mut told: BTreeMap<String, Layout> = BTreeMap::new();
    for (name, layout) in api.map()["structs"].map() {
        if name.starts_with("mustafar_dl_") {
            continue; // dlpack.h is not wrapped
        }
        let fields = layout.map()["fields"].list().iter().map(|field| {
            let number = |key| field.map()[key].number();
            (field.map()["name"].text().to_owned(), (number("offset"), number("bytes")))
        });
        told.insert(name.clone(), (layout.map()["size"].number(), fields.collect()));
    }
    assert_eq!(ours, told);
}

/// Every constant of a kind has an item, and the other way round.
macro_rules! items {
    ($kind:ident, $all:expr) => {
        let told: Vec<i64> = $all;
        let known: Vec<i64> = (-2i64..100).filter(|&code| $kind::from_code(code as _).is_some()).collect();
        assert_eq!(known, told, stringify!($kind));
        for code in known {
            assert_eq!($kind::from_code(code as _).unwrap().code() as i64, code);
        }
    };
}

#[test]
fn enums_are_whole() {
    let api = api();
    let values = |wanted: &dyn Fn(&str) -> bool| {
        let constants = api.map()["constants"].map().iter();
        let mut found: Vec<i64> =
            constants.filter(|(name, _)| wanted(name)).map(|(_, value)| value.number()).collect();
        found.sort_unstable();
        found
    };
    let starts = |prefix: &'static str| move |name: &str| name.starts_with(prefix);
    let dtypes = ["F32", "F16", "BF16", "U8", "I32"].map(|name| format!("MUSTAFAR_{}", name));
    items!(DType, values(&|name| dtypes.iter().any(|dtype| dtype == name)));
    items!(Side, values(&starts("MUSTAFAR_SIDE_")));
    items!(Encoding, values(&starts("MUSTAFAR_ENCODING_")));
    items!(PruneMethod, values(&starts("MUSTAFAR_PRUNE_")));
    items!(LogLevel, values(&starts("MUSTAFAR_LOG_")));
}

#[test]
fn defaults() {
    let api = api();
    let told = |name: &str, field: &str| api.map()["defaults"].map()[name].map()[field].number();

    let context = ContextOptions::default();
    let name = "mustafar_context_options";
    assert_eq!(told(name, "threads"), i64::from(context.threads));
    assert_eq!(told(name, "quota_bytes"), context.quota_bytes as i64);
    assert_eq!(told(name, "flags"), i64::from(context.refuse_ref));
    assert_eq!(context.backend, "");

    let cache = CacheOptions::default();
    let name = "mustafar_cache_options";
    assert_eq!(told(name, "max_tokens"), i64::from(cache.max_tokens));
    assert_eq!(told(name, "reserve_tokens"), i64::from(cache.reserve_tokens));
    assert_eq!(told(name, "flags") & i64::from(sys::MUSTAFAR_CACHE_AUTO) != 0, cache.auto);

    let prune = PruneOptions::default();
    let name = "mustafar_prune_options";
    assert_eq!(told(name, "method"), i64::from(prune.method.code()));
    assert_eq!(told(name, "keep"), i64::from(prune.keep));
    assert_eq!(told(name, "of"), i64::from(prune.of));
    assert_eq!(told(name, "threshold"), prune.threshold as i64);

    let attend = AttendOptions::default();
    let name = "mustafar_attend_options";
    assert_eq!(told(name, "flags"), i64::from(attend.q_position.is_some()));
    assert_eq!(told(name, "scale"), attend.scale as i64);
    assert_eq!(told(name, "softcap"), attend.softcap as i64);
    assert_eq!(told(name, "sliding_window"), i64::from(attend.sliding_window));
    assert_eq!(told(name, "drop_mass"), attend.drop_mass as i64);
}
