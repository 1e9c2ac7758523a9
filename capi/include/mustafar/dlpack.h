/* SPDX-License-Identifier: Apache-2.0
 *
 * DLPack tensors as the views of types.h. Optional: not part of mustafar.h, and nothing in it is exported
 * by the library; two static inline functions do the work.
 *
 * Only the versioned form of DLPack 1.x (`DLManagedTensorVersioned`) is read. Where the header of DLPack
 * is included before this one, its types are used; otherwise the types below, which have the same layout
 * and names of their own, so that both headers may meet in one file in any order. A pointer to one may be
 * cast to a pointer to the other.
 *
 * Ownership  the view borrows the data: call the tensor's deleter (once) after the last use of the view.
 * Threads    no state; calls may overlap. */
#ifndef MUSTAFAR_DLPACK_H
#define MUSTAFAR_DLPACK_H

#include <stddef.h> /* offsetof */
#include <string.h> /* memset, memcpy, strlen */

#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

#if defined(DLPACK_MAJOR_VERSION) && DLPACK_MAJOR_VERSION >= 1

typedef DLManagedTensorVersioned mustafar_dl_managed_tensor;

#else

typedef struct mustafar_dl_version {
    uint32_t major; /* another major version: only `deleter` may be touched */
    uint32_t minor;
} mustafar_dl_version;

typedef struct mustafar_dl_device {
    int32_t device_type; /* 1 = CPU */
    int32_t device_id;
} mustafar_dl_device;

typedef struct mustafar_dl_data_type {
    uint8_t code; /* 0 int, 1 unsigned, 2 float, 4 bfloat */
    uint8_t bits;
    uint16_t lanes;
} mustafar_dl_data_type;

typedef struct mustafar_dl_tensor {
    void *data;
    mustafar_dl_device device;
    int32_t ndim;
    mustafar_dl_data_type dtype;
    int64_t *shape;   /* [ndim] */
    int64_t *strides; /* [ndim] in elements; NULL = contiguous, last dimension fastest */
    uint64_t byte_offset;
} mustafar_dl_tensor;

typedef struct mustafar_dl_managed_tensor {
    mustafar_dl_version version;
    void *manager_ctx;
    void (*deleter)(struct mustafar_dl_managed_tensor *self);
    uint64_t flags; /* bit 0: read-only */
    mustafar_dl_tensor dl_tensor;
} mustafar_dl_managed_tensor;

#endif

/* Fills `error` as far as its struct_size reaches. Part of mustafar_tensor_from_dlpack. */
static inline mustafar_status mustafar_dl_refuse(mustafar_error *error, mustafar_status status, const char *argument,
                                                 int64_t value, const char *way_out)
{
    const char *const call = "mustafar_tensor_from_dlpack: ";
    const char *parts[5];
    char digits[24];
    size_t at = sizeof digits - 1;
    uint64_t rest = value < 0 ? (uint64_t)0 - (uint64_t)value : (uint64_t)value;
    size_t room, used = 0, i;
    if (error == NULL) return status;
    digits[at] = '\0';
    do {
        digits[--at] = (char)('0' + (int)(rest % 10u));
        rest /= 10u;
    } while (rest != 0);
    if (value < 0) digits[--at] = '-';
    if (error->struct_size >= offsetof(mustafar_error, values)) error->code = status;
    if (error->struct_size >= offsetof(mustafar_error, message)) {
        memset(error->values, 0, sizeof error->values);
        error->values[0] = value;
    }
    room = error->struct_size < sizeof *error ? error->struct_size : sizeof *error;
    room = room > offsetof(mustafar_error, message) ? room - offsetof(mustafar_error, message) : 0;
    if (room == 0) return status;
    parts[0] = call;
    parts[1] = argument;
    parts[2] = " = ";
    parts[3] = digits + at;
    parts[4] = way_out;
    for (i = 0; i < 5; ++i) {
        size_t length = strlen(parts[i]);
        if (length > room - 1 - used) length = room - 1 - used;
        memcpy(error->message + used, parts[i], length);
        used += length;
    }
    error->message[used] = '\0';
    return status;
}

/* Describes the data of `tensor` as a view, without a copy: f32, f16, bf16, u8 or i32 of one lane in host
 * memory, 1 .. MUSTAFAR_MAX_DIMS dimensions.
 *   for_writing  not 0: the view is to be an output, and a tensor marked read-only is refused
 *   out          written on success only
 *   UNSUPPORTED  another major version than 1, a dtype, a device or a number of dimensions not served;
 *   INVALID_ARGUMENT NULL, negative extents, a size beyond 64 bits, data not aligned to its element,
 *   read-only data for writing. values[0] = the value at fault.                              Since 0.1 */
static inline MUSTAFAR_MUST_USE mustafar_status mustafar_tensor_from_dlpack(const mustafar_dl_managed_tensor *tensor,
                                                                            int for_writing, mustafar_tensor *out,
                                                                            mustafar_error *error)
{
    mustafar_tensor view;
    uint64_t element = 0, reach;
    int64_t stride = 1; /* product of the extents seen so far, empty ones left out */
    int32_t i;
    int empty = 0;
    memset(&view, 0, sizeof view);
    if (tensor == NULL) return mustafar_dl_refuse(error, MUSTAFAR_INVALID_ARGUMENT, "tensor", 0, " (NULL)");
    if (out == NULL) return mustafar_dl_refuse(error, MUSTAFAR_INVALID_ARGUMENT, "out", 0, " (NULL)");
    if (tensor->version.major != 1)
        return mustafar_dl_refuse(error, MUSTAFAR_UNSUPPORTED, "version.major", (int64_t)tensor->version.major,
                                  " is not served: ask the producer for DLPack 1 (max_version)");
    if (for_writing && (tensor->flags & 1u) != 0)
        return mustafar_dl_refuse(error, MUSTAFAR_INVALID_ARGUMENT, "flags", (int64_t)tensor->flags,
                                  " marks the tensor read-only; outputs need writable memory, pass a copy");
    if (tensor->dl_tensor.device.device_type != 1)
        return mustafar_dl_refuse(error, MUSTAFAR_UNSUPPORTED, "device_type",
                                  (int64_t)tensor->dl_tensor.device.device_type,
                                  " is not served: 1 (CPU) only; copy the tensor to host memory");
    if (tensor->dl_tensor.dtype.lanes != 1)
        return mustafar_dl_refuse(error, MUSTAFAR_UNSUPPORTED, "dtype.lanes", (int64_t)tensor->dl_tensor.dtype.lanes,
                                  " is not served: 1 only; make the lanes a dimension");
    switch (tensor->dl_tensor.dtype.code * 256u + tensor->dl_tensor.dtype.bits) {
    case 2 * 256 + 32: view.dtype = MUSTAFAR_F32; element = 4; break;
    case 2 * 256 + 16: view.dtype = MUSTAFAR_F16; element = 2; break;
    case 4 * 256 + 16: view.dtype = MUSTAFAR_BF16; element = 2; break;
    case 1 * 256 + 8: view.dtype = MUSTAFAR_U8; element = 1; break;
    case 0 * 256 + 32: view.dtype = MUSTAFAR_I32; element = 4; break;
    default:
        return mustafar_dl_refuse(error, MUSTAFAR_UNSUPPORTED, "dtype (256 * code + bits)",
                                  (int64_t)tensor->dl_tensor.dtype.code * 256 + tensor->dl_tensor.dtype.bits,
                                  " is not served: f32, f16, bf16, u8 or i32; convert the tensor");
    }
    if (tensor->dl_tensor.ndim < 1 || tensor->dl_tensor.ndim > MUSTAFAR_MAX_DIMS)
        return mustafar_dl_refuse(error, MUSTAFAR_UNSUPPORTED, "ndim", (int64_t)tensor->dl_tensor.ndim,
                                  " is not served: 1..4; reshape the tensor");
    if (tensor->dl_tensor.shape == NULL)
        return mustafar_dl_refuse(error, MUSTAFAR_INVALID_ARGUMENT, "shape", 0, " (NULL)");
    view.ndim = (uint32_t)tensor->dl_tensor.ndim;
    for (i = tensor->dl_tensor.ndim - 1; i >= 0; --i) {
        const int64_t extent = tensor->dl_tensor.shape[i];
        if (extent < 0)
            return mustafar_dl_refuse(error, MUSTAFAR_INVALID_ARGUMENT, "shape", extent, " is negative");
        if (extent > 0 && stride > INT64_MAX / 8 / extent)
            return mustafar_dl_refuse(error, MUSTAFAR_INVALID_ARGUMENT, "shape", extent,
                                      " makes the tensor larger than 64 bits can address");
        view.shape[i] = extent;
        view.strides[i] = tensor->dl_tensor.strides != NULL ? tensor->dl_tensor.strides[i] : stride;
        stride *= extent > 0 ? extent : 1;
        if (extent == 0) empty = 1;
    }
    if (tensor->dl_tensor.data == NULL && !empty)
        return mustafar_dl_refuse(error, MUSTAFAR_INVALID_ARGUMENT, "data", 0, " (NULL) of a tensor that is not empty");
    reach = (uint64_t)(uintptr_t)tensor->dl_tensor.data;
    if (tensor->dl_tensor.byte_offset > (uint64_t)INT64_MAX || reach > UINT64_MAX - tensor->dl_tensor.byte_offset)
        return mustafar_dl_refuse(error, MUSTAFAR_INVALID_ARGUMENT, "byte_offset", INT64_MAX,
                                  " or more leads out of the address space");
    reach += tensor->dl_tensor.byte_offset;
    if (reach % element != 0)
        return mustafar_dl_refuse(error, MUSTAFAR_INVALID_ARGUMENT, "data + byte_offset modulo element size",
                                  (int64_t)(reach % element), "; align the data to its element size");
    view.data = tensor->dl_tensor.data == NULL ? NULL : (char *)tensor->dl_tensor.data + tensor->dl_tensor.byte_offset;
    *out = view;
    return MUSTAFAR_OK;
}

#ifdef __cplusplus
}
#endif
#endif /* MUSTAFAR_DLPACK_H */
