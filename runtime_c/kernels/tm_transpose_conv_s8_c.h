/* tm_transpose_conv_s8_c: one output row of a transposed convolution, portable C, int8.
 *
 *   rows        int8  [in_w][in_c] each   the ceil(kernel_h / stride_h) input rows that the output row may take,
 *                                         zero-point rows where outside the image
 *   y           int8  [out_w][out_c]      output row
 *   phase                                 (output row + top padding) mod stride_h: the first row of the kernel
 *                                         that meets it, the last of `rows`; each stride_h further one row before
 *   weights     int8  [out_c][kernel_h][kernel_w][in_c]   symmetric
 *   bias        int32 [stride_h * stride_w][out_c]        for each phase of rows and columns, -zp_in * sum(weights)
 *                                                         over the taps that meet it folded in
 *   multiplier  int32 [out_c], shift int8 [out_c]
 *   outside     int8  [in_c]              zero points: a pixel left or right of the image
 *
 * Quantisation  y = clamp(zp_out + requant(bias + sum w * x)), rounding twice as the TFLite reference.
 * Scratch       none.
 * Requires      nothing. Any kernel, stride and padding; an output that no input reaches is its bias.
 * Overlap       writes while it reads: y must not touch bytes of `rows` still needed.
 * Source        TFLite kernels/internal/reference/integer_ops/transpose_conv.h, which scatters; this gathers.
 */
#ifndef TM_TRANSPOSE_CONV_S8_C_H
#define TM_TRANSPOSE_CONV_S8_C_H

#include "tm_runtime.h"

TM_INLINE void tm_transpose_conv_s8_c(const int8_t *const *rows, int8_t *y, int32_t phase,
                                      const int8_t *weights, const int32_t *bias, const int32_t *multiplier,
                                      const int8_t *shift, const int8_t *outside, int32_t in_w, int32_t in_c,
                                      int32_t out_w, int32_t out_c, int32_t kernel_h, int32_t kernel_w,
                                      int32_t stride_h, int32_t stride_w, int32_t pad_left, int32_t zp_out,
                                      int32_t lo, int32_t hi)
{
    const int32_t pointers = (kernel_h + stride_h - 1) / stride_h;
    const int32_t kernel_size = kernel_h * kernel_w * in_c;
    const int32_t *const row_bias = bias + phase * stride_w * out_c;
    int32_t column = pad_left % stride_w; /* the first column of the kernel that meets the output column */
    int32_t newest = pad_left / stride_w; /* the input column that it meets there */
    for (int32_t ox = 0; ox < out_w; ++ox, y += out_c) {
        /* Two output channels at a time; a last odd one is computed twice and stored once. */
        for (int32_t oc = 0; oc < out_c; oc += 2) {
            const int32_t pair = oc + 1 < out_c ? 1 : 0;
            const int8_t *const w0 = weights + oc * kernel_size;
            const int8_t *const w1 = w0 + pair * kernel_size;
            int32_t acc[2] = {row_bias[column * out_c + oc], row_bias[column * out_c + oc + pair]};
            int32_t row = pointers - 1;
            for (int32_t ky = phase; ky < kernel_h; ky += stride_h, --row) {
                int32_t ix = newest;
                for (int32_t kx = column; kx < kernel_w; kx += stride_w, --ix) {
                    const int8_t *const x = ix >= 0 && ix < in_w ? rows[row] + ix * in_c : outside;
                    const int32_t tap = (ky * kernel_w + kx) * in_c;
                    tm_dot2_s8(x, w0 + tap, w1 + tap, in_c, acc);
                }
            }
            y[oc] = tm_clamp_s8(tm_requant(acc[0], multiplier[oc], shift[oc]), zp_out, lo, hi);
            if (pair != 0) {
                y[oc + 1] =
                    tm_clamp_s8(tm_requant(acc[1], multiplier[oc + 1], shift[oc + 1]), zp_out, lo, hi);
            }
        }
        if (++column == stride_w) {
            column = 0;
            ++newest;
        }
    }
}

#endif
