/* tm_conv2d_s8_dsp: one output row of a convolution, DSP instructions, int8.
 *
 *   rows    int8  kernel_h x [in_w][in_c]   input rows; zero-point rows where outside the image
 *   y       int8  [out_w][out_c]            output row
 *   stream  int32 []                        weights, biases (-zp_in * sum(weights) folded in) and
 *                                           requantisation: tm_conv_block_s8_dsp.h
 *
 * The weights of a window are in the order [kernel_h][kernel_w * in_c], but where in_c is not a multiple of 4 the
 * last kernel_w * in_c % 4 of each row come after the whole words of all rows.
 *
 * Quantisation  y = clamp(zp_out + requant(bias + sum w * x)), rounding twice as the TFLite reference;
 *               `form` is how and `packed` what the weights are like (tm_dsp.h), [lo, hi] the range of the
 *               fused activation. Columns left and right of the image count as zp_in and are not read.
 *               `blocks` is how the row falls into blocks of pixels (tm_block_pixels).
 * Scratch       with P the pixels of the largest block, 2 * K * P bytes, K = kernel_h * kernel_w * in_c rounded up
 *               to 4; where in_c is not a multiple of 4 also P windows, [kernel_h][P * kernel_w][in_c], or with
 *               dilation_w 1 what they cover, [kernel_h][(P - 1) * stride_w + kernel_w][in_c]; 8-byte aligned.
 * Requires      one group. Any kernel, stride, dilation and padding.
 * Overlap       writes while it reads: y must not touch bytes of `rows` still needed.
 * Source        TFLite kernels/internal/reference/integer_ops/conv.h (ConvPerChannel).
 */
#ifndef TM_CONV2D_S8_DSP_H
#define TM_CONV2D_S8_DSP_H

#include "tm_conv_block_s8_dsp.h"

/* What the fill of a column needs to know; all of it is constant. */
typedef struct {
    int32_t in_w;
    int32_t in_c;
    int32_t kernel_h;
    int32_t kernel_w;
    int32_t stride_w;
    int32_t dilation_w;
    int32_t zp_in;
} tm_conv2d_shape;

/* The column of a block at the left or right edge, where in_c is a multiple of 4. */
TM_SHARED void tm_conv2d_edge_dsp(const tm_conv2d_shape *shape, const int8_t *const *rows, int32_t *column,
                                  int32_t ix, int32_t pixels)
{
    const int32_t in_c = shape->in_c;
    const int32_t dilation_w = shape->dilation_w;
    const int32_t outside = tm_sxtb16(tm_splat4(shape->zp_in));
    /* The taps that lie inside for all pixels, one after the other where they are neighbours. */
    const int32_t first = tm_first_tap(ix, dilation_w);
    const int32_t end =
        tm_end_tap(ix + (pixels - 1) * shape->stride_w, dilation_w, shape->kernel_w, shape->in_w);
    for (int32_t ky = 0; ky < shape->kernel_h; ++ky) {
        for (int32_t kx = 0; kx < shape->kernel_w;) {
            int32_t at = ix + kx * dilation_w;
            int32_t taps = 1;
            if (kx >= first && kx < end) {
                taps = dilation_w == 1 ? end - kx : 1;
                tm_column_fill(rows[ky] + at * in_c, column, taps * in_c / 4, shape->stride_w * in_c, pixels);
            } else {
                for (int32_t p = 0; p < pixels; ++p, at += shape->stride_w) {
                    if (at >= 0 && at < shape->in_w) {
                        tm_column_pixel_dsp(rows[ky] + at * in_c, column + p, in_c, pixels);
                    } else {
                        for (int32_t i = 0; i < in_c / 2; ++i) {
                            column[pixels * i + p] = outside;
                        }
                    }
                }
            }
            kx += taps;
            column += taps * in_c / 2 * pixels;
        }
    }
}

/* The column of a block where in_c is a multiple of 4: every tap is whole groups, widened straight from the
 * rows. `ix` is the first pixel's first column.
 */
TM_INLINE void tm_conv2d_column(const tm_conv2d_shape *shape, const int8_t *const *rows, int32_t *column,
                                int32_t ix, int32_t pixels)
{
    const int32_t in_c = shape->in_c;
    const int32_t dilation_w = shape->dilation_w;
    /* Neighbouring taps are neighbouring bytes: one long tap. */
    const int contiguous = dilation_w == 1;
    const int32_t last = ix + (pixels - 1) * shape->stride_w + (shape->kernel_w - 1) * dilation_w;
    const int32_t taps = contiguous ? 1 : shape->kernel_w;
    const int32_t n = contiguous ? shape->kernel_w * in_c : in_c;
    if (ix < 0 || last >= shape->in_w) {
        tm_conv2d_edge_dsp(shape, rows, column, ix, pixels);
        return;
    }
    for (int32_t ky = 0; ky < shape->kernel_h; ++ky) {
        for (int32_t kx = 0; kx < taps; ++kx, column += n / 2 * pixels) {
            tm_column_fill(rows[ky] + (ix + kx * dilation_w) * in_c, column, n / 4, shape->stride_w * in_c,
                           pixels);
        }
    }
}

/* `columns` columns of a row from ix on, the zero point where outside the image. */
TM_SHARED void tm_conv2d_span_dsp(const tm_conv2d_shape *shape, const int8_t *row, int8_t *span, int32_t ix,
                                  int32_t columns)
{
    const int32_t in_c = shape->in_c;
    const int8_t *x = row + (ix > 0 ? ix * in_c : 0);
    const int32_t inside = tm_end_tap(ix, 1, columns, shape->in_w);
    const int32_t before = tm_first_tap(ix, 1) < columns ? tm_first_tap(ix, 1) : columns;
    const int8_t *image = span + before * in_c;
    const int8_t *image_end = inside > before ? span + inside * in_c : image;
    const int8_t *end = span + columns * in_c;
    while (span != image) {
        *span++ = (int8_t)shape->zp_in;
    }
    for (; span + 4 <= image_end; span += 4, x += 4) {
        const int32_t word = tm_load4(x);
        memcpy(span, &word, 4);
    }
    while (span != image_end) {
        *span++ = *x++;
    }
    while (span != end) {
        *span++ = (int8_t)shape->zp_in;
    }
}

/* What the windows of a block cover, row by row; with dilation each window's row of taps on its own. */
TM_SHARED void tm_conv2d_spans_dsp(const tm_conv2d_shape *shape, const int8_t *const *rows, int8_t *spans,
                                   int32_t ix, int32_t pixels)
{
    const int32_t kernel_w = shape->kernel_w;
    const int32_t stride_w = shape->stride_w;
    const int32_t dilation_w = shape->dilation_w;
    const int32_t columns = (pixels - 1) * stride_w + kernel_w;
    for (int32_t ky = 0; ky < shape->kernel_h; ++ky) {
        if (dilation_w == 1) {
            tm_conv2d_span_dsp(shape, rows[ky], spans, ix, columns);
            spans += columns * shape->in_c;
            continue;
        }
        for (int32_t tap = 0; tap < pixels * kernel_w; ++tap, spans += shape->in_c) {
            const int32_t at = ix + tap / kernel_w * stride_w + tap % kernel_w * dilation_w;
            tm_conv2d_span_dsp(shape, rows[ky], spans, at, 1);
        }
    }
}

/* The column of a block where in_c is not a multiple of 4: whole words of each row, then what is left of all. */
TM_INLINE void tm_conv2d_column_any(const tm_conv2d_shape *shape, const int8_t *const *rows, int32_t *column,
                                    int8_t *spans, int32_t ix, int32_t pixels)
{
    const int32_t in_c = shape->in_c;
    const int32_t columns = (pixels - 1) * shape->stride_w + shape->kernel_w;
    const int direct = shape->dilation_w == 1 && ix >= 0 && ix + columns <= shape->in_w;
    const int32_t row_bytes = shape->kernel_w * in_c;
    const int32_t pitch = shape->dilation_w == 1 ? shape->stride_w * in_c : row_bytes;
    const int32_t span_bytes = shape->dilation_w == 1 ? columns * in_c : pixels * row_bytes;
    const int32_t whole = row_bytes / 4;
    const int32_t rest = row_bytes % 4;
    if (!direct) {
        tm_conv2d_spans_dsp(shape, rows, spans, ix, pixels);
    }
    for (int32_t ky = 0; whole > 0 && ky < shape->kernel_h; ++ky, column += 2 * whole * pixels) {
        tm_column_fill(direct ? rows[ky] + ix * in_c : spans + ky * span_bytes, column, whole, pitch, pixels);
    }
    const int32_t bytes = rest * shape->kernel_h;
    for (int32_t first = 0; first < bytes; first += 4) {
        const int32_t n = bytes - first < 4 ? bytes - first : 4;
        TM_UNROLL_4
        for (int32_t p = 0; p < pixels; ++p) {
            uint32_t word = 0;
            TM_UNROLL_4
            for (int32_t i = 0; i < n; ++i) {
                const int32_t ky = (first + i) / rest;
                const int8_t *x = direct ? rows[ky] + ix * in_c : spans + ky * span_bytes;
                word |= (uint32_t)(uint8_t)x[p * pitch + 4 * whole + (first + i) % rest] << (8 * i);
            }
            tm_column_put(column + p + first / 2 * pixels, (int32_t)word, pixels);
        }
    }
}

TM_INLINE void tm_conv2d_s8_dsp(const int8_t *const *rows, int8_t *y, const int32_t *stream, void *scratch,
                                int32_t in_w, int32_t in_c, int32_t out_w, int32_t out_c, int32_t kernel_h,
                                int32_t kernel_w, int32_t stride_w, int32_t dilation_w, int32_t pad_left,
                                int32_t zp_in, int32_t blocks, int32_t packed, int32_t form, int32_t zp_out,
                                int32_t lo, int32_t hi)
{
    const tm_conv2d_shape shape = {in_w, in_c, kernel_h, kernel_w, stride_w, dilation_w, zp_in};
    const int32_t groups = (kernel_h * kernel_w * in_c + 3) / 4;
    const int32_t most = blocks == TM_BLOCKS_3_4 ? 4 : blocks == TM_BLOCKS_2_3 ? 3 : blocks;
    int32_t *column = (int32_t *)scratch;
    int8_t *spans = (int8_t *)(column + 2 * groups * most);
    for (int32_t ox = 0; ox < out_w;) {
        const int32_t block = tm_block_pixels(blocks, out_w - ox);
        const int32_t ix = ox * stride_w - pad_left;
        int8_t *out = y + ox * out_c;
        /* The number of pixels must be a constant below. */
#define TM_CONV2D_BLOCK(pixels)                                        \
    if (in_c % 4 == 0) {                                               \
        tm_conv2d_column(&shape, rows, column, ix, pixels);            \
    } else {                                                           \
        tm_conv2d_column_any(&shape, rows, column, spans, ix, pixels); \
    }                                                                  \
    tm_conv_block(form, packed, pixels, column, stream, out, groups, out_c, zp_out)
        if (tm_blocks_have(blocks, 4) && block == 4) {
            TM_CONV2D_BLOCK(4);
        } else if (tm_blocks_have(blocks, 3) && block == 3) {
            TM_CONV2D_BLOCK(3);
        } else if (tm_blocks_have(blocks, 2) && block == 2) {
            TM_CONV2D_BLOCK(2);
        } else {
            TM_CONV2D_BLOCK(1);
        }
#undef TM_CONV2D_BLOCK
        ox += block;
    }
    tm_clamp_row(y, out_w * out_c, lo, hi);
}

#endif
