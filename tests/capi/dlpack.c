/* SPDX-License-Identifier: Apache-2.0
 * dlpack.h: every dtype, the refusals, strides, the error struct; and that a view made so can be appended. */
#include "mustafar/dlpack.h"

#include <stdlib.h>
#include <string.h>

#include "common.h"

static float data[64 * 4];
static int64_t shape[5], strides[5];

static mustafar_dl_managed_tensor good(void) {
    mustafar_dl_managed_tensor tensor;
    memset(&tensor, 0, sizeof tensor);
    tensor.version.major = 1;
    tensor.version.minor = 7; /* a minor version we have not heard of */
    tensor.dl_tensor.data = data;
    tensor.dl_tensor.device.device_type = 1;
    tensor.dl_tensor.dtype.code = 2;
    tensor.dl_tensor.dtype.bits = 32;
    tensor.dl_tensor.dtype.lanes = 1;
    tensor.dl_tensor.ndim = 3;
    tensor.dl_tensor.shape = shape;
    shape[0] = 2;
    shape[1] = 1;
    shape[2] = 32;
    return tensor;
}

static void refused(const mustafar_dl_managed_tensor* tensor, int for_writing,
                    mustafar_status status, int64_t value, const char* mentions) {
    mustafar_tensor out, before;
    memset(&out, 0x5a, sizeof out);
    before = out;
    EXPECT(status, mustafar_tensor_from_dlpack(tensor, for_writing, &out, ERR));
    CHECK_CASE(last.values[0] == value && strstr(last.message, mentions) != NULL, "\"%s\" %d",
               last.message, (int)last.values[0]);
    CHECK(memcmp(&out, &before, sizeof out) == 0);
    CHECK(mustafar_tensor_from_dlpack(tensor, for_writing, &out, NULL) == status);
}

static void layout_is_that_of_dlpack(void) {
    CHECK(sizeof(mustafar_dl_managed_tensor) == 80 && sizeof(mustafar_dl_tensor) == 48);
    CHECK(offsetof(mustafar_dl_managed_tensor, manager_ctx) == 8);
    CHECK(offsetof(mustafar_dl_managed_tensor, deleter) == 16);
    CHECK(offsetof(mustafar_dl_managed_tensor, flags) == 24);
    CHECK(offsetof(mustafar_dl_managed_tensor, dl_tensor) == 32);
    CHECK(offsetof(mustafar_dl_tensor, device) == 8 && offsetof(mustafar_dl_tensor, ndim) == 16);
    CHECK(offsetof(mustafar_dl_tensor, dtype) == 20 && offsetof(mustafar_dl_tensor, shape) == 24);
    CHECK(offsetof(mustafar_dl_tensor, strides) == 32 &&
          offsetof(mustafar_dl_tensor, byte_offset) == 40);
}

static void conversions(void) {
    static const struct {
        uint8_t code, bits;
        mustafar_dtype dtype;
    } types[] = {{2, 32, MUSTAFAR_F32},
                 {2, 16, MUSTAFAR_F16},
                 {4, 16, MUSTAFAR_BF16},
                 {1, 8, MUSTAFAR_U8},
                 {0, 32, MUSTAFAR_I32}};
    mustafar_dl_managed_tensor tensor = good();
    mustafar_tensor out;
    int code, bits;
    size_t i;
    EXPECT(MUSTAFAR_OK, mustafar_tensor_from_dlpack(&tensor, 0, &out, ERR));
    CHECK(out.data == data && out.dtype == MUSTAFAR_F32 && out.device == 0 && out.ndim == 3 &&
          out.reserved == 0);
    CHECK(out.shape[0] == 2 && out.shape[1] == 1 && out.shape[2] == 32 && out.shape[3] == 0);
    CHECK(out.strides[0] == 32 && out.strides[1] == 32 && out.strides[2] == 1 &&
          out.strides[3] == 0);
    tensor.dl_tensor.strides = strides;
    strides[0] = -64;
    strides[1] = 0;
    strides[2] = 2;
    tensor.dl_tensor.byte_offset = 256;
    EXPECT(MUSTAFAR_OK, mustafar_tensor_from_dlpack(&tensor, 1, &out, ERR));
    CHECK(out.data == data + 64 && out.strides[0] == -64 && out.strides[1] == 0 &&
          out.strides[2] == 2);
    tensor = good();
    tensor.flags = 1; /* read-only */
    EXPECT(MUSTAFAR_OK, mustafar_tensor_from_dlpack(&tensor, 0, &out, ERR));
    refused(&tensor, 1, MUSTAFAR_INVALID_ARGUMENT, 1, "read-only");
    tensor.flags = 2; /* "is a copy": writable */
    EXPECT(MUSTAFAR_OK, mustafar_tensor_from_dlpack(&tensor, 1, &out, ERR));
    tensor.flags = 0;
    for (code = 0; code < 20; ++code) {
        for (bits = 1; bits <= 128; bits *= 2) {
            mustafar_dtype dtype = 0;
            for (i = 0; i < 5; ++i) {
                dtype = types[i].code == code && types[i].bits == bits ? types[i].dtype : dtype;
            }
            tensor.dl_tensor.dtype.code = (uint8_t)code;
            tensor.dl_tensor.dtype.bits = (uint8_t)bits;
            if (dtype != 0) {
                EXPECT(MUSTAFAR_OK, mustafar_tensor_from_dlpack(&tensor, 1, &out, ERR));
                CHECK(out.dtype == dtype);
            } else {
                refused(&tensor, 0, MUSTAFAR_UNSUPPORTED, code * 256 + bits, "dtype");
            }
        }
    }
    tensor = good();
    shape[0] = 0; /* empty: no data needed */
    tensor.dl_tensor.data = NULL;
    EXPECT(MUSTAFAR_OK, mustafar_tensor_from_dlpack(&tensor, 0, &out, ERR));
    CHECK(out.data == NULL && out.shape[0] == 0 && out.strides[0] == 32);
}

static void refusals(void) {
    mustafar_dl_managed_tensor tensor = good();
    mustafar_tensor out;
    refused(NULL, 0, MUSTAFAR_INVALID_ARGUMENT, 0, "tensor");
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_tensor_from_dlpack(&tensor, 0, NULL, ERR));
    tensor.version.major = 2;
    refused(&tensor, 0, MUSTAFAR_UNSUPPORTED, 2, "version");
    tensor.version.major = 0;
    refused(&tensor, 0, MUSTAFAR_UNSUPPORTED, 0, "version");
    tensor = good();
    tensor.dl_tensor.device.device_type = 2;
    refused(&tensor, 0, MUSTAFAR_UNSUPPORTED, 2, "device");
    tensor = good();
    tensor.dl_tensor.dtype.lanes = 4;
    refused(&tensor, 0, MUSTAFAR_UNSUPPORTED, 4, "lanes");
    tensor.dl_tensor.dtype.lanes = 0;
    refused(&tensor, 0, MUSTAFAR_UNSUPPORTED, 0, "lanes");
    tensor = good();
    tensor.dl_tensor.ndim = 5;
    refused(&tensor, 0, MUSTAFAR_UNSUPPORTED, 5, "ndim");
    tensor.dl_tensor.ndim = 0;
    refused(&tensor, 0, MUSTAFAR_UNSUPPORTED, 0, "ndim");
    tensor.dl_tensor.ndim = -1;
    refused(&tensor, 0, MUSTAFAR_UNSUPPORTED, -1, "ndim = -1");
    tensor = good();
    tensor.dl_tensor.shape = NULL;
    refused(&tensor, 0, MUSTAFAR_INVALID_ARGUMENT, 0, "shape");
    tensor = good();
    shape[1] = -3;
    refused(&tensor, 0, MUSTAFAR_INVALID_ARGUMENT, -3, "negative");
    shape[1] = INT64_MIN;
    refused(&tensor, 0, MUSTAFAR_INVALID_ARGUMENT, INT64_MIN, "-9223372036854775808");
    tensor = good();
    shape[0] = INT64_C(1) << 60;
    refused(&tensor, 0, MUSTAFAR_INVALID_ARGUMENT, shape[0], "64 bits");
    shape[1] = 0; /* also where an extent of 0 hides it */
    refused(&tensor, 0, MUSTAFAR_INVALID_ARGUMENT, shape[0], "64 bits");
    tensor = good();
    tensor.dl_tensor.data = NULL;
    refused(&tensor, 0, MUSTAFAR_INVALID_ARGUMENT, 0, "data");
    tensor = good();
    tensor.dl_tensor.byte_offset = 2;
    refused(&tensor, 0, MUSTAFAR_INVALID_ARGUMENT, 2, "align");
    tensor.dl_tensor.byte_offset = UINT64_MAX - 3;
    refused(&tensor, 0, MUSTAFAR_INVALID_ARGUMENT, INT64_MAX, "byte_offset");
    tensor = good(); /* and the tensor was good all along */
    EXPECT(MUSTAFAR_OK, mustafar_tensor_from_dlpack(&tensor, 0, &out, ERR));
}

static void errors_of_any_size(void) {
    mustafar_dl_managed_tensor tensor = good();
    mustafar_tensor out;
    mustafar_error whole = MUSTAFAR_ERROR_INIT;
    size_t size;
    tensor.version.major = 9;
    CHECK(mustafar_tensor_from_dlpack(&tensor, 0, &out, &whole) == MUSTAFAR_UNSUPPORTED);
    CHECK(whole.code == MUSTAFAR_UNSUPPORTED && whole.values[0] == 9 && whole.values[1] == 0);
    for (size = 4; size <= sizeof whole; ++size) {
        fence memory = fence_make((size + 7) / 8 * 8);
        const uint32_t stated = (uint32_t)size;
        const size_t head = offsetof(mustafar_error, message);
        memset(memory.data, 0x77, size);
        memcpy(memory.data, &stated, 4);
        CHECK(mustafar_tensor_from_dlpack(&tensor, 0, &out, (mustafar_error*)(void*)memory.data) ==
              MUSTAFAR_UNSUPPORTED);
        CHECK(memcmp(memory.data, &stated, 4) == 0);
        if (size > head) {
            const size_t length =
                strlen(whole.message) < size - head - 1 ? strlen(whole.message) : size - head - 1;
            CHECK_CASE(memcmp(memory.data + head, whole.message, length) == 0 &&
                           memory.data[head + length] == 0,
                       "size %u", (unsigned)size);
        }
        fence_free(&memory);
    }
}

static void appended(void) {
    mustafar_context* context = make_context(1);
    mustafar_cache* cache = make_cache(context, make_geometry(1, 1, 1, 32, 32, MUSTAFAR_F16),
                                       "dense", 10, MUSTAFAR_CACHE_AUTO);
    mustafar_dl_managed_tensor tensor = good();
    float values[64];
    const mustafar_tensor out = view(values, MUSTAFAR_F32, 2, 32, 0, 0);
    mustafar_tensor kv;
    int i;
    for (i = 0; i < 64; ++i) { data[i] = (float)i; }
    EXPECT(MUSTAFAR_OK, mustafar_tensor_from_dlpack(&tensor, 0, &kv, ERR));
    EXPECT(MUSTAFAR_OK, mustafar_cache_append(cache, 0, &kv, &kv, 0, ERR));
    EXPECT(MUSTAFAR_OK, mustafar_cache_export(cache, 0, 0, 0, 0, 2, &out, NULL, ERR));
    CHECK(memcmp(values, data, sizeof values) == 0);
    mustafar_cache_destroy(cache);
    mustafar_context_destroy(context);
}

int main(void) {
    layout_is_that_of_dlpack();
    conversions();
    refusals();
    errors_of_any_size();
    appended();
    return check_summary("capi/dlpack");
}
