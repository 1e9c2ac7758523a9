// SPDX-License-Identifier: Apache-2.0
#include "support.h"

#include <stdarg.h>
#include <stdio.h>

static PyObject *factory;
static _Thread_local mustafar_error thread_error;
// What a callback raised, until the call that called it has come back. Always on the same thread.
static _Thread_local PyObject *kept_type, *kept_value, *kept_traceback;

PyObject *py_set_error_factory(PyObject *callable) {
    if (!PyCallable_Check(callable)) {
        PyErr_SetString(PyExc_TypeError, "the error factory must be callable");
        return NULL;
    }
    Py_INCREF(callable);
    Py_XSETREF(factory, callable);
    Py_RETURN_NONE;
}

mustafar_error *py_error(void) {
    thread_error.struct_size = (uint32_t)sizeof(thread_error);
    thread_error.code = MUSTAFAR_OK;
    thread_error.message[0] = '\0';
    memset(thread_error.values, 0, sizeof(thread_error.values));
    return &thread_error;
}

static void raise(int code, const char *message, const int64_t *values) {
    if (factory == NULL) {
        PyErr_Format(PyExc_RuntimeError, "%s (status %d)", message, code);
        return;
    }
    // "replace": a message that was cut in the middle of a character must not hide the error.
    PyObject *text = PyUnicode_DecodeUTF8(message, (Py_ssize_t)strlen(message), "replace");
    if (text == NULL) { return; }
    PyObject *error =
        PyObject_CallFunction(factory, "iN(LLLL)", code, text, (long long)values[0],
                              (long long)values[1], (long long)values[2], (long long)values[3]);
    if (error == NULL) { return; }
    PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    Py_DECREF(error);
}

void py_keep_exception(void) {
    Py_CLEAR(kept_type);
    Py_CLEAR(kept_value);
    Py_CLEAR(kept_traceback);
    PyErr_Fetch(&kept_type, &kept_value, &kept_traceback);
}

int py_check(mustafar_status status) {
    if (kept_type != NULL) {
        PyErr_Restore(kept_type, kept_value, kept_traceback);
        kept_type = kept_value = kept_traceback = NULL;
        return -1;
    }
    if (status == MUSTAFAR_OK) { return 0; }
    raise(status, thread_error.message, thread_error.values);
    return -1;
}

int py_refuse(int code, py_place place, const char *format, ...) {
    static const int64_t none[4];
    char message[512];
    va_list arguments;
    int used = snprintf(message, sizeof(message), "%s: %s", place.call, place.argument);
    if (used < 0 || used >= (int)sizeof(message)) { used = (int)sizeof(message) - 1; }
    va_start(arguments, format);
    vsnprintf(message + used, sizeof(message) - (size_t)used, format, arguments);
    va_end(arguments);
    raise(code, message, none);
    return -1;
}

int py_refuse_because(py_place place) {
    if (!PyErr_ExceptionMatches(PyExc_Exception) || PyErr_ExceptionMatches(PyExc_MemoryError)) {
        return -1;
    }
    PyObject *type, *cause, *traceback;
    PyErr_Fetch(&type, &cause, &traceback);
    PyErr_NormalizeException(&type, &cause, &traceback);
    PyObject *said = PyObject_Str(cause);
    const char *text = said != NULL ? PyUnicode_AsUTF8(said) : NULL;
    if (text == NULL) { PyErr_Clear(); }
    py_refuse(MUSTAFAR_INVALID_ARGUMENT, place, ": %s",
              text != NULL ? text : "it failed to convert");
    Py_XDECREF(said);

    PyObject *new_type, *new_value, *new_traceback;
    PyErr_Fetch(&new_type, &new_value, &new_traceback);
    PyErr_NormalizeException(&new_type, &new_value, &new_traceback);
    if (traceback != NULL) { PyException_SetTraceback(cause, traceback); }
    PyException_SetCause(new_value, cause); // steals
    PyErr_Restore(new_type, new_value, new_traceback);
    Py_XDECREF(type);
    Py_XDECREF(traceback);
    return -1;
}
