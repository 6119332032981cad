/* tm_arg_min_s8_s64_c: index of the smallest element along a dimension, portable C, int8 to int64.
 *
 *   All as tm_arg_max_s8_s32_c.h, but y is int64.
 *
 * Source        TFLite kernels/internal/reference/arg_min_max.h.
 */
#ifndef TM_ARG_MIN_S8_S64_C_H
#define TM_ARG_MIN_S8_S64_C_H

#include "tm_arg_max_s8_s32_c.h"

TM_INLINE void tm_arg_min_s8_s64_c(const int8_t *x, int64_t *y, int32_t outer, int32_t count, int32_t inner)
{
    tm_arg_s8_s64_c(x, y, outer, count, inner, -1);
}

#endif
