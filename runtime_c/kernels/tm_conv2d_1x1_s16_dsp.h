/* tm_conv2d_1x1_s16_dsp: pointwise convolution over a run of pixels, DSP instructions, int16 with int8 weights.
 *
 *   x       int16 [pixels][in_c]
 *   y       int16 [pixels][out_c]
 *   stream  int32 []               weights, biases and requantisation: tm_conv_block_s16_dsp.h
 *
 * Quantisation  y = clamp(requant(bias + sum w * x)), zero points 0; rounded once, as the TFLite reference.
 *               `wide` is how (tm_conv_block_s16_dsp.h), [lo, hi] the range of the fused activation.
 *               `blocks` is how the pixels fall into blocks (tm_block_pixels); 2 where `wide`.
 * Scratch       2 * in_c bytes, in_c rounded up to 4, for each pixel of the largest block; 8-byte aligned.
 * Requires      kernel 1x1, stride 1, no padding, one group. Any number of pixels and channels.
 * Overlap       a block's pixels, and those of the rest, are read before the first of their outputs is written.
 * Source        TFLite kernels/internal/reference/integer_ops/conv.h (ConvPerChannel of int16).
 */
#ifndef TM_CONV2D_1X1_S16_DSP_H
#define TM_CONV2D_1X1_S16_DSP_H

#include "tm_conv_block_s16_dsp.h"

TM_INLINE void tm_conv2d_1x1_s16_dsp(const int16_t *x, int16_t *y, const int32_t *stream, void *scratch,
                                     int32_t pixels, int32_t in_c, int32_t out_c, int32_t blocks,
                                     int32_t wide, int32_t lo, int32_t hi)
{
    int32_t *column = (int32_t *)scratch;
    const int32_t groups = (in_c + 3) / 4;
    const int32_t rectified = !wide && tm_rectifies(lo);
    int16_t *first = y;
    int32_t left = pixels;
    int32_t block = tm_block_pixels(blocks, left);
    for (; block > 1; block = tm_block_pixels(blocks, left)) {
        /* The number of pixels must be a constant below. */
        if (tm_blocks_have(blocks, 4) && block == 4) {
            tm_column16_fill(x, column, in_c, in_c, 4);
            tm_conv16_block(wide, rectified, 4, column, stream, y, groups, out_c);
        } else if (tm_blocks_have(blocks, 3) && block == 3) {
            tm_column16_fill(x, column, in_c, in_c, 3);
            tm_conv16_block(wide, rectified, 3, column, stream, y, groups, out_c);
        } else if (tm_blocks_have(blocks, 2)) {
            tm_column16_fill(x, column, in_c, in_c, 2);
            tm_conv16_block(wide, rectified, 2, column, stream, y, groups, out_c);
        }
        x += block * in_c;
        y += block * out_c;
        left -= block;
    }
    for (int32_t p = 0; p < left; ++p) {
        tm_column16_fill(x + p * in_c, column + 2 * groups * p, in_c, in_c, 1);
    }
    for (; left > 0; --left, column += 2 * groups, y += out_c) {
        tm_conv16_block(wide, rectified, 1, column, stream, y, groups, out_c);
    }
    tm_clamp_row16(first, pixels * out_c, rectified, lo, hi);
}

#endif
