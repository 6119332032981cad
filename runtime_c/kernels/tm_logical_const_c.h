/* tm_logical_const_c: AND or OR of a bool tensor and a constant that broadcast, portable C.
 *
 *   x          bool   the input; parameters 1 are its own whichever operand of the operator it was
 *   y          bool   [d0]..[d5], the broadcast shape
 *   operand    bool   the constant
 *   geometry   int32  [3][6]   as tm_logical_c: dims, strides of x, strides of operand
 *
 * Quantisation, scratch, requirements, overlap and source as tm_logical_c.
 */
#ifndef TM_LOGICAL_CONST_C_H
#define TM_LOGICAL_CONST_C_H

#include "tm_logical_c.h"
#include "tm_runtime.h"

TM_INLINE void tm_logical_const_c(const uint8_t *x, uint8_t *y, const uint8_t *operand,
                                  const int32_t *geometry, int32_t both)
{
    tm_logical_c(x, operand, y, geometry, both);
}

#endif
