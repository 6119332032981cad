/* tm_compare_s8_c: comparison of two int8 tensors that broadcast, portable C.
 *
 *   x1, x2     int8   the inputs, densely packed
 *   y          bool   [d0]..[d5], the broadcast shape
 *   geometry   int32  [3][6]   dims d0..d5, then each input's stride per dimension; 0 where it repeats
 *
 * Quantisation  each (x - zp) * 2^8 is multiplied by its scale, rounding twice as the TFLite reference.
 * Scratch       none.
 * Requires      scales below one (shift <= 0).
 * Overlap       an input of the output's shape: in place. One that repeats: apart from y.
 * Source        TFLite kernels/internal/reference/comparisons.h.
 */
#ifndef TM_COMPARE_S8_C_H
#define TM_COMPARE_S8_C_H

#include "tm_runtime.h"

/* Relations of x1 to x2. */
enum { TM_EQUAL = 0, TM_NOT_EQUAL, TM_LESS, TM_LESS_EQUAL, TM_GREATER, TM_GREATER_EQUAL };

/* Whether x1 - x2 says that they stand in a relation. */
TM_INLINE uint8_t tm_related(int32_t difference, int32_t relation)
{
    switch (relation) {
    case TM_EQUAL:
        return difference == 0;
    case TM_NOT_EQUAL:
        return difference != 0;
    case TM_LESS:
        return difference < 0;
    case TM_LESS_EQUAL:
        return difference <= 0;
    case TM_GREATER:
        return difference > 0;
    default:
        return difference >= 0;
    }
}

TM_INLINE void tm_compare_s8_c(const int8_t *x1, const int8_t *x2, uint8_t *y, const int32_t *geometry,
                               int32_t relation, int32_t zp_1, int32_t multiplier_1, int32_t shift_1,
                               int32_t zp_2, int32_t multiplier_2, int32_t shift_2)
{
    int32_t index[TM_RANK - 1] = {0};
    int32_t offset[2] = {0, 0};
    const int32_t runs = tm_walk_runs(geometry);
    const int32_t run = geometry[TM_RANK - 1];
    const int32_t stride_1 = geometry[2 * TM_RANK - 1];
    const int32_t stride_2 = geometry[3 * TM_RANK - 1];
    for (int32_t r = 0; r < runs; ++r) {
        for (int32_t i = 0; i < run; ++i) {
            const int32_t one = 1 << 8;
            const int32_t difference =
                tm_requant((x1[offset[0] + i * stride_1] - zp_1) * one, multiplier_1, shift_1) -
                tm_requant((x2[offset[1] + i * stride_2] - zp_2) * one, multiplier_2, shift_2);
            *y++ = tm_related(difference, relation);
        }
        tm_walk_next(geometry, 2, index, offset);
    }
}

#endif
