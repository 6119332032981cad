/* tm_dw_lines_s8_dsp: rows widened to int16 for a depthwise convolution, four channels at a time.
 *
 *   rows   int8  kernel_h x [in_w][in_c]          input rows
 *   lines  int32 [4 channels][words][kernel_h]    halfword pairs (p[2j], p[2j+1]) of the padded row p,
 *                                                 p[i] = column i - pad_left, zp_in outside the image
 *
 * The words of all kernel rows at one place lie side by side, so that a window is one run of memory.
 * Needed because SMLAD multiplies neighbours, and the neighbours of a channel lie in_c bytes apart.
 */
#ifndef TM_DW_LINES_S8_DSP_H
#define TM_DW_LINES_S8_DSP_H

#include "tm_dsp.h"

typedef struct {
    int32_t in_w;
    int32_t in_c;
    int32_t pad_left;
    int32_t kernel_h;
    int32_t words; /* per line */
    int32_t zp4;   /* the zero point in all four bytes */
} tm_dw_shape;

/* One pixel of `channels` (1 to 4) channels; never reads past them. */
TM_INLINE int32_t tm_dw_load(const int8_t *pixel, int32_t channels)
{
    return channels == 4 ? tm_load4(pixel) : tm_load_tail(pixel, channels);
}

/* The same, or the zero point where `column` lies outside the row. */
TM_INLINE int32_t tm_dw_load_padded(const tm_dw_shape *shape, const int8_t *row, int32_t column,
                                    int32_t channels)
{
    if (column < 0 || column >= shape->in_w) {
        return shape->zp4;
    }
    return tm_dw_load(row + column * shape->in_c, channels);
}

/* Two neighbouring pixels of four channels: one word in each of four planes. */
TM_INLINE void tm_dw_put(int32_t *word, int32_t plane, int32_t left, int32_t right)
{
    const int32_t c01 = tm_pkhbt(left, right);
    const int32_t c23 = tm_pkhtb(right, left);
    word[0] = tm_sxtb16(c01);
    word[plane] = tm_sxtb16_ror8(c01);
    word[2 * plane] = tm_sxtb16(c23);
    word[3 * plane] = tm_sxtb16_ror8(c23);
}

/* The lines of `channels` channels from `channel` on. With fewer than four, the planes of the others
 * hold zeros and padding.
 */
TM_SHARED void tm_dw_lines_dsp(const tm_dw_shape *shape, const int8_t *const *rows, int32_t *lines,
                               int32_t channel, int32_t channels)
{
    const int32_t pitch = shape->kernel_h;
    const int32_t plane = shape->words * pitch;
    const int32_t in_c = shape->in_c;
    /* Words [begin, end) lie inside the image with both halves. */
    const int32_t begin = (shape->pad_left + 1) / 2;
    int32_t end = channels == 4 ? (shape->pad_left + shape->in_w) / 2 : 0;
    if (end > shape->words) {
        end = shape->words;
    }
    for (int32_t line = 0; line < pitch; ++line) {
        const int8_t *row = rows[line] + channel;
        int32_t *word = lines + line;
        int32_t column = -shape->pad_left;
        int32_t j = 0;
        while (j < shape->words) {
            if (j == begin && j < end) {
                const int8_t *pixel = row + column * in_c;
                column += 2 * (end - j);
                for (; j < end; ++j, word += pitch, pixel += 2 * in_c) {
                    tm_dw_put(word, plane, tm_load4(pixel), tm_load4(pixel + in_c));
                }
            } else {
                tm_dw_put(word, plane, tm_dw_load_padded(shape, row, column, channels),
                          tm_dw_load_padded(shape, row, column + 1, channels));
                column += 2;
                word += pitch;
                ++j;
            }
        }
    }
}

/* Weight pairs of one channel to int16. With `shifted`, each pair is followed by the one that starts a tap
 * earlier, (w[l][2t-1], w[l][2t]). Returns the stream behind them.
 */
TM_INLINE const int32_t *tm_dw_weights(const int32_t *stream, int32_t *weights, int32_t pairs,
                                       int32_t kernel_h, int shifted)
{
    const int32_t step = shifted ? 2 : 1;
    for (int32_t n = 0; n < pairs; n += 2, ++stream) {
        weights[n * step] = tm_sxtb16(*stream);
        weights[(n + 1) * step] = tm_sxtb16_ror8(*stream); /* the buffer is rounded up to even */
    }
    if (shifted) {
        for (int32_t n = 0; n < pairs; ++n) {
            const int32_t before = n < kernel_h ? 0 : weights[2 * (n - kernel_h)];
            weights[2 * n + 1] = tm_pkhbt(before >> 16, weights[2 * n]);
        }
    }
    return stream;
}

#endif
