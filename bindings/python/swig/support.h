/* SPDX-License-Identifier: Apache-2.0
 *
 * What the typemaps of mustafar.i call: errors, handles, arrays, structs, callbacks. Plain C beside the
 * generated code, so that our own lines are compiled with all warnings.
 *
 * Every function needs the GIL. Those that can fail return -1 (or NULL) with a Python exception set; the
 * exception names `call` and `argument`. */
#ifndef MUSTAFAR_PYTHON_SUPPORT_H
#define MUSTAFAR_PYTHON_SUPPORT_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <mustafar/dlpack.h>
#include <mustafar/mustafar.h>

/* Where an argument stands, for texts: "mustafar_cache_append: k ...". */
typedef struct py_place {
    const char *call;
    const char *argument;
} py_place;

/* ---- errors.c: statuses as exceptions -------------------------------------------------------- */

/* Beside the statuses of types.h: BAD_STATE, told more precisely. */
enum { PY_CLOSED = -1, PY_BUSY = -2 };

/* The exceptions are made by `factory(code, message, values)`, which the package registers. */
PyObject *py_set_error_factory(PyObject *factory);

/* A cleared error struct of this thread, to be handed to a call. */
mustafar_error *py_error(void);

/* 0 for MUSTAFAR_OK; otherwise raises what a callback left, or what py_error() says. */
int py_check(mustafar_status status);

/* Keeps the exception that is set now for py_check; how a callback fails. */
void py_keep_exception(void);

/* Raises: "<call>: <argument><format...>". Always -1. */
int py_refuse(int code, py_place place, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* py_refuse with the text of the exception that is set now, which becomes the cause. Always -1.
 * An exception that is not the argument's fault (KeyboardInterrupt, MemoryError) stays as it is. */
int py_refuse_because(py_place place);

/* ---- handle.c: who owns a C object, and who is using it -------------------------------------- */

typedef enum py_kind { PY_CONTEXT, PY_RECIPE, PY_CACHE } py_kind;

/* A handle in use for the length of one call. */
typedef struct py_lease {
    PyObject *handle; /* borrowed: the arguments of the call hold it; NULL = nothing leased */
    int exclusive;
} py_lease;

extern PyTypeObject py_handle_type;

/* Wraps `pointer`, which now belongs to the handle, also on failure. `owner` is kept alive. */
PyObject *py_handle_new(py_kind kind, void *pointer, PyObject *owner);

/* What keeps the context of a context or cache handle alive; borrowed. */
PyObject *py_handle_context(PyObject *handle);

/* Leases `object`: refused when it is no handle of that kind, closed, or in use in a way that does
 * not fit (calls on const handles overlap, others need the handle alone). NULL on failure. */
void *py_lease_take(PyObject *object, py_kind kind, int exclusive, py_lease *lease, py_place place);
void py_lease_return(py_lease *lease);

/* The handles of a sequence, for mustafar_attend. */
typedef struct py_caches {
    const mustafar_cache **pointers;
    py_lease *leases;
    PyObject *items; /* tuple that holds the handles */
    size_t count;
} py_caches;

int py_caches_take(PyObject *object, py_caches *caches, py_place place);
void py_caches_return(py_caches *caches);

/* ---- tensor.c: buffers and DLPack as views --------------------------------------------------- */

typedef struct py_tensor {
    mustafar_tensor view;
    Py_buffer buffer; /* held while buffer.obj is not NULL */
    PyObject *capsule;
} py_tensor;

/* Clears `tensor`, so that py_tensor_return may be called. */
void py_tensor_start(py_tensor *tensor);

/* Describes `object`, without a copy: anything with a buffer (formats e, f, H = bf16, B, i; native byte
 * order) or `__dlpack__`. Inputs may be strided; outputs must be writable and contiguous. */
int py_tensor_take(PyObject *object, int output, py_tensor *tensor, py_place place);
void py_tensor_return(py_tensor *tensor);

/* The same for an argument that is a pointer and a count: one dimension, contiguous, of `dtype`. */
int py_array_take(PyObject *object, mustafar_dtype dtype, int output, py_tensor *tensor,
                  py_place place);

/* (values, bitmaps or None) of mustafar_cache_export: the bitmaps must be as large as values say. */
int py_export_take(PyObject *object, py_tensor *values, py_tensor *bitmaps, py_place place);

/* ---- structs.c: option and result structs as dicts ------------------------------------------- */

typedef enum py_struct {
    PY_GEOMETRY,
    PY_BYTES,
    PY_CONTEXT_OPTIONS,
    PY_CONTEXT_STATS,
    PY_KERNEL_INFO,
    PY_SIDE_INFO,
    PY_CACHE_OPTIONS,
    PY_PRUNE_OPTIONS,
    PY_CACHE_STATS,
    PY_ATTEND_OPTIONS,
    PY_STRUCT_COUNT
} py_struct;

/* Zeroes `out` and sets its struct_size. */
void py_struct_start(py_struct which, void *out);

/* Fills `out` from a dict; fields that are not named are 0, unknown names are refused. */
int py_struct_take(py_struct which, PyObject *object, void *out, py_place place);

/* A dict of the fields, without struct_size and reserved ones. */
PyObject *py_struct_give(py_struct which, const void *in);

/* {struct: (size, {field: (offset, bytes)})}, to be compared with capi/abi/api.json. */
PyObject *py_layouts(void);

int py_take_u32(PyObject *object, uint32_t *out, py_place place);
int py_take_u64(PyObject *object, uint64_t *out, py_place place);
int py_take_i32(PyObject *object, int32_t *out, py_place place);

/* UTF-8 of a str without NUL; borrowed from `object`. NULL on failure. */
const char *py_take_text(PyObject *object, py_place place);

/* The bytes of a str or bytes object, NUL allowed. */
int py_take_bytes(PyObject *object, const char **text, size_t *bytes, py_place place);

/* ---- hooks.c: allocator, log, streams -------------------------------------------------------- */

extern PyTypeObject py_allocator_type;

/* True while this thread is inside a callback: the library must not be called from there. */
int py_in_callback(void);

int py_allocator_take(PyObject *object, mustafar_allocator *out, py_place place);
/* (level, callable(level, text)) */
int py_log_take(PyObject *object, mustafar_log_hook *out, py_place place);
int py_callable_take(PyObject *object, py_place place);

/* Streams over `callable(bytes)` and `callable(count) -> bytes`; `user` is the callable. */
int32_t py_stream_write(void *user, const void *data, size_t bytes);
int32_t py_stream_read(void *user, void *data, size_t bytes, size_t *got);

#endif
