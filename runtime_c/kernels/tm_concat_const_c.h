/* tm_concat_const_c: inputs and constants one after another, for each pixel, portable C, any type.
 *
 *   x       any    [pixels][run] each    the inputs that are not constant, an array of pointers, in order
 *   y       any    [pixels][sum of runs]
 *   runs    int32  [parts][2]            bytes of a part per pixel; where a constant begins, -1 for an input
 *   fixed   any    the constants, each [pixels][run]
 *
 * A pixel is an index of the dimensions before the one that the parts are joined along.
 *
 * Quantisation  none: the parts have the output's scale and zero point.
 * Scratch       none.
 * Requires      nothing.
 * Overlap       writes while it reads: y must not touch bytes of x still needed.
 * Source        TFLite kernels/internal/reference/concatenation.h.
 */
#ifndef TM_CONCAT_CONST_C_H
#define TM_CONCAT_CONST_C_H

#include "tm_runtime.h"

TM_INLINE void tm_concat_const_c(const void *const *x, void *y, const int32_t *runs, const int8_t *fixed,
                                 int32_t parts, int32_t pixels)
{
    uint8_t *to = (uint8_t *)y;
    for (int32_t pixel = 0; pixel < pixels; ++pixel) {
        const void *const *next = x;
        for (int32_t part = 0; part < parts; ++part) {
            const int32_t run = runs[2 * part], at = runs[2 * part + 1];
            const void *const from = at >= 0 ? (const void *)(fixed + at) : *next++;
            memcpy(to, (const uint8_t *)from + pixel * run, (size_t)run);
            to += run;
        }
    }
}

#endif
