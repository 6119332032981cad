/* tm_lookup_s8_c: any function of one int8 value, by a table, portable C.
 *
 *   x       int8  [elements], or bool as bytes of 0 and 1
 *   y       int8  [elements], or bool as bytes of 0 and 1
 *   table   int8  [256]   the outputs of the bytes 0 to 255: of 0 to 127, then of -128 to -1
 *
 * Quantisation  none: the table's entries are TFLite's results.
 * Scratch       none.
 * Requires      nothing.
 * Overlap       reads element i, then writes element i: fully in place.
 * Source        TFLite kernels/internal/reference/integer_ops/lut.h.
 */
#ifndef TM_LOOKUP_S8_C_H
#define TM_LOOKUP_S8_C_H

#include "tm_runtime.h"

TM_INLINE void tm_lookup_s8_c(const void *x, void *y, const int8_t *table, int32_t elements)
{
    const uint8_t *const from = (const uint8_t *)x;
    int8_t *const to = (int8_t *)y;
    TM_UNROLL_4
    for (int32_t i = 0; i < elements; ++i) {
        to[i] = table[from[i]];
    }
}

#endif
