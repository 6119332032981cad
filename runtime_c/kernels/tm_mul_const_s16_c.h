/* tm_mul_const_s16_c: product of a tensor and a constant that broadcast, portable C, int16.
 *
 *   x          int16  the input
 *   y          int16  [d0]..[d5], the broadcast shape
 *   operand    int16  the constant
 *   geometry   int32  [3][6]   as tm_mul_s16_c: dims, strides of x, strides of operand
 *
 * Quantisation, scratch, requirements, overlap and source as tm_mul_s16_c.
 */
#ifndef TM_MUL_CONST_S16_C_H
#define TM_MUL_CONST_S16_C_H

#include "tm_mul_s16_c.h"
#include "tm_wide.h"

TM_INLINE void tm_mul_const_s16_c(const int16_t *x, int16_t *y, const int16_t *operand,
                                  const int32_t *geometry, int32_t multiplier, int32_t shift, int32_t lo,
                                  int32_t hi)
{
    tm_mul_s16_c(x, operand, y, geometry, multiplier, shift, lo, hi);
}

#endif
