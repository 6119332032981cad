/* tm_mean_s8_c: mean over any dimensions, portable C, int8.
 *
 *   x        int8   the input, densely packed
 *   y        int8   the kept dimensions, densely packed
 *   kept     int32  [2][6]   kept dimensions, then the input's stride along each of them
 *   reduced  int32  [2][6]   reduced dimensions, then the input's stride along each of them
 *
 * Quantisation  y = clamp(zp_out + requant(offset + sum x)), rounding twice; the division by the count
 *               is in multiplier and shift, offset is -count * zp_in.
 * Scratch       none.
 * Requires      nothing.
 * Overlap       none; where the reduced dimensions are the last ones, mean by mean.
 * Source        TFLite kernels/internal/reference/reduce.h (QuantizedMeanOrSum).
 */
#ifndef TM_MEAN_S8_C_H
#define TM_MEAN_S8_C_H

#include "tm_runtime.h"

TM_INLINE int32_t tm_mean_sum_s8_c(const int8_t *x, const int32_t *reduced, int32_t runs, int32_t acc)
{
    int32_t index[TM_RANK - 1] = {0};
    int32_t offset[1] = {0};
    const int32_t run = reduced[TM_RANK - 1];
    const int32_t stride = reduced[2 * TM_RANK - 1];
    for (int32_t r = 0; r < runs; ++r) {
        const int8_t *at = x + offset[0];
        TM_UNROLL_4
        for (int32_t i = 0; i < run; ++i, at += stride) {
            acc += *at;
        }
        if (r + 1 < runs) {
            tm_walk_next(reduced, 1, index, offset);
        }
    }
    return acc;
}

TM_INLINE void tm_mean_s8_c(const int8_t *x, int8_t *y, const int32_t *kept, const int32_t *reduced,
                            int32_t reduced_runs, int32_t sum_offset, int32_t multiplier, int32_t shift,
                            int32_t zp_out, int32_t lo, int32_t hi)
{
    int32_t index[TM_RANK - 1] = {0};
    int32_t offset[1] = {0};
    const int32_t runs = tm_walk_runs(kept);
    const int32_t run = kept[TM_RANK - 1];
    const int32_t stride = kept[2 * TM_RANK - 1];
    for (int32_t r = 0; r < runs; ++r) {
        for (int32_t i = 0; i < run; ++i) {
            const int32_t sum =
                tm_mean_sum_s8_c(x + offset[0] + i * stride, reduced, reduced_runs, sum_offset);
            *y++ = tm_clamp_s8(tm_requant(sum, multiplier, shift), zp_out, lo, hi);
        }
        tm_walk_next(kept, 1, index, offset);
    }
}

#endif
