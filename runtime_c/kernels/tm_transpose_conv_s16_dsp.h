/* tm_transpose_conv_s16_dsp: one output row of a transposed convolution, DSP instructions, int16 with int8 weights.
 *
 *   rows    int16 [in_w][in_c] each   the ceil(kernel_h / stride_h) input rows, as bytes, that the output row may
 *                                     take, zeros where outside the image
 *   y       int16 [out_w][out_c]      output row
 *   phase                             (output row + top padding) mod stride_h
 *   stream  int32 []                  for each phase of rows and columns a convolution's stream
 *                                     (tm_conv2d_s16_dsp.h): the kernel's rows and columns that meet it, last first
 *   starts  int32 [stride_h * stride_w]   where each begins
 *
 * Every stride_w-th pixel of an output row is a convolution of the same taps with stride 1. Its pixels are computed
 * side by side and then put apart: no multiply-accumulate is wasted.
 *
 * Quantisation  y = clamp(requant(bias + sum w * x)), zero points 0; rounded once, as the TFLite reference; `wide` and
 *               `blocks` as in tm_conv2d_s16_dsp.h, [lo, hi] the range of the fused activation.
 * Scratch       `columns` bytes, what tm_conv2d_s16_dsp needs for the most taps, then [ceil(out_w / stride_w)][out_c]
 *               int16.
 * Requires      kernel_h >= stride_h, kernel_w >= stride_w.
 * Overlap       writes while it reads: y must not touch bytes of `rows` still needed.
 * Source        TFLite kernels/internal/reference/integer_ops/transpose_conv.h (of int16); tm_transpose_conv_s8_dsp.
 */
#ifndef TM_TRANSPOSE_CONV_S16_DSP_H
#define TM_TRANSPOSE_CONV_S16_DSP_H

#include "tm_conv2d_s16_dsp.h"

TM_INLINE void tm_transpose_conv_s16_dsp(const int8_t *const *rows, int16_t *y, int32_t phase,
                                         const int32_t *stream, const int32_t *starts, void *scratch,
                                         int32_t in_w, int32_t in_c, int32_t out_w, int32_t out_c,
                                         int32_t kernel_h, int32_t kernel_w, int32_t stride_h,
                                         int32_t stride_w, int32_t pad_left, int32_t columns, int32_t blocks,
                                         int32_t wide, int32_t lo, int32_t hi)
{
    int16_t *const pixels = (int16_t *)scratch + columns / 2;
    const int32_t pointers = (kernel_h + stride_h - 1) / stride_h;
    const int32_t met = (kernel_h - phase + stride_h - 1) / stride_h;
    const int32_t taps_h = met < pointers ? met : pointers; /* as it is: phase >= 0, which GCC may not know */
    int32_t column = pad_left % stride_w; /* the first column of the kernel that meets the output column */
    int32_t newest = pad_left / stride_w; /* the input column that it meets there */
    for (int32_t first = 0; first < stride_w && first < out_w; ++first) {
        const int32_t taps_w = (kernel_w - column + stride_w - 1) / stride_w;
        const int32_t count = (out_w - first + stride_w - 1) / stride_w;
        const int16_t *from = pixels;
        int16_t *to = y + first * out_c;
        tm_conv2d_s16_dsp(rows + (pointers - taps_h), pixels, stream + starts[phase * stride_w + column],
                          scratch, in_w, in_c, count, out_c, taps_h, taps_w, 1, 1, taps_w - 1 - newest,
                          blocks, wide, lo, hi);
        for (int32_t p = 0; p < count; ++p, from += out_c, to += stride_w * out_c) {
            memcpy(to, from, 2 * (size_t)out_c);
        }
        if (++column == stride_w) {
            column = 0;
            ++newest;
        }
    }
}

#endif
