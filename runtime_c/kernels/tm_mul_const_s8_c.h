/* tm_mul_const_s8_c: product of a tensor and a constant that broadcast, portable C, int8.
 *
 *   x          int8   the input; parameters 1 are its own whichever operand of the operator it was
 *   y          int8   [d0]..[d5], the broadcast shape
 *   operand    int8   the constant
 *   geometry   int32  [3][6]   as tm_mul_broadcast_s8_c: dims, strides of x, strides of operand
 *
 * Quantisation, scratch, requirements, overlap and source as tm_mul_broadcast_s8_c.
 */
#ifndef TM_MUL_CONST_S8_C_H
#define TM_MUL_CONST_S8_C_H

#include "tm_mul_broadcast_s8_c.h"
#include "tm_runtime.h"

TM_INLINE void tm_mul_const_s8_c(const int8_t *x, int8_t *y, const int8_t *operand, const int32_t *geometry,
                                 int32_t zp_1, int32_t zp_2, int32_t multiplier, int32_t shift,
                                 int32_t zp_out, int32_t lo, int32_t hi)
{
    tm_mul_broadcast_s8_c(x, operand, y, geometry, zp_1, zp_2, multiplier, shift, zp_out, lo, hi);
}

#endif
