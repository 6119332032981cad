/* tm_conv2d_s8_c: one output row of a convolution, portable C, int8.
 *
 *   rows        int8  kernel_h x [in_w][in_c]   input rows; zero-point rows where outside the image
 *   y           int8  [out_w][out_c]            output row
 *   weights     int8  [out_c][kernel_h][kernel_w][in_c / groups]   symmetric
 *   bias        int32 [out_c]                   -zp_in * sum(weights) over all taps folded in
 *   multiplier  int32 [out_c], shift int8 [out_c]
 *
 * Quantisation  y = clamp(zp_out + requant(bias + sum w * x)), rounding twice as the TFLite
 *               reference. Columns left and right of the image count as zp_in and are not read.
 * Scratch       none.
 * Requires      groups divides in_c and out_c. Any kernel, stride, dilation and padding.
 * Overlap       writes while it reads: y must not touch bytes of `rows` still needed.
 * Source        TFLite kernels/internal/reference/integer_ops/conv.h (ConvPerChannel).
 */
#ifndef TM_CONV2D_S8_C_H
#define TM_CONV2D_S8_C_H

#include "tm_runtime.h"

TM_INLINE void tm_conv2d_s8_c(const int8_t *const *rows, int8_t *y, const int8_t *weights,
                              const int32_t *bias, const int32_t *multiplier, const int8_t *shift,
                              int32_t in_w, int32_t in_c, int32_t out_w, int32_t out_c, int32_t groups,
                              int32_t kernel_h, int32_t kernel_w, int32_t stride_w, int32_t dilation_w,
                              int32_t pad_left, int32_t zp_in, int32_t zp_out, int32_t lo, int32_t hi)
{
    const int32_t group_in = in_c / groups;
    const int32_t group_out = out_c / groups;
    const int32_t kernel_row = kernel_w * group_in;
    /* Taps next to each other in the weights are next to each other in the row: one long dot product. */
    const int contiguous = groups == 1 && dilation_w == 1;
    for (int32_t ox = 0; ox < out_w; ++ox) {
        const int32_t ix = ox * stride_w - pad_left;
        const int32_t first = tm_first_tap(ix, dilation_w);
        const int32_t end = tm_end_tap(ix, dilation_w, kernel_w, in_w);
        for (int32_t oc = 0; oc < out_c; ++oc) {
            const int32_t channel = oc / group_out * group_in;
            const int8_t *w = weights + oc * kernel_h * kernel_row;
            int32_t acc = bias[oc];
            int32_t missing = 0;
            for (int32_t ky = 0; ky < kernel_h; ++ky, w += kernel_row) {
                if (first >= end) {
                    missing = tm_sum_s8(w, kernel_row, missing);
                    continue;
                }
                if (contiguous) {
                    acc = tm_dot_s8(rows[ky] + (ix + first) * in_c, w + first * in_c, (end - first) * in_c,
                                    acc);
                } else {
                    for (int32_t kx = first; kx < end; ++kx) {
                        acc = tm_dot_s8(rows[ky] + (ix + kx * dilation_w) * in_c + channel, w + kx * group_in,
                                        group_in, acc);
                    }
                }
                missing = tm_sum_s8(w, first * group_in, missing);
                missing = tm_sum_s8(w + end * group_in, (kernel_w - end) * group_in, missing);
            }
            acc += missing * zp_in;
            y[oc] = tm_clamp_s8(tm_requant(acc, multiplier[oc], shift[oc]), zp_out, lo, hi);
        }
        y += out_c;
    }
}

#endif
