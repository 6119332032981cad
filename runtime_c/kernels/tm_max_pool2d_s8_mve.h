/* tm_max_pool2d_s8_mve: one output row of maximum pooling, Helium, int8.
 *
 *   rows   int8  kernel_h x [in_w][channels]   input rows; NULL where outside the image
 *   y      int8  [out_w][channels]             output row
 *
 * Quantisation  input and output share scale and zero point.
 * Scratch       none.
 * Requires      at least one pixel of every window inside the image.
 * Overlap       writes while it reads: y must not touch bytes of `rows` still needed.
 * Source        TFLite kernels/internal/reference/integer_ops/pooling.h (MaxPool).
 */
#ifndef TM_MAX_POOL2D_S8_MVE_H
#define TM_MAX_POOL2D_S8_MVE_H

#include "tm_max_pool2d_s8_c.h"
#include "tm_mve.h"

TM_INLINE void tm_max_pool2d_s8_mve(const int8_t *const *rows, int8_t *y, int32_t in_w, int32_t channels,
                                    int32_t out_w, int32_t kernel_h, int32_t kernel_w, int32_t stride_w,
                                    int32_t pad_left, int32_t lo, int32_t hi)
{
#if TM_MVE_ASM
    for (int32_t ox = 0; ox < out_w; ++ox, y += channels) {
        const int32_t ix = ox * stride_w - pad_left;
        const int32_t first = tm_first_tap(ix, 1);
        const int32_t end = tm_end_tap(ix, 1, kernel_w, in_w);
        for (int32_t c = 0; c < channels; c += 16) {
            const mve_pred16_t present = vctp8q((uint32_t)(channels - c));
            int8x16_t largest = vdupq_n_s8((int8_t)lo);
            for (int32_t ky = 0; ky < kernel_h; ++ky) {
                if (rows[ky] != NULL) {
                    const int8_t *x = rows[ky] + (ix + first) * channels + c;
                    for (int32_t kx = first; kx < end; ++kx, x += channels) {
                        largest = vmaxq_s8(largest, vldrbq_z_s8(x, present));
                    }
                }
            }
            vstrbq_p_s8(y + c, vminq_s8(largest, vdupq_n_s8((int8_t)hi)), present);
        }
    }
#else
    tm_max_pool2d_s8_c(rows, y, in_w, channels, out_w, kernel_h, kernel_w, stride_w, pad_left, lo, hi);
#endif
}

#endif
