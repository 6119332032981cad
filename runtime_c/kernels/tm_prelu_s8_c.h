/* tm_prelu_s8_c: x where it is positive, x times a slope elsewhere, portable C, int8.
 *
 *   x          int8   the input, densely packed
 *   y          int8   [d0]..[d5], the input's shape
 *   alpha      int8   the slopes: constants that broadcast
 *   geometry   int32  [3][6]   dims d0..d5, then the strides of x and of alpha per dimension; 0 where it repeats
 *
 * Quantisation  y = clamp(zp_out + requant(x - zp_in)), or of (x - zp_in) * (alpha - zp_alpha) below zero;
 *               rounding twice as the TFLite reference.
 * Scratch       none.
 * Requires      nothing.
 * Overlap       reads element i, then writes element i: fully in place.
 * Source        TFLite kernels/internal/reference/prelu.h.
 */
#ifndef TM_PRELU_S8_C_H
#define TM_PRELU_S8_C_H

#include "tm_runtime.h"

TM_INLINE void tm_prelu_s8_c(const int8_t *x, int8_t *y, const int8_t *alpha, const int32_t *geometry,
                             int32_t zp_in, int32_t multiplier_1, int32_t shift_1, int32_t zp_alpha,
                             int32_t multiplier_2, int32_t shift_2, int32_t zp_out)
{
    int32_t index[TM_RANK - 1] = {0};
    int32_t offset[2] = {0, 0};
    const int32_t runs = tm_walk_runs(geometry);
    const int32_t run = geometry[TM_RANK - 1];
    const int32_t stride_1 = geometry[2 * TM_RANK - 1];
    const int32_t stride_2 = geometry[3 * TM_RANK - 1];
    for (int32_t r = 0; r < runs; ++r) {
        for (int32_t i = 0; i < run; ++i) {
            const int32_t value = x[offset[0] + i * stride_1] - zp_in;
            int32_t scaled;
            if (value >= 0) {
                scaled = tm_requant(value, multiplier_1, shift_1);
            } else {
                const int32_t slope = alpha[offset[1] + i * stride_2] - zp_alpha;
                scaled = tm_requant(value * slope, multiplier_2, shift_2);
            }
            *y++ = tm_clamp_s8(scaled, zp_out, INT8_MIN, INT8_MAX);
        }
        tm_walk_next(geometry, 2, index, offset);
    }
}

#endif
