/* tm_add_s8_dsp: element by element sum of two tensors of one shape, DSP instructions, int8.
 *
 *   x1, x2   int8  [elements]
 *   y        int8  [elements]
 *
 * Quantisation  each (x - zp) * 2^20 is rescaled to a common scale, then their sum to the output's;
 *               three requantisations, each rounding twice as the TFLite reference.
 * Scratch       none.
 * Requires      -31 <= shift_1, shift_2 <= 0 and -31 <= shift <= -1: other scales go to tm_add_s8_c.
 * Overlap       reads element i of both inputs, then writes element i: fully in place.
 * Source        TFLite kernels/internal/reference/integer_ops/add.h.
 *               |x - zp| < 2^8, so twice the shifted difference is still an int32 and SMMULR with the
 *               multiplier is the doubling high product. SMMLSR adds the second rounding to what is
 *               there already (tm_dsp.h, form 4).
 */
#ifndef TM_ADD_S8_DSP_H
#define TM_ADD_S8_DSP_H

#include "tm_dsp.h"

/* sum + (x - zp) * 2^20 * multiplier * 2^(shift - 31), rounded twice. All but x and sum are constants. */
TM_INLINE int32_t tm_add_operand_dsp(int32_t sum, int32_t x, int32_t zp, int32_t multiplier, int32_t shift)
{
    const int32_t product_is_exact = multiplier == (int32_t)1 << 30;
    if (product_is_exact && shift == 0) {
        return (sum - zp * ((int32_t)1 << 19)) + x * ((int32_t)1 << 19);
    }
    const int32_t difference = x * ((int32_t)1 << 21) - zp * ((int32_t)1 << 21);
    if (shift == 0) {
        return tm_smmlar(difference, multiplier, sum);
    }
    const int32_t t = tm_smmulr(difference, multiplier);
    return tm_smmlsr(t + (t >> 31), -1 - (int32_t)(((uint32_t)1 << (32 + shift)) - 1u), sum);
}

TM_INLINE void tm_add_s8_dsp(const int8_t *x1, const int8_t *x2, int8_t *y, int32_t elements, int32_t zp_1,
                             int32_t multiplier_1, int32_t shift_1, int32_t zp_2, int32_t multiplier_2,
                             int32_t shift_2, int32_t multiplier, int32_t shift, int32_t zp_out, int32_t lo,
                             int32_t hi)
{
    const int32_t a = (int32_t)((uint32_t)multiplier << 1);
    const int32_t b = -1 - (int32_t)(((uint32_t)1 << (32 + shift)) - 1u);
    TM_UNROLL_4
    for (int32_t i = 0; i < elements; ++i) {
        int32_t sum = tm_add_operand_dsp(0, x1[i], zp_1, multiplier_1, shift_1);
        sum = tm_add_operand_dsp(sum, x2[i], zp_2, multiplier_2, shift_2);
        y[i] = tm_requant_dsp(TM_REQUANT_4, sum, a, b, zp_out);
    }
    tm_clamp_row(y, elements, lo, hi);
}

#endif
