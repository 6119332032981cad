/* tm_logical_not_c: NOT of a bool tensor, portable C.
 *
 *   x   bool  [elements]   bytes of 0 and 1
 *   y   bool  [elements]
 *
 * Quantisation  none.
 * Scratch       none.
 * Requires      nothing.
 * Overlap       reads element i, then writes element i: fully in place.
 * Source        TFLite kernels/elementwise.cc.
 */
#ifndef TM_LOGICAL_NOT_C_H
#define TM_LOGICAL_NOT_C_H

#include "tm_runtime.h"

TM_INLINE void tm_logical_not_c(const uint8_t *x, uint8_t *y, int32_t elements)
{
    for (int32_t i = 0; i < elements; ++i) {
        y[i] = x[i] == 0;
    }
}

#endif
