/* tm_add_const_s16_c: sum or difference of a tensor and a constant that broadcast, portable C, int16.
 *
 *   x          int16  the input; parameters 1 are its own whichever operand of the operator it was
 *   y          int16  [d0]..[d5], the broadcast shape
 *   operand    int16  the constant
 *   geometry   int32  [3][6]   as tm_add_s16_c: dims, strides of x, strides of operand
 *
 * Quantisation, scratch, requirements, overlap and source as tm_add_s16_c.
 */
#ifndef TM_ADD_CONST_S16_C_H
#define TM_ADD_CONST_S16_C_H

#include "tm_add_s16_c.h"
#include "tm_wide.h"

TM_INLINE void tm_add_const_s16_c(const int16_t *x, int16_t *y, const int16_t *operand,
                                  const int32_t *geometry, int32_t multiplier_1, int32_t shift_1,
                                  int32_t multiplier_2, int32_t shift_2, int32_t multiplier, int32_t shift,
                                  int32_t lo, int32_t hi)
{
    tm_add_s16_c(x, operand, y, geometry, multiplier_1, shift_1, multiplier_2, shift_2, multiplier, shift, lo,
                 hi);
}

#endif
