/* tm_dwconv2d_s8_c: one output row of a depthwise convolution, portable C, int8.
 *
 *   rows        int8  kernel_h x [in_w][in_c]   input rows; zero-point rows where outside the image
 *   y           int8  [out_w][out_c]            output row, out_c = in_c * depth_multiplier
 *   weights     int8  [kernel_h][kernel_w][out_c]   symmetric
 *   bias        int32 [out_c]                   -zp_in * sum(weights) over all taps folded in
 *   multiplier  int32 [out_c], shift int8 [out_c]
 *
 * Quantisation  y = clamp(zp_out + requant(bias + sum w * x)), rounding twice as the TFLite
 *               reference. Columns left and right of the image count as zp_in and are not read.
 * Scratch       none.
 * Requires      in_c divides out_c. Any kernel, stride, dilation and padding.
 * Overlap       writes while it reads: y must not touch bytes of `rows` still needed.
 * Source        TFLite kernels/internal/reference/integer_ops/depthwise_conv.h.
 */
#ifndef TM_DWCONV2D_S8_C_H
#define TM_DWCONV2D_S8_C_H

#include "tm_runtime.h"

/* acc + the taps of one output channel, where columns may lie beside the image. */
TM_INLINE int32_t tm_dwconv2d_edge_s8_c(const int8_t *const *rows, const int8_t *w, int32_t acc, int32_t in_w,
                                        int32_t in_c, int32_t out_c, int32_t kernel_h, int32_t kernel_w,
                                        int32_t dilation_w, int32_t ix, int32_t c, int32_t zp_in)
{
    for (int32_t ky = 0; ky < kernel_h; ++ky) {
        for (int32_t kx = 0, px = ix; kx < kernel_w; ++kx, px += dilation_w, w += out_c) {
            acc += (px < 0 || px >= in_w ? zp_in : (int32_t)rows[ky][px * in_c + c]) * *w;
        }
    }
    return acc;
}

TM_INLINE void tm_dwconv2d_s8_c(const int8_t *const *rows, int8_t *y, const int8_t *weights,
                                const int32_t *bias, const int32_t *multiplier, const int8_t *shift,
                                int32_t in_w, int32_t in_c, int32_t out_w, int32_t out_c, int32_t kernel_h,
                                int32_t kernel_w, int32_t stride_w, int32_t dilation_w, int32_t pad_left,
                                int32_t zp_in, int32_t zp_out, int32_t lo, int32_t hi)
{
    const int32_t depth_multiplier = out_c / in_c;
    for (int32_t ox = 0; ox < out_w; ++ox) {
        const int32_t ix = ox * stride_w - pad_left;
        const int inside = ix >= 0 && ix + (kernel_w - 1) * dilation_w < in_w;
        int32_t oc = 0;
        /* Two output channels at a time: one walk over the taps for both. */
        for (; inside && oc + 2 <= out_c; oc += 2) {
            const int32_t c = oc / depth_multiplier;
            const int32_t next = (oc + 1) / depth_multiplier - c;
            const int8_t *w = weights + oc;
            int32_t acc0 = bias[oc];
            int32_t acc1 = bias[oc + 1];
            for (int32_t ky = 0; ky < kernel_h; ++ky) {
                const int8_t *x = rows[ky] + ix * in_c + c;
                TM_UNROLL_4
                for (int32_t kx = 0; kx < kernel_w; ++kx) {
                    acc0 += (int32_t)x[0] * w[0];
                    acc1 += (int32_t)x[next] * w[1];
                    x += dilation_w * in_c;
                    w += out_c;
                }
            }
            y[oc] = tm_clamp_s8(tm_requant(acc0, multiplier[oc], shift[oc]), zp_out, lo, hi);
            y[oc + 1] = tm_clamp_s8(tm_requant(acc1, multiplier[oc + 1], shift[oc + 1]), zp_out, lo, hi);
        }
        for (; oc < out_c; ++oc) {
            const int32_t acc =
                tm_dwconv2d_edge_s8_c(rows, weights + oc, bias[oc], in_w, in_c, out_c, kernel_h, kernel_w,
                                      dilation_w, ix, oc / depth_multiplier, zp_in);
            y[oc] = tm_clamp_s8(tm_requant(acc, multiplier[oc], shift[oc]), zp_out, lo, hi);
        }
        y += out_c;
    }
}

#endif
