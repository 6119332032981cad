/* tm_compare_const_s8_c: comparison of an int8 tensor and a constant that broadcast, portable C.
 *
 *   x          int8   the input; parameters 1 are its own whichever operand of the operator it was
 *   y          bool   [d0]..[d5], the broadcast shape
 *   operand    int8   the constant
 *   geometry   int32  [3][6]   as tm_compare_s8_c: dims, strides of x, strides of operand
 *
 * Quantisation, scratch, requirements, overlap and source as tm_compare_s8_c.
 */
#ifndef TM_COMPARE_CONST_S8_C_H
#define TM_COMPARE_CONST_S8_C_H

#include "tm_compare_s8_c.h"
#include "tm_runtime.h"

TM_INLINE void tm_compare_const_s8_c(const int8_t *x, uint8_t *y, const int8_t *operand,
                                     const int32_t *geometry, int32_t relation, int32_t zp_1,
                                     int32_t multiplier_1, int32_t shift_1, int32_t zp_2,
                                     int32_t multiplier_2, int32_t shift_2)
{
    tm_compare_s8_c(x, operand, y, geometry, relation, zp_1, multiplier_1, shift_1, zp_2, multiplier_2,
                    shift_2);
}

#endif
