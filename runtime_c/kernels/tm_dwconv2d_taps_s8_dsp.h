/* tm_dwconv2d_taps_s8_dsp: one output row of any depthwise convolution, DSP instructions, int8.
 *
 *   rows    int8  kernel_h x [in_w][channels]        input rows; zero-point rows where outside the image
 *   y       int8  [out_w][channels * multiplier]     output row
 *   stream  int32 per output channel                 as tm_dwconv2d_pairs_s8_dsp
 *
 * Quantisation  y = clamp(zp_out + requant(bias + sum w * x)), rounding twice as the TFLite reference;
 *               `form` is how (tm_dsp.h), [lo, hi] the range of the fused activation. Columns left and
 *               right of the image count as zp_in and are not read.
 * Scratch       with words = (kernel_h + 1) / 2 and columns = (out_w - 1) * stride_w + (kernel_w - 1) * dilation_w + 1:
 *               16 * words * columns bytes for the columns and 4 * words * kernel_w for one channel's weights;
 *               8-byte aligned.
 * Requires      output channel c * multiplier + j is of input channel c. Any kernel, stride, dilation, padding and
 *               number of channels: for the windows that the other kernels leave.
 * Overlap       reads a group of channels of all rows before it writes them: y may lie on input rows that
 *               nobody needs afterwards.
 * Source        TFLite kernels/internal/reference/integer_ops/depthwise_conv.h (DepthwiseConvPerChannel).
 *               Pairs of rows side by side in a word: strides and dilations only choose columns and rows.
 */
#ifndef TM_DWCONV2D_TAPS_S8_DSP_H
#define TM_DWCONV2D_TAPS_S8_DSP_H

#include "tm_dw_columns_s8_dsp.h"

/* One channel's weights to int16, [kernel_w][words] pairs (w[2j], w[2j+1]). Returns the stream behind them. */
TM_INLINE const int32_t *tm_dw_taps_weights(const int32_t *stream, int32_t *weights, int32_t kernel_h,
                                            int32_t kernel_w)
{
    const int32_t words = (kernel_h + 1) / 2;
    const int32_t left_over = kernel_h % 4 == 1;
    const int32_t whole = words - left_over;
    const int32_t fours = (kernel_h + 2) / 4;
    const int8_t *last = (const int8_t *)(stream + fours * kernel_w);
    for (int32_t column = 0; column < kernel_w; ++column, weights += words, stream += fours) {
        TM_UNROLL_4
        for (int32_t word = 0; word < whole; ++word) {
            weights[word] = word % 2 ? tm_sxtb16_ror8(stream[word / 2]) : tm_sxtb16(stream[word / 2]);
        }
        if (left_over) {
            weights[words - 1] = tm_pkhbt(last[column], 0);
        }
    }
    return stream + (left_over ? (kernel_w + 3) / 4 : 0);
}

TM_INLINE void tm_dwconv2d_taps_s8_dsp(const int8_t *const *rows, int8_t *y, const int32_t *stream,
                                       void *scratch, int32_t in_w, int32_t channels, int32_t out_w,
                                       int32_t multiplier, int32_t kernel_h, int32_t kernel_w,
                                       int32_t stride_w, int32_t dilation_w, int32_t pad_left, int32_t zp_in,
                                       int32_t form, int32_t zp_out, int32_t lo, int32_t hi)
{
    int32_t *columns = (int32_t *)scratch;
    const int32_t words = (kernel_h + 1) / 2;
    const int32_t out_c = channels * multiplier;
    const int32_t taps = words * kernel_w;
    const tm_dw_window in =
        tm_dw_make_window(in_w, channels, (out_w - 1) * stride_w + (kernel_w - 1) * dilation_w + 1, pad_left);
    int32_t *weights = columns + 4 * words * in.columns;
    /* An odd last row meets a zero weight instead of one more. */
    const int8_t *pairs[8];
    for (int32_t row = 0; row < 8; ++row) {
        pairs[row] = rows[row < kernel_h ? row : kernel_h - 1];
    }
    tm_dw_outside(&in, columns, words, zp_in);
    for (int32_t c = 0; c < channels; c += 4) {
        const int32_t group = channels - c < 4 ? channels - c : 4;
        if (words == 2) {
            tm_dw_widen_rows(&in, pairs, columns, 4, c, group);
        } else if (words == 3) {
            tm_dw_widen_rows(&in, pairs, columns, 6, c, group);
        } else if (words == 4) {
            tm_dw_widen_rows(&in, pairs, columns, 8, c, group);
        }
        for (int32_t word = 0; (words == 1 || words > 4) && word < words; ++word) {
            const int8_t *lower = rows[2 * word + 1 < kernel_h ? 2 * word + 1 : 2 * word] + c;
            tm_dw_widen(&in, rows[2 * word] + c, lower, columns + word, words, group);
        }
        for (int32_t i = 0; i < group * multiplier; ++i) {
            const int32_t a = stream[0];
            const int32_t b = stream[1];
            const int32_t bias = stream[2];
            const int32_t *x = columns + i / multiplier * words;
            int8_t *out = y + c * multiplier + i;
            stream = tm_dw_taps_weights(stream + 3, weights, kernel_h, kernel_w);
            /* Two outputs at a time; a last one alone is its own neighbour. */
            for (int32_t left = out_w; left > 0; left -= 2) {
                const int32_t *first = x;
                const int32_t *second = left > 1 ? x + 4 * words * stride_w : x;
                int32_t acc0 = bias;
                int32_t acc1 = bias;
                for (int32_t tap = 0; tap < taps; tap += words) {
                    TM_UNROLL_4
                    for (int32_t word = 0; word < words; ++word) {
                        acc0 = tm_smlad(first[word], weights[tap + word], acc0);
                        acc1 = tm_smlad(second[word], weights[tap + word], acc1);
                    }
                    first += 4 * words * dilation_w;
                    second += 4 * words * dilation_w;
                }
                out[left > 1 ? out_c : 0] = tm_requant_dsp(form, acc1, a, b, zp_out);
                out[0] = tm_requant_dsp(form, acc0, a, b, zp_out);
                out += 2 * out_c;
                x += 8 * words * stride_w;
            }
        }
    }
    tm_clamp_row(y, out_w * out_c, lo, hi);
}

#endif
