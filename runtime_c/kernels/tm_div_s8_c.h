/* tm_div_s8_c: division of two int8 tensors that broadcast, portable C.
 *
 *   x1, x2     int8   numerators and denominators, densely packed
 *   y          int8   [d0]..[d5], the broadcast shape
 *   geometry   int32  [3][6]   dims d0..d5, then each input's stride per dimension; 0 where it repeats
 *
 * Quantisation  y = clamp(zp_out + rq((x1 - zp_1) / (x2 - zp_2)), lo, hi), where the quotient is a product with
 *               the reciprocal in Q0.31 and both are normalised, as in the TFLite reference.
 * Scratch       none.
 * Requires      quotients that are shifted by 0 to 31 bits. TFLite fails on a denominator of zero; this gives lo below a numerator of 0,
 *               else hi. `swapped` exchanges x1 and x2.
 * Overlap       an input of the output's shape: in place. One that repeats: apart from y.
 * Source        TFLite kernels/internal/reference/div.h (DivElementwise), common.h (GetReciprocal).
 */
#ifndef TM_DIV_S8_C_H
#define TM_DIV_S8_C_H

#include "tm_softmax_s8_c.h"

/* How often a number from 1 to 255 can be halved. */
TM_INLINE int32_t tm_log2_u8(int32_t value)
{
    int32_t log = 0;
    while (value >> log > 1) {
        ++log;
    }
    return log;
}

/* numerator / denominator, neither of which is zero, times multiplier * 2^(shift - 31). */
TM_INLINE int32_t tm_quotient_s8_c(int32_t numerator, int32_t denominator, int32_t multiplier, int32_t shift)
{
    const int32_t below = denominator < 0 ? -denominator : denominator;
    const int32_t above = denominator < 0 ? -numerator : numerator;
    const int32_t log = tm_log2_u8(below);
    const int32_t headroom = 30 - tm_log2_u8(above < 0 ? -above : above);
    const int32_t half = (int32_t)(((uint32_t)below << (31 - log)) - 0x80000000u);
    const int32_t quotient = tm_doubling_high_mul(tm_shift_left(above, headroom), tm_reciprocal_s8_c(half));
    return tm_rounding_shift_right(tm_doubling_high_mul(quotient, multiplier), headroom + log - shift);
}

TM_INLINE void tm_div_s8_c(const int8_t *x1, const int8_t *x2, int8_t *y, const int32_t *geometry,
                           int32_t swapped, int32_t zp_1, int32_t zp_2, int32_t multiplier, int32_t shift,
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
            const int32_t first = x1[offset[0] + i * stride_1] - zp_1;
            const int32_t second = x2[offset[1] + i * stride_2] - zp_2;
            const int32_t numerator = swapped ? second : first;
            const int32_t denominator = swapped ? first : second;
            if (denominator == 0) {
                *y++ = (int8_t)(numerator < 0 ? lo : hi);
            } else if (numerator == 0) {
                *y++ = tm_clamp_s8(0, zp_out, lo, hi);
            } else {
                *y++ =
                    tm_clamp_s8(tm_quotient_s8_c(numerator, denominator, multiplier, shift), zp_out, lo, hi);
            }
        }
        tm_walk_next(geometry, 2, index, offset);
    }
}

#endif
