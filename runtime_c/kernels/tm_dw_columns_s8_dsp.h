/* tm_dw_columns_s8_dsp: pairs of rows widened to int16 for a depthwise convolution, four channels at a time.
 *
 *   columns  int32 [columns][4 channels][words]   halfword pairs (row 2j, row 2j+1) at each column of the window
 *
 * Needed because SMLAD multiplies neighbours, and the neighbours of a channel lie a row, or in_c bytes, apart.
 */
#ifndef TM_DW_COLUMNS_S8_DSP_H
#define TM_DW_COLUMNS_S8_DSP_H

#include "tm_dsp.h"

/* Which of the columns lie in the image: `first` is the first, `inside` their number. */
typedef struct {
    int32_t in_c;
    int32_t columns;
    int32_t first;
    int32_t inside;
} tm_dw_window;

TM_INLINE tm_dw_window tm_dw_make_window(int32_t in_w, int32_t in_c, int32_t columns, int32_t pad_left)
{
    const int32_t first = pad_left < columns ? pad_left : columns;
    const int32_t room = columns - first;
    const tm_dw_window window = {in_c, columns, first, in_w < room ? in_w : room};
    return window;
}

/* The columns left and right of the image, for all channels. */
TM_INLINE void tm_dw_outside(const tm_dw_window *window, int32_t *columns, int32_t words, int32_t zp_in)
{
    const int32_t value = tm_sxtb16(tm_splat4(zp_in));
    const int32_t left = 4 * words * window->first;
    const int32_t end = 4 * words * window->columns;
    for (int32_t i = 0; i < left; ++i) {
        columns[i] = value;
    }
    for (int32_t i = left + 4 * words * window->inside; i < end; ++i) {
        columns[i] = value;
    }
}

/* Two pixels of four channels, one above the other, into a word of each channel. */
TM_INLINE void tm_dw_put_column(int32_t *word, int32_t words, int32_t upper, int32_t lower)
{
    const int32_t c01 = tm_pkhbt(upper, lower);
    const int32_t c23 = tm_pkhtb(lower, upper);
    word[0] = tm_sxtb16(c01);
    word[words] = tm_sxtb16_ror8(c01);
    word[2 * words] = tm_sxtb16(c23);
    word[3 * words] = tm_sxtb16_ror8(c23);
}

/* Two rows, from the first channel of `channels` (1 to 4) on, into one word of every column inside the
 * image; never reads past those channels. `columns` points at that word of the first column.
 */
TM_INLINE void tm_dw_widen(const tm_dw_window *window, const int8_t *upper, const int8_t *lower,
                           int32_t *columns, int32_t words, int32_t channels)
{
    const int32_t in_c = window->in_c;
    int32_t *word = columns + 4 * words * window->first;
    if (channels == 4) {
        TM_UNROLL_4
        for (int32_t n = window->inside; n > 0; --n, word += 4 * words, upper += in_c, lower += in_c) {
            tm_dw_put_column(word, words, tm_load4(upper), tm_load4(lower));
        }
    } else {
        for (int32_t n = window->inside; n > 0; --n, word += 4 * words, upper += in_c, lower += in_c) {
            tm_dw_put_column(word, words, tm_load_tail(upper, channels), tm_load_tail(lower, channels));
        }
    }
}

#endif
