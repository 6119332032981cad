/* tm_softmax_s16_c: softmax over the last dimension, portable C, int16.
 *
 *   x            int16  [batches][classes]
 *   y            int16  [batches][classes]   Q0.15
 *   exp          int16  [513]                exp on [-10, 0] in Q0.15
 *   reciprocal   int16  [513]                1 / (1 + v) on [0, 1] in Q0.15
 *
 * Quantisation  the differences from the row's maximum are rescaled so that [-10, 0] are the table's 16 bits; y
 *               holds the exponentials until their sum is known.
 * Scratch       none.
 * Requires      at most 65,535 classes.
 * Overlap       row by row; writes element i of a row after it has read it.
 * Source        TFLite kernels/internal/reference/softmax.h (SoftmaxInt16).
 */
#ifndef TM_SOFTMAX_S16_C_H
#define TM_SOFTMAX_S16_C_H

#include "tm_wide.h"

TM_INLINE void tm_softmax_s16_c(const int16_t *x, int16_t *y, const int16_t *exp, const int16_t *reciprocal,
                                int32_t batches, int32_t classes, int32_t multiplier, int32_t shift)
{
    for (int32_t b = 0; b < batches; ++b, x += classes, y += classes) {
        int32_t largest = INT16_MIN;
        int32_t sum = 0;
        int32_t zeros = 1; /* sum is positive */
        int32_t scale;
        for (int32_t c = 0; c < classes; ++c) {
            largest = tm_max(largest, x[c]);
        }
        for (int32_t c = 0; c < classes; ++c) {
            const int32_t scaled = tm_requant(x[c] - largest, multiplier, shift);
            const int32_t at = tm_clamp(scaled, -65535, 0) + INT16_MAX;
            y[c] = (int16_t)tm_lut_s16(at, exp);
            sum += y[c];
        }
        for (; zeros < 30 && (((uint32_t)sum << zeros) & 0x80000000u) == 0; ++zeros) {
        }
        /* between 1 and 2 in Q1.16, then what is above 1 as the table's 16 bits */
        scale = (int32_t)((((uint32_t)sum << (zeros - 1)) + (1u << 13)) >> 14) - (1 << 15) - (1 << 16);
        scale = tm_lut_s16(tm_clamp(scale, INT16_MIN, INT16_MAX), reciprocal);
        for (int32_t c = 0; c < classes; ++c) {
            const int32_t right = 31 - zeros;
            y[c] = tm_limit_s16((y[c] * scale + (1 << (right - 1))) >> right, 0, INT16_MAX);
        }
    }
}

#endif
