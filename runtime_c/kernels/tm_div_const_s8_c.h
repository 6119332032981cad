/* tm_div_const_s8_c: division of an int8 tensor by a constant that broadcasts or the reverse, portable C.
 *
 *   x          int8   the input; parameters 1 are its own whichever operand of the operator it was
 *   y          int8   [d0]..[d5], the broadcast shape
 *   operand    int8   the constant
 *   geometry   int32  [3][6]   as tm_div_s8_c: dims, strides of x, strides of operand
 *
 * Quantisation, scratch, overlap and source as tm_div_s8_c.
 * Requires      as tm_div_s8_c; `swapped` is 1 where the constant is divided by x.
 */
#ifndef TM_DIV_CONST_S8_C_H
#define TM_DIV_CONST_S8_C_H

#include "tm_div_s8_c.h"

TM_INLINE void tm_div_const_s8_c(const int8_t *x, int8_t *y, const int8_t *operand, const int32_t *geometry,
                                 int32_t swapped, int32_t zp_1, int32_t zp_2, int32_t multiplier,
                                 int32_t shift, int32_t zp_out, int32_t lo, int32_t hi)
{
    tm_div_s8_c(x, operand, y, geometry, swapped, zp_1, zp_2, multiplier, shift, zp_out, lo, hi);
}

#endif
