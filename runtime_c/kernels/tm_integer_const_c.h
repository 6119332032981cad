/* tm_integer_const_c: a function of a tensor of integers and a constant that broadcast, portable C.
 *
 *   x          int32 or int64   the input: `bytes` each
 *   y          the same, or bool where they are compared   [d0]..[d5], the broadcast shape
 *   operand    int32 or int64   the constant
 *   geometry   int32  [3][6]   as tm_integer_c: dims, strides of x, strides of operand
 *
 * Quantisation, scratch, overlap and source as tm_integer_c.
 * Requires      a divisor other than zero. `swapped` is 1 where the constant is the operator's first operand.
 */
#ifndef TM_INTEGER_CONST_C_H
#define TM_INTEGER_CONST_C_H

#include "tm_integer_c.h"

TM_INLINE void tm_integer_const_c(const void *x, void *y, const void *operand, const int32_t *geometry,
                                  int32_t function, int32_t swapped, int32_t bytes, int32_t bytes_out)
{
    tm_integer_c(x, operand, y, geometry, function, swapped, bytes, bytes_out);
}

#endif
