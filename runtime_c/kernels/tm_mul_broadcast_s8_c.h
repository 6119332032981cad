/* tm_mul_broadcast_s8_c: product of two tensors that broadcast, portable C, int8.
 *
 *   x1, x2     int8   the inputs, densely packed
 *   y          int8   [d0]..[d5], the broadcast shape
 *   geometry   int32  [3][6]   dims d0..d5, then each input's stride per dimension; 0 where it repeats
 *
 * Quantisation  as tm_mul_s8_c.
 * Scratch       none.
 * Requires      nothing; dimensions that repeat alike may be merged to make the last one long.
 * Overlap       an input of the output's shape: in place. One that repeats: apart from y.
 * Source        TFLite kernels/internal/reference/mul.h (broadcasting of up to six dimensions).
 */
#ifndef TM_MUL_BROADCAST_S8_C_H
#define TM_MUL_BROADCAST_S8_C_H

#include "tm_mul_s8_c.h"
#include "tm_runtime.h"

TM_INLINE void tm_mul_broadcast_s8_c(const int8_t *x1, const int8_t *x2, int8_t *y, const int32_t *geometry,
                                     int32_t zp_1, int32_t zp_2, int32_t multiplier, int32_t shift,
                                     int32_t zp_out, int32_t lo, int32_t hi)
{
    int32_t index[TM_RANK - 1] = {0};
    int32_t offset[2] = {0, 0};
    const int32_t runs = tm_walk_runs(geometry);
    const int32_t run = geometry[TM_RANK - 1];
    const int32_t stride_1 = geometry[2 * TM_RANK - 1];
    const int32_t stride_2 = geometry[3 * TM_RANK - 1];
    for (int32_t r = 0; r < runs; ++r) {
        for (int32_t i = 0; i < run; ++i) {
            *y++ = tm_mul_element_s8_c(x1[offset[0] + i * stride_1], x2[offset[1] + i * stride_2], zp_1, zp_2,
                                       multiplier, shift, zp_out, lo, hi);
        }
        tm_walk_next(geometry, 2, index, offset);
    }
}

#endif
