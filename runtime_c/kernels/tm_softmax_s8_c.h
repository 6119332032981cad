/* tm_softmax_s8_c: softmax over the last dimension, portable C, int8.
 *
 *   x   int8  [batches][classes]
 *   y   int8  [batches][classes]   scale 1/256, zero point -128
 *
 * Quantisation  integers only: exp and reciprocal in gemmlowp's fixed point, Q<i>.<f> below.
 * Scratch       none.
 * Requires      multiplier, left_shift and diff_min of TFLite's PreprocessSoftmaxScaling.
 * Overlap       batch row by batch row; reads a row three times while it writes it.
 * Source        TFLite kernels/internal/reference/softmax.h; gemmlowp fixedpoint/fixedpoint.h
 *               (exp_on_negative_values, one_over_one_plus_x_for_x_in_0_1).
 */
#ifndef TM_SOFTMAX_S8_C_H
#define TM_SOFTMAX_S8_C_H

#include "tm_runtime.h"

/* value * 2^bits, saturated; bits in 1..2. */
TM_INLINE int32_t tm_saturating_shift_left_s8_c(int32_t value, int32_t bits)
{
    const int32_t limit = INT32_MAX >> bits;
    return value > limit ? INT32_MAX : (value < -limit - 1 ? INT32_MIN : tm_shift_left(value, bits));
}

/* exp(a) in Q0.31 for a <= 0 in Q5.26. The fraction of a below a quarter goes through a Taylor series
 * around -1/8, every further bit multiplies by its exp(-2^k).
 */
TM_INLINE int32_t tm_exp_negative_s8_c(int32_t a)
{
    static const int32_t factors[7] = {1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242};
    const int32_t quarter = 1 << 24;
    const int32_t fraction = (int32_t)((uint32_t)a & (uint32_t)(quarter - 1)) - quarter;
    const int32_t remainder = fraction - a;
    const int32_t x = fraction * 32 + (1 << 28);
    const int32_t x2 = tm_doubling_high_mul(x, x);
    const int32_t x3 = tm_doubling_high_mul(x2, x);
    const int32_t x4 = tm_doubling_high_mul(x2, x2);
    const int32_t third = 715827883;
    const int32_t tail = tm_doubling_high_mul(tm_rounding_shift_right(x4, 2) + x3, third) + x2;
    const int32_t series = x + tm_rounding_shift_right(tail, 1);
    const int32_t exp_eighth = 1895147668;
    int32_t result = exp_eighth + tm_doubling_high_mul(series, exp_eighth);
    if (a == 0) {
        return INT32_MAX;
    }
    for (int32_t k = 0; k < 7; ++k) {
        if (((remainder >> (24 + k)) & 1) != 0) {
            result = tm_doubling_high_mul(result, factors[k]);
        }
    }
    return result;
}

/* 1 / (1 + a) in Q0.31 for 0 <= a < 1 in Q0.31: three Newton steps from 48/17 - 32/17 * d. */
TM_INLINE int32_t tm_reciprocal_s8_c(int32_t a)
{
    const int32_t half_denominator = (int32_t)(((int64_t)a + INT32_MAX + 1) >> 1);
    int32_t x = 1515870810 + tm_doubling_high_mul(half_denominator, -1010580540); /* Q2.29 */
    for (int32_t step = 0; step < 3; ++step) {
        const int32_t error = (1 << 29) - tm_doubling_high_mul(half_denominator, x);
        x += tm_saturating_shift_left_s8_c(tm_doubling_high_mul(x, error), 2);
    }
    return tm_saturating_shift_left_s8_c(x, 1);
}

/* exp(x - largest) in Q0.31, 0 where it is negligible. */
TM_INLINE int32_t tm_softmax_exp_s8_c(int32_t x, int32_t largest, int32_t multiplier, int32_t left_shift,
                                      int32_t diff_min)
{
    const int32_t difference = x - largest;
    if (difference < diff_min) {
        return 0;
    }
    return tm_exp_negative_s8_c(tm_doubling_high_mul(tm_shift_left(difference, left_shift), multiplier));
}

TM_INLINE void tm_softmax_s8_c(const int8_t *x, int8_t *y, int32_t batches, int32_t classes,
                               int32_t multiplier, int32_t left_shift, int32_t diff_min)
{
    for (int32_t b = 0; b < batches; ++b) {
        int32_t largest = INT8_MIN;
        int32_t sum = 0; /* Q12.19 */
        int32_t leading_zeros = 0;
        int32_t scale;
        for (int32_t i = 0; i < classes; ++i) {
            largest = x[i] > largest ? x[i] : largest;
        }
        for (int32_t i = 0; i < classes; ++i) {
            sum += tm_rounding_shift_right(
                tm_softmax_exp_s8_c(x[i], largest, multiplier, left_shift, diff_min), 12);
        }
        while (((uint32_t)sum << leading_zeros & 0x80000000u) == 0) {
            ++leading_zeros;
        }
        scale = tm_reciprocal_s8_c((int32_t)(((uint32_t)sum << leading_zeros) - 0x80000000u));
        for (int32_t i = 0; i < classes; ++i) {
            const int32_t e = tm_softmax_exp_s8_c(x[i], largest, multiplier, left_shift, diff_min);
            const int32_t bits = 12 - leading_zeros + 23;
            /* Beyond 31 bits (sums above 512) every quotient is below a half. */
            const int32_t value =
                bits > 31 ? 0 : tm_rounding_shift_right(tm_doubling_high_mul(scale, e), bits);
            y[i] = tm_clamp_s8(value, -128, INT8_MIN, INT8_MAX);
        }
        x += classes;
        y += classes;
    }
}

#endif
