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

/* How a padded row falls into words, from the left: wholly outside, half outside, pairs of pixels, a last
 * pixel alone, wholly outside.
 */
typedef struct {
    int32_t in_c;
    int32_t kernel_h;
    int32_t words; /* per line */
    int32_t zp4;   /* the zero point in all four bytes */
    int32_t left;
    int32_t left_half; /* 0 or 1 */
    int32_t pairs;
    int32_t right_half; /* 0 or 1 */
    int32_t right;
} tm_dw_shape;

TM_INLINE tm_dw_shape tm_dw_make_shape(int32_t in_w, int32_t in_c, int32_t pad_left, int32_t kernel_h,
                                       int32_t words, int32_t zp_in)
{
    const int32_t left = pad_left / 2 < words ? pad_left / 2 : words;
    int32_t rest = words - left;
    const int32_t left_half = rest > 0 ? pad_left % 2 : 0;
    rest -= left_half;
    const int32_t columns = in_w - left_half;
    const int32_t pairs = columns / 2 < rest ? columns / 2 : rest;
    rest -= pairs;
    const int32_t right_half = rest > 0 ? columns % 2 : 0;
    const tm_dw_shape shape = {in_c,      kernel_h, words,      tm_splat4(zp_in), left,
                               left_half, pairs,    right_half, rest - right_half};
    return shape;
}

/* One pixel of `channels` (1 to 4) channels; never reads past them. */
TM_INLINE int32_t tm_dw_load(const int8_t *pixel, int32_t channels)
{
    return channels == 4 ? tm_load4(pixel) : tm_load_tail(pixel, channels);
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

/* The lines of `channels` channels (1 to 4) from `channel` on. With fewer than four, the planes of the
 * others hold whatever.
 */
TM_INLINE void tm_dw_lines(const tm_dw_shape *shape, const int8_t *const *rows, int32_t *lines,
                           int32_t channel, int32_t channels)
{
    const int32_t pitch = shape->kernel_h;
    const int32_t plane = shape->words * pitch;
    const int32_t in_c = shape->in_c;
    const int32_t zp4 = shape->zp4;
    for (int32_t line = 0; line < pitch; ++line) {
        const int8_t *pixel = rows[line] + channel;
        int32_t *word = lines + line;
        for (int32_t n = shape->left; n > 0; --n, word += pitch) {
            tm_dw_put(word, plane, zp4, zp4);
        }
        if (shape->left_half) {
            tm_dw_put(word, plane, zp4, tm_dw_load(pixel, channels));
            word += pitch;
            pixel += in_c;
        }
        for (int32_t n = shape->pairs; n > 0; --n, word += pitch) {
            const int32_t first = tm_dw_load(pixel, channels);
            pixel += in_c;
            tm_dw_put(word, plane, first, tm_dw_load(pixel, channels));
            pixel += in_c;
        }
        if (shape->right_half) {
            tm_dw_put(word, plane, tm_dw_load(pixel, channels), zp4);
            word += pitch;
        }
        for (int32_t n = shape->right; n > 0; --n, word += pitch) {
            tm_dw_put(word, plane, zp4, zp4);
        }
    }
}

TM_SHARED void tm_dw_lines4_dsp(const tm_dw_shape *shape, const int8_t *const *rows, int32_t *lines,
                                int32_t channel)
{
    tm_dw_lines(shape, rows, lines, channel, 4);
}

/* The last one to three channels of a number that is not a multiple of four. */
TM_SHARED void tm_dw_lines_rest_dsp(const tm_dw_shape *shape, const int8_t *const *rows, int32_t *lines,
                                    int32_t channel)
{
    tm_dw_lines(shape, rows, lines, channel, shape->in_c - channel);
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
