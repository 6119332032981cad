/* tm_extremum_const_s8_c: the smaller or the larger of an int8 element and a constant, portable C.
 *
 *   x          int8   the input; parameters 1 are its own whichever operand of the operator it was
 *   y          int8   [d0]..[d5], the broadcast shape
 *   operand    int8   the constant
 *   geometry   int32  [3][6]   as tm_extremum_s8_c: dims, strides of x, strides of operand
 *
 * Quantisation, scratch, requirements, overlap and source as tm_extremum_s8_c.
 */
#ifndef TM_EXTREMUM_CONST_S8_C_H
#define TM_EXTREMUM_CONST_S8_C_H

#include "tm_extremum_s8_c.h"
#include "tm_runtime.h"

TM_INLINE void tm_extremum_const_s8_c(const int8_t *x, int8_t *y, const int8_t *operand,
                                      const int32_t *geometry, int32_t largest)
{
    tm_extremum_s8_c(x, operand, y, geometry, largest);
}

#endif
