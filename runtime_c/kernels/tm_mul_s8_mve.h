/* tm_mul_s8_mve: element by element product of two tensors of one shape, Helium, int8.
 *
 *   x1, x2   int8  [elements]
 *   y        int8  [elements]
 *
 * Quantisation  y = clamp(zp_out + requant((x1 - zp_1) * (x2 - zp_2))), rounding twice as the TFLite reference.
 * Scratch       none.
 * Requires      nothing.
 * Overlap       reads 16 elements of both inputs, then writes them: fully in place.
 * Source        TFLite kernels/internal/reference/integer_ops/mul.h.
 */
#ifndef TM_MUL_S8_MVE_H
#define TM_MUL_S8_MVE_H

#include "tm_mul_s8_c.h"
#include "tm_mve.h"

TM_INLINE void tm_mul_s8_mve(const int8_t *x1, const int8_t *x2, int8_t *y, int32_t elements, int32_t zp_1,
                             int32_t zp_2, int32_t multiplier, int32_t shift, int32_t zp_out, int32_t lo,
                             int32_t hi)
{
#if TM_MVE_ASM
    for (int32_t left = elements; left > 0; left -= 16, x1 += 16, x2 += 16, y += 16) {
        const mve_pred16_t present = vctp8q((uint32_t)left);
        const int8x16_t a = vldrbq_z_s8(x1, present);
        const int8x16_t b = vldrbq_z_s8(x2, present);
        const int16x8_t a_even = vaddq_n_s16(vmovlbq_s8(a), (int16_t)-zp_1);
        const int16x8_t a_odd = vaddq_n_s16(vmovltq_s8(a), (int16_t)-zp_1);
        const int16x8_t b_even = vaddq_n_s16(vmovlbq_s8(b), (int16_t)-zp_2);
        const int16x8_t b_odd = vaddq_n_s16(vmovltq_s8(b), (int16_t)-zp_2);
        tm_mve_words w = {{vmullbq_int_s16(a_even, b_even), vmulltq_int_s16(a_even, b_even),
                           vmullbq_int_s16(a_odd, b_odd), vmulltq_int_s16(a_odd, b_odd)}};
        for (int32_t i = 0; i < 4; ++i) {
            w.v[i] = tm_mve_scale(w.v[i], multiplier, shift);
        }
        vstrbq_p_s8(y, tm_mve_narrow(w, zp_out, lo, hi), present);
    }
#else
    tm_mul_s8_c(x1, x2, y, elements, zp_1, zp_2, multiplier, shift, zp_out, lo, hi);
#endif
}

#endif
