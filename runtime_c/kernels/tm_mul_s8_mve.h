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

#if TM_MVE_ASM

/* Sixteen products. All but x1 and x2 are constants. */
TM_INLINE int8x16_t tm_mul_vector_mve(int8x16_t x1, int8x16_t x2, int32_t zp_1, int32_t zp_2,
                                      int32_t multiplier, int32_t shift, int32_t zp_out, int32_t lo,
                                      int32_t hi)
{
    const int16x8_t even_1 = vaddq_n_s16(vmovlbq_s8(x1), (int16_t)-zp_1);
    const int16x8_t odd_1 = vaddq_n_s16(vmovltq_s8(x1), (int16_t)-zp_1);
    const int16x8_t even_2 = vaddq_n_s16(vmovlbq_s8(x2), (int16_t)-zp_2);
    const int16x8_t odd_2 = vaddq_n_s16(vmovltq_s8(x2), (int16_t)-zp_2);
    const tm_mve_words w = {vmullbq_int_s16(even_1, even_2), vmulltq_int_s16(even_1, even_2),
                            vmullbq_int_s16(odd_1, odd_2), vmulltq_int_s16(odd_1, odd_2)};
    return tm_mve_narrow(tm_mve_scale_all(w, multiplier, shift), zp_out, lo, hi);
}

#endif

TM_INLINE void tm_mul_s8_mve(const int8_t *x1, const int8_t *x2, int8_t *y, int32_t elements, int32_t zp_1,
                             int32_t zp_2, int32_t multiplier, int32_t shift, int32_t zp_out, int32_t lo,
                             int32_t hi)
{
#if TM_MVE_ASM
    for (; elements >= 16; elements -= 16, x1 += 16, x2 += 16, y += 16) {
        vstrbq_s8(y, tm_mul_vector_mve(vldrbq_s8(x1), vldrbq_s8(x2), zp_1, zp_2, multiplier, shift, zp_out,
                                       lo, hi));
    }
    if (elements > 0) {
        const mve_pred16_t present = vctp8q((uint32_t)elements);
        vstrbq_p_s8(y,
                    tm_mul_vector_mve(vldrbq_z_s8(x1, present), vldrbq_z_s8(x2, present), zp_1, zp_2,
                                      multiplier, shift, zp_out, lo, hi),
                    present);
    }
#else
    tm_mul_s8_c(x1, x2, y, elements, zp_1, zp_2, multiplier, shift, zp_out, lo, hi);
#endif
}

#endif
