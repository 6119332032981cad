/* tm_fully_connected_s16_dsp: fully connected layer, DSP instructions, int16 with int8 weights.
 *
 *   x       int16 [batches][in_c]
 *   y       int16 [batches][out_c]
 *   stream  int32 []    per four outputs: biases of outputs 0 and 2; then, in_c filled up to fours with zeros, per
 *                       four inputs the halfwords 256 w1 + w0 of inputs 0 and 1, 256 w3 + w2 of inputs 0 and 1, the
 *                       same of inputs 2 and 3; biases of outputs 1 and 3; low and high word of each factor.
 *                       Outputs left over follow one by one: bias, per four inputs the bytes w[0] w[2] w[1] w[3],
 *                       factor. With `wide` all biases are int64, those of a four in front and in order, the bytes
 *                       of outputs 1 and 3 their own, and high word, low word and bits stand for the factor.
 *
 * Quantisation  y = clamp(round(scale * (bias + sum w * x))), zero points 0: what LiteRT computes in double.
 *               factor is scale * 2^64. Unless `wide`, bias and sum fit 32 bits whatever the input, and
 *               floor(acc * factor / 2^64 + 1/2) is what double rounds to, for every sum that can occur
 *               (tinyml/kernels/dsp_wide.py).
 * Scratch       none.
 * Requires      every 256 w1 + w0 is an int16.
 * Overlap       batch row by batch row; writes a row while it reads it.
 * Source        LiteRT's reference, as tm_fully_connected_s16_c. SMLALD adds up 256 A1 + A0 in 64 bits, while
 *               SXTB16 leaves w0 for A0: one SXTB16 for two outputs, as in tm_fully_connected_s8_dsp.
 */
#ifndef TM_FULLY_CONNECTED_S16_DSP_H
#define TM_FULLY_CONNECTED_S16_DSP_H

#include "tm_wide_dsp.h"

/* A row of inputs: `groups` > 0 of four, then the last one to three with zeros behind them, or NULL. */
typedef struct {
    const int16_t *x;
    const int16_t *tail;
    int32_t groups;
} tm_fc16_row;

TM_INLINE const int16_t *tm_fc16_four(const tm_fc16_row *row, int32_t group)
{
    return group < row->groups ? row->x + 4 * group : row->tail;
}

TM_INLINE int32_t tm_fc16_groups(const tm_fc16_row *row)
{
    return row->groups + (row->tail != NULL ? 1 : 0);
}

/* round(acc * factor / 2^64), halves up. */
TM_INLINE int16_t tm_fc16_requant(int32_t acc, const int32_t *factor)
{
    /* what lies below the 32 bits of the fraction does not count */
    const int64_t below = (int64_t)acc * factor[0] >> 32;
    const int64_t value = (int64_t)acc * factor[1] + below;
    return (int16_t)tm_ssat16((int32_t)((value + ((int64_t)1 << 31)) >> 32));
}

#if TM_DSP_ASM

/* Four outputs, four inputs: 16 MACs, 15 instructions. r0 x, r1 stream, r4 and r7 sums of outputs 0 and 2, r5:r6 and
 * r8:r9 of raw words: 256 times those of outputs 1 and 3 plus the one before.
 */
#define TM_FC16_PAIR(w, x, even, low, high)    \
    "smlald " low ", " high ", " x ", " w "\n" \
    "sxtb16 " w ", " w "\n"                    \
    "smlad  " even ", " x ", " w ", " even "\n"
/* clang-format off */
#define TM_FC16_GROUP                              \
    "ldr    r2, [r0], #4\n"                        \
    "ldr    r3, [r0], #4\n"                        \
    "ldmia  r1!, {r10-r12, lr}\n"                  \
    TM_FC16_PAIR("r10", "r2", "r4", "r5", "r6")    \
    TM_FC16_PAIR("r11", "r2", "r7", "r8", "r9")    \
    TM_FC16_PAIR("r12", "r3", "r4", "r5", "r6")    \
    TM_FC16_PAIR("lr", "r3", "r7", "r8", "r9")
/* The sum of the odd output, in `low`. */
#define TM_FC16_UNPACK(even, low, high, bias)      \
    "subs   " low ", " even "\n"                   \
    "sbc    " high ", " high ", " even ", asr #31\n" \
    "lsr    " low ", #8\n"                         \
    "orr    " low ", " low ", " high ", lsl #24\n" \
    "add    " low ", " bias "\n"
#define TM_FC16_OUTPUT(acc)                        \
    "ldrd   r2, r3, [r1], #8\n"                    \
    "smmul  r2, " acc ", r2\n"                     \
    "asr    r6, r2, #31\n"                         \
    "smlal  r2, r6, " acc ", r3\n"                 \
    "add    r6, r6, r2, lsr #31\n"                 \
    "ssat   r6, #16, r6\n"                         \
    "strh   r6, [r9], #2\n"
/* Stack while running: [0] x, [4] y, [8] y past the last four, [12] end of x, [16] where to enter the unrolled loop
 * so that the rounds after the first are whole, [20] tail. r0 comes as the row.
 */
#define TM_FC16_BODY                               \
    "push   {r4-r11, lr}\n"                        \
    "sub    sp, #28\n"                             \
    "ldr    r4, [r0, #8]\n"                        \
    "ldrd   r0, r5, [r0]\n"                        \
    "str    r5, [sp, #20]\n"                       \
    "strd   r0, r2, [sp]\n"                        \
    "add    r3, r2, r3, lsl #3\n"                  \
    "add    r5, r0, r4, lsl #3\n"                  \
    "strd   r3, r5, [sp, #8]\n"                    \
    "adr    r6, 2f\n"                              \
    "adr    r7, 3f\n"                              \
    "sub    r7, r6\n" /* code bytes of one group */ \
    "rsb    r4, r4, #0\n"                          \
    "and    r4, #7\n"                              \
    "mla    r6, r4, r7, r6\n"                      \
    "orr    r6, #1\n" /* Thumb */                  \
    "str    r6, [sp, #16]\n"                       \
    "1:\n"                                         \
    "ldrd   r4, r7, [r1], #8\n"                    \
    "mov    r5, r4\n"                              \
    "asr    r6, r4, #31\n"                         \
    "mov    r8, r7\n"                              \
    "asr    r9, r7, #31\n"                         \
    "ldr    pc, [sp, #16]\n"                       \
    ".balign 4\n"                                  \
    "2:\n"                                         \
    TM_FC16_GROUP                                  \
    ".balign 4\n"                                  \
    "3:\n"                                         \
    ".rept  7\n"                                   \
    TM_FC16_GROUP                                  \
    ".balign 4\n"                                  \
    ".endr\n"                                      \
    "ldr    r2, [sp, #12]\n"                       \
    "cmp    r0, r2\n"                              \
    "bne    2b\n"                                  \
    "ldr    r0, [sp, #20]\n"                       \
    "cbz    r0, 4f\n"                              \
    TM_FC16_GROUP                                  \
    "4:\n"                                         \
    "ldrd   r2, r3, [r1], #8\n"                    \
    TM_FC16_UNPACK("r4", "r5", "r6", "r2")         \
    TM_FC16_UNPACK("r7", "r8", "r9", "r3")         \
    "ldrd   r0, r9, [sp]\n"                        \
    TM_FC16_OUTPUT("r4")                           \
    TM_FC16_OUTPUT("r5")                           \
    TM_FC16_OUTPUT("r7")                           \
    TM_FC16_OUTPUT("r8")                           \
    "ldr    r2, [sp, #8]\n"                        \
    "str    r9, [sp, #4]\n"                        \
    "cmp    r9, r2\n"                              \
    "bne    1b\n"                                  \
    "mov    r0, r1\n"                              \
    "add    sp, #28\n"                             \
    "pop    {r4-r11, pc}\n"
/* clang-format on */

/* `fours` > 0 runs of four outputs; returns the stream behind them. */
TM_NAKED const int32_t *tm_fc16_fours_dsp(const tm_fc16_row *row __attribute__((unused)),
                                          const int32_t *stream __attribute__((unused)),
                                          int16_t *y __attribute__((unused)),
                                          int32_t fours __attribute__((unused)))
{
    __asm__ volatile(TM_FC16_BODY);
}

#else

/* The sum of the odd output of a pair, its own bias included. */
TM_INLINE int32_t tm_fc16_odd(int64_t odd, int32_t even, int32_t bias)
{
    return (int32_t)((uint32_t)((odd - even) >> 8) + (uint32_t)bias);
}

/* `fours` > 0 runs of four outputs; returns the stream behind them. */
TM_SHARED const int32_t *tm_fc16_fours_dsp(const tm_fc16_row *row, const int32_t *stream, int16_t *y,
                                           int32_t fours)
{
    const int32_t groups = tm_fc16_groups(row);
    for (int32_t n = 0; n < fours; ++n, y += 4) {
        int32_t even0 = stream[0], even1 = stream[1];
        int64_t odd0 = even0, odd1 = even1;
        stream += 2;
        for (int32_t g = 0; g < groups; ++g, stream += 4) {
            const int32_t x01 = tm_load4(tm_fc16_four(row, g));
            const int32_t x23 = tm_load4(tm_fc16_four(row, g) + 2);
            odd0 = tm_smlald(x23, stream[2], tm_smlald(x01, stream[0], odd0));
            odd1 = tm_smlald(x23, stream[3], tm_smlald(x01, stream[1], odd1));
            even0 = tm_smlad(x23, tm_sxtb16(stream[2]), tm_smlad(x01, tm_sxtb16(stream[0]), even0));
            even1 = tm_smlad(x23, tm_sxtb16(stream[3]), tm_smlad(x01, tm_sxtb16(stream[1]), even1));
        }
        y[0] = tm_fc16_requant(even0, stream + 2);
        y[1] = tm_fc16_requant(tm_fc16_odd(odd0, even0, stream[0]), stream + 4);
        y[2] = tm_fc16_requant(even1, stream + 6);
        y[3] = tm_fc16_requant(tm_fc16_odd(odd1, even1, stream[1]), stream + 8);
        stream += 10;
    }
    return stream;
}

#endif

/* One output from sums of 32 bits; returns the stream behind it. */
TM_SHARED const int32_t *tm_fc16_output_dsp(const tm_fc16_row *row, const int32_t *stream, int16_t *y)
{
    const int16_t *x = row->x;
    int32_t acc = *stream++;
    TM_UNROLL_4
    for (int32_t g = row->groups; g > 0; --g, x += 4, ++stream) {
        acc = tm_smlad(tm_load4(x), tm_sxtb16(*stream), acc);
        acc = tm_smlad(tm_load4(x + 2), tm_sxtb16_ror8(*stream), acc);
    }
    if (row->tail != NULL) {
        acc = tm_smlad(tm_load4(row->tail), tm_sxtb16(*stream), acc);
        acc = tm_smlad(tm_load4(row->tail + 2), tm_sxtb16_ror8(*stream), acc);
        ++stream;
    }
    *y = tm_fc16_requant(acc, stream);
    return stream + 2;
}

/* Requantise one output as the portable kernel does. */
TM_INLINE int16_t tm_fc16_requant_wide(int64_t acc, const int32_t *scale)
{
    const int32_t value = tm_round_product(acc, (uint32_t)scale[0], (uint32_t)scale[1], scale[2]);
    return tm_limit_s16(value, -32768, 32767);
}

/* All outputs from sums of 64 bits. */
TM_SHARED void tm_fc16_wide_dsp(const tm_fc16_row *row, const int32_t *stream, int16_t *y, int32_t out_c)
{
    const int32_t groups = tm_fc16_groups(row);
    int32_t o = 0;
    for (; o + 4 <= out_c; o += 4) {
        int64_t acc[4];
        memcpy(acc, stream, sizeof acc);
        int64_t acc0 = acc[0], acc1 = acc[1], acc2 = acc[2], acc3 = acc[3];
        stream += 8;
        for (int32_t g = 0; g < groups; ++g, stream += 4) {
            const int32_t x01 = tm_load4(tm_fc16_four(row, g));
            const int32_t x23 = tm_load4(tm_fc16_four(row, g) + 2);
            acc0 = tm_smlald(x23, tm_sxtb16(stream[2]), tm_smlald(x01, tm_sxtb16(stream[0]), acc0));
            acc1 = tm_smlald(x23, tm_sxtb16_ror8(stream[2]), tm_smlald(x01, tm_sxtb16_ror8(stream[0]), acc1));
            acc2 = tm_smlald(x23, tm_sxtb16(stream[3]), tm_smlald(x01, tm_sxtb16(stream[1]), acc2));
            acc3 = tm_smlald(x23, tm_sxtb16_ror8(stream[3]), tm_smlald(x01, tm_sxtb16_ror8(stream[1]), acc3));
        }
        const int64_t sums[4] = {acc0, acc1, acc2, acc3};
        for (int32_t i = 0; i < 4; ++i, stream += 3) {
            *y++ = tm_fc16_requant_wide(sums[i], stream);
        }
    }
    for (; o < out_c; ++o, stream += 3) {
        int64_t acc;
        memcpy(&acc, stream, sizeof acc);
        stream += 2;
        for (int32_t g = 0; g < groups; ++g, ++stream) {
            acc = tm_smlald(tm_load4(tm_fc16_four(row, g)), tm_sxtb16(*stream), acc);
            acc = tm_smlald(tm_load4(tm_fc16_four(row, g) + 2), tm_sxtb16_ror8(*stream), acc);
        }
        *y++ = tm_fc16_requant_wide(acc, stream);
    }
}

TM_INLINE void tm_fully_connected_s16_dsp(const int16_t *x, int16_t *y, const int32_t *stream,
                                          int32_t batches, int32_t in_c, int32_t out_c, int32_t wide,
                                          int32_t lo, int32_t hi)
{
    const int32_t whole = in_c / 4;
    for (int32_t b = 0; b < batches; ++b, x += in_c, y += out_c) {
        int16_t last[4] = {0, 0, 0, 0};
        for (int32_t i = 0; i < in_c % 4; ++i) {
            last[i] = x[4 * whole + i];
        }
        const tm_fc16_row row = {whole > 0 ? x : last, whole > 0 && in_c % 4 > 0 ? last : NULL,
                                 whole > 0 ? whole : 1};
        if (wide) {
            tm_fc16_wide_dsp(&row, stream, y, out_c);
        } else {
            const int32_t *rest = stream;
            if (out_c >= 4) {
                rest = tm_fc16_fours_dsp(&row, stream, y, out_c / 4);
            }
            for (int32_t o = out_c / 4 * 4; o < out_c; ++o) {
                rest = tm_fc16_output_dsp(&row, rest, y + o);
            }
        }
        tm_clamp_row16(y, out_c, 0, lo, hi);
    }
}

#endif
