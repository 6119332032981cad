/* tm_reduce_min_s8_c: minimum over any dimensions, portable C, int8.
 *
 *   All as tm_reduce_max_s8_c.h.
 *
 * Source        TFLite kernels/internal/reference/reduce.h.
 */
#ifndef TM_REDUCE_MIN_S8_C_H
#define TM_REDUCE_MIN_S8_C_H

#include "tm_reduce_max_s8_c.h"

TM_INLINE void tm_reduce_min_s8_c(const int8_t *x, int8_t *y, const int32_t *kept, const int32_t *reduced)
{
    tm_reduce_extreme_s8_c(x, y, kept, reduced, -1);
}

#endif
