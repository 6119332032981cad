/* tm_requantize_s16_c: change scale, zero point and width, from or to int16, portable C.
 *
 *   x   int8 or int16  [elements], of in_bytes each
 *   y   int8 or int16  [elements], of out_bytes each
 *
 * Quantisation  y = clamp(zp_out + requant(x - zp_in)), rounding twice as the TFLite reference.
 * Scratch       none.
 * Requires      nothing.
 * Overlap       reads element i, then writes element i; need not be aligned.
 * Source        TFLite kernels/internal/reference/requantize.h.
 */
#ifndef TM_REQUANTIZE_S16_C_H
#define TM_REQUANTIZE_S16_C_H

#include "tm_runtime.h"

TM_INLINE void tm_requantize_s16_c(const void *x, void *y, int32_t elements, int32_t in_bytes,
                                   int32_t out_bytes, int32_t zp_in, int32_t multiplier, int32_t shift,
                                   int32_t zp_out)
{
    const uint8_t *source = (const uint8_t *)x;
    uint8_t *target = (uint8_t *)y;
    const int32_t lo = out_bytes == 1 ? INT8_MIN : INT16_MIN;
    const int32_t hi = out_bytes == 1 ? INT8_MAX : INT16_MAX;
    for (int32_t i = 0; i < elements; ++i) {
        int16_t value;
        if (in_bytes == 1) {
            value = (int8_t)source[i];
        } else {
            memcpy(&value, source + 2 * i, sizeof value);
        }
        value = (int16_t)(tm_clamp(tm_requant(value - zp_in, multiplier, shift), lo - zp_out, hi - zp_out) +
                          zp_out);
        if (out_bytes == 1) {
            target[i] = (uint8_t)value;
        } else {
            memcpy(target + 2 * i, &value, sizeof value);
        }
    }
}

#endif
