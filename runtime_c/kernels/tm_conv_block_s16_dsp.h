/* tm_conv_block_s16_dsp: the core that convolutions on int16 share: a few pixels x all output channels.
 *
 *   column  int32 [2 groups][pixels]   activations: step k holds, for each pixel of the block, the halfword pair
 *                                      (x[2k], x[2k+1])
 *   stream  int32 []                   int8 weights, biases and requantisation, see below
 *   y       int16 [pixels][out_c]      output pixels
 *
 * A pixel's `4 * groups` activations (K of the layer, rounded up to 4; the surplus meets zero weights) are laid
 * beside those of its neighbours once and then serve all output channels: 2 * K bytes of scratch per pixel. For a
 * convolution larger than 1x1 this is the im2col buffer.
 *
 * Stream, per pair of output channels (tinyml/kernels/dsp_wide.py):
 *   bias0, bias1, then per group the bytes  w0[0] w1[0] w0[1] w1[1]  w0[2] w1[2] w0[3] w1[3]  ,
 *   then factor0, factor1. SXTB16 takes channel 0 out of a word, SXTB16 ROR #8 channel 1.
 * A last single channel: bias, per group  w[0] w[2] w[1] w[3]  , factor.
 * With `wide` biases are int64, and multiplier and shift of the portable kernel stand for the factor.
 *
 * Quantisation  one SMMULR by the factor where sums and shifts allow (tm_wide_dsp.h). `wide` is for everything
 *               else: sums of 64 bits, then TFLite's own arithmetic.
 * Scratch       the column, 8-byte aligned.
 * Source        the loops of tm_conv_block_s8_dsp.h; TFLite kernels/internal/common.cc
 *               (MultiplyByQuantizedMultiplier of int64).
 */
#ifndef TM_CONV_BLOCK_S16_DSP_H
#define TM_CONV_BLOCK_S16_DSP_H

#include "tm_conv_block_s8_dsp.h"
#include "tm_wide_dsp.h"

/* clang-format off */
#define TM_COLUMN16_BODY_4             \
    "push   {r4-r7, lr}\n"             \
    "add    r12, r3, r3, lsl #1\n"     \
    "add    r12, r0\n" /* the last */  \
    "1:\n"                             \
    "ldr    r5, [r0, r3]\n"            \
    "ldr    r6, [r0, r3, lsl #1]\n"    \
    "ldr    r4, [r0], #4\n"            \
    "ldr    r7, [r12], #4\n"           \
    "stmia  r1!, {r4-r7}\n"            \
    "subs   r2, #1\n"                  \
    "bne    1b\n"                      \
    "pop    {r4-r7, pc}\n"
#define TM_COLUMN16_BODY_3             \
    "push   {r4-r6, lr}\n"             \
    "add    r12, r0, r3, lsl #1\n"     \
    "1:\n"                             \
    "ldr    r5, [r0, r3]\n"            \
    "ldr    r4, [r0], #4\n"            \
    "ldr    r6, [r12], #4\n"           \
    "stmia  r1!, {r4-r6}\n"            \
    "subs   r2, #1\n"                  \
    "bne    1b\n"                      \
    "pop    {r4-r6, pc}\n"
#define TM_COLUMN16_BODY_2             \
    "push   {r4, lr}\n"                \
    "1:\n"                             \
    "ldr    r12, [r0, r3]\n"           \
    "ldr    r4, [r0], #4\n"            \
    "strd   r4, r12, [r1], #8\n"       \
    "subs   r2, #1\n"                  \
    "bne    1b\n"                      \
    "pop    {r4, pc}\n"
/* clang-format on */

#if TM_DSP_ASM

#define TM_COLUMN16_PIXELS(name, pixels)                                                                  \
    TM_NAKED void name(const int16_t *x __attribute__((unused)), int32_t *column __attribute__((unused)), \
                       int32_t words __attribute__((unused)), int32_t pitch __attribute__((unused)))      \
    {                                                                                                     \
        __asm__ volatile(TM_COLUMN16_BODY_##pixels);                                                      \
    }

#else

#define TM_COLUMN16_PIXELS(name, pixels)                                                 \
    TM_SHARED void name(const int16_t *x, int32_t *column, int32_t words, int32_t pitch) \
    {                                                                                    \
        for (; words > 0; --words, x += 2, column += pixels) {                           \
            for (int32_t p = 0; p < pixels; ++p) {                                       \
                column[p] = tm_load4(x + p * (pitch / 2));                               \
            }                                                                            \
        }                                                                                \
    }

#endif

/* `words` > 0 halfword pairs of the pixels of a block, `pitch` bytes apart, into the column. */
TM_COLUMN16_PIXELS(tm_column16_4pixels_dsp, 4)
TM_COLUMN16_PIXELS(tm_column16_3pixels_dsp, 3)
TM_COLUMN16_PIXELS(tm_column16_2pixels_dsp, 2)

/* n > 0 activations of each pixel of a block, `pitch` activations apart, into the column; an odd last one has a
 * zero beside it. `pixels` must be a constant where it is inlined.
 */
TM_INLINE void tm_column16_fill(const int16_t *x, int32_t *column, int32_t n, int32_t pitch, int32_t pixels)
{
    const int32_t words = n / 2;
    if (words > 0) {
        if (pixels == 4) {
            tm_column16_4pixels_dsp(x, column, words, 2 * pitch);
        } else if (pixels == 3) {
            tm_column16_3pixels_dsp(x, column, words, 2 * pitch);
        } else if (pixels == 2) {
            tm_column16_2pixels_dsp(x, column, words, 2 * pitch);
        } else {
            memcpy(column, x, 4 * (size_t)words);
        }
    }
    if (n % 2) {
        for (int32_t p = 0; p < pixels; ++p) {
            column[pixels * words + p] = (int32_t)(uint16_t)x[p * pitch + n - 1];
        }
    }
}

/* All pairs of output channels of a block whose sums fit 32 bits; returns the stream behind them. */
TM_INLINE const int32_t *tm_conv16_pairs(int32_t rectified, int32_t pixels, const int32_t *column,
                                         const int32_t *stream, int16_t *y, int32_t groups, int32_t out_c)
{
    for (int32_t c = 0; c + 2 <= out_c; c += 2, y += 2) {
        const int32_t *x = column;
        int32_t a0 = stream[0], a1 = a0, a2 = a0, a3 = a0;
        int32_t b0 = stream[1], b1 = b0, b2 = b0, b3 = b0;
        stream += 2;
        TM_UNROLL_4
        for (int32_t step = 0; step < 2 * groups; ++step, x += pixels) {
            const int32_t word = *stream++;
            const int32_t w0 = tm_sxtb16(word);
            const int32_t w1 = tm_sxtb16_ror8(word);
            a0 = tm_smlad(x[0], w0, a0);
            b0 = tm_smlad(x[0], w1, b0);
            if (pixels > 1) {
                a1 = tm_smlad(x[1], w0, a1);
                b1 = tm_smlad(x[1], w1, b1);
            }
            if (pixels > 2) {
                a2 = tm_smlad(x[2], w0, a2);
                b2 = tm_smlad(x[2], w1, b2);
            }
            if (pixels > 3) {
                a3 = tm_smlad(x[3], w0, a3);
                b3 = tm_smlad(x[3], w1, b3);
            }
        }
        y[0] = tm_requant16_dsp(rectified, a0, stream[0]);
        y[1] = tm_requant16_dsp(rectified, b0, stream[1]);
        if (pixels > 1) {
            y[out_c] = tm_requant16_dsp(rectified, a1, stream[0]);
            y[out_c + 1] = tm_requant16_dsp(rectified, b1, stream[1]);
        }
        if (pixels > 2) {
            y[2 * out_c] = tm_requant16_dsp(rectified, a2, stream[0]);
            y[2 * out_c + 1] = tm_requant16_dsp(rectified, b2, stream[1]);
        }
        if (pixels > 3) {
            y[3 * out_c] = tm_requant16_dsp(rectified, a3, stream[0]);
            y[3 * out_c + 1] = tm_requant16_dsp(rectified, b3, stream[1]);
        }
        stream += 2;
    }
    return stream;
}

#if TM_DSP_ASM

/* clang-format off */
/* Requantisation: each instruction for all accumulators before the next, so that no core waits for the one before. */
#define TM_CONV16_FACTORS(even, odd)     \
    "smmulr " even ", " even ", r2\n"    \
    "smmulr " odd ", " odd ", r3\n"
#define TM_CONV16_SATURATE(rectified, even, odd) \
    TM_ASM_SATURATE16_##rectified(even)          \
    TM_ASM_SATURATE16_##rectified(odd)
#define TM_CONV16_PAIR(even, odd) "pkhbt  " even ", " even ", " odd ", lsl #16\n"
/* The end of a pair of channels; leaves y of the next one in r12. */
#define TM_CONV16_END_4(rectified)               \
    TM_CONV16_FACTORS("r4", "r5")                \
    TM_CONV16_FACTORS("r6", "r7")                \
    TM_CONV16_FACTORS("r8", "r9")                \
    TM_CONV16_FACTORS("r10", "r11")              \
    "ldrd   r12, lr, [sp]\n"                     \
    TM_CONV16_SATURATE(rectified, "r4", "r5")    \
    TM_CONV16_SATURATE(rectified, "r6", "r7")    \
    TM_CONV16_SATURATE(rectified, "r8", "r9")    \
    TM_CONV16_SATURATE(rectified, "r10", "r11")  \
    "add    r2, lr, lr, lsl #1\n"                \
    TM_CONV16_PAIR("r4", "r5")                   \
    TM_CONV16_PAIR("r6", "r7")                   \
    TM_CONV16_PAIR("r8", "r9")                   \
    TM_CONV16_PAIR("r10", "r11")                 \
    "str    r6, [r12, lr]\n"                     \
    "str    r8, [r12, lr, lsl #1]\n"             \
    "str    r10, [r12, r2]\n"                    \
    "str    r4, [r12], #4\n"
#define TM_CONV16_END_3(rectified)               \
    TM_CONV16_FACTORS("r4", "r5")                \
    TM_CONV16_FACTORS("r6", "r7")                \
    TM_CONV16_FACTORS("r8", "r9")                \
    "ldrd   r12, lr, [sp]\n"                     \
    TM_CONV16_SATURATE(rectified, "r4", "r5")    \
    TM_CONV16_SATURATE(rectified, "r6", "r7")    \
    TM_CONV16_SATURATE(rectified, "r8", "r9")    \
    TM_CONV16_PAIR("r4", "r5")                   \
    TM_CONV16_PAIR("r6", "r7")                   \
    TM_CONV16_PAIR("r8", "r9")                   \
    "str    r6, [r12, lr]\n"                     \
    "str    r8, [r12, lr, lsl #1]\n"             \
    "str    r4, [r12], #4\n"
#define TM_CONV16_END_2(rectified)               \
    TM_CONV16_FACTORS("r4", "r5")                \
    TM_CONV16_FACTORS("r6", "r7")                \
    "ldrd   r12, lr, [sp]\n"                     \
    TM_CONV16_SATURATE(rectified, "r4", "r5")    \
    TM_CONV16_SATURATE(rectified, "r6", "r7")    \
    TM_CONV16_PAIR("r4", "r5")                   \
    TM_CONV16_PAIR("r6", "r7")                   \
    "str    r6, [r12, lr]\n"                     \
    "str    r4, [r12], #4\n"

/* Stack while running: [0] y, [4] bytes of an output pixel, [8] column, [12] y past the last pair, [16] end of the
 * column, [20] where to enter the unrolled loop, as in TM_BLOCK_BODY, whose groups these are.
 */
#define TM_CONV16_BODY(pixels, rectified)                   \
    "push   {r4-r11, lr}\n"                                 \
    "sub    sp, #28\n"                                      \
    "ldr    r4, [sp, #64]\n" /* out_c */                    \
    "lsl    r5, r4, #1\n"                                   \
    "bic    r6, r5, #3\n"                                   \
    "add    r6, r2\n"                                       \
    "strd   r2, r5, [sp]\n"                                 \
    "movs   r7, #8 * " #pixels "\n" /* of a group */        \
    "mla    r7, r3, r7, r0\n"                               \
    "strd   r0, r6, [sp, #8]\n"                             \
    "str    r7, [sp, #16]\n"                                \
    "adr    r7, 5f\n"                                       \
    "subs   r6, r3, #1\n"                                   \
    "beq    9f\n"                                           \
    "adr    r7, 2f\n"                                       \
    "ands   r6, #7\n"                                       \
    "beq    9f\n"                                           \
    "rsb    r6, r6, #8\n"                                   \
    "adr    r8, 3f\n"                                       \
    "sub    r8, r7\n" /* code bytes of one group */         \
    "mla    r7, r6, r8, r7\n"                               \
    "9:\n"                                                  \
    "orr    r7, #1\n" /* Thumb */                           \
    "str    r7, [sp, #20]\n"                                \
    "cmp    r4, #1\n"                                       \
    "ble    6f\n"                                           \
    "1:\n"                                                  \
    TM_BLOCK##pixels##_TWO_BIASES(0)                        \
    "ldr    pc, [sp, #20]\n"                                \
    ".balign 4\n"                                           \
    "2:\n"                                                  \
    TM_BLOCK##pixels##_GROUP(0)                             \
    ".balign 4\n"                                           \
    "3:\n"                                                  \
    ".rept  7\n"                                            \
    TM_BLOCK##pixels##_GROUP(0)                             \
    ".endr\n"                                               \
    "ldr    " TM_BLOCK_FREE_##pixels ", [sp, #16]\n"        \
    "cmp    r0, " TM_BLOCK_FREE_##pixels "\n"               \
    "bne    2b\n"                                           \
    ".balign 4\n"                                           \
    "5:\n"                                                  \
    TM_BLOCK##pixels##_AHEAD                                \
    "ldrd   r2, r3, [r1], #8\n"                             \
    TM_CONV16_END_##pixels(rectified)                       \
    "str    r12, [sp]\n"                                    \
    "ldrd   r0, r2, [sp, #8]\n"                             \
    "cmp    r12, r2\n"                                      \
    "bne    1b\n"                                           \
    "6:\n"                                                  \
    "mov    r0, r1\n"                                       \
    "add    sp, #28\n"                                      \
    "pop    {r4-r11, pc}\n"
/* clang-format on */

#define TM_CONV16_PAIRS(name, pixels, rectified)                                                             \
    TM_NAKED const int32_t *name(const int32_t *column __attribute__((unused)),                              \
                                 const int32_t *stream __attribute__((unused)),                              \
                                 int16_t *y __attribute__((unused)), int32_t groups __attribute__((unused)), \
                                 int32_t out_c __attribute__((unused)))                                      \
    {                                                                                                        \
        __asm__ volatile(TM_CONV16_BODY(pixels, rectified));                                                 \
    }

#else

#define TM_CONV16_PAIRS(name, pixels, rectified)                                                            \
    TM_SHARED const int32_t *name(const int32_t *column, const int32_t *stream, int16_t *y, int32_t groups, \
                                  int32_t out_c)                                                            \
    {                                                                                                       \
        return tm_conv16_pairs(rectified, pixels, column, stream, y, groups, out_c);                        \
    }

#endif

/* All pairs of output channels of a block, `groups` > 0; they return the stream behind them. */
TM_CONV16_PAIRS(tm_conv16_pairs4_dsp, 4, 0)
TM_CONV16_PAIRS(tm_conv16_pairs3_dsp, 3, 0)
TM_CONV16_PAIRS(tm_conv16_pairs2_dsp, 2, 0)
TM_CONV16_PAIRS(tm_conv16_relu_pairs4_dsp, 4, 1)
TM_CONV16_PAIRS(tm_conv16_relu_pairs3_dsp, 3, 1)
TM_CONV16_PAIRS(tm_conv16_relu_pairs2_dsp, 2, 1)

/* All pairs of output channels of a pixel that has a column to itself. */
TM_SHARED const int32_t *tm_conv16_pairs1_dsp(const int32_t *column, const int32_t *stream, int16_t *y,
                                              int32_t groups, int32_t out_c)
{
    return tm_conv16_pairs(0, 1, column, stream, y, groups, out_c);
}

TM_SHARED const int32_t *tm_conv16_relu_pairs1_dsp(const int32_t *column, const int32_t *stream, int16_t *y,
                                                   int32_t groups, int32_t out_c)
{
    return tm_conv16_pairs(1, 1, column, stream, y, groups, out_c);
}

/* The last one of an odd number of output channels, for all pixels of a block. */
TM_SHARED void tm_conv16_last_dsp(const int32_t *column, const int32_t *stream, int16_t *y, int32_t groups,
                                  int32_t out_c, int32_t pixels, int32_t rectified)
{
    for (int32_t p = 0; p < pixels; ++p, ++column, y += out_c) {
        const int32_t *x = column;
        int32_t acc = stream[0];
        TM_UNROLL_4
        for (int32_t g = 1; g <= groups; ++g, x += 2 * pixels) {
            acc = tm_smlad(x[0], tm_sxtb16(stream[g]), acc);
            acc = tm_smlad(x[pixels], tm_sxtb16_ror8(stream[g]), acc);
        }
        y[out_c - 1] = tm_requant16_dsp(rectified, acc, stream[groups + 1]);
    }
}

/* Two words of a stream. */
TM_INLINE int64_t tm_stream_s64(const int32_t *stream)
{
    return (int64_t)((uint64_t)(uint32_t)stream[1] << 32 | (uint32_t)stream[0]);
}

TM_INLINE int16_t tm_requant16_wide(int64_t acc, const int32_t *requant)
{
    return tm_limit_s16(tm_requant_wide(acc, requant[0], requant[1]), -32768, 32767);
}

#if TM_DSP_ASM

/* clang-format off */
#define TM_CONV16_WIDE_STEP            \
    "ldr    r12, [r1], #4\n"           \
    "ldrd   r2, r3, [r0], #8\n"        \
    "sxtb16 lr, r12\n"                 \
    "sxtb16 r12, r12, ror #8\n"        \
    "smlald r4, r5, r2, lr\n"          \
    "smlald r6, r7, r2, r12\n"         \
    "smlald r8, r9, r3, lr\n"          \
    "smlald r10, r11, r3, r12\n"
/* Four groups to a round; the first round is entered so that the rest are whole. Stack while running: [0] sums,
 * [4] end of the column.
 */
#define TM_CONV16_WIDE_BODY            \
    "push   {r3-r11, lr}\n"            \
    "add    r12, r0, r2, lsl #4\n"     \
    "sub    sp, #8\n"                  \
    "strd   r12, r3, [sp]\n"           \
    "rsb    r2, r2, #0\n"              \
    "and    r2, #3\n"                  \
    "adr    r12, 2f\n"                 \
    "adr    lr, 1f\n"                  \
    "sub    r12, lr\n" /* code bytes of one group */ \
    "mla    r2, r2, r12, lr\n"         \
    "ldm    r3, {r4-r11}\n"            \
    "mov    pc, r2\n"                  \
    ".balign 4\n"                      \
    "1:\n"                             \
    TM_CONV16_WIDE_STEP                \
    TM_CONV16_WIDE_STEP                \
    ".balign 4\n"                      \
    "2:\n"                             \
    ".rept  3\n"                       \
    TM_CONV16_WIDE_STEP                \
    TM_CONV16_WIDE_STEP                \
    ".balign 4\n"                      \
    ".endr\n"                          \
    "ldr    r2, [sp]\n"                \
    "cmp    r0, r2\n"                  \
    "bne    1b\n"                      \
    "ldr    r3, [sp, #4]\n"            \
    "stm    r3, {r4-r11}\n"            \
    "add    sp, #8\n"                  \
    "pop    {r3-r11, pc}\n"
/* clang-format on */

/* Add products of `groups` > 0 to four sums: of channel 0 and 1 of a pixel, and of its neighbour. */
TM_NAKED void tm_conv16_sums_dsp(const int32_t *column __attribute__((unused)),
                                 const int32_t *stream __attribute__((unused)),
                                 int32_t groups __attribute__((unused)),
                                 int64_t *sums __attribute__((unused)))
{
    __asm__ volatile(TM_CONV16_WIDE_BODY);
}

#else

/* Add products of `groups` > 0 to four sums: of channel 0 and 1 of a pixel, and of its neighbour. */
TM_SHARED void tm_conv16_sums_dsp(const int32_t *column, const int32_t *stream, int32_t groups, int64_t *sums)
{
    for (int32_t step = 0; step < 2 * groups; ++step, column += 2) {
        const int32_t w0 = tm_sxtb16(stream[step]);
        const int32_t w1 = tm_sxtb16_ror8(stream[step]);
        sums[0] = tm_smlald(column[0], w0, sums[0]);
        sums[1] = tm_smlald(column[0], w1, sums[1]);
        sums[2] = tm_smlald(column[1], w0, sums[2]);
        sums[3] = tm_smlald(column[1], w1, sums[3]);
    }
}

#endif

/* The same of a pixel that has a column to itself. */
TM_SHARED void tm_conv16_sums1_dsp(const int32_t *column, const int32_t *stream, int32_t groups,
                                   int64_t *sums)
{
    int64_t a = sums[0];
    int64_t b = sums[1];
    TM_UNROLL_4
    for (int32_t step = 0; step < 2 * groups; ++step) {
        a = tm_smlald(column[step], tm_sxtb16(stream[step]), a);
        b = tm_smlald(column[step], tm_sxtb16_ror8(stream[step]), b);
    }
    sums[0] = a;
    sums[1] = b;
}

/* All output channels of a block of one or two pixels, in 64 bits. */
TM_INLINE void tm_conv16_wide(int32_t pixels, const int32_t *column, const int32_t *stream, int16_t *y,
                              int32_t groups, int32_t out_c)
{
    int32_t c = 0;
    for (; c + 2 <= out_c; c += 2, y += 2) {
        const int64_t bias[2] = {tm_stream_s64(stream), tm_stream_s64(stream + 2)};
        int64_t sums[4] = {bias[0], bias[1], bias[0], bias[1]};
        if (pixels > 1) {
            tm_conv16_sums_dsp(column, stream + 4, groups, sums);
        } else {
            tm_conv16_sums1_dsp(column, stream + 4, groups, sums);
        }
        stream += 4 + 2 * groups;
        for (int32_t p = 0; p < pixels; ++p) {
            y[p * out_c] = tm_requant16_wide(sums[2 * p], stream);
            y[p * out_c + 1] = tm_requant16_wide(sums[2 * p + 1], stream + 2);
        }
        stream += 4;
    }
    if (c < out_c) { /* the last one of an odd number */
        for (int32_t p = 0; p < pixels; ++p) {
            const int32_t *x = column + p;
            int64_t acc = tm_stream_s64(stream);
            for (int32_t g = 2; g < groups + 2; ++g, x += 2 * pixels) {
                acc = tm_smlald(x[0], tm_sxtb16(stream[g]), acc);
                acc = tm_smlald(x[pixels], tm_sxtb16_ror8(stream[g]), acc);
            }
            y[p * out_c] = tm_requant16_wide(acc, stream + 2 + groups);
        }
    }
}

TM_SHARED void tm_conv16_wide1_dsp(const int32_t *column, const int32_t *stream, int16_t *y, int32_t groups,
                                   int32_t out_c)
{
    tm_conv16_wide(1, column, stream, y, groups, out_c);
}

TM_SHARED void tm_conv16_wide2_dsp(const int32_t *column, const int32_t *stream, int16_t *y, int32_t groups,
                                   int32_t out_c)
{
    tm_conv16_wide(2, column, stream, y, groups, out_c);
}

/* All output channels of a block of 1 to 4 pixels (with `wide` 1 or 2) whose activations are in the column; y is
 * [pixels][out_c]. `pixels` must be a constant: only the loops it names are compiled in.
 */
TM_INLINE void tm_conv16_block(int32_t wide, int32_t rectified, int32_t pixels, const int32_t *column,
                               const int32_t *stream, int16_t *y, int32_t groups, int32_t out_c)
{
    if (wide) {
        if (pixels == 1) {
            tm_conv16_wide1_dsp(column, stream, y, groups, out_c);
        } else {
            tm_conv16_wide2_dsp(column, stream, y, groups, out_c);
        }
        return;
    }
#define TM_CONV16_CALL(pairs)                                                   \
    (rectified ? tm_conv16_relu_##pairs##_dsp(column, stream, y, groups, out_c) \
               : tm_conv16_##pairs##_dsp(column, stream, y, groups, out_c))
    if (pixels == 4) {
        stream = TM_CONV16_CALL(pairs4);
    } else if (pixels == 3) {
        stream = TM_CONV16_CALL(pairs3);
    } else if (pixels == 2) {
        stream = TM_CONV16_CALL(pairs2);
    } else {
        stream = TM_CONV16_CALL(pairs1);
    }
#undef TM_CONV16_CALL
    if (out_c & 1) {
        tm_conv16_last_dsp(column, stream, y, groups, out_c, pixels, rectified);
    }
}

#endif
