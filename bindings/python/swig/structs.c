// SPDX-License-Identifier: Apache-2.0
// One table of the public structs, as the compiler of this binding lays them out. A test compares it
// with capi/abi/api.json, so that a field that appears in a header cannot be forgotten here.
#include "support.h"

typedef enum field_kind { SIZE, RESERVED, U32, I32, U64, I64, F32, TEXT } field_kind;

typedef struct field {
    const char *name; // NULL ends the list
    field_kind kind;
    size_t offset;
    size_t bytes;
} field;

#define FIELD(type, name, kind)                                                                    \
    { #name, kind, offsetof(type, name), sizeof(((type *)0)->name) }
#define FIRST(type) FIELD(type, struct_size, SIZE)
#define LAST                                                                                       \
    { NULL, SIZE, 0, 0 }

static const field geometry[] = {
    FIRST(mustafar_geometry),
    FIELD(mustafar_geometry, layers, U32),
    FIELD(mustafar_geometry, q_heads, U32),
    FIELD(mustafar_geometry, kv_heads, U32),
    FIELD(mustafar_geometry, head_dim_k, U32),
    FIELD(mustafar_geometry, head_dim_v, U32),
    FIELD(mustafar_geometry, dtype, I32),
    FIELD(mustafar_geometry, reserved, RESERVED),
    LAST,
};
static const field bytes[] = {
    FIRST(mustafar_bytes),
    FIELD(mustafar_bytes, exact, U32),
    FIELD(mustafar_bytes, total, U64),
    FIELD(mustafar_bytes, values, U64),
    FIELD(mustafar_bytes, bitmaps, U64),
    FIELD(mustafar_bytes, meta, U64),
    FIELD(mustafar_bytes, slack, U64),
    FIELD(mustafar_bytes, window, U64),
    FIELD(mustafar_bytes, positions, U64),
    FIELD(mustafar_bytes, tables, U64),
    LAST,
};
static const field context_options[] = {
    FIRST(mustafar_context_options),
    FIELD(mustafar_context_options, threads, U32),
    FIELD(mustafar_context_options, quota_bytes, U64),
    FIELD(mustafar_context_options, flags, U32),
    FIELD(mustafar_context_options, reserved, RESERVED),
    FIELD(mustafar_context_options, backend, TEXT),
    LAST,
};
static const field context_stats[] = {
    FIRST(mustafar_context_stats),
    FIELD(mustafar_context_stats, threads, U32),
    FIELD(mustafar_context_stats, live_bytes, U64),
    FIELD(mustafar_context_stats, peak_bytes, U64),
    FIELD(mustafar_context_stats, quota_bytes, U64),
    FIELD(mustafar_context_stats, allocations, U64),
    FIELD(mustafar_context_stats, page_bytes, U64),
    FIELD(mustafar_context_stats, cache_bytes, U64),
    FIELD(mustafar_context_stats, work_bytes, U64),
    FIELD(mustafar_context_stats, pages, U64),
    FIELD(mustafar_context_stats, shared_pages, U64),
    FIELD(mustafar_context_stats, caches, U64),
    LAST,
};
static const field kernel_info[] = {
    FIRST(mustafar_kernel_info),
    FIELD(mustafar_kernel_info, available, U32),
    FIELD(mustafar_kernel_info, op, TEXT),
    FIELD(mustafar_kernel_info, backend, TEXT),
    FIELD(mustafar_kernel_info, name, TEXT),
    FIELD(mustafar_kernel_info, reason, TEXT),
    LAST,
};
static const field side_info[] = {
    FIRST(mustafar_side_info),
    FIELD(mustafar_side_info, head_dim, U32),
    FIELD(mustafar_side_info, keep, U32),
    FIELD(mustafar_side_info, bits, U32),
    FIELD(mustafar_side_info, encoding, U32),
    FIELD(mustafar_side_info, method, U32),
    FIELD(mustafar_side_info, group, U32),
    FIELD(mustafar_side_info, centred, U32),
    FIELD(mustafar_side_info, row_bytes, U64),
    FIELD(mustafar_side_info, page_bytes, U64),
    LAST,
};
static const field cache_options[] = {
    FIRST(mustafar_cache_options),
    FIELD(mustafar_cache_options, max_tokens, U32),
    FIELD(mustafar_cache_options, reserve_tokens, U32),
    FIELD(mustafar_cache_options, flags, U32),
    LAST,
};
static const field prune_options[] = {
    FIRST(mustafar_prune_options),
    FIELD(mustafar_prune_options, method, U32),
    FIELD(mustafar_prune_options, keep, U32),
    FIELD(mustafar_prune_options, of, U32),
    FIELD(mustafar_prune_options, threshold, F32),
    FIELD(mustafar_prune_options, reserved, RESERVED),
    LAST,
};
static const field cache_stats[] = {
    FIRST(mustafar_cache_stats),
    FIELD(mustafar_cache_stats, longest, U32),
    FIELD(mustafar_cache_stats, rows, U64),
    FIELD(mustafar_cache_stats, body_rows, U64),
    FIELD(mustafar_cache_stats, evicted_rows, U64),
    FIELD(mustafar_cache_stats, pages, U64),
    FIELD(mustafar_cache_stats, shared_pages, U64),
    FIELD(mustafar_cache_stats, dense_bytes, U64),
    FIELD(mustafar_cache_stats, appended_tokens, U64),
    FIELD(mustafar_cache_stats, packed_rows, U64),
    FIELD(mustafar_cache_stats, attend_calls, U64),
    FIELD(mustafar_cache_stats, append_ns, U64),
    FIELD(mustafar_cache_stats, pack_ns, U64),
    FIELD(mustafar_cache_stats, attend_ns, U64),
    FIELD(mustafar_cache_stats, attend_kernel, TEXT),
    FIELD(mustafar_cache_stats, pack_kernel, TEXT),
    LAST,
};
static const field attend_options[] = {
    FIRST(mustafar_attend_options),
    FIELD(mustafar_attend_options, flags, U32),
    FIELD(mustafar_attend_options, q_position, I64),
    FIELD(mustafar_attend_options, scale, F32),
    FIELD(mustafar_attend_options, softcap, F32),
    FIELD(mustafar_attend_options, sliding_window, U32),
    FIELD(mustafar_attend_options, drop_mass, F32),
    FIELD(mustafar_attend_options, reserved, RESERVED),
    LAST,
};

static const struct {
    const char *name;
    size_t size;
    const field *fields;
} structs[PY_STRUCT_COUNT] = {
    [PY_GEOMETRY] = {"mustafar_geometry", sizeof(mustafar_geometry), geometry},
    [PY_BYTES] = {"mustafar_bytes", sizeof(mustafar_bytes), bytes},
    [PY_CONTEXT_OPTIONS] = {"mustafar_context_options", sizeof(mustafar_context_options),
                            context_options},
    [PY_CONTEXT_STATS] = {"mustafar_context_stats", sizeof(mustafar_context_stats), context_stats},
    [PY_KERNEL_INFO] = {"mustafar_kernel_info", sizeof(mustafar_kernel_info), kernel_info},
    [PY_SIDE_INFO] = {"mustafar_side_info", sizeof(mustafar_side_info), side_info},
    [PY_CACHE_OPTIONS] = {"mustafar_cache_options", sizeof(mustafar_cache_options), cache_options},
    [PY_PRUNE_OPTIONS] = {"mustafar_prune_options", sizeof(mustafar_prune_options), prune_options},
    [PY_CACHE_STATS] = {"mustafar_cache_stats", sizeof(mustafar_cache_stats), cache_stats},
    [PY_ATTEND_OPTIONS] = {"mustafar_attend_options", sizeof(mustafar_attend_options),
                           attend_options},
};

// ---- numbers and text

int py_take_u64(PyObject *object, uint64_t *out, py_place place) {
    PyObject *number = PyNumber_Index(object);
    if (number == NULL) {
        PyErr_Clear();
        return py_refuse(MUSTAFAR_INVALID_ARGUMENT, place, " is a %s; an integer is needed",
                         Py_TYPE(object)->tp_name);
    }
    *out = PyLong_AsUnsignedLongLong(number);
    Py_DECREF(number);
    if (*out == UINT64_MAX && PyErr_Occurred()) {
        PyErr_Clear();
        return py_refuse(MUSTAFAR_INVALID_ARGUMENT, place, " is out of range; give 0..2^64-1");
    }
    return 0;
}

int py_take_u32(PyObject *object, uint32_t *out, py_place place) {
    uint64_t wide;
    if (py_take_u64(object, &wide, (py_place){place.call, place.argument}) != 0) { return -1; }
    if (wide > UINT32_MAX) {
        return py_refuse(MUSTAFAR_INVALID_ARGUMENT, place,
                         " = %llu is out of range; give 0..2^32-1", (unsigned long long)wide);
    }
    *out = (uint32_t)wide;
    return 0;
}

static int take_i64(PyObject *object, int64_t *out, py_place place) {
    PyObject *number = PyNumber_Index(object);
    if (number == NULL) {
        PyErr_Clear();
        return py_refuse(MUSTAFAR_INVALID_ARGUMENT, place, " is a %s; an integer is needed",
                         Py_TYPE(object)->tp_name);
    }
    *out = PyLong_AsLongLong(number);
    Py_DECREF(number);
    if (*out == -1 && PyErr_Occurred()) {
        PyErr_Clear();
        return py_refuse(MUSTAFAR_INVALID_ARGUMENT, place, " is out of range; give -2^63..2^63-1");
    }
    return 0;
}

int py_take_i32(PyObject *object, int32_t *out, py_place place) {
    int64_t wide;
    if (take_i64(object, &wide, place) != 0) { return -1; }
    if (wide < INT32_MIN || wide > INT32_MAX) {
        return py_refuse(MUSTAFAR_INVALID_ARGUMENT, place, " = %lld is out of range; give 32 bits",
                         (long long)wide);
    }
    *out = (int32_t)wide;
    return 0;
}

int py_take_bytes(PyObject *object, const char **text, size_t *length, py_place place) {
    Py_ssize_t count = 0;
    if (PyBytes_Check(object)) {
        *text = PyBytes_AS_STRING(object);
        count = PyBytes_GET_SIZE(object);
    } else if (PyUnicode_Check(object)) {
        *text = PyUnicode_AsUTF8AndSize(object, &count);
        if (*text == NULL) { return py_refuse_because(place); }
    } else {
        return py_refuse(MUSTAFAR_INVALID_ARGUMENT, place, " is a %s; text is needed",
                         Py_TYPE(object)->tp_name);
    }
    *length = (size_t)count;
    return 0;
}

const char *py_take_text(PyObject *object, py_place place) {
    const char *text = NULL;
    size_t length = 0;
    if (py_take_bytes(object, &text, &length, place) != 0) { return NULL; }
    if (strlen(text) != length) {
        py_refuse(MUSTAFAR_INVALID_ARGUMENT, place, " has a NUL inside");
        return NULL;
    }
    return text;
}

// ---- dicts

void py_struct_start(py_struct which, void *out) {
    memset(out, 0, structs[which].size);
    *(uint32_t *)out = (uint32_t)structs[which].size;
}

static int take_field(const field *f, PyObject *value, char *out, py_place place) {
    switch (f->kind) {
    case U32:
        return py_take_u32(value, (uint32_t *)(void *)out, place);
    case I32:
        return py_take_i32(value, (int32_t *)(void *)out, place);
    case U64:
        return py_take_u64(value, (uint64_t *)(void *)out, place);
    case I64:
        return take_i64(value, (int64_t *)(void *)out, place);
    case F32: {
        const double wide = PyFloat_AsDouble(value);
        if (wide == -1.0 && PyErr_Occurred()) { return py_refuse_because(place); }
        *(float *)(void *)out = (float)wide; // infinities and NaN are the library's to refuse
        return 0;
    }
    case TEXT: {
        const char *text = py_take_text(value, place);
        if (text == NULL) { return -1; }
        if (strlen(text) >= f->bytes) {
            return py_refuse(MUSTAFAR_INVALID_ARGUMENT, place, " takes at most %zu bytes",
                             f->bytes - 1);
        }
        memcpy(out, text, strlen(text) + 1);
        return 0;
    }
    case SIZE:
    case RESERVED:
        break;
    }
    return py_refuse(MUSTAFAR_INVALID_ARGUMENT, place, " is not to be given");
}

int py_struct_take(py_struct which, PyObject *object, void *out, py_place place) {
    Py_ssize_t position = 0;
    PyObject *key, *value;
    py_struct_start(which, out);
    if (!PyDict_Check(object)) {
        return py_refuse(MUSTAFAR_INVALID_ARGUMENT, place, " is a %s; a dict is needed",
                         Py_TYPE(object)->tp_name);
    }
    while (PyDict_Next(object, &position, &key, &value)) {
        const char *name = PyUnicode_Check(key) ? PyUnicode_AsUTF8(key) : NULL;
        const field *f = structs[which].fields;
        if (name == NULL) {
            PyErr_Clear();
            return py_refuse(MUSTAFAR_INVALID_ARGUMENT, place, " has a key that is no text");
        }
        while (f->name != NULL && strcmp(f->name, name) != 0) { ++f; }
        if (f->name == NULL) {
            return py_refuse(MUSTAFAR_INVALID_ARGUMENT, place, ".%.64s does not exist", name);
        }
        char full[96];
        PyOS_snprintf(full, sizeof(full), "%s.%s", place.argument, name);
        if (take_field(f, value, (char *)out + f->offset, (py_place){place.call, full}) != 0) {
            return -1;
        }
    }
    return 0;
}

static PyObject *give_field(const field *f, const char *at) {
    switch (f->kind) {
    case U32:
        return PyLong_FromUnsignedLong(*(const uint32_t *)(const void *)at);
    case I32:
        return PyLong_FromLong(*(const int32_t *)(const void *)at);
    case U64:
        return PyLong_FromUnsignedLongLong(*(const uint64_t *)(const void *)at);
    case I64:
        return PyLong_FromLongLong(*(const int64_t *)(const void *)at);
    case F32:
        return PyFloat_FromDouble((double)*(const float *)(const void *)at);
    case TEXT:
        return PyUnicode_DecodeUTF8(at, (Py_ssize_t)strnlen(at, f->bytes), "replace");
    case SIZE:
    case RESERVED:
        break;
    }
    return NULL;
}

PyObject *py_struct_give(py_struct which, const void *in) {
    PyObject *dict = PyDict_New();
    for (const field *f = structs[which].fields; dict != NULL && f->name != NULL; ++f) {
        if (f->kind == SIZE || f->kind == RESERVED) { continue; }
        PyObject *value = give_field(f, (const char *)in + f->offset);
        if (value == NULL || PyDict_SetItemString(dict, f->name, value) != 0) { Py_CLEAR(dict); }
        Py_XDECREF(value);
    }
    return dict;
}

PyObject *py_layouts(void) {
    PyObject *all = PyDict_New();
    for (int i = 0; all != NULL && i < PY_STRUCT_COUNT; ++i) {
        PyObject *fields = PyDict_New(), *entry = NULL;
        for (const field *f = structs[i].fields; fields != NULL && f->name != NULL; ++f) {
            PyObject *place = Py_BuildValue("nn", (Py_ssize_t)f->offset, (Py_ssize_t)f->bytes);
            if (place == NULL || PyDict_SetItemString(fields, f->name, place) != 0) {
                Py_CLEAR(fields);
            }
            Py_XDECREF(place);
        }
        if (fields != NULL) { entry = Py_BuildValue("nN", (Py_ssize_t)structs[i].size, fields); }
        if (entry == NULL || PyDict_SetItemString(all, structs[i].name, entry) != 0) {
            Py_CLEAR(all);
        }
        Py_XDECREF(entry);
    }
    return all;
}
