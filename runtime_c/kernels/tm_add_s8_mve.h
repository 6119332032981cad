/* tm_add_s8_mve: element by element sum of two tensors of one shape, Helium, int8.
 *
 *   x1, x2   int8  [elements]
 *   y        int8  [elements]
 *
 * Quantisation  each (x - zp) * 2^20 is rescaled to a common scale, then their sum to the output's; three
 *               requantisations, each rounding twice as the TFLite reference.
 * Scratch       none.
 * Requires      -31 <= shift_1, shift_2 <= 0 and -31 <= shift <= -1: other scales go to tm_add_s8_c.
 * Overlap       reads 16 elements of both inputs, then writes them: fully in place.
 * Source        TFLite kernels/internal/reference/integer_ops/add.h. Of two addends TFLite rescales the one with the
 *               larger scale by 1/2: an exact product, which the widening shift makes.
 */
#ifndef TM_ADD_S8_MVE_H
#define TM_ADD_S8_MVE_H

#include "tm_add_s8_c.h"
#include "tm_mve.h"

#if TM_MVE_ASM

/* (x - zp) * 2^20 * multiplier * 2^(shift - 31), rounded twice. All but x are constants. */
TM_INLINE tm_mve_words tm_add_operand_mve(int8x16_t x, int32_t zp, int32_t multiplier, int32_t shift)
{
    const int half = multiplier == (int32_t)1 << 30 && shift == 0;
    const int16_t offset = (int16_t)(-zp * (half ? 8 : 16));
    const int16x8_t even = vaddq_n_s16(half ? vshllbq_n_s8(x, 3) : vshllbq_n_s8(x, 4), offset);
    const int16x8_t odd = vaddq_n_s16(half ? vshlltq_n_s8(x, 3) : vshlltq_n_s8(x, 4), offset);
    const tm_mve_words w = {vshllbq_n_s16(even, 16), vshlltq_n_s16(even, 16), vshllbq_n_s16(odd, 16),
                            vshlltq_n_s16(odd, 16)};
    return half ? w : tm_mve_scale_all(w, multiplier, shift);
}

/* Sixteen sums. All but x1 and x2 are constants. */
TM_INLINE int8x16_t tm_add_vector_mve(int8x16_t x1, int8x16_t x2, int32_t zp_1, int32_t multiplier_1,
                                      int32_t shift_1, int32_t zp_2, int32_t multiplier_2, int32_t shift_2,
                                      int32_t multiplier, int32_t shift, int32_t zp_out, int32_t lo,
                                      int32_t hi)
{
    tm_mve_words sum = tm_add_operand_mve(x1, zp_1, multiplier_1, shift_1);
    const tm_mve_words w = tm_add_operand_mve(x2, zp_2, multiplier_2, shift_2);
    sum.v0 = vaddq_s32(sum.v0, w.v0);
    sum.v2 = vaddq_s32(sum.v2, w.v2);
    sum.v1 = vaddq_s32(sum.v1, w.v1);
    sum.v3 = vaddq_s32(sum.v3, w.v3);
    return tm_mve_narrow(tm_mve_scale_all(sum, multiplier, shift), zp_out, lo, hi);
}

#endif

TM_INLINE void tm_add_s8_mve(const int8_t *x1, const int8_t *x2, int8_t *y, int32_t elements, int32_t zp_1,
                             int32_t multiplier_1, int32_t shift_1, int32_t zp_2, int32_t multiplier_2,
                             int32_t shift_2, int32_t multiplier, int32_t shift, int32_t zp_out, int32_t lo,
                             int32_t hi)
{
#if TM_MVE_ASM
    for (; elements >= 16; elements -= 16, x1 += 16, x2 += 16, y += 16) {
        vstrbq_s8(y, tm_add_vector_mve(vldrbq_s8(x1), vldrbq_s8(x2), zp_1, multiplier_1, shift_1, zp_2,
                                       multiplier_2, shift_2, multiplier, shift, zp_out, lo, hi));
    }
    if (elements > 0) {
        const mve_pred16_t present = vctp8q((uint32_t)elements);
        vstrbq_p_s8(y,
                    tm_add_vector_mve(vldrbq_z_s8(x1, present), vldrbq_z_s8(x2, present), zp_1, multiplier_1,
                                      shift_1, zp_2, multiplier_2, shift_2, multiplier, shift, zp_out, lo,
                                      hi),
                    present);
    }
#else
    tm_add_s8_c(x1, x2, y, elements, zp_1, multiplier_1, shift_1, zp_2, multiplier_2, shift_2, multiplier,
                shift, zp_out, lo, hi);
#endif
}

#endif
