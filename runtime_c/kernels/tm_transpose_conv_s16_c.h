/* tm_transpose_conv_s16_c: one output row of a transposed convolution, portable C, int16 with int8 weights.
 *
 *   rows        int16 [in_w][in_c] each   as bytes: the ceil(kernel_h / stride_h) input rows that the output row
 *                                         may take, zeros where outside the image
 *   y           int16 [out_w][out_c]      output row
 *   phase                                 (output row + top padding) mod stride_h: the first row of the kernel
 *                                         that meets it, the last of `rows`; each stride_h further one row before
 *   weights     int8  [out_c][kernel_h][kernel_w][in_c]   symmetric
 *   bias        int64 [out_c]
 *   multiplier  int32 [out_c] of 15 bits, shift int8 [out_c]
 *
 * Quantisation  as tm_conv2d_s16_c.
 * Scratch       none.
 * Requires      nothing. Any kernel, stride and padding; an output that no input reaches is its bias.
 * Overlap       writes while it reads: y must not touch bytes of `rows` still needed.
 * Source        TFLite kernels/internal/reference/integer_ops/transpose_conv.h (of int16), which scatters; this
 *               gathers.
 */
#ifndef TM_TRANSPOSE_CONV_S16_C_H
#define TM_TRANSPOSE_CONV_S16_C_H

#include "tm_wide.h"

TM_INLINE void tm_transpose_conv_s16_c(const int8_t *const *rows, int16_t *y, int32_t phase,
                                       const int8_t *weights, const int64_t *bias, const int32_t *multiplier,
                                       const int8_t *shift, int32_t in_w, int32_t in_c, int32_t out_w,
                                       int32_t out_c, int32_t kernel_h, int32_t kernel_w, int32_t stride_h,
                                       int32_t stride_w, int32_t pad_left, int32_t wide, int32_t lo,
                                       int32_t hi)
{
    const int32_t pointers = (kernel_h + stride_h - 1) / stride_h;
    const int32_t kernel_size = kernel_h * kernel_w * in_c;
    int32_t column = pad_left % stride_w; /* the first column of the kernel that meets the output column */
    int32_t newest = pad_left / stride_w; /* the input column that it meets there */
    for (int32_t ox = 0; ox < out_w; ++ox, y += out_c) {
        /* Two output channels at a time; a last odd one is computed twice and stored once. */
        for (int32_t oc = 0; oc < out_c; oc += 2) {
            const int32_t pair = oc + 1 < out_c ? 1 : 0;
            const int8_t *const w0 = weights + oc * kernel_size;
            const int8_t *const w1 = w0 + pair * kernel_size;
            int64_t acc[2] = {bias[oc], bias[oc + pair]};
            int32_t row = pointers - 1;
            for (int32_t ky = phase; ky < kernel_h; ky += stride_h, --row) {
                int32_t ix = newest;
                for (int32_t kx = column; kx < kernel_w; kx += stride_w, --ix) {
                    if (ix >= 0 && ix < in_w) {
                        const int32_t tap = (ky * kernel_w + kx) * in_c;
                        tm_dot2_s16(tm_row_s16(rows[row]) + ix * in_c, w0 + tap, w1 + tap, in_c, wide, acc);
                    }
                }
            }
            y[oc] = tm_limit_s16(tm_requant_wide(acc[0], multiplier[oc], shift[oc]), lo, hi);
            if (pair != 0) {
                y[oc + 1] = tm_limit_s16(tm_requant_wide(acc[1], multiplier[oc + 1], shift[oc + 1]), lo, hi);
            }
        }
        if (++column == stride_w) {
            column = 0;
            ++newest;
        }
    }
}

#endif
