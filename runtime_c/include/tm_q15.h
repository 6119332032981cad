/* tm_q15.h: logistic and tanh of 16-bit fixed point, as integer recurrent layers need them.
 *
 * Q<i>.<f> has i integer and f = 15 - i fraction bits. Everything equals gemmlowp's FixedPoint<int16_t, i>
 * to the last bit: SaturatingRoundingDoublingHighMul, sums that wrap to 16 bits, constants rounded from
 * 32 bits. Source: gemmlowp fixedpoint/fixedpoint.h (logistic, tanh, exp_on_negative_values).
 */
#ifndef TM_Q15_H
#define TM_Q15_H

#include "tm_runtime.h"

TM_INLINE int32_t tm_clamp_s16(int32_t value)
{
    return tm_clamp(value, INT16_MIN, INT16_MAX);
}

/* round(a * b / 2^15), halves away from zero, saturated. */
TM_INLINE int32_t tm_q15_mul(int32_t a, int32_t b)
{
    const int32_t product = a * b;
    const int32_t rounded = (product + (product >= 0 ? 1 << 14 : 1 - (1 << 14))) / (1 << 15);
    return tm_min(rounded, INT16_MAX);
}

/* exp(a) in Q0.15 for a <= 0 with `bits` integer bits, 1 to 7: a Taylor series around -1/8 for what is below
 * a quarter, and a factor exp(-2^k) for every bit above. */
TM_INLINE int32_t tm_q15_exp_negative(int32_t a, int32_t bits)
{
    static const int16_t factors[7] = {25520, 19875, 12055, 4435, 600, 11, 0}; /* exp(-2^k), k from -2 */
    const int32_t fraction_bits = 15 - bits;
    const int32_t quarter = 1 << (fraction_bits - 2);
    const int32_t part = (int32_t)((uint32_t)a & (uint32_t)(quarter - 1)) - quarter;
    const int32_t x = (int16_t)(part * (1 << bits) + (1 << 12));
    const int32_t x2 = tm_q15_mul(x, x);
    const int32_t x3 = tm_q15_mul(x2, x);
    const int32_t x4 = tm_q15_mul(x2, x2);
    const int32_t third = 10923;
    const int32_t tail = tm_q15_mul((int16_t)(tm_rounding_shift_right(x4, 2) + x3), third) + x2;
    const int32_t series = (int16_t)(x + tm_rounding_shift_right((int16_t)tail, 1));
    const int32_t exp_eighth = 28918;
    const int32_t remainder = part - a;
    int32_t result = tm_clamp_s16(exp_eighth + tm_q15_mul(exp_eighth, series));
    if (a == 0) {
        return INT16_MAX;
    }
    if (bits > 5 && a < -(1 << (fraction_bits + 5))) {
        return 0;
    }
    for (int32_t k = 0; k < tm_min(bits + 2, 7); ++k) {
        if (((remainder >> (fraction_bits - 2 + k)) & 1) != 0) {
            result = tm_q15_mul(result, factors[k]);
        }
    }
    return result;
}

/* 2 / (1 + a) in Q2.13 for 0 <= a < 1 in Q0.15: three Newton steps from 48/17 - 32/17 * d, d = (1 + a) / 2. */
TM_INLINE int32_t tm_q15_reciprocal(int32_t a)
{
    const int32_t d = (a + INT16_MAX + 1) >> 1;
    int32_t x = 23130 + tm_q15_mul(d, -15420);
    for (int32_t step = 0; step < 3; ++step) {
        const int32_t error = (1 << 13) - tm_q15_mul(d, x);
        x = (int16_t)(x + tm_clamp_s16(tm_q15_mul(x, error) * 4));
    }
    return x;
}

/* 1 / (1 + exp(-x)) in Q0.15 of x in Q3.12. */
TM_INLINE int32_t tm_q15_logistic(int32_t x)
{
    const int32_t negative = x > 0 ? -x : x;
    const int32_t y = tm_clamp_s16(tm_q15_reciprocal(tm_q15_exp_negative(negative, 3)) * 2);
    return x > 0 ? y : (x < 0 ? INT16_MAX - y : 1 << 14);
}

/* tanh(x) in Q0.15 of x with `bits` integer bits, 0 to 6: (1 - e) / (1 + e) with e = exp(-2 |x|). */
TM_INLINE int32_t tm_q15_tanh(int32_t x, int32_t bits)
{
    const int32_t negative = x > 0 ? -x : x;
    const int32_t inverse = tm_q15_reciprocal(tm_q15_exp_negative(negative, bits + 1));
    const int32_t y = tm_clamp_s16((int16_t)(inverse - (1 << 13)) * 4);
    return x > 0 ? y : (x < 0 ? -y : 0);
}

#endif
