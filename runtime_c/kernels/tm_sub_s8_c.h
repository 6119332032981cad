/* tm_sub_s8_c: element by element difference of two tensors of one shape, portable C, int8.
 *
 * Layout, quantisation, overlap and requirements as tm_add_s8_c; multiplier_2 is negative, as in TFLite's
 * kernels/sub.cc.
 */
#ifndef TM_SUB_S8_C_H
#define TM_SUB_S8_C_H

#include "tm_add_s8_c.h"
#include "tm_runtime.h"

TM_INLINE void tm_sub_s8_c(const int8_t *x1, const int8_t *x2, int8_t *y, int32_t elements, int32_t zp_1,
                           int32_t multiplier_1, int32_t shift_1, int32_t zp_2, int32_t multiplier_2,
                           int32_t shift_2, int32_t multiplier, int32_t shift, int32_t zp_out, int32_t lo,
                           int32_t hi)
{
    tm_add_s8_c(x1, x2, y, elements, zp_1, multiplier_1, shift_1, zp_2, multiplier_2, shift_2, multiplier,
                shift, zp_out, lo, hi);
}

#endif
