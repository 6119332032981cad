/* tm_dwconv2d_s16_c: one output row of a depthwise convolution, portable C, int16 with int8 weights.
 *
 *   rows        int16 kernel_h x [in_w][in_c]   input rows as bytes; zeros where outside the image
 *   y           int16 [out_w][out_c]            output row, out_c = in_c * depth_multiplier
 *   weights     int8  [kernel_h][kernel_w][out_c]   symmetric
 *   bias        int64 [out_c]
 *   multiplier  int32 [out_c] of 15 bits, shift int8 [out_c]
 *
 * Quantisation  as tm_conv2d_s16_c.
 * Scratch       none.
 * Requires      in_c divides out_c. Any kernel, stride, dilation and padding.
 * Overlap       writes while it reads: y must not touch bytes of `rows` still needed.
 * Source        TFLite kernels/internal/reference/integer_ops/depthwise_conv.h (of int16).
 */
#ifndef TM_DWCONV2D_S16_C_H
#define TM_DWCONV2D_S16_C_H

#include "tm_wide.h"

TM_INLINE void tm_dwconv2d_s16_c(const int8_t *const *rows, int16_t *y, const int8_t *weights,
                                 const int64_t *bias, const int32_t *multiplier, const int8_t *shift,
                                 int32_t in_w, int32_t in_c, int32_t out_w, int32_t out_c, int32_t kernel_h,
                                 int32_t kernel_w, int32_t stride_w, int32_t dilation_w, int32_t pad_left,
                                 int32_t wide, int32_t lo, int32_t hi)
{
    const int32_t depth_multiplier = out_c / in_c;
    for (int32_t ox = 0; ox < out_w; ++ox) {
        const int32_t ix = ox * stride_w - pad_left;
        const int32_t first = tm_first_tap(ix, dilation_w);
        const int32_t end = tm_end_tap(ix, dilation_w, kernel_w, in_w);
        int32_t oc = 0;
        for (int32_t c = 0; c < in_c; ++c) {
            for (int32_t m = 0; m < depth_multiplier; ++m, ++oc) {
                const int8_t *const w = weights + oc;
                int64_t acc = bias[oc];
                int32_t narrow = wide != 0 ? 0 : (int32_t)acc;
                for (int32_t ky = 0; ky < kernel_h; ++ky) {
                    const int16_t *const x = tm_row_s16(rows[ky]) + c;
                    TM_UNROLL_4
                    for (int32_t kx = first; kx < end; ++kx) {
                        const int32_t product =
                            x[(ix + kx * dilation_w) * in_c] * w[(ky * kernel_w + kx) * out_c];
                        if (wide != 0) {
                            acc += product;
                        } else {
                            narrow += product;
                        }
                    }
                }
                acc = wide != 0 ? acc : narrow;
                y[oc] = tm_limit_s16(tm_requant_wide(acc, multiplier[oc], shift[oc]), lo, hi);
            }
        }
        y += out_c;
    }
}

#endif
