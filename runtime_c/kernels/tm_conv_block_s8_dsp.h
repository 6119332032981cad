/* tm_conv_block_s8_dsp: the core that every convolution shares: 4 pixels x all output channels.
 *
 *   column  int32 [2 groups][4]   activations: step k holds, for each of the 4 pixels, the halfword pair
 *                                 (x[4g], x[4g+2]) for k = 2g and (x[4g+1], x[4g+3]) for k = 2g + 1
 *   stream  int32 []              weights, biases and requantisation, see below
 *   y       int8  [4][out_c]      output pixels
 *
 * A pixel's `4 * groups` activations (K of the layer, rounded up to 4; the surplus meets zero weights)
 * are widened to int16 once and then serve all output channels: 8 * K bytes of scratch. For a
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
 * Source    tm_conv_block4_*: two channels by four pixels fill the register file: 8 accumulators,
 *           2 weights, 2 activations, 2 pointers.
 */
#ifndef TM_CONV_BLOCK_S8_DSP_H
#define TM_CONV_BLOCK_S8_DSP_H

#include "tm_dsp.h"

/* Four bytes of one pixel into its place in the column. */
TM_INLINE void tm_column_put(int32_t *column, int32_t word)
{
    column[0] = tm_sxtb16(word);
    column[4] = tm_sxtb16_ror8(word);
}

/* n bytes of one pixel into the column; the last group is filled up with zeros. */
TM_SHARED void tm_column_pixel_dsp(const int8_t *x, int32_t *column, int32_t n)
{
    for (; n >= 4; n -= 4, x += 4, column += 8) {
        tm_column_put(column, tm_load4(x));
    }
    if (n > 0) {
        tm_column_put(column, tm_load_tail(x, n));
    }
}

#if TM_DSP_ASM

/* 4 * groups bytes (groups > 0) of four pixels, `pitch` bytes apart, into the column. */
TM_NAKED void tm_column_4pixels_dsp(const int8_t *x __attribute__((unused)),
                                    int32_t *column __attribute__((unused)),
                                    int32_t groups __attribute__((unused)),
                                    int32_t pitch __attribute__((unused)))
{
    __asm__ volatile("push   {r4-r11, lr}\n"
                     "add    r12, r3, r3, lsl #1\n"
                     "add    r12, r0\n" /* the fourth pixel */
                     "1:\n"
                     "ldr    r5, [r0, r3]\n"
                     "ldr    r6, [r0, r3, lsl #1]\n"
                     "ldr    r4, [r0], #4\n"
                     "ldr    r7, [r12], #4\n"
                     "sxtb16 r8, r4\n"
                     "sxtb16 r9, r5\n"
                     "sxtb16 r10, r6\n"
                     "sxtb16 r11, r7\n"
                     "stmia  r1!, {r8-r11}\n"
                     "sxtb16 r4, r4, ror #8\n"
                     "sxtb16 r5, r5, ror #8\n"
                     "sxtb16 r6, r6, ror #8\n"
                     "sxtb16 r7, r7, ror #8\n"
                     "stmia  r1!, {r4-r7}\n"
                     "subs   r2, #1\n"
                     "bne    1b\n"
                     "pop    {r4-r11, pc}\n");
}

#else

/* 4 * groups bytes (groups > 0) of four pixels, `pitch` bytes apart, into the column. */
TM_SHARED void tm_column_4pixels_dsp(const int8_t *x, int32_t *column, int32_t groups, int32_t pitch)
{
    for (int32_t g = 0; g < groups; ++g, x += 4, column += 8) {
        tm_column_put(column, tm_load4(x));
        tm_column_put(column + 1, tm_load4(x + pitch));
        tm_column_put(column + 2, tm_load4(x + 2 * pitch));
        tm_column_put(column + 3, tm_load4(x + 3 * pitch));
    }
}

#endif

/* Two output channels of one pixel; returns the stream behind them. */
TM_INLINE const int32_t *tm_conv_pair_1pixel(int32_t form, int32_t packed, const int32_t *column,
                                             const int32_t *stream, int8_t *y, int32_t groups,
                                             int32_t zero_point)
{
    int32_t acc0 = stream[0];
    int32_t acc1 = stream[packed ? 0 : 1];
    stream += packed ? 1 : 2;
    TM_UNROLL_4
    for (int32_t g = 0; g < groups; ++g, stream += 2, column += 8) {
        acc0 = tm_smlad(column[0], tm_sxtb16(stream[0]), acc0);
        acc1 = tm_smlad(column[0], packed ? stream[0] : tm_sxtb16_ror8(stream[0]), acc1);
        acc0 = tm_smlad(column[4], tm_sxtb16(stream[1]), acc0);
        acc1 = tm_smlad(column[4], packed ? stream[1] : tm_sxtb16_ror8(stream[1]), acc1);
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
    for (int32_t k = 2 * groups; k > 0; --k, column += 4) {
        const int32_t x = column[0];
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

/* One output channel of one pixel: the last one of an odd number of channels. */
TM_INLINE int8_t tm_conv_single_1pixel(int32_t form, const int32_t *column, const int32_t *stream,
                                       int32_t groups, int32_t zero_point)
{
    int32_t acc = *stream++;
    TM_UNROLL_4
    for (int32_t g = 0; g < groups; ++g, ++stream, column += 8) {
        acc = tm_smlad(column[0], tm_sxtb16(stream[0]), acc);
        acc = tm_smlad(column[4], tm_sxtb16_ror8(stream[0]), acc);
    }
    return tm_requant_dsp(form, acc, stream[0], stream[1], zero_point);
}

/* All output channels of one pixel; `column` points at the pixel's place in step 0. */
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
        y[c] = tm_conv_single_1pixel(form, column, stream, groups, zero_point);
    }
}

/* All pairs of output channels of four pixels; returns the stream behind them. */
TM_INLINE const int32_t *tm_conv_pairs_4pixels(int32_t form, int32_t packed, const int32_t *column,
                                               const int32_t *stream, int8_t *y, int32_t groups,
                                               int32_t out_c, int32_t zero_point)
{
    for (int32_t c = 0; c + 2 <= out_c; c += 2, y += 2) {
        const int32_t *x = column;
        int32_t a0 = stream[0], a1 = a0, a2 = a0, a3 = a0;
        int32_t b0 = stream[packed ? 0 : 1], b1 = b0, b2 = b0, b3 = b0;
        stream += packed ? 1 : 2;
        for (int32_t g = 0; g < groups; ++g) {
            for (int32_t half = 0; half < 2; ++half, x += 4) {
                const int32_t word = *stream++;
                const int32_t w0 = tm_sxtb16(word);
                const int32_t w1 = packed ? word : tm_sxtb16_ror8(word);
                a0 = tm_smlad(x[0], w0, a0);
                b0 = tm_smlad(x[0], w1, b0);
                a1 = tm_smlad(x[1], w0, a1);
                b1 = tm_smlad(x[1], w1, b1);
                a2 = tm_smlad(x[2], w0, a2);
                b2 = tm_smlad(x[2], w1, b2);
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
        y[out_c] = tm_requant_dsp(form, a1, stream[0], stream[1], zero_point);
        y[2 * out_c] = tm_requant_dsp(form, a2, stream[0], stream[1], zero_point);
        y[3 * out_c] = tm_requant_dsp(form, a3, stream[0], stream[1], zero_point);
        y[1] = tm_requant_dsp(form, b0, stream[2], stream[3], zero_point);
        y[out_c + 1] = tm_requant_dsp(form, b1, stream[2], stream[3], zero_point);
        y[2 * out_c + 1] = tm_requant_dsp(form, b2, stream[2], stream[3], zero_point);
        y[3 * out_c + 1] = tm_requant_dsp(form, b3, stream[2], stream[3], zero_point);
        stream += 4;
    }
    return stream;
}

#if TM_DSP_ASM

/* One step: a weight word for two channels, a halfword pair of each of four pixels. 16 MACs, 13
 * instructions, 12 with packed weights. r0 column, r1 stream, r4..r11 accumulators (even: channel 0, odd: channel 1).
 */
#define TM_BLOCK_LOAD_0         \
    "ldr    r12, [r1], #4\n"    \
    "ldrd   r2, r3, [r0], #8\n" \
    "sxtb16 lr, r12\n"          \
    "sxtb16 r12, r12, ror #8\n"
#define TM_BLOCK_LOAD_1         \
    "ldr    r12, [r1], #4\n"    \
    "ldrd   r2, r3, [r0], #8\n" \
    "sxtb16 lr, r12\n"
#define TM_BLOCK_STEP(packed)                          \
    TM_BLOCK_LOAD_##packed "smlad  r4, r2, lr, r4\n"   \
                           "smlad  r5, r2, r12, r5\n"  \
                           "smlad  r6, r3, lr, r6\n"   \
                           "smlad  r7, r3, r12, r7\n"  \
                           "ldrd   r2, r3, [r0], #8\n" \
                           "smlad  r8, r2, lr, r8\n"   \
                           "smlad  r9, r2, r12, r9\n"  \
                           "smlad  r10, r3, lr, r10\n" \
                           "smlad  r11, r3, r12, r11\n"
/* The first step starts from the biases: in r10 and r11, or in r11 for both. */
#define TM_BLOCK_FIRST(packed, bias0)                        \
    TM_BLOCK_LOAD_##packed "smlad  r4, r2, lr, " bias0 "\n"  \
                           "smlad  r5, r2, r12, r11\n"       \
                           "smlad  r6, r3, lr, " bias0 "\n"  \
                           "smlad  r7, r3, r12, r11\n"       \
                           "ldrd   r2, r3, [r0], #8\n"       \
                           "smlad  r8, r2, lr, " bias0 "\n"  \
                           "smlad  r9, r2, r12, r11\n"       \
                           "smlad  r10, r3, lr, " bias0 "\n" \
                           "smlad  r11, r3, r12, r11\n"
#define TM_BLOCK_START_0 "ldrd   r10, r11, [r1], #8\n" TM_BLOCK_FIRST(0, "r10")
#define TM_BLOCK_START_1 "ldr    r11, [r1], #4\n" TM_BLOCK_FIRST(1, "r11")
/* Before the requantisation: tm_unpack_odd. */
#define TM_BLOCK_UNPACK_0 ""
#define TM_BLOCK_UNPACK_1         \
    "ldr    r2, [r1], #4\n"       \
    "sub    r5, r4\n"             \
    "sub    r7, r6\n"             \
    "sub    r9, r8\n"             \
    "sub    r11, r10\n"           \
    "add    r5, r2, r5, asr #8\n" \
    "add    r7, r2, r7, asr #8\n" \
    "add    r9, r2, r9, asr #8\n" \
    "add    r11, r2, r11, asr #8\n"
#define TM_BLOCK_REQUANT_3(acc)              \
    "smmlar " acc ", " acc ", r2, " acc "\n" \
    "smmlar " acc ", " acc ", r3, lr\n"      \
    "ssat   " acc ", #8, " acc "\n"
#define TM_BLOCK_REQUANT_4(acc)                   \
    "smmlar " acc ", " acc ", r2, " acc "\n"      \
    "add    " acc ", " acc ", " acc ", asr #31\n" \
    "smmlsr " acc ", " acc ", r3, lr\n"           \
    "ssat   " acc ", #8, " acc "\n"

/* Requantise an accumulator and store it; r12 + `where` is its place. */
#define TM_BLOCK_STORE(REQUANT, acc, where) REQUANT(acc) "strb   " acc ", [r12" where "]\n"

/* Stack while running: [0] y, [4] zero point, [8] column, [12] y past the last pair, [16] end of the
 * column, [20] where to enter the unrolled loop, [24] out_c. Groups after the first run four to a
 * round; the first round is entered so that the rest are whole (Duff).
 */
/* clang-format off */
#define TM_BLOCK_BODY(REQUANT, packed)                         \
    "push   {r4-r11, lr}\n"                                 \
    "sub    sp, #28\n"                                      \
    "ldrd   r4, r5, [sp, #64]\n" /* out_c, zero_point */    \
    "strd   r2, r5, [sp]\n"                                 \
    "bic    r6, r4, #1\n"                                   \
    "add    r6, r2\n"                                       \
    "strd   r0, r6, [sp, #8]\n"                             \
    "add    r6, r0, r3, lsl #5\n"                           \
    "str    r6, [sp, #16]\n"                                \
    "str    r4, [sp, #24]\n"                                \
    "adr    r7, 5f\n"                                       \
    "subs   r6, r3, #1\n"                                   \
    "beq    9f\n"                                           \
    "adr    r7, 2f\n"                                       \
    "ands   r6, #3\n"                                       \
    "beq    9f\n"                                           \
    "rsb    r6, r6, #4\n"                                   \
    "adr    r8, 3f\n"                                       \
    "sub    r8, r7\n" /* code bytes of one group */         \
    "mla    r7, r6, r8, r7\n"                               \
    "9:\n"                                                  \
    "orr    r7, #1\n" /* Thumb */                           \
    "str    r7, [sp, #20]\n"                                \
    "cmp    r4, #1\n"                                       \
    "ble    6f\n"                                           \
    "1:\n"                                                  \
    TM_BLOCK_START_##packed                                 \
    TM_BLOCK_STEP(packed)                                   \
    "ldr    pc, [sp, #20]\n"                                \
    ".balign 4\n"                                           \
    "2:\n"                                                  \
    ".rept  2\n"                                            \
    TM_BLOCK_STEP(packed)                                   \
    ".endr\n"                                               \
    "3:\n"                                                  \
    ".rept  6\n"                                            \
    TM_BLOCK_STEP(packed)                                   \
    ".endr\n"                                               \
    "ldr    r2, [sp, #16]\n"                                \
    "cmp    r0, r2\n"                                       \
    "bne    2b\n"                                           \
    ".balign 4\n"                                           \
    "5:\n"                                                  \
    TM_BLOCK_UNPACK_##packed                                \
    "ldrd   r2, r3, [r1], #8\n"                             \
    "ldrd   r12, lr, [sp]\n"                                \
    TM_BLOCK_STORE(REQUANT, "r4", "")                       \
    "ldr    r4, [sp, #24]\n"                                \
    TM_BLOCK_STORE(REQUANT, "r6", ", r4")                   \
    TM_BLOCK_STORE(REQUANT, "r8", ", r4, lsl #1")           \
    "add    r6, r4, r4, lsl #1\n"                           \
    TM_BLOCK_STORE(REQUANT, "r10", ", r6")                  \
    "add    r12, #1\n"                                      \
    "ldrd   r2, r3, [r1], #8\n"                             \
    TM_BLOCK_STORE(REQUANT, "r5", "")                       \
    TM_BLOCK_STORE(REQUANT, "r7", ", r4")                   \
    TM_BLOCK_STORE(REQUANT, "r9", ", r4, lsl #1")           \
    TM_BLOCK_STORE(REQUANT, "r11", ", r6")                  \
    "add    r12, #1\n"                                      \
    "str    r12, [sp]\n"                                    \
    "ldrd   r0, r2, [sp, #8]\n"                             \
    "cmp    r12, r2\n"                                      \
    "bne    1b\n"                                           \
    "6:\n"                                                  \
    "mov    r0, r1\n"                                       \
    "add    sp, #28\n"                                      \
    "pop    {r4-r11, pc}\n"
/* clang-format on */

#define TM_CONV_PAIRS(name, form, packed)                                                             \
    TM_NAKED const int32_t *name(                                                                     \
        const int32_t *column __attribute__((unused)), const int32_t *stream __attribute__((unused)), \
        int8_t *y __attribute__((unused)), int32_t groups __attribute__((unused)),                    \
        int32_t out_c __attribute__((unused)), int32_t zero_point __attribute__((unused)))            \
    {                                                                                                 \
        __asm__ volatile(TM_BLOCK_BODY(TM_BLOCK_REQUANT_##form, packed));                             \
    }

#else

#define TM_CONV_PAIRS(name, form, packed)                                                                  \
    TM_SHARED const int32_t *name(const int32_t *column, const int32_t *stream, int8_t *y, int32_t groups, \
                                  int32_t out_c, int32_t zero_point)                                       \
    {                                                                                                      \
        return tm_conv_pairs_4pixels(TM_REQUANT_##form, packed, column, stream, y, groups, out_c,          \
                                     zero_point);                                                          \
    }

#endif

/* All pairs of output channels of four pixels; they return the stream behind them. */
TM_CONV_PAIRS(tm_conv_pairs_3_dsp, 3, 0)
TM_CONV_PAIRS(tm_conv_pairs_4_dsp, 4, 0)
TM_CONV_PAIRS(tm_conv_packed_pairs_3_dsp, 3, 1)
TM_CONV_PAIRS(tm_conv_packed_pairs_4_dsp, 4, 1)

/* With the form that is any: never packed (tinyml/kernels/dsp.py). */
TM_SHARED const int32_t *tm_conv_pairs_any_dsp(const int32_t *column, const int32_t *stream, int8_t *y,
                                               int32_t groups, int32_t out_c, int32_t zero_point)
{
    return tm_conv_pairs_4pixels(TM_REQUANT_ANY, 0, column, stream, y, groups, out_c, zero_point);
}

#define TM_CONV_PIXEL(name, form, packed)                                                        \
    TM_SHARED void name(const int32_t *column, const int32_t *stream, int8_t *y, int32_t groups, \
                        int32_t out_c, int32_t zero_point)                                       \
    {                                                                                            \
        tm_conv_pixel(TM_REQUANT_##form, packed, column, stream, y, groups, out_c, zero_point);  \
    }

TM_CONV_PIXEL(tm_conv_pixel_3_dsp, 3, 0)
TM_CONV_PIXEL(tm_conv_pixel_4_dsp, 4, 0)
TM_CONV_PIXEL(tm_conv_pixel_any_dsp, ANY, 0)
TM_CONV_PIXEL(tm_conv_packed_pixel_3_dsp, 3, 1)
TM_CONV_PIXEL(tm_conv_packed_pixel_4_dsp, 4, 1)

/* All output channels of `pixels` pixels (1 to 4) whose activations are in the column; y is
 * [pixels][out_c]. `form` and `packed` must be constants: only the loops they name are compiled in.
 */
TM_INLINE void tm_conv_block(int32_t form, int32_t packed, int32_t pixels, const int32_t *column,
                             const int32_t *stream, int8_t *y, int32_t groups, int32_t out_c,
                             int32_t zero_point)
{
    if (pixels < 4) {
        /* A whole block costs as much as three pixels alone; most rows end in one. */
        for (int32_t p = 0; p < pixels; ++p, ++column, y += out_c) {
            if (form == TM_REQUANT_3 && packed) {
                tm_conv_packed_pixel_3_dsp(column, stream, y, groups, out_c, zero_point);
            } else if (form == TM_REQUANT_3) {
                tm_conv_pixel_3_dsp(column, stream, y, groups, out_c, zero_point);
            } else if (form == TM_REQUANT_4 && packed) {
                tm_conv_packed_pixel_4_dsp(column, stream, y, groups, out_c, zero_point);
            } else if (form == TM_REQUANT_4) {
                tm_conv_pixel_4_dsp(column, stream, y, groups, out_c, zero_point);
            } else {
                tm_conv_pixel_any_dsp(column, stream, y, groups, out_c, zero_point);
            }
        }
        return;
    }
    if (form == TM_REQUANT_3 && packed) {
        stream = tm_conv_packed_pairs_3_dsp(column, stream, y, groups, out_c, zero_point);
    } else if (form == TM_REQUANT_3) {
        stream = tm_conv_pairs_3_dsp(column, stream, y, groups, out_c, zero_point);
    } else if (form == TM_REQUANT_4 && packed) {
        stream = tm_conv_packed_pairs_4_dsp(column, stream, y, groups, out_c, zero_point);
    } else if (form == TM_REQUANT_4) {
        stream = tm_conv_pairs_4_dsp(column, stream, y, groups, out_c, zero_point);
    } else {
        stream = tm_conv_pairs_any_dsp(column, stream, y, groups, out_c, zero_point);
    }
    if (out_c & 1) {
        for (int32_t p = 0; p < 4; ++p) {
            y[p * out_c + out_c - 1] = tm_conv_single_1pixel(form, column + p, stream, groups, zero_point);
        }
    }
}

#endif
