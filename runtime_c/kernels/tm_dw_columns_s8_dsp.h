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

/* The window of some outputs of a row, of which the first `held` columns are prepared already. `start` is the
 * image column of its first one; *skipped are the bytes of a row before the first column that it reads.
 */
TM_INLINE tm_dw_window tm_dw_make_tile(int32_t in_w, int32_t in_c, int32_t columns, int32_t start,
                                       int32_t held, int32_t *skipped)
{
    const int32_t begin = start + held;
    const int32_t from = tm_max(begin, 0);
    const int32_t first = tm_min(held + tm_max(-begin, 0), columns);
    const tm_dw_window window = {in_c, columns, first, tm_max(tm_min(in_w - from, columns - first), 0)};
    *skipped = from * in_c;
    return window;
}

/* The columns left and right of the image behind the first `held`, for all channels. */
TM_INLINE void tm_dw_outside_tile(const tm_dw_window *window, int32_t *columns, int32_t words, int32_t held,
                                  int32_t zp_in)
{
    const int32_t value = tm_sxtb16(tm_splat4(zp_in));
    const int32_t left = 4 * words * window->first;
    const int32_t end = 4 * words * window->columns;
    for (int32_t i = 4 * words * held; i < left; ++i) {
        columns[i] = value;
    }
    for (int32_t i = left + 4 * words * window->inside; i < end; ++i) {
        columns[i] = value;
    }
}

/* The columns left and right of the image, for all channels. */
TM_INLINE void tm_dw_outside(const tm_dw_window *window, int32_t *columns, int32_t words, int32_t zp_in)
{
    tm_dw_outside_tile(window, columns, words, 0, zp_in);
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

/* r0 rows, r1 columns, r2 count, r3 in_c, the first channel on the stack; r12 offset into the rows. */
/* clang-format off */
#define TM_DW_WIDEN_BODY_4(words)                            \
    "push   {r4-r11, lr}\n"                                  \
    "ldm    r0, {r4-r7}\n"                                   \
    "ldr    r0, [sp, #36]\n"                                 \
    "1:\n"                                                   \
    "ldr    r8, [r4, r0]\n"                                  \
    "ldr    r9, [r5, r0]\n"                                  \
    "ldr    r10, [r6, r0]\n"                                 \
    "ldr    r11, [r7, r0]\n"                                 \
    "add    r0, r3\n"                                        \
    "pkhbt  r12, r8, r9, lsl #16\n" /* tm_dw_put_column, twice */ \
    "pkhtb  r9, r9, r8, asr #16\n"                           \
    "pkhbt  lr, r10, r11, lsl #16\n"                         \
    "pkhtb  r11, r11, r10, asr #16\n"                        \
    "sxtb16 r8, r12, ror #8\n"                               \
    "sxtb16 r10, lr, ror #8\n"                               \
    "strd   r8, r10, [r1, #4 * " #words "]\n"                \
    "sxtb16 r8, r9\n"                                        \
    "sxtb16 r10, r11\n"                                      \
    "strd   r8, r10, [r1, #8 * " #words "]\n"                \
    "sxtb16 r8, r9, ror #8\n"                                \
    "sxtb16 r10, r11, ror #8\n"                              \
    "strd   r8, r10, [r1, #12 * " #words "]\n"               \
    "sxtb16 r8, r12\n"                                       \
    "sxtb16 r10, lr\n"                                       \
    "strd   r8, r10, [r1], #16 * " #words "\n"               \
    "subs   r2, #1\n"                                        \
    "bne    1b\n"                                            \
    "pop    {r4-r11, pc}\n"
#define TM_DW_WIDEN_BODY_2(words)                            \
    "push   {r4-r8, lr}\n"                                   \
    "ldrd   r4, r5, [r0]\n"                                  \
    "ldr    r0, [sp, #24]\n"                                 \
    "1:\n"                                                   \
    "ldr    r6, [r4, r0]\n"                                  \
    "ldr    r7, [r5, r0]\n"                                  \
    "add    r0, r3\n"                                        \
    "pkhbt  r8, r6, r7, lsl #16\n"                           \
    "pkhtb  r7, r7, r6, asr #16\n"                           \
    "sxtb16 r6, r8, ror #8\n"                                \
    "str    r6, [r1, #4 * " #words "]\n"                     \
    "sxtb16 r6, r7\n"                                        \
    "str    r6, [r1, #8 * " #words "]\n"                     \
    "sxtb16 r6, r7, ror #8\n"                                \
    "str    r6, [r1, #12 * " #words "]\n"                    \
    "sxtb16 r6, r8\n"                                        \
    "str    r6, [r1], #16 * " #words "\n"                    \
    "subs   r2, #1\n"                                        \
    "bne    1b\n"                                            \
    "pop    {r4-r8, pc}\n"
#define TM_DW_WIDEN_BODY_1(words)                            \
    "push   {r4, r5, r6, lr}\n"                              \
    "ldr    r0, [r0]\n"                                      \
    "ldr    r4, [sp, #16]\n"                                 \
    "add    r0, r4\n"                                        \
    "1:\n"                                                   \
    "ldr    r4, [r0]\n"                                      \
    "add    r0, r3\n"                                        \
    "sxtb16 r5, r4, ror #8\n"                                \
    "str    r5, [r1, #4 * " #words "]\n"                     \
    "sxtb16 r5, r4, ror #16\n"                               \
    "str    r5, [r1, #8 * " #words "]\n"                     \
    "sxtb16 r5, r4, ror #24\n"                               \
    "str    r5, [r1, #12 * " #words "]\n"                    \
    "sxtb16 r5, r4\n"                                        \
    "str    r5, [r1], #16 * " #words "\n"                    \
    "subs   r2, #1\n"                                        \
    "bne    1b\n"                                            \
    "pop    {r4, r5, r6, pc}\n"
/* Two words: all of two channels lie side by side. */
#define TM_DW_WIDEN_4ROWS_2WORDS                             \
    "push   {r4-r11, lr}\n"                                  \
    "ldm    r0, {r4-r7}\n"                                   \
    "ldr    r0, [sp, #36]\n"                                 \
    "1:\n"                                                   \
    "ldr    r8, [r4, r0]\n"                                  \
    "ldr    r9, [r5, r0]\n"                                  \
    "ldr    r10, [r6, r0]\n"                                 \
    "ldr    r11, [r7, r0]\n"                                 \
    "add    r0, r3\n"                                        \
    "pkhbt  r12, r8, r9, lsl #16\n"                          \
    "pkhtb  r9, r9, r8, asr #16\n"                           \
    "pkhbt  lr, r10, r11, lsl #16\n"                         \
    "pkhtb  r11, r11, r10, asr #16\n"                        \
    "sxtb16 r8, r12\n"                                       \
    "sxtb16 r10, lr\n"                                       \
    "sxtb16 r12, r12, ror #8\n"                              \
    "sxtb16 lr, lr, ror #8\n"                                \
    "stmia  r1!, {r8, r10, r12, lr}\n"                       \
    "sxtb16 r8, r9\n"                                        \
    "sxtb16 r10, r11\n"                                      \
    "sxtb16 r12, r9, ror #8\n"                               \
    "sxtb16 lr, r11, ror #8\n"                               \
    "stmia  r1!, {r8, r10, r12, lr}\n"                       \
    "subs   r2, #1\n"                                        \
    "bne    1b\n"                                            \
    "pop    {r4-r11, pc}\n"
/* clang-format on */

#define TM_DW_WIDEN(name, body, rows_read, words)                                                       \
    TM_NAKED void name(const int8_t *const *rows __attribute__((unused)),                               \
                       int32_t *columns __attribute__((unused)), int32_t count __attribute__((unused)), \
                       int32_t in_c __attribute__((unused)), int32_t channel __attribute__((unused)))   \
    {                                                                                                   \
        __asm__ volatile(body);                                                                         \
    }

#else

#define TM_DW_WIDEN(name, body, rows_read, words)                                                 \
    TM_SHARED void name(const int8_t *const *rows, int32_t *columns, int32_t count, int32_t in_c, \
                        int32_t channel)                                                          \
    {                                                                                             \
        for (int32_t at = channel; count > 0; --count, at += in_c, columns += 4 * (words)) {      \
            for (int32_t row = 0; row < (rows_read); row += 2) {                                  \
                tm_dw_put_column(columns + row / 2, words, tm_load4(rows[row] + at),              \
                                 tm_load4(rows[row + 1 < (rows_read) ? row + 1 : row] + at));     \
            }                                                                                     \
        }                                                                                         \
    }

#endif

/* Four rows, two, or one and whatever below it, from channel `channel` on, into words of `count` > 0 columns of
 * four channels that have 2 to 5 words each.
 */
TM_DW_WIDEN(tm_dw_widen_4rows_2_dsp, TM_DW_WIDEN_4ROWS_2WORDS, 4, 2)
TM_DW_WIDEN(tm_dw_widen_4rows_3_dsp, TM_DW_WIDEN_BODY_4(3), 4, 3)
TM_DW_WIDEN(tm_dw_widen_4rows_4_dsp, TM_DW_WIDEN_BODY_4(4), 4, 4)
TM_DW_WIDEN(tm_dw_widen_4rows_5_dsp, TM_DW_WIDEN_BODY_4(5), 4, 5)
TM_DW_WIDEN(tm_dw_widen_2rows_3_dsp, TM_DW_WIDEN_BODY_2(3), 2, 3)
TM_DW_WIDEN(tm_dw_widen_2rows_4_dsp, TM_DW_WIDEN_BODY_2(4), 2, 4)
TM_DW_WIDEN(tm_dw_widen_1row_3_dsp, TM_DW_WIDEN_BODY_1(3), 1, 3)
TM_DW_WIDEN(tm_dw_widen_1row_4_dsp, TM_DW_WIDEN_BODY_1(4), 1, 4)
TM_DW_WIDEN(tm_dw_widen_1row_5_dsp, TM_DW_WIDEN_BODY_1(5), 1, 5)

/* `rows_read` rows (4 to 9, 2 * words - 1 or 2 * words) into all words of the columns inside the image, for
 * `channels` (1 to 4) channels; the second half of an odd last word is anything. `rows_read` must be a constant.
 */
TM_INLINE void tm_dw_widen_rows(const tm_dw_window *window, const int8_t *const *rows, int32_t *columns,
                                int32_t rows_read, int32_t channel, int32_t channels)
{
    const int32_t words = (rows_read + 1) / 2;
    const int32_t n = window->inside;
    const int32_t in_c = window->in_c;
    int32_t *first = columns + 4 * words * window->first;
    if (n <= 0) {
        return;
    }
    if (channels < 4) {
        for (int32_t row = 0; row < rows_read; row += 2) {
            const int8_t *lower = rows[row + 1 < rows_read ? row + 1 : row] + channel;
            tm_dw_widen(window, rows[row] + channel, lower, columns + row / 2, words, channels);
        }
        return;
    }
    if (words == 2) {
        tm_dw_widen_4rows_2_dsp(rows, first, n, in_c, channel);
    } else if (words == 3) {
        tm_dw_widen_4rows_3_dsp(rows, first, n, in_c, channel);
        if (rows_read == 6) {
            tm_dw_widen_2rows_3_dsp(rows + 4, first + 2, n, in_c, channel);
        } else {
            tm_dw_widen_1row_3_dsp(rows + 4, first + 2, n, in_c, channel);
        }
    } else if (words == 4) {
        tm_dw_widen_4rows_4_dsp(rows, first, n, in_c, channel);
        if (rows_read == 8) {
            tm_dw_widen_4rows_4_dsp(rows + 4, first + 2, n, in_c, channel);
        } else {
            tm_dw_widen_2rows_4_dsp(rows + 4, first + 2, n, in_c, channel);
            tm_dw_widen_1row_4_dsp(rows + 6, first + 3, n, in_c, channel);
        }
    } else {
        tm_dw_widen_4rows_5_dsp(rows, first, n, in_c, channel);
        tm_dw_widen_4rows_5_dsp(rows + 4, first + 2, n, in_c, channel);
        tm_dw_widen_1row_5_dsp(rows + 8, first + 4, n, in_c, channel);
    }
}

#endif
