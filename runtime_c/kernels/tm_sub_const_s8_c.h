/* tm_sub_const_s8_c: difference of a tensor and a constant that broadcast, either way round, portable C, int8.
 *
 * Layout, quantisation, overlap and requirements as tm_add_const_s8_c; the multiplier of what is subtracted
 * is negative, as in TFLite's kernels/sub.cc.
 */
#ifndef TM_SUB_CONST_S8_C_H
#define TM_SUB_CONST_S8_C_H

#include "tm_add_const_s8_c.h"
#include "tm_runtime.h"

TM_INLINE void tm_sub_const_s8_c(const int8_t *x, int8_t *y, const int8_t *operand, const int32_t *geometry,
                                 int32_t zp_1, int32_t multiplier_1, int32_t shift_1, int32_t zp_2,
                                 int32_t multiplier_2, int32_t shift_2, int32_t multiplier, int32_t shift,
                                 int32_t zp_out, int32_t lo, int32_t hi)
{
    tm_add_const_s8_c(x, y, operand, geometry, zp_1, multiplier_1, shift_1, zp_2, multiplier_2, shift_2,
                      multiplier, shift, zp_out, lo, hi);
}

#endif
