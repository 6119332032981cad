/* tm_mul_s8_c: element by element product of two tensors of one shape, portable C, int8.
 *
 *   x1, x2   int8  [elements]
 *   y        int8  [elements]
 *
 * Quantisation  y = clamp(zp_out + requant((x1 - zp_1) * (x2 - zp_2))), rounding twice as the TFLite
 *               reference.
 * Scratch       none.
 * Requires      nothing.
 * Overlap       reads element i of both inputs, then writes element i: fully in place.
 * Source        TFLite kernels/internal/reference/integer_ops/mul.h.
 */
#ifndef TM_MUL_S8_C_H
#define TM_MUL_S8_C_H

#include "tm_runtime.h"

/* One product; also what the broadcasting kernels compute. */
TM_INLINE int8_t tm_mul_element_s8_c(int32_t x1, int32_t x2, int32_t zp_1, int32_t zp_2, int32_t multiplier,
                                     int32_t shift, int32_t zp_out, int32_t lo, int32_t hi)
{
    return tm_clamp_s8(tm_requant((x1 - zp_1) * (x2 - zp_2), multiplier, shift), zp_out, lo, hi);
}

TM_INLINE void tm_mul_s8_c(const int8_t *x1, const int8_t *x2, int8_t *y, int32_t elements, int32_t zp_1,
                           int32_t zp_2, int32_t multiplier, int32_t shift, int32_t zp_out, int32_t lo,
                           int32_t hi)
{
    for (int32_t i = 0; i < elements; ++i) {
        y[i] = tm_mul_element_s8_c(x1[i], x2[i], zp_1, zp_2, multiplier, shift, zp_out, lo, hi);
    }
}

#endif
