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

#if TM_DSP_ASM

/* Four rows, from channel `channel` on, into the two words of `count` > 0 columns of four channels. */
TM_NAKED void tm_dw_widen_4rows_dsp(const int8_t *const *rows __attribute__((unused)),
                                    int32_t *columns __attribute__((unused)),
                                    int32_t count __attribute__((unused)),
                                    int32_t in_c __attribute__((unused)),
                                    int32_t channel __attribute__((unused)))
{
    __asm__ volatile("push   {r4-r11, lr}\n"
                     "ldm    r0, {r4-r7}\n"
                     "ldr    r0, [sp, #36]\n"
                     "1:\n"
                     "ldr    r8, [r4, r0]\n"
                     "ldr    r9, [r5, r0]\n"
                     "ldr    r10, [r6, r0]\n"
                     "ldr    r11, [r7, r0]\n"
                     "add    r0, r3\n"
                     "pkhbt  r12, r8, r9, lsl #16\n" /* tm_dw_put_column, twice */
                     "pkhtb  r9, r9, r8, asr #16\n"
                     "pkhbt  lr, r10, r11, lsl #16\n"
                     "pkhtb  r11, r11, r10, asr #16\n"
                     "sxtb16 r8, r12\n"
                     "sxtb16 r10, lr\n"
                     "strd   r8, r10, [r1], #8\n"
                     "sxtb16 r8, r12, ror #8\n"
                     "sxtb16 r10, lr, ror #8\n"
                     "strd   r8, r10, [r1], #8\n"
                     "sxtb16 r8, r9\n"
                     "sxtb16 r10, r11\n"
                     "strd   r8, r10, [r1], #8\n"
                     "sxtb16 r8, r9, ror #8\n"
                     "sxtb16 r10, r11, ror #8\n"
                     "strd   r8, r10, [r1], #8\n"
                     "subs   r2, #1\n"
                     "bne    1b\n"
                     "pop    {r4-r11, pc}\n");
}

#else

/* Four rows, from channel `channel` on, into the two words of `count` > 0 columns of four channels. */
TM_SHARED void tm_dw_widen_4rows_dsp(const int8_t *const *rows, int32_t *columns, int32_t count, int32_t in_c,
                                     int32_t channel)
{
    for (int32_t at = channel; count > 0; --count, at += in_c, columns += 8) {
        tm_dw_put_column(columns, 2, tm_load4(rows[0] + at), tm_load4(rows[1] + at));
        tm_dw_put_column(columns + 1, 2, tm_load4(rows[2] + at), tm_load4(rows[3] + at));
    }
}

#endif

#endif
