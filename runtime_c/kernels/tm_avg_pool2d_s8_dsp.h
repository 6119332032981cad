/* tm_avg_pool2d_s8_dsp: one output row of average pooling, DSP instructions, int8.
 *
 *   rows   int8  kernel_h x [in_w][channels]   input rows; NULL where outside the image
 *   y      int8  [out_w][channels]             output row
 *
 * Quantisation  input and output share scale and zero point. The mean counts the window's pixels
 *               inside the image only and rounds halves away from zero.
 * Scratch       none.
 * Requires      at least one pixel of every window inside the image; kernel_h * kernel_w <= 255, so that
 *               the sums of four channels fit four halfwords.
 * Overlap       writes while it reads: y must not touch bytes of `rows` still needed.
 * Source        TFLite kernels/internal/reference/integer_ops/pooling.h (AveragePool).
 */
#ifndef TM_AVG_POOL2D_S8_DSP_H
#define TM_AVG_POOL2D_S8_DSP_H

#include "tm_dsp.h"

/* The mean of `count` values, clamped. */
TM_INLINE int8_t tm_avg_pool_mean_dsp(int32_t sum, int32_t count, int32_t lo, int32_t hi)
{
    return (int8_t)tm_clamp((sum > 0 ? sum + count / 2 : sum - count / 2) / count, lo, hi);
}

TM_INLINE void tm_avg_pool2d_s8_dsp(const int8_t *const *rows, int8_t *y, int32_t in_w, int32_t channels,
                                    int32_t out_w, int32_t kernel_h, int32_t kernel_w, int32_t stride_w,
                                    int32_t pad_left, int32_t lo, int32_t hi)
{
    int32_t rows_inside = 0;
    for (int32_t ky = 0; ky < kernel_h; ++ky) {
        rows_inside += rows[ky] != NULL ? 1 : 0;
    }
    for (int32_t ox = 0; ox < out_w; ++ox, y += channels) {
        const int32_t ix = ox * stride_w - pad_left;
        const int32_t first = tm_first_tap(ix, 1);
        const int32_t end = tm_end_tap(ix, 1, kernel_w, in_w);
        const int32_t count = rows_inside * (end - first);
        for (int32_t c = 0; c < channels; c += 4) {
            const int32_t group = channels - c < 4 ? channels - c : 4;
            int32_t even = 0; /* the sums of channels 0 and 2 */
            int32_t odd = 0;
            for (int32_t ky = 0; ky < kernel_h; ++ky) {
                if (rows[ky] != NULL) {
                    const int8_t *x = rows[ky] + (ix + first) * channels + c;
                    TM_UNROLL_4
                    for (int32_t kx = first; kx < end; ++kx, x += channels) {
                        const int32_t word = group == 4 ? tm_load4(x) : tm_load_tail(x, group);
                        even = tm_sxtab16(even, word);
                        odd = tm_sxtab16_ror8(odd, word);
                    }
                }
            }
            y[c] = tm_avg_pool_mean_dsp((int16_t)even, count, lo, hi);
            if (group > 1) {
                y[c + 1] = tm_avg_pool_mean_dsp((int16_t)odd, count, lo, hi);
            }
            if (group > 2) {
                y[c + 2] = tm_avg_pool_mean_dsp(even >> 16, count, lo, hi);
            }
            if (group > 3) {
                y[c + 3] = tm_avg_pool_mean_dsp(odd >> 16, count, lo, hi);
            }
        }
    }
}

#endif
