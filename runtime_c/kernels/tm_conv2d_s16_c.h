/* tm_conv2d_s16_c: one output row of a convolution, portable C, int16 with int8 weights.
 *
 *   rows        int16 kernel_h x [in_w][in_c]   input rows as bytes; zeros where outside the image
 *   y           int16 [out_w][out_c]            output row
 *   weights     int8  [out_c][kernel_h][kernel_w][in_c / groups]   symmetric
 *   bias        int64 [out_c]
 *   multiplier  int32 [out_c] of 15 bits, shift int8 [out_c]
 *
 * Quantisation  y = clamp(requant(bias + sum w * x)), zero points 0; rounded once, as the TFLite reference.
 *               Unless `wide`, bias and sum fit 32 bits whatever the input.
 * Scratch       none.
 * Requires      groups divides in_c and out_c. Any kernel, stride, dilation and padding.
 * Overlap       writes while it reads: y must not touch bytes of `rows` still needed.
 * Source        TFLite kernels/internal/reference/integer_ops/conv.h (ConvPerChannel of int16).
 */
#ifndef TM_CONV2D_S16_C_H
#define TM_CONV2D_S16_C_H

#include "tm_wide.h"

TM_INLINE void tm_conv2d_s16_c(const int8_t *const *rows, int16_t *y, const int8_t *weights,
                               const int64_t *bias, const int32_t *multiplier, const int8_t *shift,
                               int32_t in_w, int32_t in_c, int32_t out_w, int32_t out_c, int32_t groups,
                               int32_t kernel_h, int32_t kernel_w, int32_t stride_w, int32_t dilation_w,
                               int32_t pad_left, int32_t wide, int32_t lo, int32_t hi)
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
                int64_t acc[2] = {bias[oc], bias[oc + pair]};
                for (int32_t ky = 0; ky < kernel_h; ++ky) {
                    const int16_t *const x = tm_row_s16(rows[ky]) + group * group_in;
                    if (contiguous && first < end) {
                        tm_dot2_s16(x + (ix + first) * in_c, w0 + first * in_c, w1 + first * in_c,
                                    (end - first) * in_c, wide, acc);
                    } else {
                        for (int32_t kx = first; kx < end; ++kx) {
                            tm_dot2_s16(x + (ix + kx * dilation_w) * in_c, w0 + kx * group_in,
                                        w1 + kx * group_in, group_in, wide, acc);
                        }
                    }
                    w0 += kernel_row;
                    w1 += kernel_row;
                }
                y[oc] = tm_limit_s16(tm_requant_wide(acc[0], multiplier[oc], shift[oc]), lo, hi);
                if (pair != 0) {
                    y[oc + 1] =
                        tm_limit_s16(tm_requant_wide(acc[1], multiplier[oc + 1], shift[oc + 1]), lo, hi);
                }
            }
        }
        y += out_c;
    }
}

#endif
