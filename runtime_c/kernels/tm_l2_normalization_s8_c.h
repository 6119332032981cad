/* tm_l2_normalization_s8_c: vectors divided by their lengths, portable C, int8.
 *
 *   x   int8  [rows][depth]
 *   y   int8  [rows][depth], scale 1/128 and zero point 0
 *
 * Quantisation  y = clamp(requant((x - zp_in) / sqrt(sum (x - zp_in)^2))), the root by Newton steps in integers,
 *               rounding twice as the TFLite reference.
 * Scratch       none.
 * Requires      depth of at most 32,768, so that the squares' sum fits 31 bits.
 * Overlap       row by row; writes an element after it has read it for the last time.
 * Source        TFLite kernels/internal/reference/integer_ops/l2normalization.h and common.h
 *               (GetInvSqrtQuantizedMultiplierExp).
 */
#ifndef TM_L2_NORMALIZATION_S8_C_H
#define TM_L2_NORMALIZATION_S8_C_H

#include "tm_runtime.h"

TM_INLINE int32_t tm_saturating_shift_s8_c(int32_t value, int32_t bits)
{
    const int32_t limit = INT32_MAX >> bits;
    return value > limit ? INT32_MAX : (value < -limit - 1 ? INT32_MIN : tm_shift_left(value, bits));
}

/* 1 / sqrt(total) = multiplier * 2^(shift - 31): five Newton steps on Q3.28, the total scaled to [2^27, 2^29). */
TM_INLINE int32_t tm_inverse_sqrt_s8_c(int32_t total, int32_t *shift)
{
    int32_t right = 11;
    int32_t x = (int32_t)1 << 28;
    int32_t half;
    if (total <= 1) {
        *shift = 0;
        return INT32_MAX;
    }
    if (total >= (int32_t)1 << 29) {
        total /= 4;
        ++right;
    }
    while (total < (int32_t)1 << 27) {
        total *= 4;
        --right;
    }
    half = tm_rounding_shift_right(total >> 1, 1);
    for (int32_t i = 0; i < 5; ++i) {
        const int32_t cube = tm_saturating_shift_s8_c(tm_doubling_high_mul(tm_doubling_high_mul(x, x), x), 6);
        const int32_t three = tm_doubling_high_mul(((int32_t)1 << 28) + ((int32_t)1 << 27), x);
        x = tm_saturating_shift_s8_c(three - tm_doubling_high_mul(half, cube), 3);
    }
    x = tm_doubling_high_mul(x, 1518500250); /* sqrt(1/2) */
    *shift = right > 0 ? -right : 0;
    return right < 0 ? tm_shift_left(x, -right) : x;
}

TM_INLINE void tm_l2_normalization_s8_c(const int8_t *x, int8_t *y, int32_t rows, int32_t depth,
                                        int32_t zp_in)
{
    for (int32_t r = 0; r < rows; ++r, x += depth, y += depth) {
        int32_t total = 0;
        int32_t shift;
        int32_t multiplier;
        for (int32_t i = 0; i < depth; ++i) {
            const int32_t value = x[i] - zp_in;
            total += value * value;
        }
        multiplier = tm_inverse_sqrt_s8_c(total, &shift);
        for (int32_t i = 0; i < depth; ++i) {
            y[i] = tm_clamp_s8(tm_requant(x[i] - zp_in, multiplier, shift + 7), 0, INT8_MIN, INT8_MAX);
        }
    }
}

#endif
