/* tm_mul_s16_dsp: element by element product of two tensors of one shape, DSP instructions, int16.
 *
 *   x1, x2   int16  [elements]
 *   y        int16  [elements]
 *
 * Quantisation  y = clamp(requant(x1 * x2)), zero points 0; rounding twice as the TFLite reference.
 * Scratch       none.
 * Requires      -31 <= shift <= -1 and multiplier >= 2^30: other scales go to tm_mul_s16_c.
 * Overlap       reads two elements of both inputs, then writes them: fully in place.
 * Source        TFLite kernels/internal/reference/integer_ops/mul.h.
 */
#ifndef TM_MUL_S16_DSP_H
#define TM_MUL_S16_DSP_H

#include "tm_wide_dsp.h"

TM_INLINE void tm_mul_s16_dsp(const int16_t *x1, const int16_t *x2, int16_t *y, int32_t elements,
                              int32_t multiplier, int32_t shift, int32_t lo, int32_t hi)
{
    int32_t i = 0;
    TM_UNROLL_4
    for (; i + 2 <= elements; i += 2) {
        const int32_t a = tm_load4(x1 + i);
        const int32_t b = tm_load4(x2 + i);
        tm_store_pair(y + i, tm_requant_twice(tm_smulbb(a, b), multiplier, shift),
                      tm_requant_twice(tm_smultt(a, b), multiplier, shift));
    }
    if (i < elements) {
        y[i] = (int16_t)tm_requant_twice(x1[i] * x2[i], multiplier, shift);
    }
    tm_clamp_row16(y, elements, 0, lo, hi);
}

#endif
