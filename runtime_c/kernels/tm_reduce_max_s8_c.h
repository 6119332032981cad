/* tm_reduce_max_s8_c: maximum over any dimensions, portable C, int8.
 *
 *   x        int8   the input, densely packed
 *   y        int8   the kept dimensions, densely packed
 *   kept     int32  [2][6]   kept dimensions, then the input's stride along each of them
 *   reduced  int32  [2][6]   reduced dimensions, then the input's stride along each of them
 *
 * Quantisation  none: input and output have the same.
 * Scratch       none.
 * Requires      nothing.
 * Overlap       none; where the reduced dimensions are the last ones, maximum by maximum.
 * Source        TFLite kernels/internal/reference/reduce.h.
 */
#ifndef TM_REDUCE_MAX_S8_C_H
#define TM_REDUCE_MAX_S8_C_H

#include "tm_runtime.h"

/* The largest of all x[i] ^ flip, which with flip -1 is the smallest's. */
TM_INLINE int32_t tm_extreme_s8_c(const int8_t *x, const int32_t *reduced, int32_t runs, int32_t flip)
{
    int32_t index[TM_RANK - 1] = {0};
    int32_t offset[1] = {0};
    const int32_t run = reduced[TM_RANK - 1];
    const int32_t stride = reduced[2 * TM_RANK - 1];
    int32_t most = INT8_MIN;
    for (int32_t r = 0; r < runs; ++r) {
        const int8_t *at = x + offset[0];
        TM_UNROLL_4
        for (int32_t i = 0; i < run; ++i) {
            most = tm_max(most, at[i * stride] ^ flip);
        }
        if (r + 1 < runs) {
            tm_walk_next(reduced, 1, index, offset);
        }
    }
    return most;
}

TM_INLINE void tm_reduce_extreme_s8_c(const int8_t *x, int8_t *y, const int32_t *kept, const int32_t *reduced,
                                      int32_t flip)
{
    int32_t index[TM_RANK - 1] = {0};
    int32_t offset[1] = {0};
    const int32_t runs = tm_walk_runs(kept);
    const int32_t reduced_runs = tm_walk_runs(reduced);
    const int32_t run = kept[TM_RANK - 1];
    const int32_t stride = kept[2 * TM_RANK - 1];
    for (int32_t r = 0; r < runs; ++r) {
        for (int32_t i = 0; i < run; ++i) {
            *y++ = (int8_t)(tm_extreme_s8_c(x + offset[0] + i * stride, reduced, reduced_runs, flip) ^ flip);
        }
        tm_walk_next(kept, 1, index, offset);
    }
}

TM_INLINE void tm_reduce_max_s8_c(const int8_t *x, int8_t *y, const int32_t *kept, const int32_t *reduced)
{
    tm_reduce_extreme_s8_c(x, y, kept, reduced, 0);
}

#endif
