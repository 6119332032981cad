/* tm_integer_unary_c: the absolute value or the negative of integers, portable C.
 *
 *   x   int32 or int64  [elements]   `bytes` each
 *   y   the same        [elements]
 *
 * Quantisation  none. The smallest number, whose negative is none of its type, stays what it is.
 * Scratch       none.
 * Requires      nothing.
 * Overlap       reads element i, then writes element i.
 * Source        TFLite kernels/elementwise.cc (Abs), neg.cc.
 */
#ifndef TM_INTEGER_UNARY_C_H
#define TM_INTEGER_UNARY_C_H

#include "tm_integer_c.h"

TM_INLINE void tm_integer_unary_c(const void *x, void *y, int32_t elements, int32_t function, int32_t bytes)
{
    const uint8_t *const from = (const uint8_t *)x;
    uint8_t *const to = (uint8_t *)y;
    for (int32_t i = 0; i < elements; ++i) {
        const int64_t value = tm_integer_load(from + i * bytes, bytes);
        const int64_t negative = tm_integer(0, value, TM_INTEGER_SUB);
        tm_integer_store(to + i * bytes, bytes, function == TM_INTEGER_ABS && value >= 0 ? value : negative);
    }
}

#endif
