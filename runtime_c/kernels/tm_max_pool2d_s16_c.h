/* tm_max_pool2d_s16_c: one output row of max pooling, portable C, int16.
 *
 *   rows   int16 kernel_h x [in_w][channels]   input rows as bytes; NULL where outside the image
 *   y      int16 [out_w][channels]             output row
 *
 * Quantisation  input and output share the scale. Pixels outside the image do not take part.
 * Scratch       none.
 * Requires      at least one pixel of every window inside the image.
 * Overlap       writes while it reads: y must not touch bytes of `rows` still needed.
 * Source        TFLite kernels/internal/reference/integer_ops/pooling.h (MaxPool).
 */
#ifndef TM_MAX_POOL2D_S16_C_H
#define TM_MAX_POOL2D_S16_C_H

#include "tm_wide.h"

TM_INLINE void tm_max_pool2d_s16_c(const int8_t *const *rows, int16_t *y, int32_t in_w, int32_t channels,
                                   int32_t out_w, int32_t kernel_h, int32_t kernel_w, int32_t stride_w,
                                   int32_t pad_left, int32_t lo, int32_t hi)
{
    for (int32_t ox = 0; ox < out_w; ++ox) {
        const int32_t ix = ox * stride_w - pad_left;
        const int32_t first = tm_first_tap(ix, 1);
        const int32_t end = tm_end_tap(ix, 1, kernel_w, in_w);
        for (int32_t c = 0; c < channels; ++c) {
            int32_t best = INT16_MIN;
            for (int32_t ky = 0; ky < kernel_h; ++ky) {
                if (rows[ky] != NULL) {
                    const int16_t *x = tm_row_s16(rows[ky]) + (ix + first) * channels + c;
                    for (int32_t kx = first; kx < end; ++kx, x += channels) {
                        best = *x > best ? *x : best;
                    }
                }
            }
            *y++ = tm_limit_s16(best, lo, hi);
        }
    }
}

#endif
