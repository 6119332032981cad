/* tm_requantize_s8_mve: change a tensor's scale and zero point, Helium, int8.
 *
 *   x   int8  [elements]
 *   y   int8  [elements]
 *
 * Quantisation  y = clamp(zp_out + requant(x - zp_in)), rounding twice as the TFLite reference.
 * Scratch       none.
 * Requires      nothing.
 * Overlap       reads 16 elements, then writes them: fully in place.
 * Source        TFLite kernels/internal/reference/requantize.h.
 */
#ifndef TM_REQUANTIZE_S8_MVE_H
#define TM_REQUANTIZE_S8_MVE_H

#include "tm_mve.h"
#include "tm_requantize_s8_c.h"

#if TM_MVE_ASM

/* Sixteen elements. All but x are constants. */
TM_INLINE int8x16_t tm_requantize_vector_mve(int8x16_t x, int32_t zp_in, int32_t multiplier, int32_t shift,
                                             int32_t zp_out)
{
    const int16x8_t even = vaddq_n_s16(vmovlbq_s8(x), (int16_t)-zp_in);
    const int16x8_t odd = vaddq_n_s16(vmovltq_s8(x), (int16_t)-zp_in);
    const tm_mve_words w = {vmovlbq_s16(even), vmovltq_s16(even), vmovlbq_s16(odd), vmovltq_s16(odd)};
    return tm_mve_narrow(tm_mve_scale_all(w, multiplier, shift), zp_out, -128, 127);
}

#endif

TM_INLINE void tm_requantize_s8_mve(const int8_t *x, int8_t *y, int32_t elements, int32_t zp_in,
                                    int32_t multiplier, int32_t shift, int32_t zp_out)
{
#if TM_MVE_ASM
    for (; elements >= 16; elements -= 16, x += 16, y += 16) {
        vstrbq_s8(y, tm_requantize_vector_mve(vldrbq_s8(x), zp_in, multiplier, shift, zp_out));
    }
    if (elements > 0) {
        const mve_pred16_t present = vctp8q((uint32_t)elements);
        vstrbq_p_s8(y, tm_requantize_vector_mve(vldrbq_z_s8(x, present), zp_in, multiplier, shift, zp_out),
                    present);
    }
#else
    tm_requantize_s8_c(x, y, elements, zp_in, multiplier, shift, zp_out);
#endif
}

#endif
