/* tm_avg_pool2d_s8_c: one output row of average pooling, portable C, int8.
 *
 *   rows   int8  kernel_h x [in_w][channels]   input rows; NULL where outside the image
 *   y      int8  [out_w][channels]             output row
 *
 * Quantisation  input and output share scale and zero point. The mean counts the window's pixels
 *               inside the image only and rounds halves away from zero.
 * Scratch       none.
 * Requires      at least one pixel of every window inside the image.
 * Overlap       writes while it reads: y must not touch bytes of `rows` still needed.
 * Source        TFLite kernels/internal/reference/integer_ops/pooling.h (AveragePool).
 */
#ifndef TM_AVG_POOL2D_S8_C_H
#define TM_AVG_POOL2D_S8_C_H

#include "tm_runtime.h"

/* Up to here a division by n pixels is exactly a product with c = ceil(2^24 / n): the dividend, at most 128.5 n,
 * times the error of c, below 1 / 2^24, stays below 1 / n, and the product within 32 bits.
 */
enum { TM_POOL_SMALL = 360 };

TM_INLINE void tm_avg_pool2d_s8_c(const int8_t *const *TM_RESTRICT rows, int8_t *y, int32_t in_w,
                                  int32_t channels, int32_t out_w, int32_t kernel_h, int32_t kernel_w,
                                  int32_t stride_w, int32_t pad_left, int32_t lo, int32_t hi)
{
    int32_t rows_inside = 0;
    for (int32_t ky = 0; ky < kernel_h; ++ky) {
        rows_inside += rows[ky] != NULL ? 1 : 0;
    }
    /* No window leaves the image sideways: numbers, once the sizes are. */
    const int inside = pad_left == 0 && (out_w - 1) * stride_w + kernel_w <= in_w;
    const int small = kernel_h * kernel_w <= TM_POOL_SMALL;
    for (int32_t ox = 0; ox < out_w; ++ox) {
        const int32_t ix = ox * stride_w - pad_left;
        const int32_t first = inside ? 0 : tm_first_tap(ix, 1);
        const int32_t end = inside ? kernel_w : tm_end_tap(ix, 1, kernel_w, in_w);
        const int32_t count = rows_inside * (end - first);
        const uint32_t reciprocal = small ? ((1u << 24) + (uint32_t)count - 1u) / (uint32_t)count : 0;
        for (int32_t c = 0; c < channels; ++c) {
            int32_t sum = 0;
            TM_UNROLL_4
            for (int32_t ky = 0; ky < kernel_h; ++ky) {
                if (rows[ky] != NULL) {
                    const int8_t *x = rows[ky] + (ix + first) * channels + c;
                    TM_UNROLL_4
                    for (int32_t kx = first; kx < end; ++kx, x += channels) {
                        sum += *x;
                    }
                }
            }
            if (small) {
                const uint32_t magnitude = (uint32_t)(sum > 0 ? sum : -sum) + (uint32_t)count / 2u;
                const int32_t mean = (int32_t)((magnitude * reciprocal) >> 24);
                sum = sum > 0 ? mean : -mean;
            } else {
                sum = (sum > 0 ? sum + count / 2 : sum - count / 2) / count;
            }
            *y++ = (int8_t)tm_clamp(sum, lo, hi);
        }
    }
}

#endif
