/* tm_integer_c: a function of two tensors of integers that broadcast, portable C.
 *
 *   x1, x2     int32 or int64   the inputs, densely packed: `bytes` each
 *   y          the same, or bool where they are compared   [d0]..[d5], the broadcast shape
 *   geometry   int32  [3][6]   dims d0..d5, then each input's stride per dimension; 0 where it repeats
 *
 * Quantisation  none: token ids and the like. What leaves the type wraps, and so nothing is undefined.
 * Scratch       none.
 * Requires      a divisor other than zero. `swapped` exchanges x1 and x2.
 * Overlap       an input of the output's shape: in place. One that repeats: apart from y.
 * Source        TFLite kernels/add.cc, sub.cc, mul.cc, maximum_minimum.cc, comparisons.cc, floor_mod.cc, ...
 */
#ifndef TM_INTEGER_C_H
#define TM_INTEGER_C_H

#include "tm_runtime.h"

/* In the order of IntegerFunction in tinyml/graph.py. */
enum {
    TM_INTEGER_ADD = 0,
    TM_INTEGER_SUB,
    TM_INTEGER_MUL,
    TM_INTEGER_SQUARED_DIFFERENCE,
    TM_INTEGER_MINIMUM,
    TM_INTEGER_MAXIMUM,
    TM_INTEGER_FLOOR_DIV,
    TM_INTEGER_FLOOR_MOD,
    TM_INTEGER_EQUAL,
    TM_INTEGER_NOT_EQUAL,
    TM_INTEGER_LESS,
    TM_INTEGER_LESS_EQUAL,
    TM_INTEGER_GREATER,
    TM_INTEGER_GREATER_EQUAL,
    TM_INTEGER_ABS,
    TM_INTEGER_NEG
};

/* memcpy, as an input may be overwritten by outputs of another type. */
TM_INLINE int64_t tm_integer_load(const uint8_t *x, int32_t bytes)
{
    int32_t word;
    int64_t wide;
    if (bytes == 8) {
        memcpy(&wide, x, sizeof wide);
        return wide;
    }
    memcpy(&word, x, sizeof word);
    return word;
}

TM_INLINE void tm_integer_store(uint8_t *y, int32_t bytes, int64_t value)
{
    const int32_t word = (int32_t)value;
    if (bytes == 8) {
        memcpy(y, &value, sizeof value);
    } else if (bytes == 4) {
        memcpy(y, &word, sizeof word);
    } else {
        y[0] = (uint8_t)value;
    }
}

/* The quotient rounded down. The smallest number by -1 is the smallest number again. */
TM_INLINE int64_t tm_floor_div(int64_t a, int64_t b)
{
    if (b == -1) {
        return (int64_t)(0U - (uint64_t)a);
    }
    return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

TM_INLINE int64_t tm_integer(int64_t a, int64_t b, int32_t function)
{
    const uint64_t difference = (uint64_t)a - (uint64_t)b;
    switch (function) {
    case TM_INTEGER_ADD:
        return (int64_t)((uint64_t)a + (uint64_t)b);
    case TM_INTEGER_SUB:
        return (int64_t)difference;
    case TM_INTEGER_MUL:
        return (int64_t)((uint64_t)a * (uint64_t)b);
    case TM_INTEGER_SQUARED_DIFFERENCE:
        return (int64_t)(difference * difference);
    case TM_INTEGER_MINIMUM:
        return a < b ? a : b;
    case TM_INTEGER_MAXIMUM:
        return a > b ? a : b;
    case TM_INTEGER_FLOOR_DIV:
        return tm_floor_div(a, b);
    case TM_INTEGER_FLOOR_MOD:
        return (int64_t)((uint64_t)a - (uint64_t)tm_floor_div(a, b) * (uint64_t)b);
    case TM_INTEGER_EQUAL:
        return a == b;
    case TM_INTEGER_NOT_EQUAL:
        return a != b;
    case TM_INTEGER_LESS:
        return a < b;
    case TM_INTEGER_LESS_EQUAL:
        return a <= b;
    case TM_INTEGER_GREATER:
        return a > b;
    default:
        return a >= b;
    }
}

TM_INLINE void tm_integer_c(const void *x1, const void *x2, void *y, const int32_t *geometry,
                            int32_t function, int32_t swapped, int32_t bytes, int32_t bytes_out)
{
    const uint8_t *const first = (const uint8_t *)x1;
    const uint8_t *const second = (const uint8_t *)x2;
    uint8_t *to = (uint8_t *)y;
    int32_t index[TM_RANK - 1] = {0};
    int32_t offset[2] = {0, 0};
    const int32_t runs = tm_walk_runs(geometry);
    const int32_t run = geometry[TM_RANK - 1];
    const int32_t stride_1 = geometry[2 * TM_RANK - 1];
    const int32_t stride_2 = geometry[3 * TM_RANK - 1];
    for (int32_t r = 0; r < runs; ++r) {
        for (int32_t i = 0; i < run; ++i) {
            const int64_t a = tm_integer_load(first + (offset[0] + i * stride_1) * bytes, bytes);
            const int64_t b = tm_integer_load(second + (offset[1] + i * stride_2) * bytes, bytes);
            tm_integer_store(to, bytes_out,
                             swapped ? tm_integer(b, a, function) : tm_integer(a, b, function));
            to += bytes_out;
        }
        tm_walk_next(geometry, 2, index, offset);
    }
}

#endif
