/* tm_select_s8_c: the element of one tensor or of another, as a condition says, all broadcast; portable C.
 *
 *   condition  bool   bytes of 0 and 1
 *   a, b       any    bytes of what to take where the condition is true, and where it is false
 *   y          any    [d0]..[d5], the bytes of the broadcast shape
 *   geometry   int32  [4][6]   dims d0..d5, then the strides of condition, a and b; 0 where one repeats
 *
 * Quantisation  none: bytes move. Those of a wider element are one more dimension, where the condition repeats.
 * Scratch       none.
 * Requires      nothing.
 * Overlap       an input of the output's shape: in place; where elements are wider the condition lies an element
 *               above y. One that repeats: apart from y.
 * Source        TFLite kernels/internal/reference/select.h.
 */
#ifndef TM_SELECT_S8_C_H
#define TM_SELECT_S8_C_H

#include "tm_runtime.h"

TM_INLINE void tm_select_s8_c(const uint8_t *condition, const void *a, const void *b, void *y,
                              const int32_t *geometry)
{
    const uint8_t *const from_a = (const uint8_t *)a;
    const uint8_t *const from_b = (const uint8_t *)b;
    uint8_t *to = (uint8_t *)y;
    int32_t index[TM_RANK - 1] = {0};
    int32_t offset[3] = {0, 0, 0};
    const int32_t runs = tm_walk_runs(geometry);
    const int32_t run = geometry[TM_RANK - 1];
    const int32_t stride_c = geometry[2 * TM_RANK - 1];
    const int32_t stride_a = geometry[3 * TM_RANK - 1];
    const int32_t stride_b = geometry[4 * TM_RANK - 1];
    for (int32_t r = 0; r < runs; ++r) {
        for (int32_t i = 0; i < run; ++i) {
            const uint8_t taken_a = from_a[offset[1] + i * stride_a];
            const uint8_t taken_b = from_b[offset[2] + i * stride_b];
            *to++ = condition[offset[0] + i * stride_c] != 0 ? taken_a : taken_b;
        }
        tm_walk_next(geometry, 3, index, offset);
    }
}

#endif
