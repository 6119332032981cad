/* tm_mul_s16_c: product of two tensors that broadcast, portable C, int16.
 *
 *   x1, x2     int16  the inputs, densely packed
 *   y          int16  [d0]..[d5], the broadcast shape
 *   geometry   int32  [3][6]   dims d0..d5, then each input's stride per dimension; 0 where it repeats
 *
 * Quantisation  y = clamp(requant(x1 * x2)), zero points 0; rounding twice as the TFLite reference.
 * Scratch       none.
 * Requires      nothing; dimensions that repeat alike may be merged to make the last one long.
 * Overlap       an input of the output's shape: in place. One that repeats: apart from y.
 * Source        TFLite kernels/internal/reference/integer_ops/mul.h.
 */
#ifndef TM_MUL_S16_C_H
#define TM_MUL_S16_C_H

#include "tm_wide.h"

TM_INLINE void tm_mul_s16_c(const int16_t *x1, const int16_t *x2, int16_t *y, const int32_t *geometry,
                            int32_t multiplier, int32_t shift, int32_t lo, int32_t hi)
{
    int32_t index[TM_RANK - 1] = {0};
    int32_t offset[2] = {0, 0};
    const int32_t runs = tm_walk_runs(geometry);
    const int32_t run = geometry[TM_RANK - 1];
    const int32_t stride_1 = geometry[2 * TM_RANK - 1];
    const int32_t stride_2 = geometry[3 * TM_RANK - 1];
    for (int32_t r = 0; r < runs; ++r) {
        for (int32_t i = 0; i < run; ++i) {
            const int32_t product = x1[offset[0] + i * stride_1] * x2[offset[1] + i * stride_2];
            *y++ = tm_limit_s16(tm_requant(product, multiplier, shift), lo, hi);
        }
        tm_walk_next(geometry, 2, index, offset);
    }
}

#endif
