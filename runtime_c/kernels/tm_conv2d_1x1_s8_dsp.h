/* tm_conv2d_1x1_s8_dsp: pointwise convolution over a run of pixels, DSP instructions, int8.
 *
 *   x       int8  [pixels][in_c]
 *   y       int8  [pixels][out_c]
 *   stream  int32 []               weights, biases (-zp_in * sum(weights) folded in) and requantisation:
 *                                  tm_conv_block_s8_dsp.h
 *
 * Quantisation  y = clamp(zp_out + requant(bias + sum w * x)), rounding twice as the TFLite reference;
 *               `form` is how and `packed` what the weights are like (tm_dsp.h), [lo, hi] the range of the fused activation.
 * Scratch       8 * in_c bytes, in_c rounded up to 4; 8-byte aligned.
 * Requires      kernel 1x1, stride 1, no padding, one group. Any number of pixels and channels.
 * Overlap       four pixels are read completely before the first of their outputs is written.
 * Source        TFLite kernels/internal/reference/integer_ops/conv.h (ConvPerChannel).
 */
#ifndef TM_CONV2D_1X1_S8_DSP_H
#define TM_CONV2D_1X1_S8_DSP_H

#include "tm_conv_block_s8_dsp.h"

TM_INLINE void tm_conv2d_1x1_s8_dsp(const int8_t *x, int8_t *y, const int32_t *stream, void *scratch,
                                    int32_t pixels, int32_t in_c, int32_t out_c, int32_t packed, int32_t form,
                                    int32_t zp_out, int32_t lo, int32_t hi)
{
    int32_t *column = (int32_t *)scratch;
    const int32_t whole = in_c / 4;
    const int32_t groups = (in_c + 3) / 4;
    for (; pixels >= 4; pixels -= 4) {
        if (whole > 0) {
            tm_column_4pixels_dsp(x, column, whole, in_c);
        }
        if (in_c % 4) {
            for (int32_t p = 0; p < 4; ++p) {
                tm_column_pixel_dsp(x + p * in_c + 4 * whole, column + 8 * whole + p, in_c % 4);
            }
        }
        tm_conv_block(form, packed, 4, column, stream, y, groups, out_c, zp_out);
        tm_clamp_row(y, 4 * out_c, lo, hi);
        x += 4 * in_c;
        y += 4 * out_c;
    }
    if (pixels > 0) {
        for (int32_t p = 0; p < pixels; ++p) {
            tm_column_pixel_dsp(x + p * in_c, column + p, in_c);
        }
        tm_conv_block(form, packed, pixels, column, stream, y, groups, out_c, zp_out);
        tm_clamp_row(y, pixels * out_c, lo, hi);
    }
}

#endif
