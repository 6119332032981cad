/* tm_conv2d_s16_dsp: one output row of a convolution, DSP instructions, int16 with int8 weights.
 *
 *   rows    int16 kernel_h x [in_w][in_c]   input rows as bytes; zeros where outside the image
 *   y       int16 [out_w][out_c]            output row
 *   stream  int32 []                        weights, biases and requantisation: tm_conv_block_s16_dsp.h
 *
 * The weights of a window fall into runs that are neighbours in a row: [kernel_h] of kernel_w * in_c, or with
 * dilation [kernel_h * kernel_w] of in_c. A zero follows each run of odd length, since pairs do not straddle two.
 *
 * Quantisation  y = clamp(requant(bias + sum w * x)), zero points 0; rounded once, as the TFLite reference.
 *               `wide` is how (tm_conv_block_s16_dsp.h), [lo, hi] the range of the fused activation.
 *               `blocks` is how the row falls into blocks of pixels (tm_block_pixels); 2 where `wide`.
 * Scratch       2 * K bytes for each pixel of the largest block, K the runs' lengths rounded up to 4 in all;
 *               8-byte aligned.
 * Requires      one group. Any kernel, stride, dilation and padding.
 * Overlap       writes while it reads: y must not touch bytes of `rows` still needed.
 * Source        TFLite kernels/internal/reference/integer_ops/conv.h (ConvPerChannel of int16).
 */
#ifndef TM_CONV2D_S16_DSP_H
#define TM_CONV2D_S16_DSP_H

#include "tm_conv_block_s16_dsp.h"

/* What the fill of a column needs to know; all of it is constant. */
typedef struct {
    int32_t in_w;
    int32_t in_c;
    int32_t kernel_h;
    int32_t kernel_w;
    int32_t stride_w;
    int32_t dilation_w;
} tm_conv2d16_shape;

/* One run of the column of a block at the left or right edge: `taps` neighbours from column `ix` on. */
TM_SHARED void tm_conv2d16_edge_dsp(const tm_conv2d16_shape *shape, const int16_t *row, int32_t *column,
                                    int32_t ix, int32_t taps, int32_t pixels)
{
    const int32_t in_c = shape->in_c;
    for (int32_t p = 0; p < pixels; ++p, ++column, ix += shape->stride_w) {
        int32_t *word = column;
        uint32_t half = 0; /* the first of a pair that straddles two taps */
        for (int32_t at = ix; at < ix + taps; ++at) {
            const int16_t *x = row + at * in_c;
            const int inside = at >= 0 && at < shape->in_w;
            int32_t left = in_c;
            if ((at - ix) % 2 != 0 && in_c % 2 != 0) {
                *word = (int32_t)(half | (inside ? (uint32_t)(uint16_t)*x << 16 : 0u));
                word += pixels;
                ++x;
                --left;
            }
            for (; left >= 2; left -= 2, x += 2, word += pixels) {
                *word = inside ? tm_load4(x) : 0;
            }
            half = left > 0 && inside ? (uint16_t)*x : 0u;
        }
        if (taps % 2 != 0 && in_c % 2 != 0) {
            *word = (int32_t)half;
        }
    }
}

/* The column of a block. `ix` is the first pixel's first column. */
TM_INLINE void tm_conv2d16_column(const tm_conv2d16_shape *shape, const int8_t *const *rows, int32_t *column,
                                  int32_t ix, int32_t pixels)
{
    const int32_t in_c = shape->in_c;
    const int32_t dilation_w = shape->dilation_w;
    /* Neighbouring taps are neighbours in memory: one long run. */
    const int32_t taps = dilation_w == 1 ? shape->kernel_w : 1;
    const int32_t n = taps * in_c;
    const int32_t reach = (pixels - 1) * shape->stride_w + taps;
    for (int32_t ky = 0; ky < shape->kernel_h; ++ky) {
        const int16_t *const row = tm_row_s16(rows[ky]);
        for (int32_t kx = 0; kx < shape->kernel_w; kx += taps, column += (n + 1) / 2 * pixels) {
            const int32_t at = ix + kx * dilation_w;
            if (at >= 0 && at + reach <= shape->in_w) {
                tm_column16_fill(row + at * in_c, column, n, shape->stride_w * in_c, pixels);
            } else {
                tm_conv2d16_edge_dsp(shape, row, column, at, taps, pixels);
            }
        }
    }
}

TM_INLINE void tm_conv2d_s16_dsp(const int8_t *const *rows, int16_t *y, const int32_t *stream, void *scratch,
                                 int32_t in_w, int32_t in_c, int32_t out_w, int32_t out_c, int32_t kernel_h,
                                 int32_t kernel_w, int32_t stride_w, int32_t dilation_w, int32_t pad_left,
                                 int32_t blocks, int32_t wide, int32_t lo, int32_t hi)
{
    const tm_conv2d16_shape shape = {in_w, in_c, kernel_h, kernel_w, stride_w, dilation_w};
    const int32_t taps = dilation_w == 1 ? kernel_w : 1;
    const int32_t words = kernel_h * (kernel_w / taps) * ((taps * in_c + 1) / 2);
    const int32_t groups = (words + 1) / 2;
    const int32_t rectified = !wide && tm_rectifies(lo);
    int32_t *const column = (int32_t *)scratch;
    for (int32_t ox = 0; ox < out_w;) {
        const int32_t block = tm_block_pixels(blocks, out_w - ox);
        const int32_t ix = ox * stride_w - pad_left;
        int16_t *const out = y + ox * out_c;
        /* The number of pixels must be a constant below. */
        if (tm_blocks_have(blocks, 4) && block == 4) {
            tm_conv2d16_column(&shape, rows, column, ix, 4);
            tm_conv16_block(wide, rectified, 4, column, stream, out, groups, out_c);
        } else if (tm_blocks_have(blocks, 3) && block == 3) {
            tm_conv2d16_column(&shape, rows, column, ix, 3);
            tm_conv16_block(wide, rectified, 3, column, stream, out, groups, out_c);
        } else if (tm_blocks_have(blocks, 2) && block == 2) {
            tm_conv2d16_column(&shape, rows, column, ix, 2);
            tm_conv16_block(wide, rectified, 2, column, stream, out, groups, out_c);
        } else {
            tm_conv2d16_column(&shape, rows, column, ix, 1);
            tm_conv16_block(wide, rectified, 1, column, stream, out, groups, out_c);
        }
        ox += block;
    }
    tm_clamp_row16(y, out_w * out_c, rectified, lo, hi);
}

#endif
