/* tm_conv2d_1x1_s8_dsp: pointwise convolution over a run of pixels, DSP instructions, int8.
 *
 *   x       int8  [pixels][in_c]
 *   y       int8  [pixels][out_c]
 *   stream  int32 []               weights, biases (-zp_in * sum(weights) folded in) and requantisation:
 *                                  tm_conv_block_s8_dsp.h
 *
 * Quantisation  y = clamp(zp_out + requant(bias + sum w * x)), rounding twice as the TFLite reference;
 *               `form` is how and `packed` what the weights are like (tm_dsp.h), [lo, hi] the range of the fused activation.
 *               `blocks` is how the pixels fall into blocks (tm_block_pixels).
 * Scratch       2 * in_c bytes, in_c rounded up to 4, for each pixel of the largest block; 8-byte aligned.
 * Requires      kernel 1x1, stride 1, no padding, one group. Any number of pixels and channels.
 * Overlap       a block's pixels, and those of the rest, are read before the first of their outputs is written.
 * Source        TFLite kernels/internal/reference/integer_ops/conv.h (ConvPerChannel).
 */
#ifndef TM_CONV2D_1X1_S8_DSP_H
#define TM_CONV2D_1X1_S8_DSP_H

#include "tm_conv_block_s8_dsp.h"

/* One block of pixels; `pixels` must be a constant where it is inlined. Where in_c leaves a rest, the weights behind
 * it are zero: any activations will do there, as those of the next pixels, of which `more` follow.
 */
TM_INLINE void tm_conv2d_1x1_column(const int8_t *x, int32_t *column, int32_t pixels, int32_t in_c,
                                    int32_t more)
{
    const int32_t whole = in_c / 4;
    if (in_c % 4 && more * in_c >= 4 - in_c % 4) {
        tm_column_fill(x, column, whole + 1, in_c, pixels);
        return;
    }
    if (whole > 0) {
        tm_column_fill(x, column, whole, in_c, pixels);
    }
    if (in_c % 4) {
        for (int32_t p = 0; p < pixels; ++p) {
            tm_column_pixel_dsp(x + p * in_c + 4 * whole, column + 2 * pixels * whole + p, in_c % 4, pixels);
        }
    }
}

TM_INLINE void tm_conv2d_1x1_s8_dsp(const int8_t *x, int8_t *y, const int32_t *stream, void *scratch,
                                    int32_t pixels, int32_t in_c, int32_t out_c, int32_t blocks,
                                    int32_t packed, int32_t form, int32_t zp_out, int32_t lo, int32_t hi)
{
    int32_t *column = (int32_t *)scratch;
    const int32_t groups = (in_c + 3) / 4;
    int8_t *first = y;
    int32_t left = pixels;
    int32_t block = tm_block_pixels(blocks, left);
    for (; block > 1; block = tm_block_pixels(blocks, left)) {
        if (tm_blocks_have(blocks, 4) && block == 4) {
            tm_conv2d_1x1_column(x, column, 4, in_c, left - 4);
            tm_conv_block(form, packed, 4, column, stream, y, groups, out_c, zp_out);
        } else if (tm_blocks_have(blocks, 3) && block == 3) {
            tm_conv2d_1x1_column(x, column, 3, in_c, left - 3);
            tm_conv_block(form, packed, 3, column, stream, y, groups, out_c, zp_out);
        } else if (tm_blocks_have(blocks, 2)) {
            tm_conv2d_1x1_column(x, column, 2, in_c, left - 2);
            tm_conv_block(form, packed, 2, column, stream, y, groups, out_c, zp_out);
        }
        x += block * in_c;
        y += block * out_c;
        left -= block;
    }
    for (int32_t p = 0; p < left; ++p) {
        tm_column_pixel_dsp(x + p * in_c, column + 2 * groups * p, in_c, 1);
    }
    for (; left > 0; --left, column += 2 * groups, y += out_c) {
        tm_conv_block(form, packed, 1, column, stream, y, groups, out_c, zp_out);
    }
    tm_clamp_row(first, pixels * out_c, lo, hi);
}

#endif
