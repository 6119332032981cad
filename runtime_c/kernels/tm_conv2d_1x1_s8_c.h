/* tm_conv2d_1x1_s8_c: pointwise convolution over a run of pixels, portable C, int8.
 *
 *   x           int8  [pixels][in_c]
 *   y           int8  [pixels][out_c]
 *   weights     int8  [out_c][in_c]   symmetric
 *   bias        int32 [out_c]         -zp_in * sum(weights) folded in
 *   multiplier  int32 [out_c], shift int8 [out_c]
 *
 * Quantisation  y = clamp(zp_out + requant(bias + sum w * x)), rounding twice as the TFLite reference.
 * Scratch       none.
 * Requires      kernel 1x1, stride 1, no padding, one group.
 * Overlap       pixel by pixel; writes a pixel while it reads it.
 * Source        TFLite kernels/internal/reference/integer_ops/conv.h (ConvPerChannel).
 */
#ifndef TM_CONV2D_1X1_S8_C_H
#define TM_CONV2D_1X1_S8_C_H

#include "tm_runtime.h"

TM_INLINE void tm_conv2d_1x1_s8_c(const int8_t *x, int8_t *y, const int8_t *weights, const int32_t *bias,
                                  const int32_t *multiplier, const int8_t *shift, int32_t pixels,
                                  int32_t in_c, int32_t out_c, int32_t zp_out, int32_t lo, int32_t hi)
{
    for (int32_t p = 0; p < pixels; ++p) {
        const int8_t *w = weights;
        int32_t oc = 0;
        /* Two output channels at a time: each activation is loaded once for both. */
        for (; oc + 2 <= out_c; oc += 2) {
            int32_t acc[2] = {bias[oc], bias[oc + 1]};
            tm_dot2_s8(x, w, w + in_c, in_c, acc);
            y[oc] = tm_clamp_s8(tm_requant(acc[0], multiplier[oc], shift[oc]), zp_out, lo, hi);
            y[oc + 1] = tm_clamp_s8(tm_requant(acc[1], multiplier[oc + 1], shift[oc + 1]), zp_out, lo, hi);
            w += 2 * in_c;
        }
        if (oc < out_c) {
            const int32_t acc = tm_dot_s8(x, w, in_c, bias[oc]);
            y[oc] = tm_clamp_s8(tm_requant(acc, multiplier[oc], shift[oc]), zp_out, lo, hi);
        }
        x += in_c;
        y += out_c;
    }
}

#endif
