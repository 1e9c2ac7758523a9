// SPDX-License-Identifier: Apache-2.0
// Written by regenerate.sh from capi/include/mustafar/mustafar.h. Do not edit.
pub const MUSTAFAR_MAX_DIMS: u32 = 4;
pub const MUSTAFAR_ALL: u32 = 4294967295;
pub const MUSTAFAR_VERSION_MAJOR: u32 = 0;
pub const MUSTAFAR_VERSION_MINOR: u32 = 1;
pub const MUSTAFAR_VERSION_PATCH: u32 = 0;
pub const MUSTAFAR_VERSION: &[u8; 6usize] = b"0.1.0\0";
pub const MUSTAFAR_CONTEXT_REFUSE_REF: u32 = 1;
pub const MUSTAFAR_CACHE_AUTO: u32 = 1;
pub const MUSTAFAR_APPEND_TENTATIVE: u32 = 1;
pub const MUSTAFAR_EVICT_KEEP: u32 = 1;
pub const MUSTAFAR_TRUNCATE_KEEP_PACKED: u32 = 1;
pub const MUSTAFAR_ATTEND_AT: u32 = 1;
pub const MUSTAFAR_MODEL_ID_MAX: u32 = 1024;
pub type __uint8_t = ::std::os::raw::c_uchar;
pub type __int32_t = ::std::os::raw::c_int;
pub type __uint32_t = ::std::os::raw::c_uint;
pub type __int64_t = ::std::os::raw::c_long;
pub type __uint64_t = ::std::os::raw::c_ulong;
pub type mustafar_status = i32;
pub const MUSTAFAR_OK: _bindgen_ty_1 = 0;
pub const MUSTAFAR_INVALID_ARGUMENT: _bindgen_ty_1 = 1;
pub const MUSTAFAR_UNSUPPORTED: _bindgen_ty_1 = 2;
pub const MUSTAFAR_OUT_OF_MEMORY: _bindgen_ty_1 = 3;
pub const MUSTAFAR_CAPACITY: _bindgen_ty_1 = 4;
pub const MUSTAFAR_BAD_STATE: _bindgen_ty_1 = 5;
pub const MUSTAFAR_NON_FINITE: _bindgen_ty_1 = 6;
pub const MUSTAFAR_NOT_EXACT: _bindgen_ty_1 = 7;
pub const MUSTAFAR_CORRUPT: _bindgen_ty_1 = 8;
pub const MUSTAFAR_MISMATCH: _bindgen_ty_1 = 9;
pub const MUSTAFAR_IO: _bindgen_ty_1 = 10;
pub const MUSTAFAR_DEVICE: _bindgen_ty_1 = 11;
pub const MUSTAFAR_INTERNAL: _bindgen_ty_1 = 12;
pub type _bindgen_ty_1 = ::std::os::raw::c_uint;
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct mustafar_error {
    pub struct_size: u32,
    pub code: mustafar_status,
    pub values: [i64; 4usize],
    pub message: [::std::os::raw::c_char; 512usize],
}
pub type mustafar_dtype = i32;
pub const MUSTAFAR_F32: _bindgen_ty_2 = 1;
pub const MUSTAFAR_F16: _bindgen_ty_2 = 2;
pub const MUSTAFAR_BF16: _bindgen_ty_2 = 3;
pub const MUSTAFAR_U8: _bindgen_ty_2 = 4;
pub const MUSTAFAR_I32: _bindgen_ty_2 = 5;
pub type _bindgen_ty_2 = ::std::os::raw::c_uint;
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct mustafar_tensor {
    pub data: *mut ::std::os::raw::c_void,
    pub dtype: mustafar_dtype,
    pub device: i32,
    pub ndim: u32,
    pub reserved: u32,
    pub shape: [i64; 4usize],
    pub strides: [i64; 4usize],
}
pub const MUSTAFAR_SIDE_K: _bindgen_ty_3 = 0;
pub const MUSTAFAR_SIDE_V: _bindgen_ty_3 = 1;
pub type _bindgen_ty_3 = ::std::os::raw::c_uint;
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct mustafar_geometry {
    pub struct_size: u32,
    pub layers: u32,
    pub q_heads: u32,
    pub kv_heads: u32,
    pub head_dim_k: u32,
    pub head_dim_v: u32,
    pub dtype: mustafar_dtype,
    pub reserved: u32,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct mustafar_bytes {
    pub struct_size: u32,
    pub exact: u32,
    pub total: u64,
    pub values: u64,
    pub bitmaps: u64,
    pub meta: u64,
    pub slack: u64,
    pub window: u64,
    pub positions: u64,
    pub tables: u64,
}
extern "C" {
    pub fn mustafar_version() -> *const ::std::os::raw::c_char;
}
extern "C" {
    pub fn mustafar_abi_version() -> u32;
}
extern "C" {
    pub fn mustafar_build_text() -> *const ::std::os::raw::c_char;
}
extern "C" {
    pub fn mustafar_status_name(status: mustafar_status) -> *const ::std::os::raw::c_char;
}
extern "C" {
    pub fn mustafar_dtype_name(dtype: mustafar_dtype) -> *const ::std::os::raw::c_char;
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct mustafar_kernel_info {
    pub struct_size: u32,
    pub available: u32,
    pub op: [::std::os::raw::c_char; 32usize],
    pub backend: [::std::os::raw::c_char; 32usize],
    pub name: [::std::os::raw::c_char; 64usize],
    pub reason: [::std::os::raw::c_char; 128usize],
}
extern "C" {
    pub fn mustafar_kernel_count() -> usize;
}
extern "C" {
    pub fn mustafar_kernel_at(
        index: usize,
        out: *mut mustafar_kernel_info,
        error: *mut mustafar_error,
    ) -> mustafar_status;
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct mustafar_context {
    _unused: [u8; 0],
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct mustafar_allocator {
    pub struct_size: u32,
    pub reserved: u32,
    pub user: *mut ::std::os::raw::c_void,
    pub allocate: ::std::option::Option<
        unsafe extern "C" fn(
            user: *mut ::std::os::raw::c_void,
            bytes: usize,
            alignment: usize,
        ) -> *mut ::std::os::raw::c_void,
    >,
    pub release: ::std::option::Option<
        unsafe extern "C" fn(
            user: *mut ::std::os::raw::c_void,
            data: *mut ::std::os::raw::c_void,
            bytes: usize,
            alignment: usize,
        ),
    >,
}
pub const MUSTAFAR_LOG_ERROR: _bindgen_ty_4 = 1;
pub const MUSTAFAR_LOG_WARNING: _bindgen_ty_4 = 2;
pub const MUSTAFAR_LOG_INFO: _bindgen_ty_4 = 3;
pub const MUSTAFAR_LOG_TRACE: _bindgen_ty_4 = 4;
pub type _bindgen_ty_4 = ::std::os::raw::c_uint;
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct mustafar_log_hook {
    pub struct_size: u32,
    pub level: i32,
    pub user: *mut ::std::os::raw::c_void,
    pub write: ::std::option::Option<
        unsafe extern "C" fn(
            user: *mut ::std::os::raw::c_void,
            level: i32,
            text: *const ::std::os::raw::c_char,
        ),
    >,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct mustafar_context_options {
    pub struct_size: u32,
    pub threads: u32,
    pub quota_bytes: u64,
    pub flags: u32,
    pub reserved: u32,
    pub backend: [::std::os::raw::c_char; 32usize],
}
extern "C" {
    pub fn mustafar_context_create(
        options: *const mustafar_context_options,
        allocator: *const mustafar_allocator,
        log: *const mustafar_log_hook,
        out: *mut *mut mustafar_context,
        error: *mut mustafar_error,
    ) -> mustafar_status;
}
extern "C" {
    pub fn mustafar_context_destroy(context: *mut mustafar_context);
}
extern "C" {
    pub fn mustafar_context_kernel(
        context: *const mustafar_context,
        op: *const ::std::os::raw::c_char,
        out: *mut mustafar_kernel_info,
        error: *mut mustafar_error,
    ) -> mustafar_status;
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct mustafar_context_stats {
    pub struct_size: u32,
    pub threads: u32,
    pub live_bytes: u64,
    pub peak_bytes: u64,
    pub quota_bytes: u64,
    pub allocations: u64,
    pub page_bytes: u64,
    pub cache_bytes: u64,
    pub work_bytes: u64,
    pub pages: u64,
    pub shared_pages: u64,
    pub caches: u64,
}
extern "C" {
    pub fn mustafar_context_get_stats(
        context: *const mustafar_context,
        out: *mut mustafar_context_stats,
        error: *mut mustafar_error,
    ) -> mustafar_status;
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct mustafar_recipe {
    _unused: [u8; 0],
}
extern "C" {
    pub fn mustafar_recipe_parse(
        text: *const ::std::os::raw::c_char,
        bytes: usize,
        out: *mut *mut mustafar_recipe,
        error: *mut mustafar_error,
    ) -> mustafar_status;
}
extern "C" {
    pub fn mustafar_recipe_destroy(recipe: *mut mustafar_recipe);
}
extern "C" {
    pub fn mustafar_recipe_json(recipe: *const mustafar_recipe) -> *const ::std::os::raw::c_char;
}
extern "C" {
    pub fn mustafar_recipe_digest(recipe: *const mustafar_recipe) -> *const ::std::os::raw::c_char;
}
extern "C" {
    pub fn mustafar_recipe_count() -> usize;
}
extern "C" {
    pub fn mustafar_recipe_name(index: usize) -> *const ::std::os::raw::c_char;
}
extern "C" {
    pub fn mustafar_recipe_sentence(index: usize) -> *const ::std::os::raw::c_char;
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct mustafar_side_info {
    pub struct_size: u32,
    pub head_dim: u32,
    pub keep: u32,
    pub bits: u32,
    pub encoding: u32,
    pub method: u32,
    pub group: u32,
    pub centred: u32,
    pub row_bytes: u64,
    pub page_bytes: u64,
}
pub const MUSTAFAR_ENCODING_EXACT: _bindgen_ty_5 = 1;
pub const MUSTAFAR_ENCODING_RAGGED: _bindgen_ty_5 = 2;
pub const MUSTAFAR_ENCODING_GROUPED: _bindgen_ty_5 = 3;
pub const MUSTAFAR_ENCODING_CHANNEL: _bindgen_ty_5 = 4;
pub type _bindgen_ty_5 = ::std::os::raw::c_uint;
pub const MUSTAFAR_PRUNE_RECIPE: _bindgen_ty_6 = 0;
pub const MUSTAFAR_PRUNE_NONE: _bindgen_ty_6 = 1;
pub const MUSTAFAR_PRUNE_TOKEN_TOPK: _bindgen_ty_6 = 2;
pub const MUSTAFAR_PRUNE_N_M: _bindgen_ty_6 = 3;
pub const MUSTAFAR_PRUNE_CHANNELS: _bindgen_ty_6 = 4;
pub const MUSTAFAR_PRUNE_CHANNEL_TOPK: _bindgen_ty_6 = 5;
pub const MUSTAFAR_PRUNE_THRESHOLD: _bindgen_ty_6 = 6;
pub const MUSTAFAR_PRUNE_MASK: _bindgen_ty_6 = 7;
pub type _bindgen_ty_6 = ::std::os::raw::c_uint;
extern "C" {
    pub fn mustafar_recipe_side(
        recipe: *const mustafar_recipe,
        geometry: *const mustafar_geometry,
        layer: u32,
        kv_head: u32,
        side: u32,
        out: *mut mustafar_side_info,
        error: *mut mustafar_error,
    ) -> mustafar_status;
}
extern "C" {
    pub fn mustafar_recipe_window(
        recipe: *const mustafar_recipe,
        geometry: *const mustafar_geometry,
        layer: u32,
        kv_head: u32,
        out_recent: *mut u32,
        out_sink: *mut u32,
        out_step: *mut u32,
        out_budget: *mut u32,
        error: *mut mustafar_error,
    ) -> mustafar_status;
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct mustafar_cache {
    _unused: [u8; 0],
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct mustafar_cache_options {
    pub struct_size: u32,
    pub max_tokens: u32,
    pub reserve_tokens: u32,
    pub flags: u32,
}
extern "C" {
    pub fn mustafar_cache_create(
        context: *mut mustafar_context,
        geometry: *const mustafar_geometry,
        recipe: *const mustafar_recipe,
        options: *const mustafar_cache_options,
        out: *mut *mut mustafar_cache,
        error: *mut mustafar_error,
    ) -> mustafar_status;
}
extern "C" {
    pub fn mustafar_cache_destroy(cache: *mut mustafar_cache);
}
extern "C" {
    pub fn mustafar_cache_fork(
        cache: *const mustafar_cache,
        out: *mut *mut mustafar_cache,
        error: *mut mustafar_error,
    ) -> mustafar_status;
}
extern "C" {
    pub fn mustafar_cache_append(
        cache: *mut mustafar_cache,
        layer: u32,
        k: *const mustafar_tensor,
        v: *const mustafar_tensor,
        flags: u32,
        error: *mut mustafar_error,
    ) -> mustafar_status;
}
extern "C" {
    pub fn mustafar_cache_commit(
        cache: *mut mustafar_cache,
        layer: u32,
        error: *mut mustafar_error,
    ) -> mustafar_status;
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct mustafar_prune_options {
    pub struct_size: u32,
    pub method: u32,
    pub keep: u32,
    pub of: u32,
    pub threshold: f32,
    pub reserved: u32,
}
extern "C" {
    pub fn mustafar_cache_prune(
        cache: *mut mustafar_cache,
        layer: u32,
        kv_head: u32,
        side: u32,
        begin: u32,
        end: u32,
        options: *const mustafar_prune_options,
        channel_weights: *const mustafar_tensor,
        token_weights: *const mustafar_tensor,
        mask: *const mustafar_tensor,
        error: *mut mustafar_error,
    ) -> mustafar_status;
}
extern "C" {
    pub fn mustafar_cache_compress(
        cache: *mut mustafar_cache,
        layer: u32,
        error: *mut mustafar_error,
    ) -> mustafar_status;
}
extern "C" {
    pub fn mustafar_cache_evict(
        cache: *mut mustafar_cache,
        layer: u32,
        kv_head: u32,
        positions: *const i32,
        count: usize,
        flags: u32,
        error: *mut mustafar_error,
    ) -> mustafar_status;
}
extern "C" {
    pub fn mustafar_cache_evict_scores(
        cache: *mut mustafar_cache,
        layer: u32,
        kv_head: u32,
        scores: *const f32,
        count: usize,
        budget: u32,
        error: *mut mustafar_error,
    ) -> mustafar_status;
}
extern "C" {
    pub fn mustafar_cache_truncate(
        cache: *mut mustafar_cache,
        length: u32,
        flags: u32,
        error: *mut mustafar_error,
    ) -> mustafar_status;
}
extern "C" {
    pub fn mustafar_cache_reset(cache: *mut mustafar_cache, error: *mut mustafar_error) -> mustafar_status;
}
extern "C" {
    pub fn mustafar_cache_length(
        cache: *const mustafar_cache,
        layer: u32,
        out_committed: *mut u32,
        out_tentative: *mut u32,
        error: *mut mustafar_error,
    ) -> mustafar_status;
}
extern "C" {
    pub fn mustafar_cache_rows(
        cache: *const mustafar_cache,
        layer: u32,
        kv_head: u32,
        out_rows: *mut u32,
        out_body: *mut u32,
        error: *mut mustafar_error,
    ) -> mustafar_status;
}
extern "C" {
    pub fn mustafar_cache_positions(
        cache: *const mustafar_cache,
        layer: u32,
        kv_head: u32,
        out_positions: *mut i32,
        count: usize,
        error: *mut mustafar_error,
    ) -> mustafar_status;
}
extern "C" {
    pub fn mustafar_cache_export(
        cache: *const mustafar_cache,
        layer: u32,
        kv_head: u32,
        side: u32,
        begin: u32,
        end: u32,
        out_values: *const mustafar_tensor,
        out_bitmaps: *mut u8,
        error: *mut mustafar_error,
    ) -> mustafar_status;
}
extern "C" {
    pub fn mustafar_cache_describe(
        cache: *const mustafar_cache,
        out_geometry: *mut mustafar_geometry,
        out_options: *mut mustafar_cache_options,
        out_recipe: *mut *const ::std::os::raw::c_char,
        error: *mut mustafar_error,
    ) -> mustafar_status;
}
extern "C" {
    pub fn mustafar_cache_bytes(
        cache: *const mustafar_cache,
        layer: u32,
        kv_head: u32,
        out: *mut mustafar_bytes,
        error: *mut mustafar_error,
    ) -> mustafar_status;
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct mustafar_cache_stats {
    pub struct_size: u32,
    pub longest: u32,
    pub rows: u64,
    pub body_rows: u64,
    pub evicted_rows: u64,
    pub pages: u64,
    pub shared_pages: u64,
    pub dense_bytes: u64,
    pub appended_tokens: u64,
    pub packed_rows: u64,
    pub attend_calls: u64,
    pub append_ns: u64,
    pub pack_ns: u64,
    pub attend_ns: u64,
    pub attend_kernel: [::std::os::raw::c_char; 64usize],
    pub pack_kernel: [::std::os::raw::c_char; 64usize],
}
extern "C" {
    pub fn mustafar_cache_get_stats(
        cache: *const mustafar_cache,
        out: *mut mustafar_cache_stats,
        error: *mut mustafar_error,
    ) -> mustafar_status;
}
extern "C" {
    pub fn mustafar_plan(
        recipe: *const mustafar_recipe,
        geometry: *const mustafar_geometry,
        options: *const mustafar_cache_options,
        tokens: u32,
        layer: u32,
        out: *mut mustafar_bytes,
        error: *mut mustafar_error,
    ) -> mustafar_status;
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct mustafar_attend_options {
    pub struct_size: u32,
    pub flags: u32,
    pub q_position: i64,
    pub scale: f32,
    pub softcap: f32,
    pub sliding_window: u32,
    pub drop_mass: f32,
    pub reserved: [u32; 2usize],
}
extern "C" {
    pub fn mustafar_attend(
        caches: *const *const mustafar_cache,
        count: usize,
        layer: u32,
        q: *const mustafar_tensor,
        sinks: *const mustafar_tensor,
        options: *const mustafar_attend_options,
        out: *const mustafar_tensor,
        lse: *const mustafar_tensor,
        weights: *const mustafar_tensor,
        dropped: *const mustafar_tensor,
        error: *mut mustafar_error,
    ) -> mustafar_status;
}
extern "C" {
    pub fn mustafar_merge(
        context: *mut mustafar_context,
        out_a: *const mustafar_tensor,
        lse_a: *const mustafar_tensor,
        out_b: *const mustafar_tensor,
        lse_b: *const mustafar_tensor,
        out: *const mustafar_tensor,
        lse: *const mustafar_tensor,
        error: *mut mustafar_error,
    ) -> mustafar_status;
}
pub type mustafar_write_fn = ::std::option::Option<
    unsafe extern "C" fn(
        user: *mut ::std::os::raw::c_void,
        data: *const ::std::os::raw::c_void,
        bytes: usize,
    ) -> i32,
>;
pub type mustafar_read_fn = ::std::option::Option<
    unsafe extern "C" fn(
        user: *mut ::std::os::raw::c_void,
        data: *mut ::std::os::raw::c_void,
        bytes: usize,
        got: *mut usize,
    ) -> i32,
>;
extern "C" {
    pub fn mustafar_cache_save(
        cache: *const mustafar_cache,
        model_id: *const ::std::os::raw::c_char,
        write: mustafar_write_fn,
        user: *mut ::std::os::raw::c_void,
        error: *mut mustafar_error,
    ) -> mustafar_status;
}
extern "C" {
    pub fn mustafar_cache_save_file(
        cache: *const mustafar_cache,
        model_id: *const ::std::os::raw::c_char,
        path: *const ::std::os::raw::c_char,
        error: *mut mustafar_error,
    ) -> mustafar_status;
}
extern "C" {
    pub fn mustafar_cache_load(
        context: *mut mustafar_context,
        geometry: *const mustafar_geometry,
        recipe: *const mustafar_recipe,
        model_id: *const ::std::os::raw::c_char,
        options: *const mustafar_cache_options,
        read: mustafar_read_fn,
        user: *mut ::std::os::raw::c_void,
        out: *mut *mut mustafar_cache,
        error: *mut mustafar_error,
    ) -> mustafar_status;
}
extern "C" {
    pub fn mustafar_cache_load_file(
        context: *mut mustafar_context,
        geometry: *const mustafar_geometry,
        recipe: *const mustafar_recipe,
        model_id: *const ::std::os::raw::c_char,
        options: *const mustafar_cache_options,
        path: *const ::std::os::raw::c_char,
        out: *mut *mut mustafar_cache,
        error: *mut mustafar_error,
    ) -> mustafar_status;
}
