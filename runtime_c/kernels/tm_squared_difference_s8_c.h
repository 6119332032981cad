/* tm_squared_difference_s8_c: squared difference of two int8 tensors that broadcast, portable C.
 *
 *   x1, x2     int8   the inputs, densely packed
 *   y          int8   [d0]..[d5], the broadcast shape
 *   geometry   int32  [3][6]   dims d0..d5, then each input's stride per dimension; 0 where it repeats
 *
 * Quantisation  each (x - zp) * 2^7 is rescaled to a common scale, then the square of their difference to the
 *               output's; three requantisations, each rounding twice as the TFLite reference.
 * Scratch       none.
 * Requires      requantisations below one (shift <= 0).
 * Overlap       an input of the output's shape: in place. One that repeats: apart from y.
 * Source        TFLite kernels/squared_difference.cc.
 */
#ifndef TM_SQUARED_DIFFERENCE_S8_C_H
#define TM_SQUARED_DIFFERENCE_S8_C_H

#include "tm_runtime.h"

TM_INLINE void tm_squared_difference_s8_c(const int8_t *x1, const int8_t *x2, int8_t *y,
                                          const int32_t *geometry, int32_t zp_1, int32_t multiplier_1,
                                          int32_t shift_1, int32_t zp_2, int32_t multiplier_2,
                                          int32_t shift_2, int32_t multiplier, int32_t shift, int32_t zp_out)
{
    int32_t index[TM_RANK - 1] = {0};
    int32_t offset[2] = {0, 0};
    const int32_t runs = tm_walk_runs(geometry);
    const int32_t run = geometry[TM_RANK - 1];
    const int32_t stride_1 = geometry[2 * TM_RANK - 1];
    const int32_t stride_2 = geometry[3 * TM_RANK - 1];
    for (int32_t r = 0; r < runs; ++r) {
        for (int32_t i = 0; i < run; ++i) {
            const int32_t one = 1 << 7;
            const int32_t difference =
                tm_requant((x1[offset[0] + i * stride_1] - zp_1) * one, multiplier_1, shift_1) -
                tm_requant((x2[offset[1] + i * stride_2] - zp_2) * one, multiplier_2, shift_2);
            const int32_t scaled = tm_requant(difference * difference, multiplier, shift);
            *y++ = tm_clamp_s8(scaled, zp_out, INT8_MIN, INT8_MAX);
        }
        tm_walk_next(geometry, 2, index, offset);
    }
}

#endif
