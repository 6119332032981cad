/* tm_dwconv2d_s8_dsp: one output row of a depthwise convolution, DSP instructions, int8.
 *
 *   rows    int8  kernel_h x [in_w][channels]   input rows; zero-point rows where outside the image
 *   y       int8  [out_w][channels]             output row
 *   stream  int32 per channel                   a, b (tm_requant_dsp), bias (-zp_in * sum(weights) folded
 *                                               in), then the weight pairs
 *
 * Weight pair n = (w[l][2t], w[l][2t+1]) with n = t * kernel_h + l, t < taps; taps = kernel_w / 2 + 1 with
 * stride 1, ceil(kernel_w / 2) with stride 2; zeros beyond kernel_w. Two pairs per word, as the bytes
 * lo[n] lo[n+1] hi[n] hi[n+1]; the last word of an odd number is half used.
 *
 * Quantisation  y = clamp(zp_out + requant(bias + sum w * x)), rounding twice as the TFLite reference;
 *               `form` is how (tm_dsp.h), [lo, hi] the range of the fused activation. Columns left and
 *               right of the image count as zp_in and are not read.
 * Scratch       16 * words * kernel_h bytes for the lines, words = ceil(out_w / 2) + taps - 1 with stride 1,
 *               out_w rounded up to even + taps - 1 with stride 2; then, with pairs = taps * kernel_h
 *               rounded up to even, 8 * pairs or 4 * pairs for one channel's weights; 8-byte aligned.
 * Requires      depth multiplier 1, dilation_w 1, stride_w 1 or 2. Any number of channels, any padding.
 * Overlap       reads a group of channels of all rows before it writes them: y may lie on input rows that
 *               nobody needs afterwards.
 * Source        TFLite kernels/internal/reference/integer_ops/depthwise_conv.h (DepthwiseConvPerChannel).
 *               Lines interleaved by kernel row make a window one run of memory and an output one dot
 *               product. With stride 1 an odd output is the product with the weights shifted by one tap.
 */
#ifndef TM_DWCONV2D_S8_DSP_H
#define TM_DWCONV2D_S8_DSP_H

#include "tm_dw_lines_s8_dsp.h"

TM_INLINE void tm_dwconv2d_s8_dsp(const int8_t *const *rows, int8_t *y, const int32_t *stream, void *scratch,
                                  int32_t in_w, int32_t channels, int32_t out_w, int32_t kernel_h,
                                  int32_t kernel_w, int32_t stride_w, int32_t pad_left, int32_t zp_in,
                                  int32_t form, int32_t zp_out, int32_t lo, int32_t hi)
{
    const int32_t taps = stride_w == 1 ? kernel_w / 2 + 1 : (kernel_w + 1) / 2;
    const int32_t pairs = taps * kernel_h;
    const int32_t words = (stride_w == 1 ? (out_w + 1) / 2 : (out_w + 1) / 2 * 2) + taps - 1;
    int32_t *lines = (int32_t *)scratch;
    int32_t *weights = lines + 4 * words * kernel_h;
    const tm_dw_shape shape = tm_dw_make_shape(in_w, channels, pad_left, kernel_h, words, zp_in);
    for (int32_t c = 0; c < channels; c += 4) {
        const int32_t count = channels - c < 4 ? channels - c : 4;
        if (count == 4) {
            tm_dw_lines4_dsp(&shape, rows, lines, c);
        } else {
            tm_dw_lines_rest_dsp(&shape, rows, lines, c);
        }
        for (int32_t i = 0; i < count; ++i) {
            const int32_t a = stream[0];
            const int32_t b = stream[1];
            const int32_t bias = stream[2];
            const int32_t *x = lines + i * words * kernel_h;
            int8_t *out = y + c + i;
            stream = tm_dw_weights(stream + 3, weights, pairs, kernel_h, stride_w == 1);
            for (int32_t left = out_w; left > 0; left -= 4) {
                int32_t acc0 = bias;
                int32_t acc1 = bias;
                int32_t acc2 = bias;
                int32_t acc3 = bias;
                /* Two outputs are enough for the last ones of a row. */
                if (left < 3) {
                    TM_UNROLL_4
                    for (int32_t n = 0; n < pairs; ++n) {
                        if (stride_w == 1) {
                            acc0 = tm_smlad(x[n], weights[2 * n], acc0);
                            acc1 = tm_smlad(x[n], weights[2 * n + 1], acc1);
                        } else {
                            acc0 = tm_smlad(x[n], weights[n], acc0);
                            acc1 = tm_smlad(x[n + kernel_h], weights[n], acc1);
                        }
                    }
                } else {
                    TM_UNROLL_4
                    for (int32_t n = 0; n < pairs; ++n) {
                        if (stride_w == 1) {
                            acc0 = tm_smlad(x[n], weights[2 * n], acc0);
                            acc1 = tm_smlad(x[n], weights[2 * n + 1], acc1);
                            acc2 = tm_smlad(x[n + kernel_h], weights[2 * n], acc2);
                            acc3 = tm_smlad(x[n + kernel_h], weights[2 * n + 1], acc3);
                        } else {
                            acc0 = tm_smlad(x[n], weights[n], acc0);
                            acc1 = tm_smlad(x[n + kernel_h], weights[n], acc1);
                            acc2 = tm_smlad(x[n + 2 * kernel_h], weights[n], acc2);
                            acc3 = tm_smlad(x[n + 3 * kernel_h], weights[n], acc3);
                        }
                    }
                }
                out[0] = tm_requant_dsp(form, acc0, a, b, zp_out);
                if (left > 1) {
                    out[channels] = tm_requant_dsp(form, acc1, a, b, zp_out);
                }
                if (left > 2) {
                    out[2 * channels] = tm_requant_dsp(form, acc2, a, b, zp_out);
                }
                if (left > 3) {
                    out[3 * channels] = tm_requant_dsp(form, acc3, a, b, zp_out);
                }
                out += 4 * channels;
                x += (stride_w == 1 ? 2 : 4) * kernel_h;
            }
        }
    }
    tm_clamp_row(y, out_w * channels, lo, hi);
}

#endif
