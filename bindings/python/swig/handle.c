// SPDX-License-Identifier: Apache-2.0
// One Python object per C object. The rule of the headers (calls on const handles overlap, others need
// the handle alone) is kept here: two counters per handle, guarded by the GIL, taken before a call
// lets go of it and given back after. A call that does not fit is refused instead of racing.
#include "support.h"

typedef struct handle {
    PyObject_HEAD py_kind kind;
    void *pointer; // NULL = closed
    PyObject
        *owner; // what must outlive `pointer`; a tuple for a context, a context handle for a cache
    Py_ssize_t readers;
    int writing;
} handle;

static const char *const kind_names[] = {"Context", "Recipe", "Cache"};

static void destroy(handle *self) {
    void *pointer = self->pointer;
    self->pointer = NULL;
    if (pointer == NULL) { return; }
    switch (self->kind) {
    case PY_CONTEXT:
        mustafar_context_destroy(pointer);
        break;
    case PY_RECIPE:
        mustafar_recipe_destroy(pointer);
        break;
    case PY_CACHE:
        mustafar_cache_destroy(pointer);
        break;
    }
}

PyObject *py_handle_new(py_kind kind, void *pointer, PyObject *owner) {
    handle *self = PyObject_GC_New(handle, &py_handle_type);
    if (self == NULL) {
        handle temporary = {.kind = kind, .pointer = pointer};
        destroy(&temporary);
        return NULL;
    }
    self->kind = kind;
    self->pointer = pointer;
    self->owner = Py_XNewRef(owner);
    self->readers = 0;
    self->writing = 0;
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

PyObject *py_handle_context(PyObject *object) {
    handle *self = (handle *)object;
    return self->kind == PY_CACHE ? self->owner : object;
}

static void deallocate(PyObject *object) {
    handle *self = (handle *)object;
    PyObject *type, *value, *traceback;
    PyObject_GC_UnTrack(self);
    PyErr_Fetch(&type, &value, &traceback); // a log hook may run
    destroy(self);
    Py_CLEAR(self->owner);
    PyErr_Restore(type, value, traceback);
    PyObject_GC_Del(self);
}

// No tp_clear: like a tuple, a handle relies on the other members of a cycle to break it, since the C
// object may call its log hook until it is gone.
static int traverse(PyObject *object, visitproc visit, void *arg) {
    Py_VISIT(((handle *)object)->owner);
    return 0;
}

// ---- leases

static int refuse_busy(py_place place, const handle *self) {
    if (py_in_callback()) {
        return py_refuse(PY_BUSY, place,
                         ": the library must not be called from a log hook or a stream");
    }
    return py_refuse(
        PY_BUSY, place,
        ": the %s is in use by another thread (%s); calls that change it need it alone, "
        "lock around them or fork",
        kind_names[self->kind], self->writing ? "which changes it" : "which reads it");
}

void *py_lease_take(PyObject *object, py_kind kind, int exclusive, py_lease *lease,
                    py_place place) {
    handle *self = (handle *)object;
    if (!Py_IS_TYPE(object, &py_handle_type) || self->kind != kind) {
        py_refuse(MUSTAFAR_INVALID_ARGUMENT, place, " is a %s; a %s is needed",
                  Py_IS_TYPE(object, &py_handle_type) ? kind_names[self->kind]
                                                      : Py_TYPE(object)->tp_name,
                  kind_names[kind]);
        return NULL;
    }
    if (self->pointer == NULL) {
        py_refuse(PY_CLOSED, place, ": the %s is closed", kind_names[kind]);
        return NULL;
    }
    if (py_in_callback() || self->writing || (exclusive && self->readers > 0)) {
        refuse_busy(place, self);
        return NULL;
    }
    if (exclusive) {
        self->writing = 1;
    } else {
        self->readers += 1;
    }
    lease->handle = object;
    lease->exclusive = exclusive;
    return self->pointer;
}

void py_lease_return(py_lease *lease) {
    handle *self = (handle *)lease->handle;
    if (self == NULL) { return; }
    if (lease->exclusive) {
        self->writing = 0;
    } else {
        self->readers -= 1;
    }
    lease->handle = NULL;
}

int py_caches_take(PyObject *object, py_caches *caches, py_place place) {
    caches->items = PySequence_Tuple(object); // a list could change while the GIL is released
    if (caches->items == NULL) { return py_refuse_because(place); }
    const size_t count = (size_t)PyTuple_GET_SIZE(caches->items);
    caches->pointers = PyMem_Calloc(count + 1, sizeof(*caches->pointers));
    caches->leases = PyMem_Calloc(count + 1, sizeof(*caches->leases));
    if (caches->pointers == NULL || caches->leases == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (; caches->count < count; ++caches->count) {
        caches->pointers[caches->count] =
            py_lease_take(PyTuple_GET_ITEM(caches->items, (Py_ssize_t)caches->count), PY_CACHE, 0,
                          &caches->leases[caches->count], place);
        if (caches->pointers[caches->count] == NULL) { return -1; }
    }
    return 0;
}

void py_caches_return(py_caches *caches) {
    while (caches->count > 0) { py_lease_return(&caches->leases[--caches->count]); }
    PyMem_Free(caches->pointers);
    PyMem_Free(caches->leases);
    Py_XDECREF(caches->items);
    memset(caches, 0, sizeof(*caches));
}

// ---- the type

static PyObject *close_handle(PyObject *object, PyObject *unused) {
    handle *self = (handle *)object;
    (void)unused;
    if (self->pointer != NULL && (self->writing || self->readers > 0 || py_in_callback())) {
        refuse_busy((py_place){"close", "self"}, self);
        return NULL;
    }
    destroy(self);
    Py_RETURN_NONE;
}

static PyObject *get_closed(PyObject *object, void *unused) {
    (void)unused;
    return PyBool_FromLong(((handle *)object)->pointer == NULL);
}

static PyObject *refuse_pickle(PyObject *object, PyObject *unused) {
    (void)unused;
    return PyErr_Format(PyExc_TypeError,
                        "a %s handle belongs to this process and cannot be pickled",
                        kind_names[((handle *)object)->kind]);
}

static PyMethodDef methods[] = {
    {"close", close_handle, METH_NOARGS, "Destroys the C object; refused while it is in use."},
    {"__reduce_ex__", refuse_pickle, METH_O, NULL},
    {"__reduce__", refuse_pickle, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef properties[] = {
    {"closed", get_closed, NULL, "Whether close() was called.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyTypeObject py_handle_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "mustafar._mustafar.Handle",
    .tp_basicsize = sizeof(handle),
    .tp_dealloc = deallocate,
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_traverse = traverse,
    .tp_methods = methods,
    .tp_getset = properties,
};
