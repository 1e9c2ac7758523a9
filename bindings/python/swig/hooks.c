// SPDX-License-Identifier: Apache-2.0
// What the library calls back: an allocator that counts (plain C, no GIL), a log hook and streams (Python).
#include "support.h"

#include <stdlib.h>

// ---- allocator

typedef struct counting_allocator {
    PyObject_HEAD int64_t live_bytes; // these four are atomic
    int64_t live_blocks;
    int64_t allocations;
    int64_t fail_after; // allocations that still succeed; negative = all
} counting_allocator;

static void *allocate(void *user, size_t bytes, size_t alignment) {
    counting_allocator *self = user;
    if (__atomic_load_n(&self->fail_after, __ATOMIC_RELAXED) >= 0 &&
        __atomic_fetch_sub(&self->fail_after, 1, __ATOMIC_RELAXED) <= 0) {
        __atomic_store_n(&self->fail_after, 0, __ATOMIC_RELAXED);
        return NULL;
    }
    void *data = NULL;
    if (alignment < sizeof(void *)) { alignment = sizeof(void *); }
    if (posix_memalign(&data, alignment, bytes > 0 ? bytes : 1) != 0) { return NULL; }
    __atomic_fetch_add(&self->live_bytes, (int64_t)bytes, __ATOMIC_RELAXED);
    __atomic_fetch_add(&self->live_blocks, 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&self->allocations, 1, __ATOMIC_RELAXED);
    return data;
}

static void release(void *user, void *data, size_t bytes, size_t alignment) {
    counting_allocator *self = user;
    (void)alignment;
    if (data == NULL) { return; }
    __atomic_fetch_sub(&self->live_bytes, (int64_t)bytes, __ATOMIC_RELAXED);
    __atomic_fetch_sub(&self->live_blocks, 1, __ATOMIC_RELAXED);
    free(data);
}

static PyObject *new_allocator(PyTypeObject *type, PyObject *arguments, PyObject *words) {
    if (PyTuple_GET_SIZE(arguments) > 0 || (words != NULL && PyDict_GET_SIZE(words) > 0)) {
        PyErr_SetString(PyExc_TypeError, "Allocator takes no arguments");
        return NULL;
    }
    counting_allocator *self = (counting_allocator *)type->tp_alloc(type, 0);
    if (self != NULL) { self->fail_after = -1; }
    return (PyObject *)self;
}

static int64_t *counter(PyObject *object, void *offset) {
    return (int64_t *)(void *)((char *)object + (size_t)offset);
}

static PyObject *get_counter(PyObject *object, void *offset) {
    return PyLong_FromLongLong(__atomic_load_n(counter(object, offset), __ATOMIC_RELAXED));
}

static int set_counter(PyObject *object, PyObject *value, void *offset) {
    const long long wide = value != NULL ? PyLong_AsLongLong(value) : -1;
    if (wide == -1 && PyErr_Occurred()) { return -1; }
    __atomic_store_n(counter(object, offset), wide, __ATOMIC_RELAXED);
    return 0;
}

#define COUNTER(name, set)                                                                         \
    { #name, get_counter, set, NULL, (void *)offsetof(counting_allocator, name) }

static PyGetSetDef counters[] = {
    COUNTER(live_bytes, NULL),        COUNTER(live_blocks, NULL),     COUNTER(allocations, NULL),
    COUNTER(fail_after, set_counter), {NULL, NULL, NULL, NULL, NULL},
};

PyTypeObject py_allocator_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "mustafar._mustafar.Allocator",
    .tp_basicsize = sizeof(counting_allocator),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = new_allocator,
    .tp_getset = counters,
};

int py_allocator_take(PyObject *object, mustafar_allocator *out, py_place place) {
    if (!Py_IS_TYPE(object, &py_allocator_type)) {
        return py_refuse(MUSTAFAR_INVALID_ARGUMENT, place, " is a %s; an Allocator is needed",
                         Py_TYPE(object)->tp_name);
    }
    *out = (mustafar_allocator){(uint32_t)sizeof(*out), 0, object, allocate, release};
    return 0;
}

// ---- callbacks into Python

static _Thread_local int callback_depth;

int py_in_callback(void) { return callback_depth > 0; }

int py_callable_take(PyObject *object, py_place place) {
    if (PyCallable_Check(object)) { return 0; }
    return py_refuse(MUSTAFAR_INVALID_ARGUMENT, place, " is a %s; a callable is needed",
                     Py_TYPE(object)->tp_name);
}

static void write_log(void *user, int32_t level, const char *text) {
    PyObject *type, *value, *traceback;
    const PyGILState_STATE gil = PyGILState_Ensure();
    ++callback_depth;
    PyErr_Fetch(&type, &value, &traceback);
    PyObject *result = PyObject_CallFunction(user, "is", (int)level, text);
    if (result == NULL && PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)) {
        PyErr_Clear();
        PyErr_SetInterrupt(); // comes again when the call is over
    } else if (result == NULL) {
        PyErr_WriteUnraisable(user);
    }
    Py_XDECREF(result);
    PyErr_Restore(type, value, traceback);
    --callback_depth;
    PyGILState_Release(gil);
}

int py_log_take(PyObject *object, mustafar_log_hook *out, py_place place) {
    int32_t level;
    if (!PyTuple_Check(object) || PyTuple_GET_SIZE(object) != 2) {
        return py_refuse(MUSTAFAR_INVALID_ARGUMENT, place, " must be a tuple (level, callable)");
    }
    if (py_take_i32(PyTuple_GET_ITEM(object, 0), &level, place) != 0 ||
        py_callable_take(PyTuple_GET_ITEM(object, 1), place) != 0) {
        return -1;
    }
    *out =
        (mustafar_log_hook){(uint32_t)sizeof(*out), level, PyTuple_GET_ITEM(object, 1), write_log};
    return 0;
}

enum { STREAM_CHUNK = 1 << 20, STREAM_RAISED = -1 };

int32_t py_stream_write(void *user, const void *data, size_t bytes) {
    const PyGILState_STATE gil = PyGILState_Ensure();
    int32_t failed = 0;
    ++callback_depth;
    for (size_t at = 0; at < bytes && !failed; at += STREAM_CHUNK) {
        const size_t chunk = bytes - at < STREAM_CHUNK ? bytes - at : STREAM_CHUNK;
        // A copy, since the receiver may keep what it is given.
        PyObject *result =
            PyObject_CallFunction(user, "y#", (const char *)data + at, (Py_ssize_t)chunk);
        failed = result == NULL ? STREAM_RAISED : 0;
        Py_XDECREF(result);
    }
    if (failed) { py_keep_exception(); }
    --callback_depth;
    PyGILState_Release(gil);
    return failed;
}

static int read_chunk(PyObject *callable, void *data, size_t bytes, size_t *got) {
    PyObject *result = PyObject_CallFunction(callable, "n", (Py_ssize_t)bytes);
    if (result == NULL) { return -1; }
    Py_buffer buffer;
    int failed = PyObject_GetBuffer(result, &buffer, PyBUF_SIMPLE);
    if (failed == 0) {
        if ((size_t)buffer.len > bytes) {
            failed = -1;
            PyErr_Format(PyExc_ValueError, "read(%zu) of a stream gave %zd bytes", bytes,
                         buffer.len);
        } else {
            memcpy(data, buffer.buf, (size_t)buffer.len);
            *got = (size_t)buffer.len;
        }
        PyBuffer_Release(&buffer);
    }
    Py_DECREF(result);
    return failed;
}

int32_t py_stream_read(void *user, void *data, size_t bytes, size_t *got) {
    const PyGILState_STATE gil = PyGILState_Ensure();
    ++callback_depth;
    const int failed = read_chunk(user, data, bytes < STREAM_CHUNK ? bytes : STREAM_CHUNK, got);
    if (failed) { py_keep_exception(); }
    --callback_depth;
    PyGILState_Release(gil);
    return failed ? STREAM_RAISED : 0;
}
