/* tm_dwconv2d_large_s8_dsp: one or two output rows of a 5x5 or 7x7 depthwise convolution, DSP instructions, int8.
 *
 *   rows    int8  (kernel + stride) x [in_w][channels]   input rows of two output rows; zero-point rows where
 *                                                        outside the image
 *   y       int8  [count][out_w][channels]               output rows
 *   count   1 or 2: with 1, only the first `kernel` rows count
 *   stream  int32 per channel                            as tm_dwconv2d_pairs_s8_dsp
 *
 * Quantisation  y = clamp(zp_out + requant(bias + sum w * x)), rounding twice as the TFLite reference;
 *               `form` is how (tm_dsp.h), [lo, hi] the range of the fused activation. Columns left and
 *               right of the image count as zp_in and are not read.
 * Scratch       with words = (kernel + stride + 1) / 2 and columns = (out_w - 1) * stride + kernel: 16 * words * columns
 *               bytes for the columns and 4 * kernel * (2 * words - 2), or with stride 2 (words - 1), for one channel's
 *               weights; 8-byte aligned.
 * Requires      depth multiplier 1, dilation 1, a 5x5 or 7x7 kernel, both strides 1 or both 2. Any number of
 *               channels, any padding.
 * Overlap       reads a group of channels of all rows before it writes them: y may lie on input rows that
 *               nobody needs afterwards.
 * Source        TFLite kernels/internal/reference/integer_ops/depthwise_conv.h (DepthwiseConvPerChannel).
 *               Two by two outputs at a time. With the row pairs P = (x0, x1), Q, R, S of a column and stride 1, an
 *               output is P.(w0, w1) + Q.(w2, w3) + R.lo w4 and the one below P.hi w0 + Q.(w1, w2) + R.(w3, w4):
 *               half as many instructions as products, but for one of each. The columns are walked twice, for
 *               the upper two words and for those below, so that what two neighbours share stays in registers.
 *               With stride 2 the output below takes the same weights one word further down.
 */
#ifndef TM_DWCONV2D_LARGE_S8_DSP_H
#define TM_DWCONV2D_LARGE_S8_DSP_H

#include "tm_dw_columns_s8_dsp.h"

typedef struct {
    int32_t a;
    int32_t b;
    int32_t zero_point;
    int32_t row_bytes; /* from an output to the one below; 0 where only one row counts */
    int32_t out_c;
    int32_t pair_bytes; /* of the columns that start pairs of outputs */
    int32_t bias;
    int32_t odd; /* whether a last output stands alone */
} tm_dw_large_shape;

/* Words of one channel's expanded weights. */
TM_INLINE int32_t tm_dw_large_weights(int32_t kernel, int32_t stride)
{
    return stride == 1 ? kernel * (kernel - 1) : kernel * (kernel + 1) / 2;
}

/* One channel's weights to int16, in the order in which they are used. With stride 1: per column (w0, w1), (w2, w3),
 * (w1, w2), then per column (w3, w4), or (w4, w5), (w3, w4), (w5, w6). With stride 2: per column (w0, w1), (w2, w3),
 * w4, or (w0, w1), (w2, w3), (w4, w5), w6. Returns the stream behind them.
 */
TM_INLINE const int32_t *tm_dw_large_expand(const int32_t *stream, int32_t *weights, int32_t kernel,
                                            int32_t stride)
{
    const int8_t *last = (const int8_t *)(stream + kernel);
    int32_t *lower = weights + 3 * kernel;
    for (int32_t column = 0; column < kernel; ++column) {
        const int32_t upper = *stream++;
        const int32_t w01 = tm_sxtb16(upper);
        const int32_t w23 = tm_sxtb16_ror8(upper);
        *weights++ = w01;
        *weights++ = w23;
        if (stride == 1) {
            *weights++ = tm_pkhbt(w01 >> 16, w23);
        }
        if (kernel == 5) {
            if (stride == 1) {
                *lower++ = tm_pkhbt(w23 >> 16, last[column]);
            } else {
                *weights++ = last[column];
            }
            continue;
        }
        const int32_t rest = *stream++;
        const int32_t w45 = tm_sxtb16(rest);
        const int32_t w6 = tm_sxtb16_ror8(rest);
        if (stride == 1) {
            *lower++ = w45;
            *lower++ = tm_pkhbt(w23 >> 16, w45);
            *lower++ = tm_pkhbt(w45 >> 16, w6);
        } else {
            *weights++ = w45;
            *weights++ = w6;
        }
    }
    return stream + (kernel == 5 ? 2 : 0);
}

/* One channel in C: `x` are its columns. */
TM_INLINE void tm_dw_large_channel(int32_t form, int32_t kernel, int32_t stride, const int32_t *x,
                                   const int32_t *weights, int8_t *y, const tm_dw_large_shape *shape)
{
    const int32_t words = (kernel + stride + 1) / 2;
    const int32_t step = 4 * words * stride;
    const int32_t end = shape->pair_bytes / 4 + (shape->odd ? step : 0);
    for (int32_t at = 0; at < end; at += step, y += shape->out_c) {
        const int32_t *w = weights;
        const int32_t *lower = weights + 3 * kernel;
        int32_t acc0 = shape->bias;
        int32_t acc1 = shape->bias;
        for (int32_t column = 0; column < kernel; ++column) {
            const int32_t *p = x + at + 4 * words * column;
            acc0 = tm_smlad(p[1], w[1], tm_smlad(p[0], w[0], acc0));
            if (stride == 1) {
                acc1 = tm_smlad(p[1], w[2], tm_smlatb(p[0], w[0], acc1));
                w += 3;
                if (kernel == 5) {
                    acc0 = tm_smlabt(p[2], lower[0], acc0);
                    acc1 = tm_smlad(p[2], lower[0], acc1);
                    lower += 1;
                } else {
                    acc0 = tm_smlabt(p[3], lower[2], tm_smlad(p[2], lower[0], acc0));
                    acc1 = tm_smlad(p[3], lower[2], tm_smlad(p[2], lower[1], acc1));
                    lower += 3;
                }
                continue;
            }
            acc1 = tm_smlad(p[2], w[1], tm_smlad(p[1], w[0], acc1));
            if (kernel == 5) {
                acc0 = tm_smlabb(p[2], w[2], acc0);
                acc1 = tm_smlabb(p[3], w[2], acc1);
                w += 3;
            } else {
                acc0 = tm_smlabb(p[3], w[3], tm_smlad(p[2], w[2], acc0));
                acc1 = tm_smlabb(p[4], w[3], tm_smlad(p[3], w[2], acc1));
                w += 4;
            }
        }
        /* The lower row first: where there is none, the upper one takes its place. */
        y[shape->row_bytes] = tm_requant_dsp(form, acc1, shape->a, shape->b, shape->zero_point);
        y[0] = tm_requant_dsp(form, acc0, shape->a, shape->b, shape->zero_point);
    }
}

#if TM_DSP_ASM

/* r0 columns, r1 weights, r4..r7 accumulators: output, the one below, their right neighbours; r2, r3, r11, r12 and lr
 * activations, r8..r11 weights. Stack: [0] bias, four times, [16] a, b, zero point, row_bytes, out_c, y, end of the
 * columns that start pairs, [44] odd.
 */
/* clang-format off */
/* Stride 1, the upper two words of column `at`: (u, v) are its own, (s, t) those of its right neighbour's. */
#define TM_DW_LARGE_UPPER(next, u, v, s, t)  \
    "ldm    r1!, {r8-r10}\n"                 \
    "ldrd   " s ", " t ", [r0, #" next "]\n" \
    "smlad  r4, " u ", r8, r4\n"             \
    "smlatb r5, " u ", r8, r5\n"             \
    "smlad  r4, " v ", r9, r4\n"             \
    "smlad  r5, " v ", r10, r5\n"            \
    "smlad  r6, " s ", r8, r6\n"             \
    "smlatb r7, " s ", r8, r7\n"             \
    "smlad  r6, " t ", r9, r6\n"             \
    "smlad  r7, " t ", r10, r7\n"
#define TM_DW_LARGE_UPPER_ALONE(at)   \
    "ldm    r1!, {r8-r10}\n"          \
    "ldrd   r2, r3, [r0, #" at "]\n"  \
    "smlad  r4, r2, r8, r4\n"         \
    "smlatb r5, r2, r8, r5\n"         \
    "smlad  r4, r3, r9, r4\n"         \
    "smlad  r5, r3, r10, r5\n"
/* 5x5: the third word. 7x7: the third and fourth. */
#define TM_DW_LARGE_LOWER_5(next, u, s)      \
    "ldr    r8, [r1], #4\n"                  \
    "ldr    " s ", [r0, #" next "]\n"        \
    "smlabt r4, " u ", r8, r4\n"             \
    "smlad  r5, " u ", r8, r5\n"             \
    "smlabt r6, " s ", r8, r6\n"             \
    "smlad  r7, " s ", r8, r7\n"
#define TM_DW_LARGE_LOWER_5_ALONE(at) \
    "ldr    r8, [r1], #4\n"           \
    "ldr    r2, [r0, #" at "]\n"      \
    "smlabt r4, r2, r8, r4\n"         \
    "smlad  r5, r2, r8, r5\n"
#define TM_DW_LARGE_LOWER_7(next, u, v, s, t) \
    "ldm    r1!, {r8-r10}\n"                  \
    "ldrd   " s ", " t ", [r0, #" next "]\n"  \
    "smlad  r4, " u ", r8, r4\n"              \
    "smlad  r5, " u ", r9, r5\n"              \
    "smlabt r4, " v ", r10, r4\n"             \
    "smlad  r5, " v ", r10, r5\n"             \
    "smlad  r6, " s ", r8, r6\n"              \
    "smlad  r7, " s ", r9, r7\n"              \
    "smlabt r6, " t ", r10, r6\n"             \
    "smlad  r7, " t ", r10, r7\n"
#define TM_DW_LARGE_LOWER_7_ALONE(at) \
    "ldm    r1!, {r8-r10}\n"          \
    "ldrd   r2, r3, [r0, #" at "]\n"  \
    "smlad  r4, r2, r8, r4\n"         \
    "smlad  r5, r2, r9, r5\n"         \
    "smlabt r4, r3, r10, r4\n"        \
    "smlad  r5, r3, r10, r5\n"
/* Stride 2: a column of one output and of the one below. */
#define TM_DW_LARGE_WORDS_5(at, acc0, acc1)        \
    "ldrd   r2, r3, [r0, #" at "]\n"               \
    "ldrd   r12, lr, [r0, #8 + " at "]\n"          \
    "smlad  " acc0 ", r2, r8, " acc0 "\n"          \
    "smlad  " acc1 ", r3, r8, " acc1 "\n"          \
    "smlad  " acc0 ", r3, r9, " acc0 "\n"          \
    "smlad  " acc1 ", r12, r9, " acc1 "\n"         \
    "smlabb " acc0 ", r12, r10, " acc0 "\n"        \
    "smlabb " acc1 ", lr, r10, " acc1 "\n"
#define TM_DW_LARGE_WORDS_7(at, acc0, acc1)        \
    "ldrd   r2, r3, [r0, #" at "]\n"               \
    "ldrd   r12, lr, [r0, #8 + " at "]\n"          \
    "smlad  " acc0 ", r2, r8, " acc0 "\n"          \
    "smlad  " acc1 ", r3, r8, " acc1 "\n"          \
    "ldr    r2, [r0, #16 + " at "]\n"              \
    "smlad  " acc0 ", r3, r9, " acc0 "\n"          \
    "smlad  " acc1 ", r12, r9, " acc1 "\n"         \
    "smlad  " acc0 ", r12, r10, " acc0 "\n"        \
    "smlad  " acc1 ", lr, r10, " acc1 "\n"         \
    "smlabb " acc0 ", lr, r11, " acc0 "\n"         \
    "smlabb " acc1 ", r2, r11, " acc1 "\n"
#define TM_DW_LARGE_STEP_5(at) \
    "ldm    r1!, {r8-r10}\n" TM_DW_LARGE_WORDS_5(at, "r4", "r5") TM_DW_LARGE_WORDS_5("2 * 64 + " at, "r6", "r7")
#define TM_DW_LARGE_STEP_5_ALONE(at) \
    "ldm    r1!, {r8-r10}\n" TM_DW_LARGE_WORDS_5(at, "r4", "r5")
#define TM_DW_LARGE_STEP_7(at) \
    "ldm    r1!, {r8-r11}\n" TM_DW_LARGE_WORDS_7(at, "r4", "r5") TM_DW_LARGE_WORDS_7("2 * 80 + " at, "r6", "r7")
#define TM_DW_LARGE_STEP_7_ALONE(at) \
    "ldm    r1!, {r8-r11}\n" TM_DW_LARGE_WORDS_7(at, "r4", "r5")

/* The assembler repeats a column, or two, at each of these places (strings in C99 end at 4095 characters). */
#define TM_DW_LARGE_AT(places, text) ".irp   at, " places "\n" text ".endr\n"
#define TM_DW_LARGE_SUMS_51                                         \
    "ldrd   r2, r3, [r0]\n"                                         \
    TM_DW_LARGE_AT("0, 96",                                         \
        TM_DW_LARGE_UPPER("48 + \\at", "r2", "r3", "r12", "lr")     \
        TM_DW_LARGE_UPPER("96 + \\at", "r12", "lr", "r2", "r3"))    \
    TM_DW_LARGE_UPPER("240", "r2", "r3", "r12", "lr")               \
    "ldr    r2, [r0, #8]\n"                                         \
    TM_DW_LARGE_AT("0, 96",                                         \
        TM_DW_LARGE_LOWER_5("56 + \\at", "r2", "r12")               \
        TM_DW_LARGE_LOWER_5("104 + \\at", "r12", "r2"))             \
    TM_DW_LARGE_LOWER_5("248", "r2", "r12")
#define TM_DW_LARGE_SUMS_51_ALONE                                   \
    TM_DW_LARGE_AT("0, 48, 96, 144, 192", TM_DW_LARGE_UPPER_ALONE("\\at")) \
    TM_DW_LARGE_AT("8, 56, 104, 152, 200", TM_DW_LARGE_LOWER_5_ALONE("\\at"))
#define TM_DW_LARGE_SUMS_71                                         \
    "ldrd   r2, r3, [r0]\n"                                         \
    TM_DW_LARGE_AT("0, 128, 256",                                   \
        TM_DW_LARGE_UPPER("64 + \\at", "r2", "r3", "r12", "lr")     \
        TM_DW_LARGE_UPPER("128 + \\at", "r12", "lr", "r2", "r3"))   \
    TM_DW_LARGE_UPPER("448", "r2", "r3", "r12", "lr")               \
    "ldrd   r2, r3, [r0, #8]\n"                                     \
    TM_DW_LARGE_AT("0, 128, 256",                                   \
        TM_DW_LARGE_LOWER_7("72 + \\at", "r2", "r3", "r12", "lr")   \
        TM_DW_LARGE_LOWER_7("136 + \\at", "r12", "lr", "r2", "r3")) \
    TM_DW_LARGE_LOWER_7("456", "r2", "r3", "r12", "lr")
#define TM_DW_LARGE_SUMS_71_ALONE                                   \
    TM_DW_LARGE_AT("0, 64, 128, 192, 256, 320, 384", TM_DW_LARGE_UPPER_ALONE("\\at")) \
    TM_DW_LARGE_AT("8, 72, 136, 200, 264, 328, 392", TM_DW_LARGE_LOWER_7_ALONE("\\at"))
#define TM_DW_LARGE_SUMS_52 TM_DW_LARGE_AT("0, 64, 128, 192, 256", TM_DW_LARGE_STEP_5("\\at"))
#define TM_DW_LARGE_SUMS_52_ALONE TM_DW_LARGE_AT("0, 64, 128, 192, 256", TM_DW_LARGE_STEP_5_ALONE("\\at"))
#define TM_DW_LARGE_SUMS_72 TM_DW_LARGE_AT("0, 80, 160, 240, 320, 400, 480", TM_DW_LARGE_STEP_7("\\at"))
#define TM_DW_LARGE_SUMS_72_ALONE \
    TM_DW_LARGE_AT("0, 80, 160, 240, 320, 400, 480", TM_DW_LARGE_STEP_7_ALONE("\\at"))
/* Bytes of the weights, and from a pair of outputs to the next. */
#define TM_DW_LARGE_WEIGHTS_51 "80"
#define TM_DW_LARGE_WEIGHTS_71 "168"
#define TM_DW_LARGE_WEIGHTS_52 "60"
#define TM_DW_LARGE_WEIGHTS_72 "112"
#define TM_DW_LARGE_NEXT_51 "96"
#define TM_DW_LARGE_NEXT_71 "128"
#define TM_DW_LARGE_NEXT_52 "256"
#define TM_DW_LARGE_NEXT_72 "320"

#define TM_DW_LARGE_REQUANT_3(acc)           \
    "smmlar " acc ", " acc ", r2, " acc "\n" \
    "smmlar " acc ", " acc ", r3, r8\n"      \
    "ssat   " acc ", #8, " acc "\n"
#define TM_DW_LARGE_REQUANT_4(acc)                \
    "smmlar " acc ", " acc ", r2, " acc "\n"      \
    "add    " acc ", " acc ", " acc ", asr #31\n" \
    "smmlsr " acc ", " acc ", r3, r8\n"           \
    "ssat   " acc ", #8, " acc "\n"
#define TM_DW_LARGE_REQUANT_2_2(acc) TM_ASM_REQUANT_2(acc, "2")
#define TM_DW_LARGE_REQUANT_2_4(acc) TM_ASM_REQUANT_2(acc, "4")
#define TM_DW_LARGE_BODY(kind, REQUANT)                \
    "push   {r4-r11, lr}\n"                            \
    "sub    sp, #48\n"                                 \
    "ldm    r3, {r4-r11}\n"                            \
    "add    r9, r0\n"                                  \
    "add    r12, sp, #16\n"                            \
    "stm    r12, {r4-r8}\n"                            \
    "strd   r2, r9, [sp, #36]\n"                       \
    "strd   r10, r10, [sp]\n"                          \
    "strd   r10, r10, [sp, #8]\n"                      \
    "str    r11, [sp, #44]\n"                          \
    "cmp    r0, r9\n"                                  \
    "beq    2f\n"                                      \
    "1:\n"                                             \
    "ldm    sp, {r4-r7}\n"                             \
    TM_DW_LARGE_SUMS_##kind                            \
    "add    r2, sp, #16\n"                             \
    "ldm    r2, {r2, r3, r8-r12}\n"                    \
    REQUANT("r4")                                      \
    REQUANT("r5")                                      \
    REQUANT("r6")                                      \
    REQUANT("r7")                                      \
    "strb   r5, [r11, r9]\n"                           \
    "strb   r4, [r11]\n"                               \
    "add    r11, r10\n"                                \
    "strb   r7, [r11, r9]\n"                           \
    "strb   r6, [r11]\n"                               \
    "add    r11, r10\n"                                \
    "str    r11, [sp, #36]\n"                          \
    "sub    r1, #" TM_DW_LARGE_WEIGHTS_##kind "\n"     \
    "add    r0, #" TM_DW_LARGE_NEXT_##kind "\n"        \
    "cmp    r0, r12\n"                                 \
    "bne    1b\n"                                      \
    "2:\n"                                             \
    "ldr    r4, [sp, #44]\n"                           \
    "cmp    r4, #0\n"                                \
    "beq    3f\n"                                    \
    "ldrd   r4, r5, [sp]\n"                            \
    TM_DW_LARGE_SUMS_##kind##_ALONE                    \
    "add    r2, sp, #16\n"                             \
    "ldm    r2, {r2, r3, r8-r11}\n"                    \
    REQUANT("r4")                                      \
    REQUANT("r5")                                      \
    "strb   r5, [r11, r9]\n"                           \
    "strb   r4, [r11]\n"                               \
    "3:\n"                                             \
    "add    sp, #48\n"                                 \
    "pop    {r4-r11, pc}\n"
/* clang-format on */

#define TM_DW_LARGE_CHANNEL(name, form, kernel, stride)                                                   \
    TM_NAKED void name(const int32_t *x __attribute__((unused)),                                          \
                       const int32_t *weights __attribute__((unused)), int8_t *y __attribute__((unused)), \
                       const tm_dw_large_shape *shape __attribute__((unused)))                            \
    {                                                                                                     \
        __asm__ volatile(TM_DW_LARGE_BODY(kernel##stride, TM_DW_LARGE_REQUANT_##form));                   \
    }

#else

#define TM_DW_LARGE_CHANNEL(name, form, kernel, stride)                                                      \
    TM_SHARED void name(const int32_t *x, const int32_t *weights, int8_t *y, const tm_dw_large_shape *shape) \
    {                                                                                                        \
        tm_dw_large_channel(TM_REQUANT_##form, kernel, stride, x, weights, y, shape);                        \
    }

#endif

TM_DW_LARGE_CHANNEL(tm_dw5x5s1_channel_3_dsp, 3, 5, 1)
TM_DW_LARGE_CHANNEL(tm_dw5x5s1_channel_4_dsp, 4, 5, 1)
TM_DW_LARGE_CHANNEL(tm_dw5x5s1_channel_2_2_dsp, 2_2, 5, 1)
TM_DW_LARGE_CHANNEL(tm_dw5x5s1_channel_2_4_dsp, 2_4, 5, 1)
TM_DW_LARGE_CHANNEL(tm_dw5x5s2_channel_3_dsp, 3, 5, 2)
TM_DW_LARGE_CHANNEL(tm_dw5x5s2_channel_4_dsp, 4, 5, 2)
TM_DW_LARGE_CHANNEL(tm_dw5x5s2_channel_2_2_dsp, 2_2, 5, 2)
TM_DW_LARGE_CHANNEL(tm_dw5x5s2_channel_2_4_dsp, 2_4, 5, 2)
TM_DW_LARGE_CHANNEL(tm_dw7x7s1_channel_3_dsp, 3, 7, 1)
TM_DW_LARGE_CHANNEL(tm_dw7x7s1_channel_4_dsp, 4, 7, 1)
TM_DW_LARGE_CHANNEL(tm_dw7x7s1_channel_2_2_dsp, 2_2, 7, 1)
TM_DW_LARGE_CHANNEL(tm_dw7x7s1_channel_2_4_dsp, 2_4, 7, 1)
TM_DW_LARGE_CHANNEL(tm_dw7x7s2_channel_3_dsp, 3, 7, 2)
TM_DW_LARGE_CHANNEL(tm_dw7x7s2_channel_4_dsp, 4, 7, 2)
TM_DW_LARGE_CHANNEL(tm_dw7x7s2_channel_2_2_dsp, 2_2, 7, 2)
TM_DW_LARGE_CHANNEL(tm_dw7x7s2_channel_2_4_dsp, 2_4, 7, 2)

TM_SHARED void tm_dw_large_channel_any_dsp(const int32_t *x, const int32_t *weights, int8_t *y,
                                           const tm_dw_large_shape *shape, int32_t kernel, int32_t stride)
{
    tm_dw_large_channel(TM_REQUANT_ANY, kernel, stride, x, weights, y, shape);
}

TM_INLINE void tm_dw_large_run(int32_t form, int32_t kernel, int32_t stride, const int32_t *x,
                               const int32_t *weights, int8_t *y, const tm_dw_large_shape *shape)
{
    const int32_t known = form == TM_REQUANT_ANY ? (int32_t)TM_REQUANT_4 : form;
    if (form == TM_REQUANT_ANY && !tm_requant_is_4(shape->b)) {
        tm_dw_large_channel_any_dsp(x, weights, y, shape, kernel, stride);
    } else if (kernel == 5 && stride == 1) {
        TM_REQUANT_CALL(tm_dw5x5s1_channel, known, x, weights, y, shape);
    } else if (kernel == 5) {
        TM_REQUANT_CALL(tm_dw5x5s2_channel, known, x, weights, y, shape);
    } else if (stride == 1) {
        TM_REQUANT_CALL(tm_dw7x7s1_channel, known, x, weights, y, shape);
    } else {
        TM_REQUANT_CALL(tm_dw7x7s2_channel, known, x, weights, y, shape);
    }
}

TM_INLINE void tm_dwconv2d_large_s8_dsp(const int8_t *const *rows, int8_t *y, int32_t count,
                                        const int32_t *stream, void *scratch, int32_t in_w, int32_t channels,
                                        int32_t out_w, int32_t kernel, int32_t stride, int32_t pad_left,
                                        int32_t zp_in, int32_t form, int32_t zp_out, int32_t lo, int32_t hi)
{
    int32_t *columns = (int32_t *)scratch;
    const int32_t words = (kernel + stride + 1) / 2;
    const tm_dw_window in = tm_dw_make_window(in_w, channels, (out_w - 1) * stride + kernel, pad_left);
    int32_t *weights = columns + 4 * words * in.columns;
    tm_dw_large_shape shape = {0,        0,
                               zp_out,   count > 1 ? out_w * channels : 0,
                               channels, 16 * words * stride * (out_w / 2 * 2),
                               0,        out_w % 2};
    tm_dw_outside(&in, columns, words, zp_in);
    for (int32_t c = 0; c < channels; c += 4) {
        const int32_t group = channels - c < 4 ? channels - c : 4;
        if (kernel + stride == 6) {
            tm_dw_widen_rows(&in, rows, columns, 6, c, group);
        } else if (kernel + stride == 7) {
            tm_dw_widen_rows(&in, rows, columns, 7, c, group);
        } else if (kernel + stride == 8) {
            tm_dw_widen_rows(&in, rows, columns, 8, c, group);
        } else {
            tm_dw_widen_rows(&in, rows, columns, 9, c, group);
        }
        for (int32_t i = 0; i < group; ++i) {
            shape.a = stream[0];
            shape.b = stream[1];
            shape.bias = stream[2];
            stream = tm_dw_large_expand(stream + 3, weights, kernel, stride);
            tm_dw_large_run(form, kernel, stride, columns + i * words, weights, y + c + i, &shape);
        }
    }
    tm_clamp_row(y, count * out_w * channels, lo, hi);
}

#endif
