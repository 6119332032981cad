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
 * channel 1 (tm_unpack_odd), and bias1 follows the weights: only one SXTB16 per word.
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

/* Two output channels of one pixel; returns the stream behind them. */
TM_INLINE const int32_t *tm_conv_pair_1pixel(int32_t form, int32_t packed, const int32_t *column,
                                             const int32_t *stream, int8_t *y, int32_t groups,
                                             int32_t zero_point)
{
    int32_t acc0 = stream[0];
    int32_t acc1 = stream[packed ? 0 : 1];
    stream += packed ? 1 : 2;
    TM_UNROLL_4
    for (int32_t g = 0; g < groups; ++g, stream += 2, column += 2) {
        acc0 = tm_smlad(column[0], tm_sxtb16(stream[0]), acc0);
        acc1 = tm_smlad(column[0], packed ? stream[0] : tm_sxtb16_ror8(stream[0]), acc1);
        acc0 = tm_smlad(column[1], tm_sxtb16(stream[1]), acc0);
        acc1 = tm_smlad(column[1], packed ? stream[1] : tm_sxtb16_ror8(stream[1]), acc1);
    }
    if (packed) {
        acc1 = tm_unpack_odd(acc1, acc0, *stream++);
    }
    y[0] = tm_requant_dsp(form, acc0, stream[0], stream[1], zero_point);
    y[1] = tm_requant_dsp(form, acc1, stream[2], stream[3], zero_point);
    return stream + 4;
}

/* Four output channels of one pixel, which load its activations once; returns the stream behind them. */
TM_INLINE const int32_t *tm_conv_quad_1pixel(int32_t form, int32_t packed, const int32_t *column,
                                             const int32_t *stream, int8_t *y, int32_t groups,
                                             int32_t zero_point)
{
    const int32_t *second = stream + 2 * groups + 6; /* words of a pair, packed or not */
    int32_t acc0 = stream[0];
    int32_t acc1 = stream[packed ? 0 : 1];
    int32_t acc2 = second[0];
    int32_t acc3 = second[packed ? 0 : 1];
    stream += packed ? 1 : 2;
    second += packed ? 1 : 2;
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
    if (packed) {
        acc1 = tm_unpack_odd(acc1, acc0, *stream++);
        acc3 = tm_unpack_odd(acc3, acc2, *second++);
    }
    y[0] = tm_requant_dsp(form, acc0, stream[0], stream[1], zero_point);
    y[1] = tm_requant_dsp(form, acc1, stream[2], stream[3], zero_point);
    y[2] = tm_requant_dsp(form, acc2, second[0], second[1], zero_point);
    y[3] = tm_requant_dsp(form, acc3, second[2], second[3], zero_point);
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
        int32_t b0 = stream[packed ? 0 : 1], b1 = b0, b2 = b0, b3 = b0;
        stream += packed ? 1 : 2;
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
        if (packed) {
            b0 = tm_unpack_odd(b0, a0, stream[0]);
            b1 = tm_unpack_odd(b1, a1, stream[0]);
            b2 = tm_unpack_odd(b2, a2, stream[0]);
            b3 = tm_unpack_odd(b3, a3, stream[0]);
            ++stream;
        }
        y[0] = tm_requant_dsp(form, a0, stream[0], stream[1], zero_point);
        y[1] = tm_requant_dsp(form, b0, stream[2], stream[3], zero_point);
        y[out_c] = tm_requant_dsp(form, a1, stream[0], stream[1], zero_point);
        y[out_c + 1] = tm_requant_dsp(form, b1, stream[2], stream[3], zero_point);
        if (pixels > 2) {
            y[2 * out_c] = tm_requant_dsp(form, a2, stream[0], stream[1], zero_point);
            y[2 * out_c + 1] = tm_requant_dsp(form, b2, stream[2], stream[3], zero_point);
        }
        if (pixels > 3) {
            y[3 * out_c] = tm_requant_dsp(form, a3, stream[0], stream[1], zero_point);
            y[3 * out_c + 1] = tm_requant_dsp(form, b3, stream[2], stream[3], zero_point);
        }
        stream += 4;
    }
    return stream;
}

#if TM_DSP_ASM

#define TM_BLOCK_REQUANT_3(acc, zero_point)         \
    "smmlar " acc ", " acc ", r2, " acc "\n"        \
    "smmlar " acc ", " acc ", r3, " zero_point "\n" \
    "ssat   " acc ", #8, " acc "\n"
#define TM_BLOCK_REQUANT_1(acc, zero_point)         \
    "smmla  " acc ", " acc ", r2, " acc "\n"        \
    "smmlar " acc ", " acc ", r3, " zero_point "\n" \
    "ssat   " acc ", #8, " acc "\n"
#define TM_BLOCK_REQUANT_4(acc, zero_point)         \
    "smmlar " acc ", " acc ", r2, " acc "\n"        \
    "add    " acc ", " acc ", " acc ", asr #31\n"   \
    "smmlsr " acc ", " acc ", r3, " zero_point "\n" \
    "ssat   " acc ", #8, " acc "\n"

/* Four pixels. One step: a weight word for two channels, a halfword pair of each pixel. r0 column, r1 stream,
 * r4..r11 accumulators (even: channel 0, odd: channel 1), r12 and lr weights.
 */
#define TM_BLOCK4_LOAD_0        \
    "ldr    r12, [r1], #4\n"    \
    "ldrd   r2, r3, [r0], #8\n" \
    "sxtb16 lr, r12\n"          \
    "sxtb16 r12, r12, ror #8\n"
#define TM_BLOCK4_LOAD_1        \
    "ldr    r12, [r1], #4\n"    \
    "ldrd   r2, r3, [r0], #8\n" \
    "sxtb16 lr, r12\n"
/* clang-format off */
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
#define TM_BLOCK4_FIRST_0     \
    "ldrd   r10, r11, [r1], #8\n" \
    TM_BLOCK4_STEP(0, "r10", "r11", "r10", "r11", "r10", "r11", "r10", "r11") \
    TM_BLOCK4_NEXT(0)
#define TM_BLOCK4_FIRST_1     \
    "ldr    r11, [r1], #4\n"  \
    TM_BLOCK4_STEP(1, "r11", "r11", "r11", "r11", "r11", "r11", "r11", "r11") \
    TM_BLOCK4_NEXT(1)
/* Before the requantisation: tm_unpack_odd. */
#define TM_BLOCK4_UNPACK_0 ""
#define TM_BLOCK4_UNPACK_1        \
    "ldr    r2, [r1], #4\n"       \
    "sub    r5, r4\n"             \
    "sub    r7, r6\n"             \
    "sub    r9, r8\n"             \
    "sub    r11, r10\n"           \
    "add    r5, r2, r5, asr #8\n" \
    "add    r7, r2, r7, asr #8\n" \
    "add    r9, r2, r9, asr #8\n" \
    "add    r11, r2, r11, asr #8\n"
/* Requantise an accumulator and store it; r12 + `where` is its place. */
#define TM_BLOCK4_STORE(REQUANT, acc, where) REQUANT(acc, "lr") "strb   " acc ", [r12" where "]\n"
#define TM_BLOCK4_END(REQUANT, packed)            \
    TM_BLOCK4_UNPACK_##packed                     \
    "ldrd   r2, r3, [r1], #8\n"                   \
    "ldrd   r12, lr, [sp]\n"                      \
    TM_BLOCK4_STORE(REQUANT, "r4", "")            \
    "ldr    r4, [sp, #8]\n"                       \
    TM_BLOCK4_STORE(REQUANT, "r6", ", r4")        \
    TM_BLOCK4_STORE(REQUANT, "r8", ", r4, lsl #1") \
    "add    r6, r4, r4, lsl #1\n"                 \
    TM_BLOCK4_STORE(REQUANT, "r10", ", r6")       \
    "add    r12, #1\n"                            \
    "ldrd   r2, r3, [r1], #8\n"                   \
    TM_BLOCK4_STORE(REQUANT, "r5", "")            \
    TM_BLOCK4_STORE(REQUANT, "r7", ", r4")        \
    TM_BLOCK4_STORE(REQUANT, "r9", ", r4, lsl #1") \
    TM_BLOCK4_STORE(REQUANT, "r11", ", r6")       \
    "add    r12, #1\n"

/* Three pixels. r4..r9 accumulators, r10..r12 activations, r2, r3 and lr weights: two steps' at a time. */
#define TM_BLOCK3_X "ldm    r0!, {r10-r12}\n"
#define TM_BLOCK3_LAST(w, b4, b5) \
    "smlad  r8, r12, lr, " b4 "\n" \
    "smlad  r9, r12, " w ", " b5 "\n"
#define TM_BLOCK3_UNPACK  \
    "sub    r9, r8\n"     \
    "add    r9, r2, r9, asr #8\n"
#define TM_BLOCK3_STORE(REQUANT, acc) REQUANT(acc, "r11") "strb   " acc ", [r10, r12, lsl #1]\n"

/* Two pixels: the same without the last. */
#define TM_BLOCK2_X "ldrd   r10, r11, [r0], #8\n"
#define TM_BLOCK2_LAST(w, b4, b5) ""
#define TM_BLOCK2_UNPACK ""
#define TM_BLOCK2_STORE(REQUANT, acc) ""

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
/* The biases are in r8 and r9, or in r9 for both; with two pixels in r6 and r7. */
#define TM_BLOCK3_BIAS_0 "ldrd   r8, r9, [r1], #8\n"
#define TM_BLOCK3_BIAS_1 "ldr    r9, [r1], #4\n"
#define TM_BLOCK2_BIAS_0 "ldrd   r6, r7, [r1], #8\n"
#define TM_BLOCK2_BIAS_1 "ldr    r7, [r1], #4\n"
#define TM_BLOCK3_FIRST_0 TM_BLOCK23_STEP(3, 0, "r2", "r8", "r9", "r8", "r9", "r8", "r9")
#define TM_BLOCK3_FIRST_1 TM_BLOCK23_STEP(3, 1, "r2", "r9", "r9", "r9", "r9", "r9", "r9")
#define TM_BLOCK2_FIRST_0 TM_BLOCK23_STEP(2, 0, "r2", "r6", "r7", "r6", "r7", "", "")
#define TM_BLOCK2_FIRST_1 TM_BLOCK23_STEP(2, 1, "r2", "r7", "r7", "r7", "r7", "", "")
#define TM_BLOCK23_FIRST(pixels, packed)     \
    TM_BLOCK##pixels##_BIAS_##packed         \
    "ldrd   r2, r3, [r1], #8\n"              \
    TM_BLOCK##pixels##_FIRST_##packed        \
    TM_BLOCK23_NEXT(pixels, packed, "r3")
#define TM_BLOCK23_UNPACK_0(pixels) ""
#define TM_BLOCK23_UNPACK_1(pixels) \
    "ldr    r2, [r1], #4\n"         \
    "sub    r5, r4\n"               \
    "sub    r7, r6\n"               \
    "add    r5, r2, r5, asr #8\n"   \
    "add    r7, r2, r7, asr #8\n"   \
    TM_BLOCK##pixels##_UNPACK
#define TM_BLOCK23_STORE(REQUANT, acc, where) REQUANT(acc, "r11") "strb   " acc ", [r10" where "]\n"
#define TM_BLOCK23_END(pixels, REQUANT, packed)   \
    TM_BLOCK23_UNPACK_##packed(pixels)            \
    "ldrd   r2, r3, [r1], #8\n"                   \
    "ldm    sp, {r10-r12}\n"                      \
    TM_BLOCK23_STORE(REQUANT, "r4", "")           \
    TM_BLOCK23_STORE(REQUANT, "r6", ", r12")      \
    TM_BLOCK##pixels##_STORE(REQUANT, "r8")       \
    "add    r10, #1\n"                            \
    "ldrd   r2, r3, [r1], #8\n"                   \
    TM_BLOCK23_STORE(REQUANT, "r5", "")           \
    TM_BLOCK23_STORE(REQUANT, "r7", ", r12")      \
    TM_BLOCK##pixels##_STORE(REQUANT, "r9")       \
    "add    r12, r10, #1\n"

#define TM_BLOCK3_FIRST(packed) TM_BLOCK23_FIRST(3, packed)
#define TM_BLOCK3_GROUP(packed) TM_BLOCK23_GROUP(3, packed)
#define TM_BLOCK3_END(REQUANT, packed) TM_BLOCK23_END(3, REQUANT, packed)
#define TM_BLOCK2_FIRST(packed) TM_BLOCK23_FIRST(2, packed)
#define TM_BLOCK2_GROUP(packed) TM_BLOCK23_GROUP(2, packed)
#define TM_BLOCK2_END(REQUANT, packed) TM_BLOCK23_END(2, REQUANT, packed)
#define TM_BLOCK4_FIRST(packed) TM_BLOCK4_FIRST_##packed

/* Stack while running: [0] y, [4] zero point, [8] out_c, [12] column, [16] y past the last pair, [20] end of the
 * column, [24] where to enter the unrolled loop. Groups after the first run eight to a round; the first round is
 * entered so that the rest are whole (Duff).
 */
#define TM_BLOCK_BODY(pixels, REQUANT, packed)              \
    "push   {r4-r11, lr}\n"                                 \
    "sub    sp, #28\n"                                      \
    "ldrd   r4, r5, [sp, #64]\n" /* out_c, zero_point */    \
    "bic    r6, r4, #1\n"                                   \
    "add    r6, r2\n"                                       \
    "strd   r2, r5, [sp]\n"                                 \
    "strd   r4, r0, [sp, #8]\n"                             \
    "movs   r7, #8 * " #pixels "\n" /* of a group */        \
    "mla    r7, r3, r7, r0\n"                               \
    "strd   r6, r7, [sp, #16]\n"                            \
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
    "str    r7, [sp, #24]\n"                                \
    "cmp    r4, #1\n"                                       \
    "ble    6f\n"                                           \
    "1:\n"                                                  \
    TM_BLOCK##pixels##_FIRST(packed)                        \
    "ldr    pc, [sp, #24]\n"                                \
    ".balign 4\n"                                           \
    "2:\n"                                                  \
    TM_BLOCK##pixels##_GROUP(packed)                        \
    ".balign 4\n"                                           \
    "3:\n"                                                  \
    ".rept  7\n"                                            \
    TM_BLOCK##pixels##_GROUP(packed)                        \
    ".endr\n"                                               \
    "ldr    r2, [sp, #20]\n"                                \
    "cmp    r0, r2\n"                                       \
    "bne    2b\n"                                           \
    ".balign 4\n"                                           \
    "5:\n"                                                  \
    TM_BLOCK##pixels##_END(REQUANT, packed)                 \
    "str    r12, [sp]\n"                                    \
    "ldrd   r0, r2, [sp, #12]\n"                            \
    "cmp    r12, r2\n"                                      \
    "bne    1b\n"                                           \
    "6:\n"                                                  \
    "mov    r0, r1\n"                                       \
    "add    sp, #28\n"                                      \
    "pop    {r4-r11, pc}\n"
/* clang-format on */

#define TM_CONV_PAIRS(name, pixels, form, packed)                                                     \
    TM_NAKED const int32_t *name(                                                                     \
        const int32_t *column __attribute__((unused)), const int32_t *stream __attribute__((unused)), \
        int8_t *y __attribute__((unused)), int32_t groups __attribute__((unused)),                    \
        int32_t out_c __attribute__((unused)), int32_t zero_point __attribute__((unused)))            \
    {                                                                                                 \
        __asm__ volatile(TM_BLOCK_BODY(pixels, TM_BLOCK_REQUANT_##form, packed));                     \
    }

#else

#define TM_CONV_PAIRS(name, pixels, form, packed)                                                          \
    TM_SHARED const int32_t *name(const int32_t *column, const int32_t *stream, int8_t *y, int32_t groups, \
                                  int32_t out_c, int32_t zero_point)                                       \
    {                                                                                                      \
        return tm_conv_pairs(TM_REQUANT_##form, packed, pixels, column, stream, y, groups, out_c,          \
                             zero_point);                                                                  \
    }

#endif

/* All pairs of output channels of a block, `groups` > 0; they return the stream behind them. */
TM_CONV_PAIRS(tm_conv_pairs4_3_dsp, 4, 3, 0)
TM_CONV_PAIRS(tm_conv_pairs4_4_dsp, 4, 4, 0)
TM_CONV_PAIRS(tm_conv_packed_pairs4_3_dsp, 4, 3, 1)
TM_CONV_PAIRS(tm_conv_packed_pairs4_4_dsp, 4, 4, 1)
TM_CONV_PAIRS(tm_conv_pairs3_3_dsp, 3, 3, 0)
TM_CONV_PAIRS(tm_conv_pairs3_4_dsp, 3, 4, 0)
TM_CONV_PAIRS(tm_conv_packed_pairs3_3_dsp, 3, 3, 1)
TM_CONV_PAIRS(tm_conv_packed_pairs3_4_dsp, 3, 4, 1)
TM_CONV_PAIRS(tm_conv_pairs2_3_dsp, 2, 3, 0)
TM_CONV_PAIRS(tm_conv_pairs2_4_dsp, 2, 4, 0)
TM_CONV_PAIRS(tm_conv_packed_pairs2_3_dsp, 2, 3, 1)
TM_CONV_PAIRS(tm_conv_packed_pairs2_4_dsp, 2, 4, 1)
TM_CONV_PAIRS(tm_conv_pairs4_1_dsp, 4, 1, 0)
TM_CONV_PAIRS(tm_conv_pairs3_1_dsp, 3, 1, 0)
TM_CONV_PAIRS(tm_conv_pairs2_1_dsp, 2, 1, 0)
TM_CONV_PAIRS(tm_conv_packed_pairs4_1_dsp, 4, 1, 1)
TM_CONV_PAIRS(tm_conv_packed_pairs3_1_dsp, 3, 1, 1)
TM_CONV_PAIRS(tm_conv_packed_pairs2_1_dsp, 2, 1, 1)

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
TM_CONV_PIXEL(tm_conv_pixel_any_dsp, ANY, 0)
TM_CONV_PIXEL(tm_conv_packed_pixel_1_dsp, 1, 1)
TM_CONV_PIXEL(tm_conv_packed_pixel_3_dsp, 3, 1)
TM_CONV_PIXEL(tm_conv_packed_pixel_4_dsp, 4, 1)

/* Call name##_1_dsp, name##_3_dsp or name##_4_dsp, of packed pairs or not, or name##_any_dsp. */
#define TM_CONV_CALL(pairs, form, packed, ...)                                          \
    ((form) == TM_REQUANT_1 && (packed)   ? tm_conv_packed_##pairs##_1_dsp(__VA_ARGS__) \
     : (form) == TM_REQUANT_1             ? tm_conv_##pairs##_1_dsp(__VA_ARGS__)        \
     : (form) == TM_REQUANT_3 && (packed) ? tm_conv_packed_##pairs##_3_dsp(__VA_ARGS__) \
     : (form) == TM_REQUANT_3             ? tm_conv_##pairs##_3_dsp(__VA_ARGS__)        \
     : (form) == TM_REQUANT_4 && (packed) ? tm_conv_packed_##pairs##_4_dsp(__VA_ARGS__) \
     : (form) == TM_REQUANT_4             ? tm_conv_##pairs##_4_dsp(__VA_ARGS__)        \
                                          : tm_conv_##pairs##_any_dsp(__VA_ARGS__))

/* The same for the last channel, whose weights are never packed. */
#define TM_CONV_LAST_CALL(form, ...)                            \
    ((form) == TM_REQUANT_1   ? tm_conv_last_1_dsp(__VA_ARGS__) \
     : (form) == TM_REQUANT_3 ? tm_conv_last_3_dsp(__VA_ARGS__) \
     : (form) == TM_REQUANT_4 ? tm_conv_last_4_dsp(__VA_ARGS__) \
                              : tm_conv_last_any_dsp(__VA_ARGS__))

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
        stream = TM_CONV_CALL(pairs4, form, packed, column, stream, y, groups, out_c, zero_point);
    } else if (pixels == 3) {
        stream = TM_CONV_CALL(pairs3, form, packed, column, stream, y, groups, out_c, zero_point);
    } else {
        stream = TM_CONV_CALL(pairs2, form, packed, column, stream, y, groups, out_c, zero_point);
    }
    if (out_c & 1) {
        TM_CONV_LAST_CALL(form, column, stream, y, groups, out_c, zero_point, pixels);
    }
}

#endif
