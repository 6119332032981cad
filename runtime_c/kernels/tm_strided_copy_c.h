/* tm_strided_copy_c: elements of a regular walk through the input, one after another, portable C, any type.
 *
 *   x          any    the input, densely packed
 *   y          any    [d0]..[d5]
 *   geometry   int32  [2][6]   output dims d0..d5, then the input's stride along each, in elements
 *
 * Quantisation  none: bytes move, none changes.
 * Scratch       none.
 * Requires      `start`: elements of x before the first one taken; `element_bytes` 1, 2, 4 or 8.
 * Overlap       writes while it reads: y must not touch bytes of x still needed.
 * Source        TFLite kernels/internal/reference/strided_slice.h, space_to_depth.h, depth_to_space.h,
 *               reverse.h, transpose.h; kernels/tile.cc.
 */
#ifndef TM_STRIDED_COPY_C_H
#define TM_STRIDED_COPY_C_H

#include "tm_runtime.h"

/* A run of elements that lie `stride` elements apart; a copy of constant size is one load and one store. */
TM_INLINE void tm_strided_run_c(const uint8_t *x, uint8_t *y, int32_t run, int32_t stride,
                                int32_t element_bytes)
{
    if (stride == 1) {
        memcpy(y, x, (size_t)(run * element_bytes));
    } else if (element_bytes == 1) {
        for (int32_t i = 0; i < run; ++i) {
            y[i] = x[i * stride];
        }
    } else if (element_bytes == 2) {
        for (int32_t i = 0; i < run; ++i) {
            memcpy(y + 2 * i, x + 2 * i * stride, 2);
        }
    } else if (element_bytes == 4) {
        for (int32_t i = 0; i < run; ++i) {
            memcpy(y + 4 * i, x + 4 * i * stride, 4);
        }
    } else {
        for (int32_t i = 0; i < run; ++i) {
            memcpy(y + 8 * i, x + 8 * i * stride, 8);
        }
    }
}

TM_INLINE void tm_strided_copy_c(const void *x, void *y, const int32_t *geometry, int32_t element_bytes,
                                 int32_t start)
{
    const int32_t run = geometry[TM_RANK - 1];
    const int32_t stride = geometry[2 * TM_RANK - 1];
    const uint8_t *const from = (const uint8_t *)x;
    uint8_t *to = (uint8_t *)y;
    int32_t index[TM_RANK - 1] = {0};
    int32_t offset[1] = {start};
    const int32_t runs = tm_walk_runs(geometry);
    for (int32_t r = 0; r < runs; ++r) {
        tm_strided_run_c(from + offset[0] * element_bytes, to, run, stride, element_bytes);
        to += run * element_bytes;
        tm_walk_next(geometry, 1, index, offset);
    }
}

#endif
