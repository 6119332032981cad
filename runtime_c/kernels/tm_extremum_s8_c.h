/* tm_extremum_s8_c: the smaller or the larger of two int8 elements that broadcast, portable C.
 *
 *   x1, x2     int8   the inputs, densely packed
 *   y          int8   [d0]..[d5], the broadcast shape
 *   geometry   int32  [3][6]   dims d0..d5, then each input's stride per dimension; 0 where it repeats
 *
 * Quantisation  none: the bytes are compared, whatever their scales, as TFLite does.
 * Scratch       none.
 * Requires      nothing; largest is 0 or 1.
 * Overlap       an input of the output's shape: in place. One that repeats: apart from y.
 * Source        TFLite kernels/internal/reference/maximum_minimum.h.
 */
#ifndef TM_EXTREMUM_S8_C_H
#define TM_EXTREMUM_S8_C_H

#include "tm_runtime.h"

TM_INLINE void tm_extremum_s8_c(const int8_t *x1, const int8_t *x2, int8_t *y, const int32_t *geometry,
                                int32_t largest)
{
    int32_t index[TM_RANK - 1] = {0};
    int32_t offset[2] = {0, 0};
    const int32_t runs = tm_walk_runs(geometry);
    const int32_t run = geometry[TM_RANK - 1];
    const int32_t stride_1 = geometry[2 * TM_RANK - 1];
    const int32_t stride_2 = geometry[3 * TM_RANK - 1];
    for (int32_t r = 0; r < runs; ++r) {
        for (int32_t i = 0; i < run; ++i) {
            const int32_t a = x1[offset[0] + i * stride_1];
            const int32_t b = x2[offset[1] + i * stride_2];
            *y++ = (int8_t)(largest ? tm_max(a, b) : tm_min(a, b));
        }
        tm_walk_next(geometry, 2, index, offset);
    }
}

#endif
