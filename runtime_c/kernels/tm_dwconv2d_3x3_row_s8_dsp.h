/* tm_dwconv2d_3x3_row_s8_dsp: one output row of a 3x3 depthwise convolution, DSP instructions, int8.
 *
 *   rows    int8  3 x [in_w][channels]   input rows; NULL where outside the image: zero points
 *   y       int8  [out_w][channels]      output row
 *   stream  int32 [channels][6]          as tm_dwconv2d_3x3_s8_dsp
 *
 * Quantisation  y = clamp(zp_out + requant(bias + sum w * x)), rounding twice as the TFLite reference;
 *               `form` is how (tm_dsp.h), [lo, hi] the range of the fused activation. Columns left and
 *               right of the image count as zp_in and are not read.
 * Scratch       tm_dw_row_s8_dsp.h. A tile shorter than the row must be even.
 * Requires      depth multiplier 1, dilation 1, a horizontal stride of 1 or 2, one of the rows inside the image. Any
 *               number of channels.
 * Overlap       reads a group of channels, or all columns of a tile that no tile before has read, before it
 *               writes them: y may lie on input rows that nobody needs afterwards.
 * Source        TFLite kernels/internal/reference/integer_ops/depthwise_conv.h (DepthwiseConvPerChannel). With a
 *               vertical stride of 2 two output rows share one row in five: not worth the columns of both.
 */
#ifndef TM_DWCONV2D_3X3_ROW_S8_DSP_H
#define TM_DWCONV2D_3X3_ROW_S8_DSP_H

#include "tm_dw_row_s8_dsp.h"

TM_INLINE void tm_dwconv2d_3x3_row_s8_dsp(const int8_t *const *rows, int8_t *y, const int32_t *stream,
                                          void *scratch, int32_t in_w, int32_t channels, int32_t out_w,
                                          int32_t stride_w, int32_t tile, int32_t pad_left, int32_t zp_in,
                                          int32_t form, int32_t zp_out, int32_t lo, int32_t hi)
{
    tm_dw_row(rows, y, stream, (int32_t *)scratch, in_w, channels, out_w, stride_w, tile, pad_left, zp_in,
              form, zp_out, 1);
    tm_clamp_row(y, out_w * channels, lo, hi);
}

#endif
