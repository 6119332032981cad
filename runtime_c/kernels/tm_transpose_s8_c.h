/* tm_transpose_s8_c: reorder the dimensions of a tensor, portable C, int8.
 *
 *   x          int8   the input, densely packed
 *   y          int8   [d0]..[d5]
 *   geometry   int32  [2][6]   output dims d0..d5, then the input's stride along each of them
 *
 * Quantisation  none: input and output share scale and zero point.
 * Scratch       none.
 * Requires      rank at most 6.
 * Overlap       none.
 * Source        TFLite kernels/internal/reference/transpose.h.
 */
#ifndef TM_TRANSPOSE_S8_C_H
#define TM_TRANSPOSE_S8_C_H

#include "tm_runtime.h"

TM_INLINE void tm_transpose_s8_c(const int8_t *TM_RESTRICT x, int8_t *TM_RESTRICT y, const int32_t *geometry)
{
    const int32_t run = geometry[TM_RANK - 1];
    const int32_t stride = geometry[2 * TM_RANK - 1];
    int32_t index[TM_RANK - 1] = {0};
    int32_t offset[1] = {0};
    const int32_t runs = tm_walk_runs(geometry);
    for (int32_t r = 0; r < runs; ++r) {
        if (stride == 1) {
            tm_copy_s8(y, x + offset[0], run);
        } else {
            for (int32_t i = 0; i < run; ++i) {
                y[i] = x[offset[0] + i * stride];
            }
        }
        y += run;
        tm_walk_next(geometry, 1, index, offset);
    }
}

#endif
