/* tm_dw_row_s8_dsp: one output row of a 3x3 depthwise convolution, four channels at a time.
 *
 *   columns  int32 [(columns + 1) / 2][4 channels][3]   of two columns: the halfwords (upper, middle row) of the
 *                                                       first, those of the second, and (first, second) of the
 *                                                       lower row
 *   stream   int32 [channels][6]                        as tm_dwconv2d_3x3_s8_dsp
 *
 * Scratch  24 bytes per column of the window of the `tile` outputs that are computed at a time, or of the row where
 *          it is shorter, an even number of columns; 8-byte aligned.
 * Source   Nine products are four pairs and one. With P0, P1, ... the pairs of the upper rows, Q0, Q1, ... those of
 *          the lower one, A the upper weights of the kernel's columns and u, v, w the lower ones, an output in an even
 *          column is P0.A0 + P1.A1 + P2.A2 + Q0.(u, v) + Q1.lo w, its right neighbour P1.A0 + P2.A1 + P3.A2 + Q0.hi u +
 *          Q1.(v, w): five instructions.
 */
#ifndef TM_DW_ROW_S8_DSP_H
#define TM_DW_ROW_S8_DSP_H

#include "tm_dw_columns_s8_dsp.h"

typedef struct {
    int32_t
        outputs; /* in a row of the asm below: bytes of the columns of whole fours, and the outputs left over */
    int32_t zero_point;
    int32_t out_c;
} tm_dw_row_shape;

/* The form of `count` channels: form 4 where all of a layer's mixed forms are. */
TM_INLINE int32_t tm_dw3x3_form(int32_t form, const int32_t *stream, int32_t count)
{
    int32_t all_4 = form == TM_REQUANT_ANY;
    for (int32_t i = 0; form == TM_REQUANT_ANY && i < count; ++i) {
        all_4 &= tm_requant_is_4(stream[6 * i + 1]);
    }
    return all_4 ? (int32_t)TM_REQUANT_4 : form;
}

/* Four channels of one column: a word each of the upper, middle and lower row. */
TM_INLINE void tm_dw_row_put(int32_t *columns, int32_t column, int32_t upper, int32_t middle, int32_t lower)
{
    const int32_t c01 = tm_pkhbt(upper, middle);
    const int32_t c23 = tm_pkhtb(middle, upper);
    int32_t *at = columns + 12 * (column / 2);
    int32_t *pair = at + column % 2;
    pair[0] = tm_sxtb16(c01);
    pair[3] = tm_sxtb16_ror8(c01);
    pair[6] = tm_sxtb16(c23);
    pair[9] = tm_sxtb16_ror8(c23);
    TM_UNROLL_4
    for (int32_t i = 0; i < 4; ++i) {
        const int16_t value = (int8_t)(uint8_t)((uint32_t)lower >> (8 * i) & 0xffu);
        memcpy((int8_t *)(at + 3 * i + 2) + 2 * (column % 2), &value, sizeof value);
    }
}

/* The columns left and right of the image behind the first `held`. */
TM_SHARED void tm_dw_row_outside_dsp(const tm_dw_window *window, int32_t *columns, int32_t held,
                                     int32_t zp_in)
{
    const int32_t value = tm_splat4(zp_in);
    for (int32_t i = held; i < window->first; ++i) {
        tm_dw_row_put(columns, i, value, value, value);
    }
    for (int32_t i = window->first + window->inside; i < window->columns; ++i) {
        tm_dw_row_put(columns, i, value, value, value);
    }
}

/* `count` columns from column `column` on, of `channels` (1 to 4) channels: byte `at` of the rows; never reads past
 * those channels.
 */
TM_SHARED void tm_dw_row_some_dsp(const int8_t *const *rows, int32_t *columns, int32_t column, int32_t count,
                                  int32_t at, int32_t in_c, int32_t channels)
{
    for (; count > 0; --count, ++column, at += in_c) {
        int32_t words[3];
        for (int32_t row = 0; row < 3; ++row) {
            words[row] = channels == 4 ? tm_load4(rows[row] + at) : tm_load_tail(rows[row] + at, channels);
        }
        tm_dw_row_put(columns, column, words[0], words[1], words[2]);
    }
}

#if TM_DSP_ASM

/* Requantise EACH accumulator, with a, b and the zero point from [sp, #8] on; r2 and r3 are free. */
#define TM_DW_FIRST(acc) "smmlar " acc ", " acc ", r2, " acc "\n"
#define TM_DW_SECOND_3(acc)             \
    "smmlar " acc ", " acc ", r2, r3\n" \
    "ssat   " acc ", #8, " acc "\n"
#define TM_DW_SECOND_4(acc)                       \
    "add    " acc ", " acc ", " acc ", asr #31\n" \
    "smmlsr " acc ", " acc ", r2, r3\n"           \
    "ssat   " acc ", #8, " acc "\n"
#define TM_DW_ROUND_3(EACH) \
    "ldr    r2, [sp, #8]\n" EACH(TM_DW_FIRST) "ldrd   r2, r3, [sp, #12]\n" EACH(TM_DW_SECOND_3)
#define TM_DW_ROUND_4(EACH) \
    "ldr    r2, [sp, #8]\n" EACH(TM_DW_FIRST) "ldrd   r2, r3, [sp, #12]\n" EACH(TM_DW_SECOND_4)
#define TM_DW_ONCE_2(acc) TM_ASM_REQUANT_2(acc, "2")
#define TM_DW_ONCE_4(acc) TM_ASM_REQUANT_2(acc, "4")
#define TM_DW_ROUND_2_2(EACH) "ldrd   r2, r3, [sp, #8]\n" EACH(TM_DW_ONCE_2)
#define TM_DW_ROUND_2_4(EACH) "ldrd   r2, r3, [sp, #8]\n" EACH(TM_DW_ONCE_4)

/* r0 offset into the rows r4 to r6, r1 columns, r2 count, r3 in_c. */
/* clang-format off */
#define TM_DW_ROW_WIDEN                            \
    "push   {r4-r11, lr}\n"                        \
    "ldm    r0, {r4-r6}\n"                         \
    "ldr    r0, [sp, #36]\n"                       \
    "1:\n"                                         \
    "ldr    lr, [r4, r0]\n"                        \
    "ldr    r10, [r5, r0]\n"                       \
    "ldr    r9, [r6, r0]\n"                        \
    "add    r0, r3\n"                              \
    "pkhbt  r7, lr, r10, lsl #16\n"                \
    "pkhtb  r10, r10, lr, asr #16\n"               \
    "ldr    lr, [r4, r0]\n"                        \
    "ldr    r11, [r5, r0]\n"                       \
    "ldr    r12, [r6, r0]\n"                       \
    "add    r0, r3\n"                              \
    "pkhbt  r8, lr, r11, lsl #16\n"                \
    "pkhtb  r11, r11, lr, asr #16\n"               \
    "pkhbt  lr, r9, r12, lsl #16\n"                \
    "pkhtb  r12, r12, r9, asr #16\n"               \
    "sxtb16 r9, r8\n"                              \
    "str    r9, [r1, #4]\n"                        \
    "sxtb16 r9, lr\n"                              \
    "str    r9, [r1, #8]\n"                        \
    "sxtb16 r9, r7\n"                              \
    "str    r9, [r1], #12\n"                       \
    "sxtb16 r7, r7, ror #8\n"                      \
    "sxtb16 r8, r8, ror #8\n"                      \
    "sxtb16 lr, lr, ror #8\n"                      \
    "stmia  r1!, {r7, r8, lr}\n"                   \
    "sxtb16 r7, r10\n"                             \
    "sxtb16 r8, r11\n"                             \
    "sxtb16 lr, r12\n"                             \
    "stmia  r1!, {r7, r8, lr}\n"                   \
    "sxtb16 r10, r10, ror #8\n"                    \
    "sxtb16 r11, r11, ror #8\n"                    \
    "sxtb16 r12, r12, ror #8\n"                    \
    "stmia  r1!, {r10, r11, r12}\n"                \
    "subs   r2, #1\n"                              \
    "bne    1b\n"                                  \
    "pop    {r4-r11, pc}\n"
/* clang-format on */

/* `count` > 0 pairs of columns of four channels, from byte `at` of the rows on. */
TM_NAKED void tm_dw_row_pairs_dsp(const int8_t *const *rows __attribute__((unused)),
                                  int32_t *columns __attribute__((unused)),
                                  int32_t count __attribute__((unused)), int32_t in_c __attribute__((unused)),
                                  int32_t at __attribute__((unused)))
{
    __asm__ volatile(TM_DW_ROW_WIDEN);
}

#else

TM_INLINE void tm_dw_row_pairs_dsp(const int8_t *const *rows, int32_t *columns, int32_t count, int32_t in_c,
                                   int32_t at)
{
    tm_dw_row_some_dsp(rows, columns, 0, 2 * count, at, in_c, 4);
}

#endif

/* The columns inside the image, of `channels` (1 to 4) channels from byte `at` of their first pixel on. */
TM_INLINE void tm_dw_row_widen(const tm_dw_window *window, const int8_t *const *rows, int32_t *columns,
                               int32_t at, int32_t channels)
{
    const int32_t in_c = window->in_c;
    const int32_t end = window->first + window->inside;
    int32_t column = window->first;
    if (channels == 4) {
        if (column % 2 && column < end) {
            tm_dw_row_some_dsp(rows, columns, column, 1, at, in_c, 4);
            at += in_c;
            ++column;
        }
        if (column + 1 < end) {
            tm_dw_row_pairs_dsp(rows, columns + 6 * column, (end - column) / 2, in_c, at);
            at += (end - column) / 2 * 2 * in_c;
            column += (end - column) / 2 * 2;
        }
    }
    if (column < end) {
        tm_dw_row_some_dsp(rows, columns, column, end - column, at, in_c, channels);
    }
}

/* `count` channels in C: `x` are their columns, `stream` six words each. */
TM_INLINE void tm_dw_row_channels(int32_t form, int32_t stride_w, const int32_t *x, int8_t *y,
                                  const int32_t *stream, const tm_dw_row_shape *shape, int32_t count)
{
    for (; count > 0; --count, x += 3, ++y, stream += 6) {
        const int32_t a0 = tm_sxtb16(stream[2]);
        const int32_t a1 = tm_sxtb16(stream[3]);
        const int32_t a2 = tm_sxtb16(stream[4]);
        const int32_t lower1 = tm_sxtb16_ror8(stream[3]);
        const int32_t first = tm_pkhtb(lower1, tm_sxtb16_ror8(stream[2]));
        const int32_t second = tm_pkhtb(tm_sxtb16_ror8(stream[4]), lower1);
        const int32_t *p = x;
        int8_t *out = y;
        for (int32_t left = shape->outputs; left > 0; left -= 3 - stride_w, p += 12) {
            int32_t acc = tm_smlad(p[12], a2, tm_smlad(p[1], a1, tm_smlad(p[0], a0, stream[5])));
            acc = tm_smlabt(p[14], second, tm_smlad(p[2], first, acc));
            *out = tm_requant_dsp(form, acc, stream[0], stream[1], shape->zero_point);
            out += shape->out_c;
            if (stride_w == 1 && left > 1) {
                acc = tm_smlad(p[13], a2, tm_smlad(p[12], a1, tm_smlad(p[1], a0, stream[5])));
                acc = tm_smlad(p[14], second, tm_smlatb(p[2], first, acc));
                *out = tm_requant_dsp(form, acc, stream[0], stream[1], shape->zero_point);
                out += shape->out_c;
            }
        }
    }
}

#if TM_DSP_ASM

/* r0 columns, r1 y, r4..r6 the weights A, r7 and r8 (u, v) and (v, w), r9, r10, r11 and lr accumulators. Stack: [0] bias,
 * [8] a, b, zero point, [20] out_c, end of the columns of whole fours, [28] the channel's columns, y, [36] stream,
 * columns and outputs left over, [44] channels to do.
 */
/* clang-format off */
#define TM_DW_ROW_LOAD(at)             \
    "ldrd   r2, r3, [r0, #" at "]\n"   \
    "ldr    r12, [r0, #8 + " at "]\n"
/* An output in an even column from its own two columns, and what its right neighbour takes from them. */
#define TM_DW_ROW_LEFT(acc, bias)              \
    "smlad  " acc ", r2, r4, " bias "\n"       \
    "smlad  " acc ", r3, r5, " acc "\n"        \
    "smlad  " acc ", r12, r7, " acc "\n"
#define TM_DW_ROW_LEFT_ODD(acc, bias)          \
    "smlad  " acc ", r3, r4, " bias "\n"       \
    "smlatb " acc ", r12, r7, " acc "\n"
/* What both take from the next two. */
#define TM_DW_ROW_RIGHT(acc)                   \
    "smlad  " acc ", r2, r6, " acc "\n"        \
    "smlabt " acc ", r12, r8, " acc "\n"
#define TM_DW_ROW_RIGHT_ODD(acc)               \
    "smlad  " acc ", r2, r5, " acc "\n"        \
    "smlad  " acc ", r3, r6, " acc "\n"        \
    "smlad  " acc ", r12, r8, " acc "\n"
#define TM_DW_ROW_BIAS(acc) "ldr    " acc ", [sp]\n"
#define TM_DW_ROW_FOUR_1                                            \
    TM_DW_ROW_BIAS("lr")                                            \
    TM_DW_ROW_LOAD("0")                                             \
    TM_DW_ROW_LEFT("r9", "lr") TM_DW_ROW_LEFT_ODD("r10", "lr")      \
    TM_DW_ROW_LOAD("48")                                            \
    TM_DW_ROW_RIGHT("r9") TM_DW_ROW_RIGHT_ODD("r10")                \
    TM_DW_ROW_LEFT("r11", "lr") TM_DW_ROW_LEFT_ODD("lr", "lr")      \
    TM_DW_ROW_LOAD("96")                                            \
    "adds   r0, #96\n"                                              \
    TM_DW_ROW_RIGHT("r11") TM_DW_ROW_RIGHT_ODD("lr")
#define TM_DW_ROW_TWO_1                                             \
    TM_DW_ROW_BIAS("lr")                                            \
    TM_DW_ROW_LOAD("0")                                             \
    TM_DW_ROW_LEFT("r9", "lr") TM_DW_ROW_LEFT_ODD("r10", "lr")      \
    TM_DW_ROW_LOAD("48")                                            \
    "adds   r0, #48\n"                                              \
    TM_DW_ROW_RIGHT("r9") TM_DW_ROW_RIGHT_ODD("r10")
#define TM_DW_ROW_FOUR_2                                            \
    TM_DW_ROW_BIAS("lr")                                            \
    TM_DW_ROW_LOAD("0")                                             \
    TM_DW_ROW_LEFT("r9", "lr")                                      \
    TM_DW_ROW_LOAD("48")                                            \
    TM_DW_ROW_RIGHT("r9") TM_DW_ROW_LEFT("r10", "lr")               \
    TM_DW_ROW_LOAD("96")                                            \
    TM_DW_ROW_RIGHT("r10") TM_DW_ROW_LEFT("r11", "lr")              \
    TM_DW_ROW_LOAD("144")                                           \
    TM_DW_ROW_RIGHT("r11") TM_DW_ROW_LEFT("lr", "lr")               \
    TM_DW_ROW_NEXT("192")                                           \
    "adds   r0, #192\n"                                             \
    TM_DW_ROW_RIGHT("lr")
#define TM_DW_ROW_TWO_2                                             \
    TM_DW_ROW_BIAS("lr")                                            \
    TM_DW_ROW_LOAD("0")                                             \
    TM_DW_ROW_LEFT("r9", "lr")                                      \
    TM_DW_ROW_LOAD("48")                                            \
    TM_DW_ROW_RIGHT("r9") TM_DW_ROW_LEFT("r10", "lr")               \
    TM_DW_ROW_NEXT("96")                                            \
    "adds   r0, #96\n"                                              \
    TM_DW_ROW_RIGHT("r10")
#define TM_DW_ROW_NEXT(at)              \
    "ldr    r2, [r0, #" at "]\n"        \
    "ldr    r12, [r0, #8 + " at "]\n"
#define TM_DW_ROW_ONE             \
    TM_DW_ROW_BIAS("r9")          \
    TM_DW_ROW_LOAD("0")           \
    TM_DW_ROW_LEFT("r9", "r9")    \
    TM_DW_ROW_NEXT("48")          \
    TM_DW_ROW_RIGHT("r9")
#define TM_DW_ROW_EACH_1(ROUND) ROUND("r9")
#define TM_DW_ROW_EACH_2(ROUND) ROUND("r9") ROUND("r10")
#define TM_DW_ROW_EACH_4(ROUND) ROUND("r9") ROUND("r10") ROUND("r11") ROUND("lr")
#define TM_DW_ROW_BODY(form, stride_w)                              \
    "push   {r4-r11, lr}\n"                                         \
    "sub    sp, #48\n"                                              \
    "ldm    r3, {r3, r5, r6}\n"                                     \
    "strd   r5, r6, [sp, #16]\n"                                    \
    "ldr    r4, [sp, #84]\n" /* count */                            \
    "1:\n"                                                          \
    "str    r4, [sp, #44]\n"                                        \
    "strd   r0, r1, [sp, #28]\n"                                    \
    "ldrd   r4, r5, [r2], #8\n"                                     \
    "strd   r4, r5, [sp, #8]\n"                                     \
    "ldm    r2!, {r4-r7}\n"                                         \
    "str    r7, [sp]\n"                                             \
    "strd   r2, r3, [sp, #36]\n"                                    \
    "sxtb16 r8, r4, ror #8\n"                                       \
    "sxtb16 r9, r5, ror #8\n"                                       \
    "sxtb16 r10, r6, ror #8\n"                                      \
    "sxtb16 r4, r4\n"                                               \
    "sxtb16 r5, r5\n"                                               \
    "sxtb16 r6, r6\n"                                               \
    "pkhtb  r7, r9, r8, asr #16\n"                                  \
    "pkhtb  r8, r10, r9, asr #16\n"                                 \
    "bics   r9, r3, #3\n"                                           \
    "beq    3f\n"                                                   \
    "add    r9, r0\n"                                               \
    "str    r9, [sp, #24]\n"                                        \
    "2:\n"                                                          \
    TM_DW_ROW_FOUR_##stride_w                                       \
    TM_DW_ROUND_##form(TM_DW_ROW_EACH_4)                            \
    "ldrd   r2, r3, [sp, #20]\n"                                    \
    "strb   r9, [r1]\n"                                             \
    "strb   r10, [r1, r2]\n"                                        \
    "add    r1, r1, r2, lsl #1\n"                                   \
    "strb   r11, [r1]\n"                                            \
    "strb   lr, [r1, r2]\n"                                         \
    "add    r1, r1, r2, lsl #1\n"                                   \
    "cmp    r0, r3\n"                                               \
    "bne    2b\n"                                                   \
    "ldr    r3, [sp, #40]\n"                                        \
    "3:\n"                                                          \
    "tst    r3, #2\n"                                               \
    "beq    4f\n"                                                   \
    TM_DW_ROW_TWO_##stride_w                                        \
    TM_DW_ROUND_##form(TM_DW_ROW_EACH_2)                            \
    "ldr    r2, [sp, #20]\n"                                        \
    "strb   r9, [r1]\n"                                             \
    "strb   r10, [r1, r2]\n"                                        \
    "ldr    r3, [sp, #40]\n"                                        \
    "add    r1, r1, r2, lsl #1\n"                                   \
    "4:\n"                                                          \
    "tst    r3, #1\n"                                               \
    "beq    5f\n"                                                   \
    TM_DW_ROW_ONE                                                   \
    TM_DW_ROUND_##form(TM_DW_ROW_EACH_1)                            \
    "strb   r9, [r1]\n"                                             \
    "5:\n"                                                          \
    "ldrd   r0, r1, [sp, #28]\n"                                    \
    "ldrd   r2, r3, [sp, #36]\n"                                    \
    "ldr    r4, [sp, #44]\n"                                        \
    "adds   r0, #12\n"                                              \
    "adds   r1, #1\n"                                               \
    "subs   r4, #1\n"                                               \
    "bne    1b\n"                                                   \
    "add    sp, #48\n"                                              \
    "pop    {r4-r11, pc}\n"
/* clang-format on */

#define TM_DW_ROW_CHANNELS(name, form, stride_w)                                                    \
    TM_NAKED void name(const int32_t *x __attribute__((unused)), int8_t *y __attribute__((unused)), \
                       const int32_t *stream __attribute__((unused)),                               \
                       const tm_dw_row_shape *shape __attribute__((unused)),                        \
                       int32_t count __attribute__((unused)))                                       \
    {                                                                                               \
        __asm__ volatile(TM_DW_ROW_BODY(form, stride_w));                                           \
    }

#else

#define TM_DW_ROW_CHANNELS(name, form, stride_w)                                                          \
    TM_SHARED void name(const int32_t *x, int8_t *y, const int32_t *stream, const tm_dw_row_shape *shape, \
                        int32_t count)                                                                    \
    {                                                                                                     \
        tm_dw_row_channels(TM_REQUANT_##form, stride_w, x, y, stream, shape, count);                      \
    }

#endif

TM_DW_ROW_CHANNELS(tm_dw_row1_channels_3_dsp, 3, 1)
TM_DW_ROW_CHANNELS(tm_dw_row1_channels_4_dsp, 4, 1)
TM_DW_ROW_CHANNELS(tm_dw_row1_channels_2_2_dsp, 2_2, 1)
TM_DW_ROW_CHANNELS(tm_dw_row1_channels_2_4_dsp, 2_4, 1)
TM_DW_ROW_CHANNELS(tm_dw_row2_channels_3_dsp, 3, 2)
TM_DW_ROW_CHANNELS(tm_dw_row2_channels_4_dsp, 4, 2)
TM_DW_ROW_CHANNELS(tm_dw_row2_channels_2_2_dsp, 2_2, 2)
TM_DW_ROW_CHANNELS(tm_dw_row2_channels_2_4_dsp, 2_4, 2)

TM_SHARED void tm_dw_row_channels_any_dsp(const int32_t *x, int8_t *y, const int32_t *stream,
                                          const tm_dw_row_shape *shape, int32_t count, int32_t stride_w)
{
    tm_dw_row_channels(TM_REQUANT_ANY, stride_w, x, y, stream, shape, count);
}

/* `outputs` outputs of a row, of `count` channels. */
TM_INLINE void tm_dw_row_run(int32_t form, int32_t stride_w, int32_t outputs, const int32_t *x, int8_t *y,
                             const int32_t *stream, int32_t out_c, int32_t zp_out, int32_t count)
{
    const int32_t known = tm_dw3x3_form(form, stream, count);
    const int32_t fours = TM_DSP_ASM ? 96 * stride_w * (outputs / 4) + outputs % 4 : outputs;
    const tm_dw_row_shape shape = {known == TM_REQUANT_ANY ? outputs : fours, zp_out, out_c};
    if (known == TM_REQUANT_ANY) {
        tm_dw_row_channels_any_dsp(x, y, stream, &shape, count, stride_w);
    } else if (stride_w == 1) {
        TM_REQUANT_CALL(tm_dw_row1_channels, known, x, y, stream, &shape, count);
    } else {
        TM_REQUANT_CALL(tm_dw_row2_channels, known, x, y, stream, &shape, count);
    }
}

/* Another row in the place of those that are NULL: it is read, and overwritten in the columns. */
TM_SHARED void tm_dw_row_inside_dsp(const int8_t *const *rows, const int8_t **inside)
{
    const int8_t *const any = rows[0] != NULL ? rows[0] : rows[1] != NULL ? rows[1] : rows[2];
    for (int32_t i = 0; i < 3; ++i) {
        inside[i] = rows[i] != NULL ? rows[i] : any;
    }
}

/* Zero points in the columns inside the image, for those of the three rows that are NULL: outside it. They come in
 * pairs: a column beside the image, or of the tile before, has them already.
 */
TM_SHARED void tm_dw_row_blank_dsp(const int8_t *const *rows, const tm_dw_window *window, int32_t *columns,
                                   int32_t zp_in)
{
    const int32_t value = tm_sxtb16(tm_splat4(zp_in));
    int32_t *const first = columns + 12 * (window->first / 2);
    int32_t *const end = columns + 12 * ((window->first + window->inside + 1) / 2);
    for (int32_t row = 0; row < 2; ++row) {
        for (int32_t *at = rows[row] == NULL ? first : end; at < end; at += 12) {
            int8_t *const to = (int8_t *)at + 2 * row;
            TM_UNROLL_4
            for (int32_t channel = 0; channel < 4; ++channel) {
                memcpy(to + 12 * channel, &value, 2);
                memcpy(to + 12 * channel + 4, &value, 2);
            }
        }
    }
    for (int32_t *at = rows[2] == NULL ? first : end; at < end; at += 12) {
        at[2] = at[5] = at[8] = at[11] = value;
    }
}

/* One output row; `tile` is even or at least out_w. The columns that two tiles share stay in `columns`: where y lies
 * on the rows, the outputs have overwritten them. `outside`: rows may be NULL, but not all, and count as zero points.
 */
TM_INLINE void tm_dw_row(const int8_t *const *rows, int8_t *y, const int32_t *stream, int32_t *columns,
                         int32_t in_w, int32_t channels, int32_t out_w, int32_t stride_w, int32_t tile,
                         int32_t pad_left, int32_t zp_in, int32_t form, int32_t zp_out, int32_t outside)
{
    const int8_t *inside[3];
    const int8_t *const *read = rows;
    const int32_t blank = outside && (rows[0] == NULL || rows[1] == NULL || rows[2] == NULL);
    if (blank) {
        tm_dw_row_inside_dsp(rows, inside);
        read = inside;
    }
    const tm_dw_window row = tm_dw_make_window(in_w, channels, (out_w - 1) * stride_w + 3, pad_left);
    if (tile >= out_w) {
        tm_dw_row_outside_dsp(&row, columns, 0, zp_in);
    }
    for (int32_t c = 0; c < channels; c += 4, stream += 24) {
        const int32_t group = tm_min(channels - c, 4);
        if (tile >= out_w) {
            tm_dw_row_widen(&row, read, columns, c, group);
            if (blank) {
                tm_dw_row_blank_dsp(rows, &row, columns, zp_in);
            }
            tm_dw_row_run(form, stride_w, out_w, columns, y + c, stream, channels, zp_out, group);
            continue;
        }
        for (int32_t x = 0; x < out_w; x += tile) {
            const int32_t outputs = tm_min(tile, out_w - x);
            const int32_t held = x > 0 ? 3 - stride_w : 0;
            int32_t skipped;
            const tm_dw_window in = tm_dw_make_tile(in_w, channels, (outputs - 1) * stride_w + 3,
                                                    x * stride_w - pad_left, held, &skipped);
            if (held > 0) {
                memmove(columns, columns + 6 * tile * stride_w, 12 * sizeof *columns);
            }
            tm_dw_row_outside_dsp(&in, columns, held, zp_in);
            tm_dw_row_widen(&in, read, columns, skipped + c, group);
            if (blank) {
                tm_dw_row_blank_dsp(rows, &in, columns, zp_in);
            }
            tm_dw_row_run(form, stride_w, outputs, columns, y + x * channels + c, stream, channels, zp_out,
                          group);
        }
    }
}

#endif
