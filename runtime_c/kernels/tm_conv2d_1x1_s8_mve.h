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
    int8_t *tile = column + (in_c + 15) / 16 * 64;
    tm_conv_pixels_mve(form, x, y, stream, column, tile, pixels, in_c, out_c, zp_out);
    tm_mve_clamp_row(y, pixels * out_c, lo, hi);
}

#endif
