/* tm_conv2d_1x1_s8_mve: pointwise convolution over a run of pixels, Helium, int8.
 *
 *   x       int8  [pixels][in_c]
 *   y       int8  [pixels][out_c]   4-byte aligned where out_c is a multiple of 4
 *   stream  int32 []                weights, biases (-zp_in * sum(weights) folded in) and requantisation:
 *                                   tm_conv_block_s8_mve.h
 *
 * Quantisation  y = clamp(zp_out + requant(bias + sum w * x)), rounding twice as the TFLite reference; `form` is
 *               how (tm_mve.h), [lo, hi] the range of the fused activation.
 * Scratch       4 * in_c bytes, in_c rounded up to 16; where pixels or out_c are no multiple of 4, also
 *               4 * out_c, out_c rounded up to 4; 8-byte aligned.
 * Requires      kernel 1x1, stride 1, no padding, one group. Any number of pixels and channels.
 * Overlap       four pixels are read completely before the first of their outputs is written.
 * Source        TFLite kernels/internal/reference/integer_ops/conv.h (ConvPerChannel).
 */
#ifndef TM_CONV2D_1X1_S8_MVE_H
#define TM_CONV2D_1X1_S8_MVE_H

#include "tm_conv_block_s8_mve.h"

TM_INLINE void tm_conv2d_1x1_s8_mve(const int8_t *x, int8_t *y, const int32_t *stream, void *scratch,
                                    int32_t pixels, int32_t in_c, int32_t out_c, int32_t form, int32_t zp_out,
                                    int32_t lo, int32_t hi)
{
    int8_t *column = (int8_t *)scratch;
    const int32_t steps = (in_c + 15) / 16;
    int8_t *tile = column + 64 * steps;
    /* Blocks of four pixels and fours of channels need but one call; it buffers the pixels itself. */
    const int32_t blocks = out_c % 4 == 0 ? pixels / 4 : 0;
    if (blocks > 0) {
        const tm_conv_shape_mve shape = {
            steps, zp_out, out_c, blocks, {0, out_c, 2 * out_c, 3 * out_c}, x, in_c,
        };
#if TM_MVE_ASM
        if (in_c <= 16 && form == TM_MVE_REQUANT_2) {
            tm_conv_short_mve(x, stream, y, &shape);
        } else
#endif
        {
            tm_conv_fours_mve(form, column, stream, y, &shape);
        }
    }
    for (int32_t p = 4 * blocks; p < pixels; p += 4) {
        const int32_t count = tm_min(pixels - p, 4);
        const int32_t last = count - 1; /* stands for pixels beyond the end */
        const int8_t *const first = x + p * in_c;
        const int8_t *const from[4] = {
            first,
            first + tm_min(1, last) * in_c,
            first + tm_min(2, last) * in_c,
            first + last * in_c,
        };
        tm_column_4pixels_mve(from, column, in_c);
        tm_conv_block_mve(form, count, column, stream, y + p * out_c, tile, steps, out_c, zp_out);
    }
    tm_mve_clamp_row(y, pixels * out_c, lo, hi);
}

#endif
