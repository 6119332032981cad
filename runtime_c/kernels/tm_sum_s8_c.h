/* tm_sum_s8_c: sum over any dimensions, portable C, int8.
 *
 *   Arguments as tm_mean_s8_c.h.
 *
 * Quantisation  y = clamp(zp_out + requant(offset + sum x)), rounding twice; offset is -count * zp_in.
 * Scratch       none.
 * Requires      nothing.
 * Overlap       none; where the reduced dimensions are the last ones, sum by sum.
 * Source        TFLite kernels/internal/reference/reduce.h (QuantizedMeanOrSum).
 */
#ifndef TM_SUM_S8_C_H
#define TM_SUM_S8_C_H

#include "tm_mean_s8_c.h"

TM_INLINE void tm_sum_s8_c(const int8_t *x, int8_t *y, const int32_t *kept, const int32_t *reduced,
                           int32_t reduced_runs, int32_t sum_offset, int32_t multiplier, int32_t shift,
                           int32_t zp_out, int32_t lo, int32_t hi)
{
    tm_mean_s8_c(x, y, kept, reduced, reduced_runs, sum_offset, multiplier, shift, zp_out, lo, hi);
}

#endif
