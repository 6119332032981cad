/* tm_linear_s16_c: two slopes, one below zero: LEAKY_RELU and RELU, portable C, int16.
 *
 *   x, y   int16  [elements]
 *
 * Quantisation  y = clamp(requant(x)) with the parameters 1 at and above zero, 2 below; zero points 0; rounding
 *               twice as the TFLite reference.
 * Scratch       none.
 * Requires      nothing.
 * Overlap       reads element i, then writes element i: fully in place.
 * Source        TFLite kernels/internal/reference/leaky_relu.h (QuantizeLeakyRelu), kernels/activations.cc.
 */
#ifndef TM_LINEAR_S16_C_H
#define TM_LINEAR_S16_C_H

#include "tm_wide.h"

TM_INLINE void tm_linear_s16_c(const int16_t *x, int16_t *y, int32_t elements, int32_t multiplier_1,
                               int32_t shift_1, int32_t multiplier_2, int32_t shift_2)
{
    for (int32_t i = 0; i < elements; ++i) {
        const int32_t value = x[i];
        const int32_t scaled =
            value >= 0 ? tm_requant(value, multiplier_1, shift_1) : tm_requant(value, multiplier_2, shift_2);
        y[i] = tm_limit_s16(scaled, INT16_MIN, INT16_MAX);
    }
}

#endif
