// SPDX-License-Identifier: Apache-2.0
// The raw extension `mustafar._mustafar`: each function of the public headers under its own name, with
// its arguments in their order. What differs from C, once and for all functions:
//   mustafar_error *error, outputs by pointer   are no arguments; a failure raises, outputs are returned
//   handles                                     are Handle objects; const in C = may overlap here
//   structs                                     are dicts
//   tensors                                     are anything with a buffer or __dlpack__; None = NULL
//   a pointer and a count                       are one argument
// The package on top is what people use. SWIG sees the public headers and nothing else.
%module(threads="1") mustafar

%{
#include "support.h"
%}

// ---- results ---------------------------------------------------------------------------------------

%typemap(out) mustafar_status {
    if (py_check($1) != 0) SWIG_fail;
    $result = SWIG_Py_Void();
}
%typemap(out) uint32_t { $result = PyLong_FromUnsignedLong($1); }
%typemap(in, numinputs=0) mustafar_error *error { $1 = py_error(); }

%typemap(in, numinputs=0) uint32_t *OUTPUT (uint32_t value = 0) { $1 = &value; }
%typemap(argout) uint32_t *OUTPUT {
    $result = SWIG_Python_AppendOutput($result, PyLong_FromUnsignedLong(*$1));
}
%apply uint32_t *OUTPUT {
    uint32_t *out_recent, uint32_t *out_sink, uint32_t *out_step, uint32_t *out_budget,
    uint32_t *out_committed, uint32_t *out_tentative, uint32_t *out_rows, uint32_t *out_body
}
%typemap(in, numinputs=0) const char **out_recipe (char *text = NULL) { $1 = &text; }
%typemap(argout) const char **out_recipe {
    $result = SWIG_Python_AppendOutput($result, PyUnicode_FromString(*$1));
}

// ---- handles ---------------------------------------------------------------------------------------

%define MUSTAFAR_HANDLE(TYPE, KIND, EXCLUSIVE, OWNER)
%typemap(arginit) TYPE *, const TYPE * { lease$argnum.handle = NULL; }
%typemap(in) TYPE * (py_lease lease) {
    $1 = py_lease_take($input, KIND, EXCLUSIVE, &lease, (py_place){"$symname", "$1_name"});
    if ($1 == NULL) SWIG_fail;
}
%typemap(in) const TYPE * (py_lease lease) {
    $1 = py_lease_take($input, KIND, 0, &lease, (py_place){"$symname", "$1_name"});
    if ($1 == NULL) SWIG_fail;
}
%typemap(freearg) TYPE *, const TYPE * { py_lease_return(&lease$argnum); }
%typemap(in, numinputs=0) TYPE **out (TYPE *made = NULL) { $1 = &made; }
%typemap(argout) TYPE **out {
    $result = SWIG_Python_AppendOutput($result, py_handle_new(KIND, *$1, OWNER));
}
%enddef
// Every call on a context or a recipe may overlap any other. What a context is made of (allocator and
// log hook), a recipe needs nothing, a cache its context.
MUSTAFAR_HANDLE(mustafar_context, PY_CONTEXT, 0, resources)
MUSTAFAR_HANDLE(mustafar_recipe, PY_RECIPE, 0, NULL)
MUSTAFAR_HANDLE(mustafar_cache, PY_CACHE, 1, py_handle_context(swig_obj[0]))
%typemap(argout) mustafar_context **out {
    PyObject *resources = PyTuple_Pack(2, swig_obj[1], swig_obj[2]);
    PyObject *context = NULL;
    if (resources != NULL) {
        context = py_handle_new(PY_CONTEXT, *$1, resources);
        Py_DECREF(resources);
    } else {
        mustafar_context_destroy(*$1);
    }
    if (context == NULL) SWIG_fail;
    $result = SWIG_Python_AppendOutput($result, context);
}
// A recipe may be left out where a snapshot says it.
%typemap(in) const mustafar_recipe *OPTIONAL (py_lease lease) {
    if ($input != Py_None) {
        $1 = py_lease_take($input, PY_RECIPE, 0, &lease, (py_place){"$symname", "recipe"});
        if ($1 == NULL) SWIG_fail;
    }
}

%typemap(arginit) (const mustafar_cache *const *caches, size_t count) {
    memset(&held$argnum, 0, sizeof(held$argnum));
}
%typemap(in) (const mustafar_cache *const *caches, size_t count) (py_caches held) {
    if (py_caches_take($input, &held, (py_place){"$symname", "caches"}) != 0) SWIG_fail;
    $1 = (mustafar_cache **)held.pointers;
    $2 = held.count;
}
%typemap(freearg) (const mustafar_cache *const *caches, size_t count) {
    py_caches_return(&held$argnum);
}

// ---- tensors and arrays ----------------------------------------------------------------------------

%typemap(arginit) const mustafar_tensor * { py_tensor_start(&held$argnum); }
%typemap(freearg) const mustafar_tensor * { py_tensor_return(&held$argnum); }
%typemap(in) const mustafar_tensor * (py_tensor held) {
    if (py_tensor_take($input, 0, &held, (py_place){"$symname", "$1_name"}) != 0) SWIG_fail;
    $1 = &held.view;
}
%typemap(in) const mustafar_tensor *sinks (py_tensor held) {
    if ($input != Py_None) {
        if (py_tensor_take($input, 0, &held, (py_place){"$symname", "$1_name"}) != 0) SWIG_fail;
        $1 = &held.view;
    }
}
%typemap(in) const mustafar_tensor *out (py_tensor held) {
    if (py_tensor_take($input, 1, &held, (py_place){"$symname", "$1_name"}) != 0) SWIG_fail;
    $1 = &held.view;
}
%typemap(in) const mustafar_tensor *weights (py_tensor held) {
    if ($input != Py_None) {
        if (py_tensor_take($input, 1, &held, (py_place){"$symname", "$1_name"}) != 0) SWIG_fail;
        $1 = &held.view;
    }
}
%apply const mustafar_tensor *sinks {
    const mustafar_tensor *channel_weights, const mustafar_tensor *token_weights,
    const mustafar_tensor *mask
}
%apply const mustafar_tensor *weights { const mustafar_tensor *lse, const mustafar_tensor *dropped }

%define MUSTAFAR_ARRAY(POINTER, COUNT, DTYPE, OUTPUT, NAME)
%typemap(arginit) (POINTER, COUNT) { py_tensor_start(&held$argnum); }
%typemap(freearg) (POINTER, COUNT) { py_tensor_return(&held$argnum); }
%typemap(in) (POINTER, COUNT) (py_tensor held) {
    if (py_array_take($input, DTYPE, OUTPUT, &held, (py_place){"$symname", NAME}) != 0) SWIG_fail;
    $1 = held.view.data;
    $2 = (size_t)held.view.shape[0];
}
%enddef
MUSTAFAR_ARRAY(const int32_t *positions, size_t count, MUSTAFAR_I32, 0, "positions")
MUSTAFAR_ARRAY(const float *scores, size_t count, MUSTAFAR_F32, 0, "scores")
MUSTAFAR_ARRAY(int32_t *out_positions, size_t count, MUSTAFAR_I32, 1, "out_positions")

%typemap(arginit) (const mustafar_tensor *out_values, uint8_t *out_bitmaps) {
    py_tensor_start(&values$argnum);
    py_tensor_start(&bitmaps$argnum);
}
%typemap(in) (const mustafar_tensor *out_values, uint8_t *out_bitmaps) (py_tensor values, py_tensor bitmaps) {
    if (py_export_take($input, &values, &bitmaps, (py_place){"$symname", "out_values"}) != 0) SWIG_fail;
    $1 = &values.view;
    $2 = bitmaps.view.data;
}
%typemap(freearg) (const mustafar_tensor *out_values, uint8_t *out_bitmaps) {
    py_tensor_return(&values$argnum);
    py_tensor_return(&bitmaps$argnum);
}

// ---- structs ---------------------------------------------------------------------------------------

%define MUSTAFAR_STRUCT_IN(TYPE, WHICH)
%typemap(in) const TYPE * (TYPE given) {
    if ($input != Py_None) {
        if (py_struct_take(WHICH, $input, &given, (py_place){"$symname", "$1_name"}) != 0) SWIG_fail;
        $1 = &given;
    }
}
%enddef
%define MUSTAFAR_STRUCT_OUT(TYPE, NAME, WHICH)
%typemap(in, numinputs=0) TYPE *NAME (TYPE filled) {
    py_struct_start(WHICH, &filled);
    $1 = &filled;
}
%typemap(argout) TYPE *NAME {
    $result = SWIG_Python_AppendOutput($result, py_struct_give(WHICH, $1));
}
%enddef
MUSTAFAR_STRUCT_IN(mustafar_geometry, PY_GEOMETRY)
MUSTAFAR_STRUCT_IN(mustafar_context_options, PY_CONTEXT_OPTIONS)
MUSTAFAR_STRUCT_IN(mustafar_cache_options, PY_CACHE_OPTIONS)
MUSTAFAR_STRUCT_IN(mustafar_prune_options, PY_PRUNE_OPTIONS)
MUSTAFAR_STRUCT_IN(mustafar_attend_options, PY_ATTEND_OPTIONS)
MUSTAFAR_STRUCT_OUT(mustafar_geometry, out_geometry, PY_GEOMETRY)
MUSTAFAR_STRUCT_OUT(mustafar_cache_options, out_options, PY_CACHE_OPTIONS)
MUSTAFAR_STRUCT_OUT(mustafar_bytes, out, PY_BYTES)
MUSTAFAR_STRUCT_OUT(mustafar_context_stats, out, PY_CONTEXT_STATS)
MUSTAFAR_STRUCT_OUT(mustafar_kernel_info, out, PY_KERNEL_INFO)
MUSTAFAR_STRUCT_OUT(mustafar_side_info, out, PY_SIDE_INFO)
MUSTAFAR_STRUCT_OUT(mustafar_cache_stats, out, PY_CACHE_STATS)

// ---- numbers and text ------------------------------------------------------------------------------

%typemap(in) uint32_t {
    if (py_take_u32($input, &$1, (py_place){"$symname", "$1_name"}) != 0) SWIG_fail;
}
%typemap(in) size_t (uint64_t wide) {
    if (py_take_u64($input, &wide, (py_place){"$symname", "$1_name"}) != 0) SWIG_fail;
    $1 = wide;
}
%typemap(in) mustafar_status, mustafar_dtype {
    if (py_take_i32($input, &$1, (py_place){"$symname", "$1_name"}) != 0) SWIG_fail;
}
%typemap(in) const char *op {
    $1 = (char *)py_take_text($input, (py_place){"$symname", "$1_name"});
    if ($1 == NULL) SWIG_fail;
}
%typemap(in) const char *model_id {
    if ($input != Py_None) {
        $1 = (char *)py_take_text($input, (py_place){"$symname", "$1_name"});
        if ($1 == NULL) SWIG_fail;
    }
}
%apply const char *op { const char *path }
%typemap(freearg) const char *op, const char *model_id, const char *path ""
%typemap(in) (const char *text, size_t bytes) {
    if (py_take_bytes($input, (const char **)&$1, &$2, (py_place){"$symname", "text"}) != 0) SWIG_fail;
}
%typemap(freearg) (const char *text, size_t bytes) ""

// ---- hooks and streams -----------------------------------------------------------------------------

%typemap(in) const mustafar_allocator * (mustafar_allocator hooks) {
    if ($input != Py_None) {
        if (py_allocator_take($input, &hooks, (py_place){"$symname", "$1_name"}) != 0) SWIG_fail;
        $1 = &hooks;
    }
}
%typemap(in) const mustafar_log_hook * (mustafar_log_hook hook) {
    if ($input != Py_None) {
        if (py_log_take($input, &hook, (py_place){"$symname", "$1_name"}) != 0) SWIG_fail;
        $1 = &hook;
    }
}
%typemap(in) (mustafar_write_fn write, void *user) {
    if (py_callable_take($input, (py_place){"$symname", "write"}) != 0) SWIG_fail;
    $1 = py_stream_write;
    $2 = $input;
}
%typemap(in) (mustafar_read_fn read, void *user) {
    if (py_callable_take($input, (py_place){"$symname", "read"}) != 0) SWIG_fail;
    $1 = py_stream_read;
    $2 = $input;
}

// ---- what is wrapped -------------------------------------------------------------------------------

// Structs are dicts, and Handle.close() is what destroys (it clears the pointer, too).
%ignore mustafar_error;
%ignore mustafar_tensor;
%ignore mustafar_geometry;
%ignore mustafar_bytes;
%ignore mustafar_allocator;
%ignore mustafar_log_hook;
%ignore mustafar_context_options;
%ignore mustafar_context_stats;
%ignore mustafar_kernel_info;
%ignore mustafar_side_info;
%ignore mustafar_cache_options;
%ignore mustafar_prune_options;
%ignore mustafar_cache_stats;
%ignore mustafar_attend_options;
%ignore mustafar_context_destroy;
%ignore mustafar_recipe_destroy;
%ignore mustafar_cache_destroy;
%ignore MUSTAFAR_API;
%ignore MUSTAFAR_MUST_USE;
%constant unsigned int MUSTAFAR_ALL = MUSTAFAR_ALL;

// The GIL is released around every call, but where the call only looks something up.
%nothread mustafar_version;
%nothread mustafar_abi_version;
%nothread mustafar_build_text;
%nothread mustafar_status_name;
%nothread mustafar_dtype_name;
%nothread mustafar_kernel_count;
%nothread mustafar_kernel_at;
%nothread mustafar_recipe_json;
%nothread mustafar_recipe_digest;
%nothread mustafar_recipe_count;
%nothread mustafar_recipe_name;
%nothread mustafar_recipe_sentence;
%nothread mustafar_cache_length;
%nothread mustafar_cache_rows;
%nothread py_layouts;
%nothread py_set_error_factory;

%include "mustafar/types.h"
%include "mustafar/info.h"
%include "mustafar/context.h"
%include "mustafar/recipe.h"
%include "mustafar/cache.h"
%include "mustafar/attend.h"
%apply const mustafar_recipe *OPTIONAL { const mustafar_recipe *recipe }
%include "mustafar/snapshot.h"

%rename(layouts) py_layouts;
%rename(set_error_factory) py_set_error_factory;
PyObject *py_layouts(void);
PyObject *py_set_error_factory(PyObject *factory);

%init %{
    if (PyType_Ready(&py_handle_type) < 0 || PyType_Ready(&py_allocator_type) < 0 ||
        PyModule_AddObjectRef(m, "Handle", (PyObject *)&py_handle_type) < 0 ||
        PyModule_AddObjectRef(m, "Allocator", (PyObject *)&py_allocator_type) < 0) {
        return NULL;
    }
%}
