/* tm_softmax_table_s8_c: softmax over rows with exp as a table, portable C, int8.
 *
 *   x    int8  [batches][classes]
 *   y    int8  [batches][classes], scale 1/256 and zero point -128
 *   exp  int32 [256]   exp of 0, -1, ... steps of the input's scale in Q0.31, 0 where negligible
 *
 * Quantisation  as tm_softmax_s8_c.h, which takes five times the instructions and no table.
 * Scratch       none.
 * Requires      classes of at most 4,095: the sum has 12 integer bits.
 * Overlap       row by row; writes an element after it has read it for the last time.
 * Source        TFLite kernels/internal/reference/softmax.h.
 */
#ifndef TM_SOFTMAX_TABLE_S8_C_H
#define TM_SOFTMAX_TABLE_S8_C_H

#include "tm_softmax_s8_c.h"

TM_INLINE void tm_softmax_table_s8_c(const int8_t *x, int8_t *y, const int32_t *exp, int32_t batches,
                                     int32_t classes)
{
    for (int32_t b = 0; b < batches; ++b, x += classes, y += classes) {
        int32_t largest = INT8_MIN;
        int32_t sum = 0; /* Q12.19 */
        int32_t leading_zeros = 0;
        int32_t scale, bits;
        TM_UNROLL_4
        for (int32_t i = 0; i < classes; ++i) {
            largest = tm_max(largest, x[i]);
        }
        TM_UNROLL_4
        for (int32_t i = 0; i < classes; ++i) {
            sum += (int32_t)(((uint32_t)exp[largest - x[i]] + (1u << 11)) >> 12);
        }
        while (((uint32_t)sum << leading_zeros & 0x80000000u) == 0) {
            ++leading_zeros;
        }
        scale = tm_reciprocal_s8_c((int32_t)(((uint32_t)sum << leading_zeros) - 0x80000000u));
        bits = 12 - leading_zeros + 23;
        /* Beyond 31 bits (sums above 512) every quotient is below a half. */
        if (bits > 31) {
            memset(y, INT8_MIN, (size_t)classes);
            continue;
        }
        for (int32_t i = 0; i < classes; ++i) {
            /* Not negative: halves away from zero are halves up. */
            const uint32_t value = (uint32_t)tm_doubling_high_mul(scale, exp[largest - x[i]]);
            const uint32_t quotient = (value + ((uint32_t)1 << (bits - 1))) >> bits;
            y[i] = (int8_t)((int32_t)(quotient > 255 ? 255 : quotient) - 128);
        }
    }
}

#endif
