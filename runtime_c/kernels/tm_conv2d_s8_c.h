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

/* Sum of the weights outside [first, end) of each kernel row: those of columns beside the image. */
TM_INLINE int32_t tm_conv2d_missing_s8_c(const int8_t *w, int32_t kernel_h, int32_t kernel_row, int32_t first,
                                         int32_t end)
{
    int32_t sum = 0;
    for (int32_t ky = 0; ky < kernel_h; ++ky, w += kernel_row) {
        for (int32_t i = 0; i < kernel_row; ++i) {
            sum += i < first || i >= end ? w[i] : 0;
        }
    }
    return sum;
}

TM_INLINE void tm_conv2d_s8_c(const int8_t *const *rows, int8_t *y, const int8_t *weights,
                              const int32_t *bias, const int32_t *multiplier, const int8_t *shift,
                              int32_t in_w, int32_t in_c, int32_t out_w, int32_t out_c, int32_t groups,
                              int32_t kernel_h, int32_t kernel_w, int32_t stride_w, int32_t dilation_w,
                              int32_t pad_left, int32_t zp_in, int32_t zp_out, int32_t lo, int32_t hi)
{
    const int32_t group_in = in_c / groups;
    const int32_t group_out = out_c / groups;
    const int32_t kernel_row = kernel_w * group_in;
    const int32_t kernel_size = kernel_h * kernel_row;
    /* Taps next to each other in the weights are next to each other in the row: one long dot product. */
    const int contiguous = groups == 1 && dilation_w == 1;
    for (int32_t ox = 0; ox < out_w; ++ox) {
        const int32_t ix = ox * stride_w - pad_left;
        int32_t first = tm_first_tap(ix, dilation_w);
        int32_t end = tm_end_tap(ix, dilation_w, kernel_w, in_w);
        if (first >= end) {
            first = end = 0; /* the window lies beside the image */
        }
        for (int32_t group = 0; group < groups; ++group) {
            /* Two output channels at a time; a last odd one is computed twice and stored once. */
            for (int32_t o = 0; o < group_out; o += 2) {
                const int32_t oc = group * group_out + o;
                const int32_t pair = o + 1 < group_out ? 1 : 0;
                const int8_t *w0 = weights + oc * kernel_size;
                const int8_t *w1 = w0 + pair * kernel_size;
                int32_t acc[2] = {bias[oc], bias[oc + pair]};
                if (end - first < kernel_w) {
                    acc[0] += zp_in * tm_conv2d_missing_s8_c(w0, kernel_h, kernel_row, first * group_in,
                                                             end * group_in);
                    acc[1] += zp_in * tm_conv2d_missing_s8_c(w1, kernel_h, kernel_row, first * group_in,
                                                             end * group_in);
                }
                for (int32_t ky = 0; ky < kernel_h; ++ky) {
                    if (contiguous && first < end) {
                        tm_dot2_s8(rows[ky] + (ix + first) * in_c, w0 + first * in_c, w1 + first * in_c,
                                   (end - first) * in_c, acc);
                    } else {
                        for (int32_t kx = first; kx < end; ++kx) {
                            tm_dot2_s8(rows[ky] + (ix + kx * dilation_w) * in_c + group * group_in,
                                       w0 + kx * group_in, w1 + kx * group_in, group_in, acc);
                        }
                    }
                    w0 += kernel_row;
                    w1 += kernel_row;
                }
                y[oc] = tm_clamp_s8(tm_requant(acc[0], multiplier[oc], shift[oc]), zp_out, lo, hi);
                if (pair != 0) {
                    y[oc + 1] =
                        tm_clamp_s8(tm_requant(acc[1], multiplier[oc + 1], shift[oc + 1]), zp_out, lo, hi);
                }
            }
        }
        y += out_c;
    }
}

#endif
