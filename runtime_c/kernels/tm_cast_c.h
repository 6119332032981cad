/* tm_cast_c: the same numbers in another type, portable C.
 *
 *   x   int8, int16, int32, int64, float or bool  [elements]
 *   y   likewise                                  [elements]
 *
 * Quantisation  none: scales are not looked at. Integers wrap; floats are cut off, beyond the type they
 *               saturate, and NaN becomes the largest number; to bool, all but 0 is 1.
 * Scratch       none.
 * Requires      `from` and `to` are known when compiling, so that one conversion is left. Float arithmetic only
 *               where one of them is float: at a model's edges.
 * Overlap       reads element i, then writes element i; need not be aligned.
 * Source        TFLite kernels/cast.cc.
 */
#ifndef TM_CAST_C_H
#define TM_CAST_C_H

#include "tm_runtime.h"

/* Element types, as in tm_model.h. */
enum {
    TM_CAST_INT8 = 0,
    TM_CAST_FLOAT32 = 1,
    TM_CAST_INT16 = 2,
    TM_CAST_INT32 = 3,
    TM_CAST_INT64 = 4,
    TM_CAST_BOOL = 5
};

TM_INLINE int32_t tm_cast_bytes(int32_t type)
{
    const int32_t bytes[] = {1, 4, 2, 4, 8, 1};
    return bytes[type];
}

/* An element that is an integer. memcpy, as x may be overwritten by elements of another type. */
TM_INLINE int64_t tm_cast_load(const uint8_t *x, int32_t type)
{
    int16_t half;
    int32_t word;
    int64_t wide;
    switch (type) {
    case TM_CAST_INT8:
        return (int8_t)x[0];
    case TM_CAST_INT16:
        memcpy(&half, x, sizeof half);
        return half;
    case TM_CAST_INT32:
        memcpy(&word, x, sizeof word);
        return word;
    case TM_CAST_INT64:
        memcpy(&wide, x, sizeof wide);
        return wide;
    default:
        return x[0];
    }
}

TM_INLINE void tm_cast_store(uint8_t *y, int32_t type, int64_t value)
{
    const int16_t half = (int16_t)value;
    const int32_t word = (int32_t)value;
    switch (type) {
    case TM_CAST_INT8:
        y[0] = (uint8_t)value;
        return;
    case TM_CAST_INT16:
        memcpy(y, &half, sizeof half);
        return;
    case TM_CAST_INT32:
        memcpy(y, &word, sizeof word);
        return;
    case TM_CAST_INT64:
        memcpy(y, &value, sizeof value);
        return;
    default:
        y[0] = value != 0;
        return;
    }
}

/* A float as an integer of so many bytes. */
TM_INLINE int64_t tm_cast_saturate(float value, int32_t bytes)
{
    const int64_t highest = INT64_MAX >> (64 - 8 * bytes);
    const float limit = bytes == 8   ? 9223372036854775808.0f
                        : bytes == 4 ? 2147483648.0f
                        : bytes == 2 ? 32768.0f
                                     : 128.0f;
    if (value < -limit) {
        return -highest - 1;
    }
    return value < limit ? (int64_t)value : highest;
}

TM_INLINE void tm_cast_c(const void *x, void *y, int32_t elements, int32_t from, int32_t to)
{
    const uint8_t *source = (const uint8_t *)x;
    uint8_t *target = (uint8_t *)y;
    for (int32_t i = 0; i < elements; ++i) {
        if (from == TM_CAST_FLOAT32) {
            float value;
            memcpy(&value, source, sizeof value);
            if (to == TM_CAST_FLOAT32) {
                memcpy(target, &value, sizeof value);
            } else if (to == TM_CAST_BOOL) {
                target[0] = value < 0.0f || value > 0.0f || value != value;
            } else {
                tm_cast_store(target, to, tm_cast_saturate(value, tm_cast_bytes(to)));
            }
        } else {
            const int64_t value = tm_cast_load(source, from);
            if (to == TM_CAST_FLOAT32) {
                const float real = (float)value;
                memcpy(target, &real, sizeof real);
            } else {
                tm_cast_store(target, to, value);
            }
        }
        source += tm_cast_bytes(from);
        target += tm_cast_bytes(to);
    }
}

#endif
