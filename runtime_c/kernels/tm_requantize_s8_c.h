/* tm_requantize_s8_c: change a tensor's scale and zero point, portable C, int8.
 *
 *   x   int8  [elements]
 *   y   int8  [elements]
 *
 * Quantisation  y = clamp(zp_out + requant(x - zp_in)), rounding twice as the TFLite reference.
 * Scratch       none.
 * Requires      nothing.
 * Overlap       reads element i, then writes element i: fully in place.
 * Source        TFLite kernels/internal/reference/requantize.h.
 */
#ifndef TM_REQUANTIZE_S8_C_H
#define TM_REQUANTIZE_S8_C_H

#include "tm_runtime.h"

TM_INLINE void tm_requantize_s8_c(const int8_t *x, int8_t *y, int32_t elements, int32_t zp_in,
                                  int32_t multiplier, int32_t shift, int32_t zp_out)
{
    for (int32_t i = 0; i < elements; ++i) {
        y[i] = tm_clamp_s8(tm_requant(x[i] - zp_in, multiplier, shift), zp_out, INT8_MIN, INT8_MAX);
    }
}

#endif
