/* tm_fully_connected_rows_s8_dsp: fully connected layer over several rows of inputs, DSP instructions, int8.
 *
 *   x       int8  [pixels][in_c]
 *   y       int8  [pixels][out_c]
 *   stream  int32 []               weights, biases (-zp_in * sum(weights) folded in) and requantisation:
 *                                  tm_conv_block_s8_dsp.h
 *
 * Quantisation  y = clamp(zp_out + requant(bias + sum w * x)), rounding once as LiteRT's reference (TM_REQUANT_1);
 *               `packed` and `blocks` as in tm_conv2d_1x1_s8_dsp.h, [lo, hi] the range of the fused activation.
 * Scratch       2 * in_c bytes, in_c rounded up to 4, for each row of the largest block; 8-byte aligned.
 * Requires      right shifts from 2 to 31.
 * Overlap       a block's rows, and those of the rest, are read before the first of their outputs is written.
 * Source        TFLite kernels/internal/reference/integer_ops/fully_connected.h: a pointwise convolution but for
 *               its rounding.
 */
#ifndef TM_FULLY_CONNECTED_ROWS_S8_DSP_H
#define TM_FULLY_CONNECTED_ROWS_S8_DSP_H

#include "tm_conv2d_1x1_s8_dsp.h"

TM_INLINE void tm_fully_connected_rows_s8_dsp(const int8_t *x, int8_t *y, const int32_t *stream,
                                              void *scratch, int32_t pixels, int32_t in_c, int32_t out_c,
                                              int32_t blocks, int32_t packed, int32_t form, int32_t zp_out,
                                              int32_t lo, int32_t hi)
{
    tm_conv2d_1x1_s8_dsp(x, y, stream, scratch, pixels, in_c, out_c, blocks, packed, form, zp_out, lo, hi);
}

#endif
