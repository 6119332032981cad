/* tm_conv_block_s8_dsp: the core that every convolution shares: a few pixels x all output channels.
 *
 *   column  int32 [2 groups][pixels]   activations: step k holds, for each pixel of the block, the halfword pair
 *                                      (x[4g], x[4g+2]) for k = 2g and (x[4g+1], x[4g+3]) for k = 2g + 1
 *   stream  int32 []                   weights, biases and requantisation, see below
 *   y       int8  [pixels][out_c]      output pixels
 *
 * A pixel's `4 * groups` activations (K of the layer, rounded up to 4; the surplus meets zero weights)
 * are widened to int16 once and then serve all output channels: 2 * K bytes of scratch per pixel. For a
 * convolution larger than 1x1 this is the im2col buffer.
 *
 * Stream, per pair of output channels (tinyml/kernels/dsp_streams.py):
 *   bias0, bias1, then per group the bytes  w0[0] w1[0] w0[2] w1[2]  w0[1] w1[1] w0[3] w1[3]  ,
 *   then a0, b0, a1, b1 (tm_requant_dsp). SXTB16 takes channel 0 out of a word, SXTB16 ROR #8 channel 1.
 * A last single channel: bias, the weights as they are, a, b. No padding channel is stored.
 * With `packed` the bytes of channel 1 are those of the halfwords 256 w1 + w0, so that the raw word serves
 * channel 1 (tm_unpack_odd), and bias1 follows the weights: only one SXTB16 per word. In the forms of one rounding
 * the second word is bias0 + 256 bias1, and nothing follows the weights (tm_requant_odd_dsp).
 *
 * Scratch   the column, 8-byte aligned.
 * Source    tm_conv_pairs*: with two channels, 14 registers hold either
 *             4 pixels   8 accumulators, 2 weights, 2 activations: 12 instructions (13) for 16 products;
 *             3 pixels   6 accumulators, 3 weights, 3 activations, so that LDM fetches what LDRD would fetch
 *                        in two: 17 (19) for 24;
 *             2 pixels   for the smallest scratch: 13 (15) for 16.
 *           What an output costs at the end is the same for all, so that fours win with short columns.
 */
#ifndef TM_CONV_BLOCK_S8_DSP_H
#define TM_CONV_BLOCK_S8_DSP_H

#include "tm_dsp.h"

/* How a run of pixels falls into blocks: of one size, or of two. A rest goes pixel by pixel. */
enum { TM_BLOCKS_2 = 2, TM_BLOCKS_3 = 3, TM_BLOCKS_4 = 4, TM_BLOCKS_2_3 = 5, TM_BLOCKS_3_4 = 7 };

/* The pixels of the block that starts `left` pixels before the end of a run; 1 where no block fits. Of two sizes,
 * as many threes come first as leave whole blocks of the other.
 */
TM_INLINE int32_t tm_block_pixels(int32_t blocks, int32_t left)
{
    if (blocks == TM_BLOCKS_3_4) {
        return left == 4 || left == 5 || left == 8 ? 4 : left >= 3 ? 3 : 1;
    }
    if (blocks == TM_BLOCKS_2_3) {
        return left == 2 || left == 4 ? 2 : left >= 3 ? 3 : 1;
    }
    return left >= blocks ? blocks : 1;
}

/* Whether blocks of this size occur: where not, their code is left out. */
TM_INLINE int tm_blocks_have(int32_t blocks, int32_t pixels)
{
    return blocks == pixels || (blocks == TM_BLOCKS_3_4 && pixels >= 3) ||
           (blocks == TM_BLOCKS_2_3 && pixels <= 3);
}

/* Four bytes of one pixel into its place in the column. */
TM_INLINE void tm_column_put(int32_t *column, int32_t word, int32_t pixels)
{
    column[0] = tm_sxtb16(word);
    column[pixels] = tm_sxtb16_ror8(word);
}

/* n bytes of one of `pixels` pixels into the column; the last group is filled up with zeros. */
TM_SHARED void tm_column_pixel_dsp(const int8_t *x, int32_t *column, int32_t n, int32_t pixels)
{
    for (; n >= 4; n -= 4, x += 4, column += 2 * pixels) {
        tm_column_put(column, tm_load4(x), pixels);
    }
    if (n > 0) {
        tm_column_put(column, tm_load_tail(x, n), pixels);
    }
}

/* clang-format off */
#define TM_COLUMN_BODY_4               \
    "push   {r4-r11, lr}\n"            \
    "add    r12, r3, r3, lsl #1\n"     \
    "add    r12, r0\n" /* the last */  \
    "1:\n"                             \
    "ldr    r5, [r0, r3]\n"            \
    "ldr    r6, [r0, r3, lsl #1]\n"    \
    "ldr    r4, [r0], #4\n"            \
    "ldr    r7, [r12], #4\n"           \
    "sxtb16 r8, r4\n"                  \
    "sxtb16 r9, r5\n"                  \
    "sxtb16 r10, r6\n"                 \
    "sxtb16 r11, r7\n"                 \
    "stmia  r1!, {r8-r11}\n"           \
    "sxtb16 r4, r4, ror #8\n"          \
    "sxtb16 r5, r5, ror #8\n"          \
    "sxtb16 r6, r6, ror #8\n"          \
    "sxtb16 r7, r7, ror #8\n"          \
    "stmia  r1!, {r4-r7}\n"            \
    "subs   r2, #1\n"                  \
    "bne    1b\n"                      \
    "pop    {r4-r11, pc}\n"
#define TM_COLUMN_BODY_3               \
    "push   {r4-r9, lr}\n"             \
    "add    r12, r0, r3, lsl #1\n"     \
    "1:\n"                             \
    "ldr    r5, [r0, r3]\n"            \
    "ldr    r4, [r0], #4\n"            \
    "ldr    r6, [r12], #4\n"           \
    "sxtb16 r7, r4\n"                  \
    "sxtb16 r8, r5\n"                  \
    "sxtb16 r9, r6\n"                  \
    "stmia  r1!, {r7-r9}\n"            \
    "sxtb16 r4, r4, ror #8\n"          \
    "sxtb16 r5, r5, ror #8\n"          \
    "sxtb16 r6, r6, ror #8\n"          \
    "stmia  r1!, {r4-r6}\n"            \
    "subs   r2, #1\n"                  \
    "bne    1b\n"                      \
    "pop    {r4-r9, pc}\n"
#define TM_COLUMN_BODY_2               \
    "push   {r4-r9, lr}\n"             \
    "1:\n"                             \
    "ldr    r5, [r0, r3]\n"            \
    "ldr    r4, [r0], #4\n"            \
    "sxtb16 r6, r4\n"                  \
    "sxtb16 r7, r5\n"                  \
    "sxtb16 r8, r4, ror #8\n"          \
    "sxtb16 r9, r5, ror #8\n"          \
    "stmia  r1!, {r6-r9}\n"            \
    "subs   r2, #1\n"                  \
    "bne    1b\n"                      \
    "pop    {r4-r9, pc}\n"
/* clang-format on */

#if TM_DSP_ASM

#define TM_COLUMN_PIXELS(name, pixels)                                                                   \
    TM_NAKED void name(const int8_t *x __attribute__((unused)), int32_t *column __attribute__((unused)), \
                       int32_t groups __attribute__((unused)), int32_t pitch __attribute__((unused)))    \
    {                                                                                                    \
        __asm__ volatile(TM_COLUMN_BODY_##pixels);                                                       \
    }

#else

#define TM_COLUMN_PIXELS(name, pixels)                                                   \
    TM_SHARED void name(const int8_t *x, int32_t *column, int32_t groups, int32_t pitch) \
    {                                                                                    \
        for (int32_t g = 0; g < groups; ++g, x += 4, column += 2 * pixels) {             \
            for (int32_t p = 0; p < pixels; ++p) {                                       \
                tm_column_put(column + p, tm_load4(x + p * pitch), pixels);              \
            }                                                                            \
        }                                                                                \
    }

#endif

/* 4 * groups bytes (groups > 0) of the pixels of a block, `pitch` bytes apart, into the column. */
TM_COLUMN_PIXELS(tm_column_4pixels_dsp, 4)
TM_COLUMN_PIXELS(tm_column_3pixels_dsp, 3)
TM_COLUMN_PIXELS(tm_column_2pixels_dsp, 2)

/* The same for any block; `pixels` must be a constant where it is inlined. */
TM_INLINE void tm_column_fill(const int8_t *x, int32_t *column, int32_t groups, int32_t pitch, int32_t pixels)
{
    if (pixels == 4) {
        tm_column_4pixels_dsp(x, column, groups, pitch);
    } else if (pixels == 3) {
        tm_column_3pixels_dsp(x, column, groups, pitch);
    } else if (pixels == 2) {
        tm_column_2pixels_dsp(x, column, groups, pitch);
    } else {
        tm_column_pixel_dsp(x, column, 4 * groups, 1);
    }
}

/* 1 where the second bias of a pair follows its weights, so that both channels start from the first; or 0. */
TM_INLINE int32_t tm_conv_bias_follows(int32_t form, int32_t packed)
{
    return packed && form < TM_REQUANT_2 ? 1 : 0;
}

/* Requantise the odd channel of a pair of which `a_b` are the four words behind the weights and the bias. */
TM_INLINE int8_t tm_conv_odd(int32_t form, int32_t packed, int32_t odd, int32_t even, const int32_t *a_b,
                             int32_t zero_point)
{
    if (packed) {
        return tm_requant_odd_dsp(form, odd, even, a_b[-1], a_b[2], a_b[3], zero_point);
    }
    return tm_requant_dsp(form, odd, a_b[2], a_b[3], zero_point);
}

/* Two output channels of one pixel; returns the stream behind them. */
TM_INLINE const int32_t *tm_conv_pair_1pixel(int32_t form, int32_t packed, const int32_t *column,
                                             const int32_t *stream, int8_t *y, int32_t groups,
                                             int32_t zero_point)
{
    int32_t acc0 = stream[0];
    int32_t acc1 = stream[1 - tm_conv_bias_follows(form, packed)];
    stream += 2 - tm_conv_bias_follows(form, packed);
    TM_UNROLL_4
    for (int32_t g = 0; g < groups; ++g, stream += 2, column += 2) {
        acc0 = tm_smlad(column[0], tm_sxtb16(stream[0]), acc0);
        acc1 = tm_smlad(column[0], packed ? stream[0] : tm_sxtb16_ror8(stream[0]), acc1);
        acc0 = tm_smlad(column[1], tm_sxtb16(stream[1]), acc0);
        acc1 = tm_smlad(column[1], packed ? stream[1] : tm_sxtb16_ror8(stream[1]), acc1);
    }
    stream += tm_conv_bias_follows(form, packed);
    y[0] = tm_requant_dsp(form, acc0, stream[0], stream[1], zero_point);
    y[1] = tm_conv_odd(form, packed, acc1, acc0, stream, zero_point);
    return stream + 4;
}

/* Four output channels of one pixel, which load its activations once; returns the stream behind them. */
TM_INLINE const int32_t *tm_conv_quad_1pixel(int32_t form, int32_t packed, const int32_t *column,
                                             const int32_t *stream, int8_t *y, int32_t groups,
                                             int32_t zero_point)
{
    const int32_t follows = tm_conv_bias_follows(form, packed);
    const int32_t *second = stream + 2 * groups + 6; /* words of a pair */
    int32_t acc0 = stream[0];
    int32_t acc1 = stream[1 - follows];
    int32_t acc2 = second[0];
    int32_t acc3 = second[1 - follows];
    stream += 2 - follows;
    second += 2 - follows;
    TM_UNROLL_4
    for (int32_t k = 2 * groups; k > 0; --k) {
        const int32_t x = *column++;
        const int32_t w01 = *stream++;
        const int32_t w23 = *second++;
        acc0 = tm_smlad(x, tm_sxtb16(w01), acc0);
        acc1 = tm_smlad(x, packed ? w01 : tm_sxtb16_ror8(w01), acc1);
        acc2 = tm_smlad(x, tm_sxtb16(w23), acc2);
        acc3 = tm_smlad(x, packed ? w23 : tm_sxtb16_ror8(w23), acc3);
    }
    stream += follows;
    second += follows;
    y[0] = tm_requant_dsp(form, acc0, stream[0], stream[1], zero_point);
    y[1] = tm_conv_odd(form, packed, acc1, acc0, stream, zero_point);
    y[2] = tm_requant_dsp(form, acc2, second[0], second[1], zero_point);
    y[3] = tm_conv_odd(form, packed, acc3, acc2, second, zero_point);
    return second + 4;
}

/* One output channel of one of `pixels` pixels: the last one of an odd number of channels. */
TM_INLINE int8_t tm_conv_single_1pixel(int32_t form, const int32_t *column, const int32_t *stream,
                                       int32_t groups, int32_t zero_point, int32_t pixels)
{
    int32_t acc = *stream++;
    TM_UNROLL_4
    for (int32_t g = 0; g < groups; ++g, ++stream, column += 2 * pixels) {
        acc = tm_smlad(column[0], tm_sxtb16(stream[0]), acc);
        acc = tm_smlad(column[pixels], tm_sxtb16_ror8(stream[0]), acc);
    }
    return tm_requant_dsp(form, acc, stream[0], stream[1], zero_point);
}

/* All output channels of a pixel that has a column to itself. */
TM_INLINE void tm_conv_pixel(int32_t form, int32_t packed, const int32_t *column, const int32_t *stream,
                             int8_t *y, int32_t groups, int32_t out_c, int32_t zero_point)
{
    int32_t c = 0;
    for (; c + 4 <= out_c; c += 4) {
        stream = tm_conv_quad_1pixel(form, packed, column, stream, y + c, groups, zero_point);
    }
    for (; c + 2 <= out_c; c += 2) {
        stream = tm_conv_pair_1pixel(form, packed, column, stream, y + c, groups, zero_point);
    }
    if (c < out_c) {
        y[c] = tm_conv_single_1pixel(form, column, stream, groups, zero_point, 1);
    }
}

/* All pairs of output channels of a block; returns the stream behind them. */
TM_INLINE const int32_t *tm_conv_pairs(int32_t form, int32_t packed, int32_t pixels, const int32_t *column,
                                       const int32_t *stream, int8_t *y, int32_t groups, int32_t out_c,
                                       int32_t zero_point)
{
    for (int32_t c = 0; c + 2 <= out_c; c += 2, y += 2) {
        const int32_t *x = column;
        int32_t a0 = stream[0], a1 = a0, a2 = a0, a3 = a0;
        int32_t b0 = stream[1 - tm_conv_bias_follows(form, packed)], b1 = b0, b2 = b0, b3 = b0;
        stream += 2 - tm_conv_bias_follows(form, packed);
        TM_UNROLL_4
        for (int32_t step = 0; step < 2 * groups; ++step, x += pixels) {
            const int32_t word = *stream++;
            const int32_t w0 = tm_sxtb16(word);
            const int32_t w1 = packed ? word : tm_sxtb16_ror8(word);
            a0 = tm_smlad(x[0], w0, a0);
            b0 = tm_smlad(x[0], w1, b0);
            a1 = tm_smlad(x[1], w0, a1);
            b1 = tm_smlad(x[1], w1, b1);
            if (pixels > 2) {
                a2 = tm_smlad(x[2], w0, a2);
                b2 = tm_smlad(x[2], w1, b2);
            }
            if (pixels > 3) {
                a3 = tm_smlad(x[3], w0, a3);
                b3 = tm_smlad(x[3], w1, b3);
            }
        }
        stream += tm_conv_bias_follows(form, packed);
        y[0] = tm_requant_dsp(form, a0, stream[0], stream[1], zero_point);
        y[1] = tm_conv_odd(form, packed, b0, a0, stream, zero_point);
        y[out_c] = tm_requant_dsp(form, a1, stream[0], stream[1], zero_point);
        y[out_c + 1] = tm_conv_odd(form, packed, b1, a1, stream, zero_point);
        if (pixels > 2) {
            y[2 * out_c] = tm_requant_dsp(form, a2, stream[0], stream[1], zero_point);
            y[2 * out_c + 1] = tm_conv_odd(form, packed, b2, a2, stream, zero_point);
        }
        if (pixels > 3) {
            y[3 * out_c] = tm_requant_dsp(form, a3, stream[0], stream[1], zero_point);
            y[3 * out_c + 1] = tm_conv_odd(form, packed, b3, a3, stream, zero_point);
        }
        stream += 4;
    }
    return stream;
}

#if TM_DSP_ASM

/* Requantisation, by form: each instruction for all accumulators of the list ACCS before the next, so that no
 * core waits for the one before.
 */
#define TM_BLOCK_SMMLAR_A(acc, arg) "smmlar " acc ", " acc ", r2, " acc "\n"
#define TM_BLOCK_SMMLA_A(acc, arg) "smmla  " acc ", " acc ", r2, " acc "\n"
#define TM_BLOCK_SMMLA_A_B(acc, arg) "smmla  " acc ", " acc ", r2, r3\n"
#define TM_BLOCK_ADD_SIGN(acc, arg) "add    " acc ", " acc ", " acc ", asr #31\n"
#define TM_BLOCK_SMMLAR_B(acc, zero_point) "smmlar " acc ", " acc ", r3, " zero_point "\n"
#define TM_BLOCK_SMMLSR_B(acc, zero_point) "smmlsr " acc ", " acc ", r3, " zero_point "\n"
#define TM_BLOCK_SSAT(acc, arg) "ssat   " acc ", #8, " acc "\n"
#define TM_BLOCK_SSAT_ASR(acc, n) "ssat   " acc ", #8, " acc ", asr #" n "\n"

#define TM_BLOCK_REQUANT_3(ACCS, zero_point) \
    ACCS(TM_BLOCK_SMMLAR_A, "")              \
    ACCS(TM_BLOCK_SMMLAR_B, zero_point)      \
    ACCS(TM_BLOCK_SSAT, "")
#define TM_BLOCK_REQUANT_1(ACCS, zero_point) \
    ACCS(TM_BLOCK_SMMLA_A, "")               \
    ACCS(TM_BLOCK_SMMLAR_B, zero_point)      \
    ACCS(TM_BLOCK_SSAT, "")
#define TM_BLOCK_REQUANT_4(ACCS, zero_point) \
    ACCS(TM_BLOCK_SMMLAR_A, "")              \
    ACCS(TM_BLOCK_ADD_SIGN, "")              \
    ACCS(TM_BLOCK_SMMLSR_B, zero_point)      \
    ACCS(TM_BLOCK_SSAT, "")
#define TM_BLOCK_REQUANT_2(ACCS, n) ACCS(TM_BLOCK_SMMLA_A_B, "") ACCS(TM_BLOCK_SSAT_ASR, n)
#define TM_BLOCK_REQUANT_2_2(ACCS, zero_point) TM_BLOCK_REQUANT_2(ACCS, "2")
#define TM_BLOCK_REQUANT_2_4(ACCS, zero_point) TM_BLOCK_REQUANT_2(ACCS, "4")
/* The odd channel, by form and packed: from the difference of a packed pair as it is (tm_requant_odd_dsp). */
#define TM_BLOCK_ODD_1_0 TM_BLOCK_REQUANT_1
#define TM_BLOCK_ODD_1_1 TM_BLOCK_REQUANT_1
#define TM_BLOCK_ODD_3_0 TM_BLOCK_REQUANT_3
#define TM_BLOCK_ODD_3_1 TM_BLOCK_REQUANT_3
#define TM_BLOCK_ODD_4_0 TM_BLOCK_REQUANT_4
#define TM_BLOCK_ODD_4_1 TM_BLOCK_REQUANT_4
#define TM_BLOCK_ODD_2_2_0 TM_BLOCK_REQUANT_2_2
#define TM_BLOCK_ODD_2_4_0 TM_BLOCK_REQUANT_2_4
#define TM_BLOCK_ODD_2_2_1(ACCS, zero_point) TM_BLOCK_REQUANT_2(ACCS, "10")
#define TM_BLOCK_ODD_2_4_1(ACCS, zero_point) TM_BLOCK_REQUANT_2(ACCS, "12")
/* What becomes of the odd accumulators before: nothing, the difference, or tm_unpack_odd (bias in r2). */
#define TM_BLOCK_NO_BIAS ""
#define TM_BLOCK_BIAS "ldr    r2, [r1], #4\n"
#define TM_BLOCK_KEEP(odd, even) ""
#define TM_BLOCK_SUBTRACT(odd, even) "sub    " odd ", " even "\n"
#define TM_BLOCK_SEPARATE(odd, even) \
    "sub    " odd ", " even "\n"     \
    "add    " odd ", r2, " odd ", asr #8\n"
#define TM_BLOCK_UNPACK_1_0(UNPACK) TM_BLOCK_UNPACK_3_0(UNPACK)
#define TM_BLOCK_UNPACK_1_1(UNPACK) TM_BLOCK_UNPACK_3_1(UNPACK)
#define TM_BLOCK_UNPACK_3_0(UNPACK) UNPACK(TM_BLOCK_NO_BIAS, TM_BLOCK_KEEP)
#define TM_BLOCK_UNPACK_3_1(UNPACK) UNPACK(TM_BLOCK_BIAS, TM_BLOCK_SEPARATE)
#define TM_BLOCK_UNPACK_4_0(UNPACK) TM_BLOCK_UNPACK_3_0(UNPACK)
#define TM_BLOCK_UNPACK_4_1(UNPACK) TM_BLOCK_UNPACK_3_1(UNPACK)
#define TM_BLOCK_UNPACK_2_2_0(UNPACK) TM_BLOCK_UNPACK_3_0(UNPACK)
#define TM_BLOCK_UNPACK_2_4_0(UNPACK) TM_BLOCK_UNPACK_3_0(UNPACK)
#define TM_BLOCK_UNPACK_2_2_1(UNPACK) UNPACK(TM_BLOCK_NO_BIAS, TM_BLOCK_SUBTRACT)
#define TM_BLOCK_UNPACK_2_4_1(UNPACK) TM_BLOCK_UNPACK_2_2_1(UNPACK)

/* Four pixels. One step: a weight word for two channels, a halfword pair of each pixel. r0 column, r1 stream,
 * r4..r11 accumulators (even: channel 0, odd: channel 1), r12 and lr weights.
 */
/* clang-format off */
#if TM_DUAL_ISSUE
/* Where a load issues beside a multiplication: single words, each as soon as its register is free, the group's last
 * one the word behind its weights. Only the first two activations of a group are waited for. Of b0..b7, b6 must be
 * needed last.
 */
#define TM_BLOCK4_HEAD_0(b0, b1)       \
    "sxtb16 lr, r12\n"                 \
    "sxtb16 r12, r12, ror #8\n"        \
    "smlad  r4, r2, lr, " b0 "\n"      \
    "smlad  r5, r2, r12, " b1 "\n"
#define TM_BLOCK4_HEAD_1(b0, b1)       \
    "sxtb16 lr, r12\n"                 \
    "smlad  r5, r2, r12, " b1 "\n"     \
    "smlad  r4, r2, lr, " b0 "\n"
#define TM_BLOCK4_STEP(packed, last, b0, b1, b2, b3, b4, b5, b6, b7) \
    TM_BLOCK4_HEAD_##packed(b0, b1)    \
    "ldr    r2, [r0], #4\n"            \
    "smlad  r7, r3, r12, " b3 "\n"     \
    "smlad  r6, r3, lr, " b2 "\n"      \
    "ldr    r3, [r0], #4\n"            \
    "smlad  r9, r2, r12, " b5 "\n"     \
    "smlad  r8, r2, lr, " b4 "\n"      \
    TM_BLOCK4_RELOAD_##last("r2")      \
    "smlad  r11, r3, r12, " b7 "\n"    \
    "ldr    r12, [r1], #4\n"           \
    "smlad  r10, r3, lr, " b6 "\n"     \
    TM_BLOCK4_RELOAD_##last("r3")
#define TM_BLOCK4_RELOAD_0(x) "ldr    " x ", [r0], #4\n"
#define TM_BLOCK4_RELOAD_1(x) ""
#define TM_BLOCK4_FIRST(packed, b0, b1, b2, b3, b4, b5, b6, b7) \
    "ldrd   r2, r3, [r0], #8\n"        \
    TM_BLOCK4_STEP(packed, 0, b0, b1, b2, b3, b4, b5, b6, b7)   \
    TM_BLOCK4_STEP(packed, 1, "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11")
#define TM_BLOCK4_GROUP(packed) \
    TM_BLOCK4_FIRST(packed, "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11")
#define TM_BLOCK4_TWO_BIASES(packed) \
    "ldrd   r10, r11, [r1], #8\n" \
    "ldr    r12, [r1], #4\n"  \
    TM_BLOCK4_FIRST(packed, "r10", "r11", "r10", "r11", "r10", "r11", "r10", "r11")
#define TM_BLOCK4_ONE_BIAS(packed) \
    "ldr    r10, [r1], #4\n"  \
    "ldr    r12, [r1], #4\n"  \
    TM_BLOCK4_FIRST(packed, "r10", "r10", "r10", "r10", "r10", "r10", "r10", "r10")
#define TM_BLOCK4_AHEAD "sub    r1, #4\n" /* which the last group has read too far */
#else
#define TM_BLOCK4_LOAD_0        \
    "ldr    r12, [r1], #4\n"    \
    "ldrd   r2, r3, [r0], #8\n" \
    "sxtb16 lr, r12\n"          \
    "sxtb16 r12, r12, ror #8\n"
#define TM_BLOCK4_LOAD_1        \
    "ldr    r12, [r1], #4\n"    \
    "ldrd   r2, r3, [r0], #8\n" \
    "sxtb16 lr, r12\n"
/* The first step starts from the biases: in r10 and r11, or in r11 for both. */
#define TM_BLOCK4_STEP(packed, b0, b1, b2, b3, b4, b5, b6, b7) \
    TM_BLOCK4_LOAD_##packed            \
    "smlad  r4, r2, lr, " b0 "\n"      \
    "smlad  r5, r2, r12, " b1 "\n"     \
    "smlad  r6, r3, lr, " b2 "\n"      \
    "smlad  r7, r3, r12, " b3 "\n"     \
    "ldrd   r2, r3, [r0], #8\n"        \
    "smlad  r8, r2, lr, " b4 "\n"      \
    "smlad  r9, r2, r12, " b5 "\n"     \
    "smlad  r10, r3, lr, " b6 "\n"     \
    "smlad  r11, r3, r12, " b7 "\n"
#define TM_BLOCK4_NEXT(packed) \
    TM_BLOCK4_STEP(packed, "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11")
#define TM_BLOCK4_GROUP(packed) TM_BLOCK4_NEXT(packed) TM_BLOCK4_NEXT(packed)
#define TM_BLOCK4_TWO_BIASES(packed) \
    "ldrd   r10, r11, [r1], #8\n" \
    TM_BLOCK4_STEP(packed, "r10", "r11", "r10", "r11", "r10", "r11", "r10", "r11") \
    TM_BLOCK4_NEXT(packed)
#define TM_BLOCK4_ONE_BIAS(packed) \
    "ldr    r11, [r1], #4\n"  \
    TM_BLOCK4_STEP(packed, "r11", "r11", "r11", "r11", "r11", "r11", "r11", "r11") \
    TM_BLOCK4_NEXT(packed)
#define TM_BLOCK4_AHEAD ""
#endif
#define TM_BLOCK4_UNPACK(bias, ODD) bias ODD("r5", "r4") ODD("r7", "r6") ODD("r9", "r8") ODD("r11", "r10")
#define TM_BLOCK4_EVENS(OP, arg) OP("r4", arg) OP("r6", arg) OP("r8", arg) OP("r10", arg)
#define TM_BLOCK4_ODDS(OP, arg) OP("r5", arg) OP("r7", arg) OP("r9", arg) OP("r11", arg)
/* Stores, by form: a single rounding needs no zero point, so that the pixels' distance stays in lr. */
#define TM_BLOCK4_STORE_EVENS_ZP                  \
    "ldrd   r2, r3, [sp, #8]\n"                   \
    "strb   r6, [r12, r2]\n"                      \
    "strb   r8, [r12, r2, lsl #1]\n"              \
    "strb   r10, [r12, r3]\n"                     \
    "strb   r4, [r12], #1\n"
#define TM_BLOCK4_STORE_ODDS_ZP                   \
    "ldrd   r2, r3, [sp, #8]\n"                   \
    "strb   r7, [r12, r2]\n"                      \
    "strb   r9, [r12, r2, lsl #1]\n"              \
    "strb   r11, [r12, r3]\n"                     \
    "strb   r5, [r12], #1\n"
#define TM_BLOCK4_STORE_EVENS_LR                  \
    "strb   r6, [r12, lr]\n"                      \
    "add    r6, lr, lr, lsl #1\n"                 \
    "strb   r8, [r12, lr, lsl #1]\n"              \
    "strb   r10, [r12, r6]\n"                     \
    "strb   r4, [r12], #1\n"
#define TM_BLOCK4_STORE_ODDS_LR                   \
    "strb   r7, [r12, lr]\n"                      \
    "strb   r9, [r12, lr, lsl #1]\n"              \
    "strb   r11, [r12, r6]\n"                     \
    "strb   r5, [r12], #1\n"
#define TM_BLOCK4_STORE_1(which) TM_BLOCK4_STORE_##which##_ZP
#define TM_BLOCK4_STORE_3(which) TM_BLOCK4_STORE_##which##_ZP
#define TM_BLOCK4_STORE_4(which) TM_BLOCK4_STORE_##which##_ZP
#define TM_BLOCK4_STORE_2_2(which) TM_BLOCK4_STORE_##which##_LR
#define TM_BLOCK4_STORE_2_4(which) TM_BLOCK4_STORE_##which##_LR
#define TM_BLOCK4_END(form, packed)               \
    TM_BLOCK4_AHEAD                               \
    TM_BLOCK_UNPACK_##form##_##packed(TM_BLOCK4_UNPACK) \
    "ldrd   r2, r3, [r1], #8\n"                   \
    "ldrd   r12, lr, [sp]\n"                      \
    TM_BLOCK_REQUANT_##form(TM_BLOCK4_EVENS, "lr") \
    TM_BLOCK4_STORE_##form(EVENS)                 \
    "ldrd   r2, r3, [r1], #8\n"                   \
    TM_BLOCK_ODD_##form##_##packed(TM_BLOCK4_ODDS, "lr") \
    TM_BLOCK4_STORE_##form(ODDS)

/* Three pixels. r4..r9 accumulators, r10..r12 activations, r2, r3 and lr weights: two steps' at a time. */
#define TM_BLOCK3_X "ldm    r0!, {r10-r12}\n"
#define TM_BLOCK3_LAST(w, b4, b5) \
    "smlad  r8, r12, lr, " b4 "\n" \
    "smlad  r9, r12, " w ", " b5 "\n"
#define TM_BLOCK3_UNPACK(bias, ODD) bias ODD("r5", "r4") ODD("r7", "r6") ODD("r9", "r8")
#define TM_BLOCK3_EVENS(OP, arg) OP("r4", arg) OP("r6", arg) OP("r8", arg)
#define TM_BLOCK3_ODDS(OP, arg) OP("r5", arg) OP("r7", arg) OP("r9", arg)
#define TM_BLOCK3_STORE(acc) "strb   " acc ", [r10, r12, lsl #1]\n"

/* Two pixels: the same without the last. */
#define TM_BLOCK2_X "ldrd   r10, r11, [r0], #8\n"
#define TM_BLOCK2_LAST(w, b4, b5) ""
#define TM_BLOCK2_UNPACK(bias, ODD) bias ODD("r5", "r4") ODD("r7", "r6")
#define TM_BLOCK2_EVENS(OP, arg) OP("r4", arg) OP("r6", arg)
#define TM_BLOCK2_ODDS(OP, arg) OP("r5", arg) OP("r7", arg)
#define TM_BLOCK2_STORE(acc) ""

#define TM_BLOCK23_ODD_0(w) "sxtb16 " w ", " w ", ror #8\n"
#define TM_BLOCK23_ODD_1(w) ""
#define TM_BLOCK23_STEP(pixels, packed, w, b0, b1, b2, b3, b4, b5) \
    TM_BLOCK##pixels##_X               \
    "sxtb16 lr, " w "\n"               \
    TM_BLOCK23_ODD_##packed(w)         \
    "smlad  r4, r10, lr, " b0 "\n"     \
    "smlad  r5, r10, " w ", " b1 "\n"  \
    "smlad  r6, r11, lr, " b2 "\n"     \
    "smlad  r7, r11, " w ", " b3 "\n"  \
    TM_BLOCK##pixels##_LAST(w, b4, b5)
#define TM_BLOCK23_NEXT(pixels, packed, w) \
    TM_BLOCK23_STEP(pixels, packed, w, "r4", "r5", "r6", "r7", "r8", "r9")
#define TM_BLOCK23_GROUP(pixels, packed)     \
    "ldrd   r2, r3, [r1], #8\n"              \
    TM_BLOCK23_NEXT(pixels, packed, "r2")    \
    TM_BLOCK23_NEXT(pixels, packed, "r3")
/* With two pixels, the biases are in r6 and r7, or in r7 for both. */
#define TM_BLOCK2_TWO_BIASES(packed)         \
    "ldrd   r6, r7, [r1], #8\n"              \
    "ldrd   r2, r3, [r1], #8\n"              \
    TM_BLOCK23_STEP(2, packed, "r2", "r6", "r7", "r6", "r7", "", "") \
    TM_BLOCK23_NEXT(2, packed, "r3")
#define TM_BLOCK2_ONE_BIAS(packed)           \
    "ldr    r7, [r1], #4\n"                  \
    "ldrd   r2, r3, [r1], #8\n"              \
    TM_BLOCK23_STEP(2, packed, "r2", "r7", "r7", "r7", "r7", "", "") \
    TM_BLOCK23_NEXT(2, packed, "r3")
#define TM_BLOCK23_END(pixels, form, packed)      \
    TM_BLOCK##pixels##_AHEAD                      \
    TM_BLOCK_UNPACK_##form##_##packed(TM_BLOCK##pixels##_UNPACK) \
    "ldrd   r2, r3, [r1], #8\n"                   \
    "ldm    sp, {r10-r12}\n"                      \
    TM_BLOCK_REQUANT_##form(TM_BLOCK##pixels##_EVENS, "r11")     \
    "ldrd   r2, r3, [r1], #8\n"                   \
    "strb   r6, [r10, r12]\n"                     \
    TM_BLOCK##pixels##_STORE("r8")                \
    "strb   r4, [r10], #1\n"                      \
    TM_BLOCK_ODD_##form##_##packed(TM_BLOCK##pixels##_ODDS, "r11") \
    "strb   r7, [r10, r12]\n"                     \
    TM_BLOCK##pixels##_STORE("r9")                \
    "strb   r5, [r10], #1\n"

#if TM_DUAL_ISSUE
/* As with four pixels. */
#define TM_BLOCK3_HEAD_0(w, x, b0, b1) \
    "sxtb16 lr, " w "\n"               \
    x                                  \
    "sxtb16 " w ", " w ", ror #8\n"    \
    "smlad  r4, r10, lr, " b0 "\n"     \
    "smlad  r5, r10, " w ", " b1 "\n"
#define TM_BLOCK3_HEAD_1(w, x, b0, b1) \
    "sxtb16 lr, " w "\n"               \
    x                                  \
    "smlad  r5, r10, " w ", " b1 "\n"  \
    "smlad  r4, r10, lr, " b0 "\n"
#define TM_BLOCK3_FIRST(packed, b0, b1, b2, b3, b4, b5) \
    "ldrd   r10, r11, [r0], #8\n"      \
    TM_BLOCK3_HEAD_##packed("r2", "ldr r12, [r0], #4\n", b0, b1) \
    "ldr    r10, [r0], #4\n"           \
    "smlad  r7, r11, r2, " b3 "\n"     \
    "smlad  r6, r11, lr, " b2 "\n"     \
    "ldr    r11, [r0], #4\n"           \
    "smlad  r9, r12, r2, " b5 "\n"     \
    "ldr    r2, [r1], #4\n"            \
    "smlad  r8, r12, lr, " b4 "\n"     \
    "ldr    r12, [r0], #4\n"           \
    TM_BLOCK3_HEAD_##packed("r3", "", "r4", "r5") \
    "smlad  r7, r11, r3, r7\n"         \
    "smlad  r6, r11, lr, r6\n"         \
    "smlad  r9, r12, r3, r9\n"         \
    "ldr    r3, [r1], #4\n"            \
    "smlad  r8, r12, lr, r8\n"
#define TM_BLOCK3_GROUP(packed) TM_BLOCK3_FIRST(packed, "r4", "r5", "r6", "r7", "r8", "r9")
#define TM_BLOCK3_TWO_BIASES(packed)         \
    "ldrd   r8, r9, [r1], #8\n"              \
    "ldrd   r2, r3, [r1], #8\n"              \
    TM_BLOCK3_FIRST(packed, "r8", "r9", "r8", "r9", "r8", "r9")
#define TM_BLOCK3_ONE_BIAS(packed)           \
    "ldr    r8, [r1], #4\n"                  \
    "ldrd   r2, r3, [r1], #8\n"              \
    TM_BLOCK3_FIRST(packed, "r8", "r8", "r8", "r8", "r8", "r8")
#define TM_BLOCK3_AHEAD "sub    r1, #8\n"
#else
#define TM_BLOCK3_GROUP(packed) TM_BLOCK23_GROUP(3, packed)
#define TM_BLOCK3_AHEAD ""
/* The biases are in r8 and r9, or in r9 for both. */
#define TM_BLOCK3_TWO_BIASES(packed)         \
    "ldrd   r8, r9, [r1], #8\n"              \
    "ldrd   r2, r3, [r1], #8\n"              \
    TM_BLOCK23_STEP(3, packed, "r2", "r8", "r9", "r8", "r9", "r8", "r9") \
    TM_BLOCK23_NEXT(3, packed, "r3")
#define TM_BLOCK3_ONE_BIAS(packed)           \
    "ldr    r9, [r1], #4\n"                  \
    "ldrd   r2, r3, [r1], #8\n"              \
    TM_BLOCK23_STEP(3, packed, "r2", "r9", "r9", "r9", "r9", "r9", "r9") \
    TM_BLOCK23_NEXT(3, packed, "r3")
#endif
#define TM_BLOCK2_AHEAD ""
#define TM_BLOCK3_END(form, packed) TM_BLOCK23_END(3, form, packed)
#define TM_BLOCK2_GROUP(packed) TM_BLOCK23_GROUP(2, packed)
#define TM_BLOCK2_END(form, packed) TM_BLOCK23_END(2, form, packed)

/* The first group, by form and packed. */
#define TM_BLOCK_FIRST_1_0(pixels, packed) TM_BLOCK_FIRST_3_0(pixels, packed)
#define TM_BLOCK_FIRST_1_1(pixels, packed) TM_BLOCK_FIRST_3_1(pixels, packed)
#define TM_BLOCK_FIRST_3_0(pixels, packed) TM_BLOCK##pixels##_TWO_BIASES(packed)
#define TM_BLOCK_FIRST_3_1(pixels, packed) TM_BLOCK##pixels##_ONE_BIAS(packed)
#define TM_BLOCK_FIRST_4_0(pixels, packed) TM_BLOCK##pixels##_TWO_BIASES(packed)
#define TM_BLOCK_FIRST_4_1(pixels, packed) TM_BLOCK##pixels##_ONE_BIAS(packed)
#define TM_BLOCK_FIRST_2_2_0(pixels, packed) TM_BLOCK##pixels##_TWO_BIASES(packed)
#define TM_BLOCK_FIRST_2_2_1(pixels, packed) TM_BLOCK##pixels##_TWO_BIASES(packed)
#define TM_BLOCK_FIRST_2_4_0(pixels, packed) TM_BLOCK##pixels##_TWO_BIASES(packed)
#define TM_BLOCK_FIRST_2_4_1(pixels, packed) TM_BLOCK##pixels##_TWO_BIASES(packed)

/* Stack while running: [0] y, [4] zero point, [8] out_c, [12] 3 out_c, [16] column, [20] y past the last pair,
 * [24] end of the column, [28] where to enter the unrolled loop. With four pixels and a single rounding [4] is out_c.
 * Groups after the first run eight to a round; the first round is entered so that the rest are whole (Duff). Where
 * `rounds` is ONE it is the only one, and nothing asks for more.
 */
#define TM_BLOCK_Y_2 "r10"
#define TM_BLOCK_Y_3 "r10"
#define TM_BLOCK_Y_4 "r12"
#define TM_BLOCK_SECOND_2(form) "r5"
#define TM_BLOCK_SECOND_3(form) "r5"
#define TM_BLOCK_SECOND_4(form) TM_BLOCK_SECOND_4_##form
#define TM_BLOCK_SECOND_4_1 "r5"
#define TM_BLOCK_SECOND_4_3 "r5"
#define TM_BLOCK_SECOND_4_4 "r5"
#define TM_BLOCK_SECOND_4_2_2 "r4"
#define TM_BLOCK_SECOND_4_2_4 "r4"
/* Activations are loaded anew at the start of a group. */
#define TM_BLOCK_FREE_2 "r10"
#define TM_BLOCK_FREE_3 "r10"
#define TM_BLOCK_FREE_4 "r2"
#define TM_BLOCK_AGAIN_ONE(pixels) ""
#define TM_BLOCK_AGAIN_MANY(pixels)                         \
    "ldr    " TM_BLOCK_FREE_##pixels ", [sp, #24]\n"        \
    "cmp    r0, " TM_BLOCK_FREE_##pixels "\n"               \
    "bne    2b\n"
#define TM_BLOCK_BODY(pixels, form, packed, rounds)         \
    "push   {r4-r11, lr}\n"                                 \
    "sub    sp, #32\n"                                      \
    "ldrd   r4, r5, [sp, #68]\n" /* out_c, zero_point */    \
    "bic    r6, r4, #1\n"                                   \
    "add    r6, r2\n"                                       \
    "add    r7, r4, r4, lsl #1\n"                           \
    "strd   r2, " TM_BLOCK_SECOND_##pixels(form) ", [sp]\n" \
    "strd   r4, r7, [sp, #8]\n"                             \
    "strd   r0, r6, [sp, #16]\n"                            \
    "movs   r7, #8 * " #pixels "\n" /* of a group */        \
    "mla    r5, r3, r7, r0\n"                               \
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
    "strd   r5, r7, [sp, #24]\n"                            \
    "cmp    r4, #1\n"                                       \
    "ble    6f\n"                                           \
    "1:\n"                                                  \
    TM_BLOCK_FIRST_##form##_##packed(pixels, packed)        \
    "ldr    pc, [sp, #28]\n"                                \
    ".balign 4\n"                                           \
    "2:\n"                                                  \
    TM_BLOCK##pixels##_GROUP(packed)                        \
    ".balign 4\n"                                           \
    "3:\n"                                                  \
    ".rept  7\n"                                            \
    TM_BLOCK##pixels##_GROUP(packed)                        \
    ".endr\n"                                               \
    TM_BLOCK_AGAIN_##rounds(pixels)                         \
    ".balign 4\n"                                           \
    "5:\n"                                                  \
    TM_BLOCK##pixels##_END(form, packed)                    \
    "str    " TM_BLOCK_Y_##pixels ", [sp]\n"                \
    "ldrd   r0, r2, [sp, #16]\n"                            \
    "cmp    " TM_BLOCK_Y_##pixels ", r2\n"                  \
    "bne    1b\n"                                           \
    "6:\n"                                                  \
    "mov    r0, r1\n"                                       \
    "add    sp, #32\n"                                      \
    "pop    {r4-r11, pc}\n"
/* clang-format on */

#define TM_CONV_PAIRS_ASM(name, pixels, form, packed, rounds)                                         \
    TM_NAKED const int32_t *name(                                                                     \
        const int32_t *column __attribute__((unused)), const int32_t *stream __attribute__((unused)), \
        int8_t *y __attribute__((unused)), int32_t groups __attribute__((unused)),                    \
        int32_t out_c __attribute__((unused)), int32_t zero_point __attribute__((unused)))            \
    {                                                                                                 \
        __asm__ volatile(TM_BLOCK_BODY(pixels, form, packed, rounds));                                \
    }
#define TM_CONV_PAIRS(name, pixels, form, packed)             \
    TM_CONV_PAIRS_ASM(name##_dsp, pixels, form, packed, MANY) \
    TM_CONV_PAIRS_ASM(name##_short_dsp, pixels, form, packed, ONE)

#else

#define TM_CONV_PAIRS_C(name, pixels, form, packed)                                                        \
    TM_SHARED const int32_t *name(const int32_t *column, const int32_t *stream, int8_t *y, int32_t groups, \
                                  int32_t out_c, int32_t zero_point)                                       \
    {                                                                                                      \
        return tm_conv_pairs(TM_REQUANT_##form, packed, pixels, column, stream, y, groups, out_c,          \
                             zero_point);                                                                  \
    }
#define TM_CONV_PAIRS(name, pixels, form, packed)     \
    TM_CONV_PAIRS_C(name##_dsp, pixels, form, packed) \
    TM_CONV_PAIRS_C(name##_short_dsp, pixels, form, packed)

#endif

/* All pairs of output channels of a block, `groups` > 0; the short ones at most TM_SHORT_GROUPS. They return the
 * stream behind them.
 */
enum { TM_SHORT_GROUPS = 9 };
TM_CONV_PAIRS(tm_conv_pairs4_1, 4, 1, 0)
TM_CONV_PAIRS(tm_conv_pairs4_3, 4, 3, 0)
TM_CONV_PAIRS(tm_conv_pairs4_4, 4, 4, 0)
TM_CONV_PAIRS(tm_conv_pairs4_2_2, 4, 2_2, 0)
TM_CONV_PAIRS(tm_conv_pairs4_2_4, 4, 2_4, 0)
TM_CONV_PAIRS(tm_conv_packed_pairs4_1, 4, 1, 1)
TM_CONV_PAIRS(tm_conv_packed_pairs4_3, 4, 3, 1)
TM_CONV_PAIRS(tm_conv_packed_pairs4_4, 4, 4, 1)
TM_CONV_PAIRS(tm_conv_packed_pairs4_2_2, 4, 2_2, 1)
TM_CONV_PAIRS(tm_conv_packed_pairs4_2_4, 4, 2_4, 1)
TM_CONV_PAIRS(tm_conv_pairs3_1, 3, 1, 0)
TM_CONV_PAIRS(tm_conv_pairs3_3, 3, 3, 0)
TM_CONV_PAIRS(tm_conv_pairs3_4, 3, 4, 0)
TM_CONV_PAIRS(tm_conv_pairs3_2_2, 3, 2_2, 0)
TM_CONV_PAIRS(tm_conv_pairs3_2_4, 3, 2_4, 0)
TM_CONV_PAIRS(tm_conv_packed_pairs3_1, 3, 1, 1)
TM_CONV_PAIRS(tm_conv_packed_pairs3_3, 3, 3, 1)
TM_CONV_PAIRS(tm_conv_packed_pairs3_4, 3, 4, 1)
TM_CONV_PAIRS(tm_conv_packed_pairs3_2_2, 3, 2_2, 1)
TM_CONV_PAIRS(tm_conv_packed_pairs3_2_4, 3, 2_4, 1)
TM_CONV_PAIRS(tm_conv_pairs2_1, 2, 1, 0)
TM_CONV_PAIRS(tm_conv_pairs2_3, 2, 3, 0)
TM_CONV_PAIRS(tm_conv_pairs2_4, 2, 4, 0)
TM_CONV_PAIRS(tm_conv_pairs2_2_2, 2, 2_2, 0)
TM_CONV_PAIRS(tm_conv_pairs2_2_4, 2, 2_4, 0)
TM_CONV_PAIRS(tm_conv_packed_pairs2_1, 2, 1, 1)
TM_CONV_PAIRS(tm_conv_packed_pairs2_3, 2, 3, 1)
TM_CONV_PAIRS(tm_conv_packed_pairs2_4, 2, 4, 1)
TM_CONV_PAIRS(tm_conv_packed_pairs2_2_2, 2, 2_2, 1)
TM_CONV_PAIRS(tm_conv_packed_pairs2_2_4, 2, 2_4, 1)

/* With the form that is any: never packed (tinyml/kernels/dsp.py). */
#define TM_CONV_PAIRS_ANY(name, pixels)                                                                    \
    TM_SHARED const int32_t *name(const int32_t *column, const int32_t *stream, int8_t *y, int32_t groups, \
                                  int32_t out_c, int32_t zero_point)                                       \
    {                                                                                                      \
        return tm_conv_pairs(TM_REQUANT_ANY, 0, pixels, column, stream, y, groups, out_c, zero_point);     \
    }

TM_CONV_PAIRS_ANY(tm_conv_pairs4_any_dsp, 4)
TM_CONV_PAIRS_ANY(tm_conv_pairs3_any_dsp, 3)
TM_CONV_PAIRS_ANY(tm_conv_pairs2_any_dsp, 2)

#define TM_CONV_LAST(name, form)                                                                      \
    TM_SHARED void name(const int32_t *column, const int32_t *stream, int8_t *y, int32_t groups,      \
                        int32_t out_c, int32_t zero_point, int32_t pixels)                            \
    {                                                                                                 \
        for (int32_t p = 0; p < pixels; ++p, ++column, y += out_c) {                                  \
            y[out_c - 1] =                                                                            \
                tm_conv_single_1pixel(TM_REQUANT_##form, column, stream, groups, zero_point, pixels); \
        }                                                                                             \
    }

/* The last one of an odd number of output channels, for all pixels of a block. */
TM_CONV_LAST(tm_conv_last_1_dsp, 1)
TM_CONV_LAST(tm_conv_last_3_dsp, 3)
TM_CONV_LAST(tm_conv_last_4_dsp, 4)
TM_CONV_LAST(tm_conv_last_2_2_dsp, 2_2)
TM_CONV_LAST(tm_conv_last_2_4_dsp, 2_4)
TM_CONV_LAST(tm_conv_last_any_dsp, ANY)

#define TM_CONV_PIXEL(name, form, packed)                                                        \
    TM_SHARED void name(const int32_t *column, const int32_t *stream, int8_t *y, int32_t groups, \
                        int32_t out_c, int32_t zero_point)                                       \
    {                                                                                            \
        tm_conv_pixel(TM_REQUANT_##form, packed, column, stream, y, groups, out_c, zero_point);  \
    }

TM_CONV_PIXEL(tm_conv_pixel_1_dsp, 1, 0)
TM_CONV_PIXEL(tm_conv_pixel_3_dsp, 3, 0)
TM_CONV_PIXEL(tm_conv_pixel_4_dsp, 4, 0)
TM_CONV_PIXEL(tm_conv_pixel_2_2_dsp, 2_2, 0)
TM_CONV_PIXEL(tm_conv_pixel_2_4_dsp, 2_4, 0)
TM_CONV_PIXEL(tm_conv_packed_pixel_1_dsp, 1, 1)
TM_CONV_PIXEL(tm_conv_packed_pixel_3_dsp, 3, 1)
TM_CONV_PIXEL(tm_conv_packed_pixel_4_dsp, 4, 1)
TM_CONV_PIXEL(tm_conv_packed_pixel_2_2_dsp, 2_2, 1)
TM_CONV_PIXEL(tm_conv_packed_pixel_2_4_dsp, 2_4, 1)
TM_CONV_PIXEL(tm_conv_pixel_any_dsp, ANY, 0)

/* TM_REQUANT_CALL, or TM_REQUANT_1, of packed pairs or not, or the copy for any form. */
#define TM_CONV_CALL(pairs, form, packed, ...)                                                         \
    ((form) == TM_REQUANT_ANY             ? tm_conv_##pairs##_any_dsp(__VA_ARGS__)                     \
     : (form) == TM_REQUANT_1 && (packed) ? tm_conv_packed_##pairs##_1_dsp(__VA_ARGS__)                \
     : (form) == TM_REQUANT_1             ? tm_conv_##pairs##_1_dsp(__VA_ARGS__)                       \
     : (packed)                           ? TM_REQUANT_CALL(tm_conv_packed_##pairs, form, __VA_ARGS__) \
                                          : TM_REQUANT_CALL(tm_conv_##pairs, form, __VA_ARGS__))

/* The same of a block's pairs, which have copies for columns known to be short. */
#define TM_CONV_SHORT_CALL(pairs, form, packed, ...)                                              \
    ((form) == TM_REQUANT_1 && (packed)     ? tm_conv_packed_##pairs##_1_short_dsp(__VA_ARGS__)   \
     : (form) == TM_REQUANT_1               ? tm_conv_##pairs##_1_short_dsp(__VA_ARGS__)          \
     : (form) == TM_REQUANT_3 && (packed)   ? tm_conv_packed_##pairs##_3_short_dsp(__VA_ARGS__)   \
     : (form) == TM_REQUANT_3               ? tm_conv_##pairs##_3_short_dsp(__VA_ARGS__)          \
     : (form) == TM_REQUANT_4 && (packed)   ? tm_conv_packed_##pairs##_4_short_dsp(__VA_ARGS__)   \
     : (form) == TM_REQUANT_4               ? tm_conv_##pairs##_4_short_dsp(__VA_ARGS__)          \
     : (form) == TM_REQUANT_2_2 && (packed) ? tm_conv_packed_##pairs##_2_2_short_dsp(__VA_ARGS__) \
     : (form) == TM_REQUANT_2_2             ? tm_conv_##pairs##_2_2_short_dsp(__VA_ARGS__)        \
     : (packed)                             ? tm_conv_packed_##pairs##_2_4_short_dsp(__VA_ARGS__) \
                                            : tm_conv_##pairs##_2_4_short_dsp(__VA_ARGS__))
#define TM_CONV_PAIRS_CALL(pairs, form, packed, groups, ...)              \
    (TM_CONSTANT((groups) <= TM_SHORT_GROUPS && (form) != TM_REQUANT_ANY) \
         ? TM_CONV_SHORT_CALL(pairs, form, packed, __VA_ARGS__)           \
         : TM_CONV_CALL(pairs, form, packed, __VA_ARGS__))

/* The same for the last channel, whose weights are never packed. */
#define TM_CONV_LAST_CALL(form, ...)                              \
    ((form) == TM_REQUANT_ANY ? tm_conv_last_any_dsp(__VA_ARGS__) \
     : (form) == TM_REQUANT_1 ? tm_conv_last_1_dsp(__VA_ARGS__)   \
                              : TM_REQUANT_CALL(tm_conv_last, form, __VA_ARGS__))

/* All output channels of a block of 1 to 4 pixels whose activations are in the column; y is [pixels][out_c].
 * `form`, `packed` and `pixels` must be constants: only the loops they name are compiled in.
 */
TM_INLINE void tm_conv_block(int32_t form, int32_t packed, int32_t pixels, const int32_t *column,
                             const int32_t *stream, int8_t *y, int32_t groups, int32_t out_c,
                             int32_t zero_point)
{
    if (pixels == 1) {
        TM_CONV_CALL(pixel, form, packed, column, stream, y, groups, out_c, zero_point);
        return;
    }
    if (pixels == 4) {
        stream =
            TM_CONV_PAIRS_CALL(pairs4, form, packed, groups, column, stream, y, groups, out_c, zero_point);
    } else if (pixels == 3) {
        stream =
            TM_CONV_PAIRS_CALL(pairs3, form, packed, groups, column, stream, y, groups, out_c, zero_point);
    } else {
        stream =
            TM_CONV_PAIRS_CALL(pairs2, form, packed, groups, column, stream, y, groups, out_c, zero_point);
    }
    if (out_c & 1) {
        TM_CONV_LAST_CALL(form, column, stream, y, groups, out_c, zero_point, pixels);
    }
}

#endif
