/* tm_add_s16_dsp: element by element sum or difference of two tensors of one shape, DSP instructions, int16.
 *
 *   x1, x2   int16  [elements]
 *   y        int16  [elements]
 *
 * Quantisation  each x * 2^15 is rescaled to a common scale, then their sum to the output's; three
 *               requantisations, each rounding twice as the TFLite reference. What is subtracted has a negative
 *               multiplier.
 * Scratch       none.
 * Requires      -31 <= shift_1, shift_2 <= 0 and -31 <= shift <= -1: other scales go to tm_add_s16_c.
 * Overlap       reads two elements of both inputs, then writes them: fully in place.
 * Source        TFLite kernels/internal/reference/add.h, kernels/sub.cc. x * 2^16 is a halfword where it lies, and
 *               SMMULR with the multiplier the doubling high product of x * 2^15; the rest as tm_add_s8_dsp.
 */
#ifndef TM_ADD_S16_DSP_H
#define TM_ADD_S16_DSP_H

#include "tm_wide_dsp.h"

/* sum + x / 2 * multiplier * 2^(shift - 31), rounded twice; x is an element times 2^16. */
TM_INLINE int32_t tm_add16_operand(int32_t sum, int32_t x, int32_t multiplier, int32_t shift)
{
    if (shift == 0) {
        return multiplier == (int32_t)1 << 30 ? sum + (x >> 2) : tm_smmlar(x, multiplier, sum);
    }
    return tm_smmlsr(tm_away_from_zero(tm_smmulr(x, multiplier)), tm_shift_factor(shift), sum);
}

TM_INLINE void tm_add_s16_dsp(const int16_t *x1, const int16_t *x2, int16_t *y, int32_t elements,
                              int32_t multiplier_1, int32_t shift_1, int32_t multiplier_2, int32_t shift_2,
                              int32_t multiplier, int32_t shift, int32_t lo, int32_t hi)
{
    int32_t i = 0;
    TM_UNROLL_4
    for (; i + 2 <= elements; i += 2) {
        const int32_t a = tm_load4(x1 + i);
        const int32_t b = tm_load4(x2 + i);
        int32_t low = tm_add16_operand(0, tm_low_half(a), multiplier_1, shift_1);
        int32_t high = tm_add16_operand(0, tm_high_half(a), multiplier_1, shift_1);
        low = tm_add16_operand(low, tm_low_half(b), multiplier_2, shift_2);
        high = tm_add16_operand(high, tm_high_half(b), multiplier_2, shift_2);
        tm_store_pair(y + i, tm_requant_twice(low, multiplier, shift),
                      tm_requant_twice(high, multiplier, shift));
    }
    if (i < elements) {
        int32_t sum = tm_add16_operand(0, x1[i] * (1 << 16), multiplier_1, shift_1);
        sum = tm_add16_operand(sum, x2[i] * (1 << 16), multiplier_2, shift_2);
        y[i] = (int16_t)tm_requant_twice(sum, multiplier, shift);
    }
    tm_clamp_row16(y, elements, 0, lo, hi);
}

#endif
