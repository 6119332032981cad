/* tm_dwconv2d_taps_s8_dsp: one output row of any depthwise convolution, DSP instructions, int8.
 *
 *   rows    int8  kernel_h x [in_w][channels]   input rows; zero-point rows where outside the image
 *   y       int8  [out_w][channels]             output row
 *   stream  int32 per channel                   as tm_dwconv2d_s8_dsp, with taps = ceil(kernel_w / 2)
 *
 * Quantisation  y = clamp(zp_out + requant(bias + sum w * x)), rounding twice as the TFLite reference;
 *               `form` is how (tm_dsp.h), [lo, hi] the range of the fused activation. Columns left and
 *               right of the image count as zp_in and are not read.
 * Scratch       32 * pairs bytes, pairs = taps * kernel_h rounded up to even: one window and the weights
 *               of four channels; 8-byte aligned.
 * Requires      depth multiplier 1. Any stride, dilation, padding and number of channels: for the windows
 *               that tm_dwconv2d_s8_dsp leaves, it gathers each window anew.
 * Overlap       writes while it reads: y must not touch bytes of `rows` still needed.
 * Source        TFLite kernels/internal/reference/integer_ops/depthwise_conv.h (DepthwiseConvPerChannel).
 */
#ifndef TM_DWCONV2D_TAPS_S8_DSP_H
#define TM_DWCONV2D_TAPS_S8_DSP_H

#include "tm_dw_lines_s8_dsp.h"

/* A pixel, or the zero point where `column` lies outside the row. */
TM_INLINE int32_t tm_dw_load_padded(const int8_t *row, int32_t column, int32_t in_w, int32_t in_c,
                                    int32_t zp4, int32_t channels)
{
    return column < 0 || column >= in_w ? zp4 : tm_dw_load(row + column * in_c, channels);
}

TM_INLINE void tm_dwconv2d_taps_s8_dsp(const int8_t *const *rows, int8_t *y, const int32_t *stream,
                                       void *scratch, int32_t in_w, int32_t channels, int32_t out_w,
                                       int32_t kernel_h, int32_t kernel_w, int32_t stride_w,
                                       int32_t dilation_w, int32_t pad_left, int32_t zp_in, int32_t form,
                                       int32_t zp_out, int32_t lo, int32_t hi)
{
    const int32_t taps = (kernel_w + 1) / 2;
    const int32_t pairs = taps * kernel_h;
    const int32_t plane = (pairs + 1) / 2 * 2;
    const int32_t channel_words = 3 + plane / 2;
    int32_t *window = (int32_t *)scratch;
    int32_t *weights = window + 4 * plane;
    const int32_t zp4 = tm_splat4(zp_in);
    for (int32_t c = 0; c < channels; c += 4, stream += 4 * channel_words) {
        const int32_t count = channels - c < 4 ? channels - c : 4;
        for (int32_t i = 0; i < count; ++i) {
            tm_dw_weights(stream + i * channel_words + 3, weights + i * plane, pairs, kernel_h, 0);
        }
        for (int32_t ox = 0; ox < out_w; ++ox) {
            int32_t *word = window;
            int32_t column = ox * stride_w - pad_left;
            for (int32_t t = 0; t < taps; ++t, column += 2 * dilation_w) {
                for (int32_t line = 0; line < kernel_h; ++line, ++word) {
                    /* The second half of an odd kernel's last pair meets a zero weight. */
                    const int8_t *row = rows[line] + c;
                    tm_dw_put(word, plane, tm_dw_load_padded(row, column, in_w, channels, zp4, count),
                              tm_dw_load_padded(row, column + dilation_w, in_w, channels, zp4, count));
                }
            }
            for (int32_t i = 0; i < count; ++i) {
                const int32_t *head = stream + i * channel_words;
                int32_t acc = head[2];
                for (int32_t n = 0; n < pairs; ++n) {
                    acc = tm_smlad(window[i * plane + n], weights[i * plane + n], acc);
                }
                y[ox * channels + c + i] = tm_requant_dsp(form, acc, head[0], head[1], zp_out);
            }
        }
    }
    tm_clamp_row(y, out_w * channels, lo, hi);
}

#endif
