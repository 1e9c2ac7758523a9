// SPDX-License-Identifier: Apache-2.0
// Arrays of others as mustafar_tensor: the buffer protocol (PEP 3118) first, DLPack where there is none.
#include "support.h"

void py_tensor_start(py_tensor *tensor) {
    tensor->view.data = NULL;
    tensor->buffer.obj = NULL;
    tensor->capsule = NULL;
}

void py_tensor_return(py_tensor *tensor) {
    if (tensor->buffer.obj != NULL) { PyBuffer_Release(&tensor->buffer); }
    Py_CLEAR(tensor->capsule); // not renamed, hence its destructor calls the deleter
}

// ---- buffers

// The dtype of a buffer, or 0 with an exception.
static mustafar_dtype dtype_of(const Py_buffer *buffer, py_place place) {
    const char *format = buffer->format != NULL ? buffer->format : "B";
    const char *code = format;
    if (*code == '>' || *code == '!' || (*code == '<' && PY_BIG_ENDIAN && buffer->itemsize > 1)) {
        py_refuse(MUSTAFAR_INVALID_ARGUMENT, place,
                  " has the wrong byte order (format \"%s\"); convert it to native order", format);
        return 0;
    }
    if (*code == '@' || *code == '=' || *code == '<') { ++code; }
    if (code[0] != '\0' && code[1] == '\0') {
        switch (code[0]) {
        case 'f':
            return MUSTAFAR_F32;
        case 'e':
            return MUSTAFAR_F16;
        case 'H':
            return MUSTAFAR_BF16;
        case 'B':
            return MUSTAFAR_U8;
        case 'i':
        case 'l':
            if (buffer->itemsize == 4) { return MUSTAFAR_I32; }
            break;
        default:
            break;
        }
    }
    py_refuse(MUSTAFAR_INVALID_ARGUMENT, place,
              " has elements of format \"%s\" (%zd bytes), which is not served; give float16 (e), "
              "float32 (f), bfloat16 as uint16 (H), uint8 (B) or int32 (i)",
              format, buffer->itemsize);
    return 0;
}

static int take_buffer(PyObject *object, int output, py_tensor *tensor, py_place place) {
    Py_buffer *buffer = &tensor->buffer;
    if (PyObject_GetBuffer(object, buffer, PyBUF_RECORDS_RO) != 0) {
        buffer->obj = NULL;
        return py_refuse_because(place);
    }
    if (output && buffer->readonly) {
        return py_refuse(MUSTAFAR_INVALID_ARGUMENT, place,
                         " is read-only; an output must be writable");
    }
    if (output && !PyBuffer_IsContiguous(buffer, 'C')) {
        return py_refuse(MUSTAFAR_INVALID_ARGUMENT, place,
                         " is not contiguous; an output must be in C order without gaps");
    }
    if (buffer->shape == NULL || buffer->itemsize < 1) {
        return py_refuse(MUSTAFAR_INVALID_ARGUMENT, place, " says no shape; pass a NumPy array");
    }
    mustafar_tensor *view = &tensor->view;
    view->dtype = dtype_of(buffer, place);
    if (view->dtype == 0) { return -1; }
    if (buffer->ndim < 1 || buffer->ndim > MUSTAFAR_MAX_DIMS) {
        return py_refuse(MUSTAFAR_INVALID_ARGUMENT, place, " has %d dimensions; give 1..%d",
                         buffer->ndim, MUSTAFAR_MAX_DIMS);
    }
    view->data = buffer->buf;
    view->device = 0;
    view->ndim = (uint32_t)buffer->ndim;
    view->reserved = 0;
    Py_ssize_t gathered = buffer->itemsize; // bytes of an element of dimension i
    for (int i = buffer->ndim - 1; i >= 0; --i) {
        // ctypes leaves strides out, although they were asked for: then it is C order.
        const Py_ssize_t stride = buffer->strides != NULL ? buffer->strides[i] : gathered;
        if (buffer->strides == NULL) { gathered *= buffer->shape[i]; }
        if (stride % buffer->itemsize != 0) {
            // Irrelevant where nothing is stepped over; elsewhere elements would not be aligned.
            if (buffer->shape[i] > 1) {
                return py_refuse(
                    MUSTAFAR_INVALID_ARGUMENT, place,
                    " has a stride of %zd bytes in dimension %d, no multiple of its %zd-byte "
                    "elements; pass a copy",
                    stride, i, buffer->itemsize);
            }
        }
        view->shape[i] = buffer->shape[i];
        view->strides[i] = stride / buffer->itemsize;
    }
    return 0;
}

// ---- DLPack

// DLPack before 1.0, as a capsule "dltensor" holds it.
typedef struct legacy_tensor {
    mustafar_dl_tensor dl_tensor;
    void *manager_ctx;
    void (*deleter)(struct legacy_tensor *self);
} legacy_tensor;

static PyObject *call_dlpack(PyObject *object) {
    PyObject *method = PyObject_GetAttrString(object, "__dlpack__");
    if (method == NULL) { return NULL; }
    PyObject *none = PyTuple_New(0);
    PyObject *words = Py_BuildValue("{s(ii)}", "max_version", 1, 0);
    PyObject *capsule = NULL;
    if (none != NULL && words != NULL) {
        capsule = PyObject_Call(method, none, words);
        if (capsule == NULL && PyErr_ExceptionMatches(PyExc_TypeError)) { // a producer before 1.0
            PyErr_Clear();
            capsule = PyObject_CallNoArgs(method);
        }
    }
    Py_XDECREF(none);
    Py_XDECREF(words);
    Py_DECREF(method);
    return capsule;
}

static int contiguous(const mustafar_tensor *view) {
    int64_t expected = 1;
    for (uint32_t i = view->ndim; i-- > 0;) {
        if (view->shape[i] == 0) { return 1; }
        if (view->shape[i] != 1 && view->strides[i] != expected) { return 0; }
        expected *= view->shape[i];
    }
    return 1;
}

static int take_dlpack(PyObject *object, int output, py_tensor *tensor, py_place place) {
    tensor->capsule = call_dlpack(object);
    if (tensor->capsule == NULL) { return py_refuse_because(place); }
    mustafar_dl_managed_tensor copy;
    const mustafar_dl_managed_tensor *managed;
    if (PyCapsule_IsValid(tensor->capsule, "dltensor_versioned")) {
        managed = PyCapsule_GetPointer(tensor->capsule, "dltensor_versioned");
    } else if (PyCapsule_IsValid(tensor->capsule, "dltensor")) {
        const legacy_tensor *legacy = PyCapsule_GetPointer(tensor->capsule, "dltensor");
        memset(&copy, 0, sizeof(copy));
        copy.version.major = 1;
        copy.dl_tensor = legacy->dl_tensor;
        managed = &copy;
    } else {
        return py_refuse(MUSTAFAR_INVALID_ARGUMENT, place,
                         ": __dlpack__ returned no DLPack capsule");
    }
    mustafar_error error = MUSTAFAR_ERROR_INIT;
    const mustafar_status status =
        mustafar_tensor_from_dlpack(managed, output, &tensor->view, &error);
    if (status != MUSTAFAR_OK) { return py_refuse(status, place, ": %s", error.message); }
    if (output && !contiguous(&tensor->view)) {
        return py_refuse(MUSTAFAR_INVALID_ARGUMENT, place,
                         " is not contiguous; an output must be in C order without gaps");
    }
    return 0;
}

// NumPy arrays of the bfloat16 that other packages define have no buffer format; their bits do.
static PyObject *bits_of_bfloat16(PyObject *object) {
    PyObject *dtype = PyObject_GetAttrString(object, "dtype");
    PyObject *name = dtype != NULL ? PyObject_GetAttrString(dtype, "name") : NULL;
    PyObject *bits = NULL;
    if (name != NULL && PyUnicode_Check(name) &&
        PyUnicode_CompareWithASCIIString(name, "bfloat16") == 0) {
        bits = PyObject_CallMethod(object, "view", "s", "uint16");
    }
    Py_XDECREF(name);
    Py_XDECREF(dtype);
    return bits;
}

int py_tensor_take(PyObject *object, int output, py_tensor *tensor, py_place place) {
    if (PyObject_CheckBuffer(object)) {
        if (take_buffer(object, output, tensor, place) == 0) { return 0; }
        if (tensor->buffer.obj != NULL) { return -1; } // it has a format, which was refused
        PyObject *type, *value, *traceback;
        PyErr_Fetch(&type, &value, &traceback);
        PyObject *bits = bits_of_bfloat16(object);
        if (bits == NULL) {
            PyErr_Restore(type, value, traceback); // drops the one of the attempt
            return -1;
        }
        Py_XDECREF(type);
        Py_XDECREF(value);
        Py_XDECREF(traceback);
        const int failed = take_buffer(bits, output, tensor, place);
        Py_DECREF(bits); // the buffer holds it
        return failed;
    }
    if (PyObject_HasAttrString(object, "__dlpack__")) {
        return take_dlpack(object, output, tensor, place);
    }
    return py_refuse(MUSTAFAR_INVALID_ARGUMENT, place,
                     " is a %s; anything with a buffer or __dlpack__ will do, NumPy arrays for one",
                     Py_TYPE(object)->tp_name);
}

// ---- pointer and count

int py_array_take(PyObject *object, mustafar_dtype dtype, int output, py_tensor *tensor,
                  py_place place) {
    if (py_tensor_take(object, output, tensor, place) != 0) { return -1; }
    if (tensor->view.dtype != dtype) {
        return py_refuse(MUSTAFAR_INVALID_ARGUMENT, place, " is %s; %s is needed",
                         mustafar_dtype_name(tensor->view.dtype), mustafar_dtype_name(dtype));
    }
    if (tensor->view.ndim != 1) {
        return py_refuse(MUSTAFAR_INVALID_ARGUMENT, place, " has %d dimensions; one is needed",
                         (int)tensor->view.ndim);
    }
    if (!contiguous(&tensor->view)) {
        return py_refuse(MUSTAFAR_INVALID_ARGUMENT, place, " is not contiguous; pass a copy");
    }
    if ((uintptr_t)tensor->view.data % (dtype == MUSTAFAR_U8 ? 1 : 4) != 0) {
        return py_refuse(MUSTAFAR_INVALID_ARGUMENT, place, " is not aligned; pass a copy");
    }
    return 0;
}

int py_export_take(PyObject *object, py_tensor *values, py_tensor *bitmaps, py_place place) {
    if (!PyTuple_Check(object) || PyTuple_GET_SIZE(object) != 2) {
        return py_refuse(MUSTAFAR_INVALID_ARGUMENT, place,
                         " must be a tuple (values, bitmaps or None)");
    }
    if (py_tensor_take(PyTuple_GET_ITEM(object, 0), 1, values, place) != 0) { return -1; }
    if (PyTuple_GET_ITEM(object, 1) == Py_None) { return 0; }
    place.argument = "out_bitmaps";
    if (py_tensor_take(PyTuple_GET_ITEM(object, 1), 1, bitmaps, place) != 0) { return -1; }
    const mustafar_tensor *v = &values->view, *b = &bitmaps->view;
    if (b->dtype != MUSTAFAR_U8 || v->ndim != 2 || b->ndim != 2 || b->shape[0] != v->shape[0] ||
        b->shape[1] != v->shape[1] / 8) {
        return py_refuse(MUSTAFAR_INVALID_ARGUMENT, place,
                         " must be uint8 [rows, head_dim / 8] for out_values of [rows, head_dim]");
    }
    return 0;
}
