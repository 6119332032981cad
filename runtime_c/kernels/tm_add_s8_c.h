/* tm_add_s8_c: element by element sum of two tensors of one shape, portable C, int8.
 *
 *   x1, x2   int8  [elements]
 *   y        int8  [elements]
 *
 * Quantisation  each (x - zp) * 2^20 is rescaled to a common scale, then their sum to the output's;
 *               three requantisations, each rounding twice as the TFLite reference.
 * Scratch       none.
 * Requires      requantisations below one (shift <= 0), which TFLite's ADD always has.
 * Overlap       reads element i of both inputs, then writes element i: fully in place.
 * Source        TFLite kernels/internal/reference/integer_ops/add.h.
 */
#ifndef TM_ADD_S8_C_H
#define TM_ADD_S8_C_H

#include "tm_runtime.h"

/* One sum; also what the broadcasting kernels compute. */
TM_INLINE int8_t tm_add_element_s8_c(int32_t x1, int32_t x2, int32_t zp_1, int32_t multiplier_1,
                                     int32_t shift_1, int32_t zp_2, int32_t multiplier_2, int32_t shift_2,
                                     int32_t multiplier, int32_t shift, int32_t zp_out, int32_t lo,
                                     int32_t hi)
{
    const int32_t one = 1 << 20;
    const int32_t sum = tm_requant((x1 - zp_1) * one, multiplier_1, shift_1) +
                        tm_requant((x2 - zp_2) * one, multiplier_2, shift_2);
    return tm_clamp_s8(tm_requant(sum, multiplier, shift), zp_out, lo, hi);
}

TM_INLINE void tm_add_s8_c(const int8_t *x1, const int8_t *x2, int8_t *y, int32_t elements, int32_t zp_1,
                           int32_t multiplier_1, int32_t shift_1, int32_t zp_2, int32_t multiplier_2,
                           int32_t shift_2, int32_t multiplier, int32_t shift, int32_t zp_out, int32_t lo,
                           int32_t hi)
{
    for (int32_t i = 0; i < elements; ++i) {
        y[i] = tm_add_element_s8_c(x1[i], x2[i], zp_1, multiplier_1, shift_1, zp_2, multiplier_2, shift_2,
                                   multiplier, shift, zp_out, lo, hi);
    }
}

#endif
