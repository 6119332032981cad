/* tm_concat_c: inputs one after another, for each of their pixels, portable C, any type.
 *
 *   x      any    parts x [pixels][runs[part]]   the inputs, an array of pointers
 *   y      any    [pixels][sum of runs]
 *   runs   int32  [parts]                        bytes of an input per pixel
 *
 * A pixel is an index of the dimensions before the one that the inputs are joined along.
 *
 * Quantisation  none: the inputs have the output's scale and zero point.
 * Scratch       none.
 * Requires      nothing.
 * Overlap       writes while it reads: y must not touch bytes of x still needed.
 * Source        TFLite kernels/internal/reference/concatenation.h.
 */
#ifndef TM_CONCAT_C_H
#define TM_CONCAT_C_H

#include "tm_runtime.h"

TM_INLINE void tm_concat_c(const void *const *x, void *y, const int32_t *runs, int32_t parts, int32_t pixels)
{
    uint8_t *to = (uint8_t *)y;
    for (int32_t pixel = 0; pixel < pixels; ++pixel) {
        for (int32_t part = 0; part < parts; ++part) {
            memcpy(to, (const uint8_t *)x[part] + pixel * runs[part], (size_t)runs[part]);
            to += runs[part];
        }
    }
}

#endif
