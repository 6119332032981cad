/* tm_logical_c: AND or OR of two bool tensors that broadcast, portable C.
 *
 *   x1, x2     bool   the inputs, densely packed
 *   y          bool   [d0]..[d5], the broadcast shape
 *   geometry   int32  [3][6]   dims d0..d5, then each input's stride per dimension; 0 where it repeats
 *
 * Quantisation  none.
 * Scratch       none.
 * Requires      bytes of 0 and 1; both is 1 for AND, 0 for OR.
 * Overlap       an input of the output's shape: in place. One that repeats: apart from y.
 * Source        TFLite kernels/logical.cc.
 */
#ifndef TM_LOGICAL_C_H
#define TM_LOGICAL_C_H

#include "tm_runtime.h"

TM_INLINE void tm_logical_c(const uint8_t *x1, const uint8_t *x2, uint8_t *y, const int32_t *geometry,
                            int32_t both)
{
    int32_t index[TM_RANK - 1] = {0};
    int32_t offset[2] = {0, 0};
    const int32_t runs = tm_walk_runs(geometry);
    const int32_t run = geometry[TM_RANK - 1];
    const int32_t stride_1 = geometry[2 * TM_RANK - 1];
    const int32_t stride_2 = geometry[3 * TM_RANK - 1];
    for (int32_t r = 0; r < runs; ++r) {
        for (int32_t i = 0; i < run; ++i) {
            const uint32_t a = x1[offset[0] + i * stride_1];
            const uint32_t b = x2[offset[1] + i * stride_2];
            *y++ = (uint8_t)(both ? a & b : a | b);
        }
        tm_walk_next(geometry, 2, index, offset);
    }
}

#endif
