/* tm_conv2d_s8_dsp: one output row of a convolution, DSP instructions, int8.
 *
 *   rows    int8  kernel_h x [in_w][in_c]   input rows; zero-point rows where outside the image
 *   y       int8  [out_w][out_c]            output row
 *   stream  int32 []                        weights in the order [kernel_h][kernel_w][in_c], biases
 *                                           (-zp_in * sum(weights) folded in) and requantisation:
 *                                           tm_conv_block_s8_dsp.h
 *
 * Quantisation  y = clamp(zp_out + requant(bias + sum w * x)), rounding twice as the TFLite reference;
 *               `form` is how and `packed` what the weights are like (tm_dsp.h), [lo, hi] the range of the fused activation. Columns left and
 *               right of the image count as zp_in and are not read.
 * Scratch       with K = kernel_h * kernel_w * in_c rounded up to 4: 8 * K bytes where in_c is a
 *               multiple of 4, else 12 * K; 8-byte aligned.
 * Requires      one group. Any kernel, stride, dilation and padding.
 * Overlap       writes while it reads: y must not touch bytes of `rows` still needed.
 * Source        TFLite kernels/internal/reference/integer_ops/conv.h (ConvPerChannel).
 */
#ifndef TM_CONV2D_S8_DSP_H
#define TM_CONV2D_S8_DSP_H

#include "tm_conv_block_s8_dsp.h"

/* The column of up to four output pixels where in_c is a multiple of 4: every tap is whole groups,
 * widened straight from the rows. `ix` is the first pixel's first column.
 */
TM_INLINE void tm_conv2d_column(const int8_t *const *rows, int32_t *column, int32_t ix, int32_t pixels,
                                int32_t in_w, int32_t in_c, int32_t kernel_h, int32_t kernel_w,
                                int32_t stride_w, int32_t dilation_w, int32_t zp_in)
{
    /* Neighbouring taps are neighbouring bytes: one long tap. */
    const int contiguous = dilation_w == 1;
    const int32_t last = ix + 3 * stride_w + (kernel_w - 1) * dilation_w;
    if (pixels == 4 && ix >= 0 && last < in_w) {
        const int32_t taps = contiguous ? 1 : kernel_w;
        const int32_t n = contiguous ? kernel_w * in_c : in_c;
        for (int32_t ky = 0; ky < kernel_h; ++ky) {
            for (int32_t kx = 0; kx < taps; ++kx, column += 2 * n) {
                tm_column_4pixels_dsp(rows[ky] + (ix + kx * dilation_w) * in_c, column, n / 4,
                                      stride_w * in_c);
            }
        }
        return;
    }
    const int32_t outside = tm_sxtb16(tm_splat4(zp_in));
    for (int32_t ky = 0; ky < kernel_h; ++ky) {
        for (int32_t kx = 0; kx < kernel_w; ++kx, column += 2 * in_c) {
            int32_t at = ix + kx * dilation_w;
            for (int32_t p = 0; p < pixels; ++p, at += stride_w) {
                if (at >= 0 && at < in_w) {
                    tm_column_pixel_dsp(rows[ky] + at * in_c, column + p, in_c);
                } else {
                    for (int32_t i = 0; i < in_c / 2; ++i) {
                        column[4 * i + p] = outside;
                    }
                }
            }
        }
    }
}

/* The bytes of one output pixel's window, [kernel_h][kernel_w][in_c], gathered in `window`. */
TM_INLINE void tm_conv2d_window(const int8_t *const *rows, int8_t *window, int32_t ix, int32_t in_w,
                                int32_t in_c, int32_t kernel_h, int32_t kernel_w, int32_t dilation_w,
                                int32_t zp_in)
{
    const int inside = ix >= 0 && ix + (kernel_w - 1) * dilation_w < in_w;
    for (int32_t ky = 0; ky < kernel_h; ++ky) {
        if (inside && dilation_w == 1) {
            memcpy(window, rows[ky] + ix * in_c, (size_t)(kernel_w * in_c));
            window += kernel_w * in_c;
            continue;
        }
        for (int32_t kx = 0; kx < kernel_w; ++kx, window += in_c) {
            const int32_t at = ix + kx * dilation_w;
            if (at >= 0 && at < in_w) {
                memcpy(window, rows[ky] + at * in_c, (size_t)in_c);
            } else {
                memset(window, zp_in, (size_t)in_c);
            }
        }
    }
}

TM_INLINE void tm_conv2d_s8_dsp(const int8_t *const *rows, int8_t *y, const int32_t *stream, void *scratch,
                                int32_t in_w, int32_t in_c, int32_t out_w, int32_t out_c, int32_t kernel_h,
                                int32_t kernel_w, int32_t stride_w, int32_t dilation_w, int32_t pad_left,
                                int32_t zp_in, int32_t packed, int32_t form, int32_t zp_out, int32_t lo,
                                int32_t hi)
{
    int32_t *column = (int32_t *)scratch;
    const int32_t groups = (kernel_h * kernel_w * in_c + 3) / 4;
    int8_t *windows = (int8_t *)(column + 8 * groups);
    for (int32_t ox = 0; ox < out_w; ox += 4) {
        const int32_t pixels = out_w - ox < 4 ? out_w - ox : 4;
        const int32_t ix = ox * stride_w - pad_left;
        if (in_c % 4 == 0) {
            tm_conv2d_column(rows, column, ix, pixels, in_w, in_c, kernel_h, kernel_w, stride_w, dilation_w,
                             zp_in);
        } else {
            for (int32_t p = 0; p < pixels; ++p) {
                tm_conv2d_window(rows, windows + 4 * groups * p, ix + p * stride_w, in_w, in_c, kernel_h,
                                 kernel_w, dilation_w, zp_in);
            }
            tm_column_4pixels_dsp(windows, column, groups, 4 * groups);
        }
        tm_conv_block(form, packed, pixels, column, stream, y + ox * out_c, groups, out_c, zp_out);
    }
    tm_clamp_row(y, out_w * out_c, lo, hi);
}

#endif
