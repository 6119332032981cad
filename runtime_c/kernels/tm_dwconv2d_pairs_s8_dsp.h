/* tm_dwconv2d_pairs_s8_dsp: one or two output rows of a large depthwise convolution, DSP instructions, int8.
 *
 *   rows    int8  (kernel_h + stride_h) x [in_w][channels]   input rows of two output rows; zero-point rows
 *                                                            where outside the image
 *   y       int8  [count][out_w][channels]                   output rows
 *   count   1 or 2: with 1, only the first kernel_h rows count
 *   stream  int32 per channel                                a, b (tm_requant_dsp), bias (-zp_in * sum(weights)
 *                                                            folded in), then the weights
 *
 * The weights of a kernel column from top to bottom, four to a word as the bytes  w0 w2 w1 w3  , filled up with
 * zeros, column by column. Where one weight is left over (kernel_h = 4 n + 1), those of all columns follow, four
 * to a word.
 *
 * Quantisation  y = clamp(zp_out + requant(bias + sum w * x)), rounding twice as the TFLite reference;
 *               `form` is how (tm_dsp.h), [lo, hi] the range of the fused activation. Columns left and
 *               right of the image count as zp_in and are not read.
 * Scratch       with words = (kernel_h + stride_h) / 2, rounded up, and columns = (out_w - 1) * stride_w + kernel_w:
 *               16 * words * columns bytes for the columns and 8 * words * kernel_w for one channel's weights;
 *               8-byte aligned.
 * Requires      depth multiplier 1, dilation 1, stride_h 1 or 2, 3 to 5 words. Any stride_w, number of channels
 *               and padding.
 * Overlap       reads a group of channels of all rows before it writes them: y may lie on input rows that
 *               nobody needs afterwards.
 * Source        TFLite kernels/internal/reference/integer_ops/depthwise_conv.h (DepthwiseConvPerChannel).
 *               An output is the product of its window's pairs with the weights' pairs, the one below of the same
 *               pairs with the weights moved down by stride_h rows: both are there, side by side. Two by two
 *               outputs at a time fill the registers.
 */
#ifndef TM_DWCONV2D_PAIRS_S8_DSP_H
#define TM_DWCONV2D_PAIRS_S8_DSP_H

#include "tm_dw_columns_s8_dsp.h"

typedef struct {
    int32_t a;
    int32_t b;
    int32_t zero_point;
    int32_t row_bytes; /* from an output to the one below; 0 where only one row counts */
    int32_t out_c;
    int32_t out_w;
    int32_t stride_bytes; /* from a window to the next */
    int32_t bias;
    int32_t weight_bytes; /* of a channel's expanded weights */
} tm_dw_pairs_shape;

/* One channel in C: `x` are its columns, `weights` its pairs for an output and the one below. */
TM_INLINE void tm_dw_pairs_channel(int32_t form, int32_t words, const int32_t *x, const int32_t *weights,
                                   int8_t *y, const tm_dw_pairs_shape *shape)
{
    const int32_t *end = weights + shape->weight_bytes / 4;
    for (int32_t n = 0; n < shape->out_w; ++n, x += shape->stride_bytes / 4, y += shape->out_c) {
        int32_t acc0 = shape->bias;
        int32_t acc1 = shape->bias;
        const int32_t *column = x;
        for (const int32_t *w = weights; w != end; column += 4 * words) {
            for (int32_t word = 0; word < words; ++word, w += 2) {
                acc0 = tm_smlad(column[word], w[0], acc0);
                acc1 = tm_smlad(column[word], w[1], acc1);
            }
        }
        /* The lower row first: where there is none, the upper one takes its place. */
        y[shape->row_bytes] = tm_requant_dsp(form, acc1, shape->a, shape->b, shape->zero_point);
        y[0] = tm_requant_dsp(form, acc0, shape->a, shape->b, shape->zero_point);
    }
}

#if TM_DSP_ASM

/* r0 and r12 the windows of two neighbouring outputs, r1 weights, lr their end, r4..r7 accumulators: output, the
 * one below, their right neighbours. Stack: [0] a, b, zero point, row_bytes, [16] out_c or 0 for a last output
 * alone, [20] y, [24] window, weights, [32] stride_bytes, bias, [40] outputs left.
 */
#define TM_DW_PAIRS_TWO(next)            \
    "ldrd   r8, r9, [r1], #8\n"          \
    "ldrd   r10, r11, [r1], #8\n"        \
    "ldrd   r2, r3, [r0], #" #next "\n"  \
    "smlad  r4, r2, r8, r4\n"            \
    "smlad  r5, r2, r9, r5\n"            \
    "smlad  r4, r3, r10, r4\n"           \
    "smlad  r5, r3, r11, r5\n"           \
    "ldrd   r2, r3, [r12], #" #next "\n" \
    "smlad  r6, r2, r8, r6\n"            \
    "smlad  r7, r2, r9, r7\n"            \
    "smlad  r6, r3, r10, r6\n"           \
    "smlad  r7, r3, r11, r7\n"
#define TM_DW_PAIRS_ONE(next)        \
    "ldrd   r8, r9, [r1], #8\n"      \
    "ldr    r2, [r0], #" #next "\n"  \
    "ldr    r3, [r12], #" #next "\n" \
    "smlad  r4, r2, r8, r4\n"        \
    "smlad  r5, r2, r9, r5\n"        \
    "smlad  r6, r3, r8, r6\n"        \
    "smlad  r7, r3, r9, r7\n"
/* One kernel column; `next` leads to the next one, 16 * words further on. */
#define TM_DW_PAIRS_COLUMN_3 TM_DW_PAIRS_TWO(8) TM_DW_PAIRS_ONE(40)
#define TM_DW_PAIRS_COLUMN_4 TM_DW_PAIRS_TWO(8) TM_DW_PAIRS_TWO(56)
#define TM_DW_PAIRS_COLUMN_5 TM_DW_PAIRS_TWO(8) TM_DW_PAIRS_TWO(8) TM_DW_PAIRS_ONE(64)
#define TM_DW_PAIRS_REQUANT_3(acc)           \
    "smmlar " acc ", " acc ", r2, " acc "\n" \
    "smmlar " acc ", " acc ", r3, r8\n"      \
    "ssat   " acc ", #8, " acc "\n"
#define TM_DW_PAIRS_REQUANT_4(acc)                \
    "smmlar " acc ", " acc ", r2, " acc "\n"      \
    "add    " acc ", " acc ", " acc ", asr #31\n" \
    "smmlsr " acc ", " acc ", r3, r8\n"           \
    "ssat   " acc ", #8, " acc "\n"
#define TM_DW_PAIRS_REQUANT_2_2(acc) TM_ASM_REQUANT_2(acc, "2")
#define TM_DW_PAIRS_REQUANT_2_4(acc) TM_ASM_REQUANT_2(acc, "4")
/* clang-format off */
#define TM_DW_PAIRS_BODY(words, REQUANT)                  \
    "push   {r4-r11, lr}\n"                               \
    "sub    sp, #44\n"                                    \
    "ldm    r3!, {r4-r8}\n" /* a to out_c */              \
    "stm    sp, {r4-r8}\n"                                \
    "str    r2, [sp, #20]\n"                              \
    "strd   r0, r1, [sp, #24]\n"                          \
    "ldm    r3, {r4-r7}\n" /* out_w to weight_bytes */    \
    "strd   r5, r6, [sp, #32]\n"                          \
    "add    lr, r1, r7\n"                                 \
    "cmp    r4, #1\n"                                     \
    "bne    1f\n"                                         \
    "0:\n" /* one output: its right neighbour is itself */ \
    "movs   r2, #0\n"                                     \
    "str    r2, [sp, #16]\n"                              \
    "str    r2, [sp, #32]\n"                              \
    "movs   r4, #2\n"                                     \
    "1:\n"                                                \
    "str    r4, [sp, #40]\n"                              \
    "ldrd   r0, r1, [sp, #24]\n"                          \
    "ldrd   r2, r4, [sp, #32]\n"                          \
    "add    r12, r0, r2\n"                                \
    "add    r2, r12\n"                                    \
    "str    r2, [sp, #24]\n"                              \
    "mov    r5, r4\n"                                     \
    "mov    r6, r4\n"                                     \
    "mov    r7, r4\n"                                     \
    "2:\n"                                                \
    TM_DW_PAIRS_COLUMN_##words                            \
    "cmp    r1, lr\n"                                     \
    "bne    2b\n"                                         \
    "ldm    sp, {r2, r3, r8-r11}\n"                       \
    REQUANT("r4")                                         \
    REQUANT("r5")                                         \
    REQUANT("r6")                                         \
    REQUANT("r7")                                         \
    "add    r2, r11, r10\n"                               \
    "strb   r7, [r2, r9]\n"                               \
    "strb   r6, [r2]\n"                                   \
    "strb   r5, [r11, r9]\n"                              \
    "strb   r4, [r11]\n"                                  \
    "add    r2, r10\n"                                    \
    "str    r2, [sp, #20]\n"                              \
    "ldr    r4, [sp, #40]\n"                              \
    "subs   r4, #2\n"                                     \
    "cmp    r4, #1\n"                                     \
    "bgt    1b\n"                                         \
    "beq    0b\n"                                         \
    "add    sp, #44\n"                                    \
    "pop    {r4-r11, pc}\n"
/* clang-format on */

#define TM_DW_PAIRS_CHANNEL(name, form, words)                                                            \
    TM_NAKED void name(const int32_t *x __attribute__((unused)),                                          \
                       const int32_t *weights __attribute__((unused)), int8_t *y __attribute__((unused)), \
                       const tm_dw_pairs_shape *shape __attribute__((unused)))                            \
    {                                                                                                     \
        __asm__ volatile(TM_DW_PAIRS_BODY(words, TM_DW_PAIRS_REQUANT_##form));                            \
    }

#else

#define TM_DW_PAIRS_CHANNEL(name, form, words)                                                               \
    TM_SHARED void name(const int32_t *x, const int32_t *weights, int8_t *y, const tm_dw_pairs_shape *shape) \
    {                                                                                                        \
        tm_dw_pairs_channel(TM_REQUANT_##form, words, x, weights, y, shape);                                 \
    }

#endif

TM_DW_PAIRS_CHANNEL(tm_dw_pairs3_channel_3_dsp, 3, 3)
TM_DW_PAIRS_CHANNEL(tm_dw_pairs3_channel_4_dsp, 4, 3)
TM_DW_PAIRS_CHANNEL(tm_dw_pairs3_channel_2_2_dsp, 2_2, 3)
TM_DW_PAIRS_CHANNEL(tm_dw_pairs3_channel_2_4_dsp, 2_4, 3)
TM_DW_PAIRS_CHANNEL(tm_dw_pairs4_channel_3_dsp, 3, 4)
TM_DW_PAIRS_CHANNEL(tm_dw_pairs4_channel_4_dsp, 4, 4)
TM_DW_PAIRS_CHANNEL(tm_dw_pairs4_channel_2_2_dsp, 2_2, 4)
TM_DW_PAIRS_CHANNEL(tm_dw_pairs4_channel_2_4_dsp, 2_4, 4)
TM_DW_PAIRS_CHANNEL(tm_dw_pairs5_channel_3_dsp, 3, 5)
TM_DW_PAIRS_CHANNEL(tm_dw_pairs5_channel_4_dsp, 4, 5)
TM_DW_PAIRS_CHANNEL(tm_dw_pairs5_channel_2_2_dsp, 2_2, 5)
TM_DW_PAIRS_CHANNEL(tm_dw_pairs5_channel_2_4_dsp, 2_4, 5)

TM_SHARED void tm_dw_pairs_channel_any_dsp(const int32_t *x, const int32_t *weights, int8_t *y,
                                           const tm_dw_pairs_shape *shape, int32_t words)
{
    tm_dw_pairs_channel(TM_REQUANT_ANY, words, x, weights, y, shape);
}

TM_INLINE void tm_dw_pairs_run(int32_t form, int32_t words, const int32_t *x, const int32_t *weights,
                               int8_t *y, const tm_dw_pairs_shape *shape)
{
    const int32_t known = form == TM_REQUANT_ANY ? (int32_t)TM_REQUANT_4 : form;
    if (form == TM_REQUANT_ANY && !tm_requant_is_4(shape->b)) {
        tm_dw_pairs_channel_any_dsp(x, weights, y, shape, words);
    } else if (words == 3) {
        TM_REQUANT_CALL(tm_dw_pairs3_channel, known, x, weights, y, shape);
    } else if (words == 4) {
        TM_REQUANT_CALL(tm_dw_pairs4_channel, known, x, weights, y, shape);
    } else {
        TM_REQUANT_CALL(tm_dw_pairs5_channel, known, x, weights, y, shape);
    }
}

/* One channel's weights to int16: [kernel_w][words] pairs (w[2j], w[2j+1]), each followed by the pair that the
 * output below needs there. Returns the stream behind them.
 */
TM_INLINE const int32_t *tm_dw_pairs_weights(const int32_t *stream, int32_t *weights, int32_t words,
                                             int32_t kernel_h, int32_t kernel_w, int32_t stride_h)
{
    const int32_t left_over = kernel_h % 4 == 1;
    const int32_t fours = (kernel_h + 2) / 4;
    const int8_t *last = (const int8_t *)(stream + fours * kernel_w);
    for (int32_t column = 0; column < kernel_w; ++column, weights += 2 * words, stream += fours) {
        int32_t pair[5];
        for (int32_t word = 0; word < 4; word += 2) {
            const int32_t four = word < 2 * fours ? stream[word / 2] : 0;
            pair[word] = tm_sxtb16(four);
            pair[word + 1] = tm_sxtb16_ror8(four);
        }
        pair[4] = 0;
        if (left_over) {
            pair[2 * fours] = tm_pkhbt(last[column], 0);
        }
        weights[0] = pair[0];
        weights[1] = stride_h == 2 ? 0 : tm_shift_left(pair[0], 16);
        TM_UNROLL_4
        for (int32_t word = 1; word < words; ++word) {
            weights[2 * word] = pair[word];
            weights[2 * word + 1] =
                stride_h == 2 ? pair[word - 1] : tm_pkhbt(pair[word - 1] >> 16, pair[word]);
        }
    }
    return stream + (left_over ? (kernel_w + 3) / 4 : 0);
}

TM_INLINE void tm_dwconv2d_pairs_s8_dsp(const int8_t *const *rows, int8_t *y, int32_t count,
                                        const int32_t *stream, void *scratch, int32_t in_w, int32_t channels,
                                        int32_t out_w, int32_t kernel_h, int32_t kernel_w, int32_t stride_h,
                                        int32_t stride_w, int32_t pad_left, int32_t zp_in, int32_t form,
                                        int32_t zp_out, int32_t lo, int32_t hi)
{
    int32_t *columns = (int32_t *)scratch;
    const int32_t words = (kernel_h + stride_h + 1) / 2;
    const int32_t last_row = kernel_h + stride_h - 1;
    const tm_dw_window in = tm_dw_make_window(in_w, channels, (out_w - 1) * stride_w + kernel_w, pad_left);
    int32_t *weights = columns + 4 * words * in.columns;
    tm_dw_pairs_shape shape = {0,
                               0,
                               zp_out,
                               count > 1 ? out_w * channels : 0,
                               channels,
                               out_w,
                               16 * words * stride_w,
                               0,
                               8 * words * kernel_w};
    tm_dw_outside(&in, columns, words, zp_in);
    for (int32_t c = 0; c < channels; c += 4) {
        const int32_t group = channels - c < 4 ? channels - c : 4;
        for (int32_t word = 0; word < words; ++word) {
            /* An odd last row meets a zero weight instead of one more. */
            const int8_t *lower = rows[2 * word + 1 < last_row ? 2 * word + 1 : last_row] + c;
            tm_dw_widen(&in, rows[2 * word] + c, lower, columns + word, words, group);
        }
        for (int32_t i = 0; i < group; ++i) {
            shape.a = stream[0];
            shape.b = stream[1];
            shape.bias = stream[2];
            stream = tm_dw_pairs_weights(stream + 3, weights, words, kernel_h, kernel_w, stride_h);
            tm_dw_pairs_run(form, words, columns + i * words, weights, y + c + i, &shape);
        }
    }
    tm_clamp_row(y, count * out_w * channels, lo, hi);
}

#endif
