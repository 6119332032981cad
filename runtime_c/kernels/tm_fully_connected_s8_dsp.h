/* tm_fully_connected_s8_dsp: fully connected layer, DSP instructions, int8.
 *
 *   x       int8  [batches][in_c]
 *   y       int8  [batches][out_c]
 *   stream  int32 []                per four outputs: biases (-zp_in * sum(weights) folded in); then, in_c
 *                                   filled up to whole groups of four with zeros, per group four bytes of
 *                                   each output's weights; then, with `per_output`, multiplier and shift of
 *                                   each. Outputs left over follow one by one in the same form. With `packed`
 *                                   the fours are different: biases of outputs 0 and 2; per group the halfwords
 *                                   256 w1 + w0 of inputs 0 and 2, 256 w3 + w2 of inputs 0 and 2, the same of
 *                                   inputs 1 and 3; biases of outputs 1 and 3.
 *
 * Quantisation  y = clamp(zp_out + requant(bias + sum w * x)), rounding once as LiteRT's reference. With one
 *               weight scale, `multiplier` and `shift` (TFLite's, positive: left) serve all outputs; with
 *               `per_output` they are 0 and in the stream. [lo, hi] is the range of the fused activation.
 * Scratch       none.
 * Requires      `packed` only with one weight scale, shift in [-23, -2], in_c a multiple of 4, out_c >= 4, and
 *               weights that tm_unpack_odd (tm_dsp.h) takes.
 * Overlap       batch row by batch row; writes a row while it reads it.
 * Source        TFLite kernels/internal/reference/integer_ops/fully_connected.h.
 *               With right shift s in [2, 23]: the high word of acc * M is floor(acc * M / 2^32), and adding
 *               half a unit and the zero point before the shift by s - 1 rounds once, without overflow since
 *               |acc * M / 2^32| <= 2^30.
 */
#ifndef TM_FULLY_CONNECTED_S8_DSP_H
#define TM_FULLY_CONNECTED_S8_DSP_H

#include "tm_dsp.h"

/* What a run of fours needs. */
typedef struct {
    int32_t groups; /* of four inputs, at least 1 */
    int32_t multiplier;
    int32_t offset; /* half a unit and the zero point, before the shift */
    int32_t shift;  /* right, 1 to 22 */
} tm_fc_shape;

#if TM_DSP_ASM

/* Four outputs, four inputs: 16 MACs, 16 instructions of 4 bytes each. r0 x, r1 stream, r4..r7 accumulators:
 * r5 and r7 of raw words, that is 256 times their output plus the one before. In this order the M7 issues every
 * SXTB16 of weights together with a multiplication of others.
 */
/* clang-format off */
#define TM_FC_GROUP                      \
    "ldr    r2, [r0], #4\n"              \
    "ldmia  r1!, {r8-r11}\n"             \
    "sxtb16 r3, r2, ror #8\n"            \
    "sxtb16 r2, r2\n"                    \
    "smlad  r5, r3, r10, r5\n"           \
    "sxtb16 r10, r10\n"                  \
    "smlad  r7, r3, r11, r7\n"           \
    "sxtb16 r11, r11\n"                  \
    "smlad  r4, r3, r10, r4\n"           \
    "smlad  r5, r2, r8, r5\n"            \
    "sxtb16 r8, r8\n"                    \
    "smlad  r6, r3, r11, r6\n"           \
    "smlad  r7, r2, r9, r7\n"            \
    "sxtb16 r9, r9\n"                    \
    "smlad  r4, r2, r8, r4\n"            \
    "smlad  r6, r2, r9, r6\n"
#define TM_FC_HIGH(acc) "smmla  " acc ", " acc ", r2, r3\n"
#define TM_FC_SHIFT(acc) "asr    " acc ", " acc ", r8\n"
#define TM_FC_SATURATE(acc) "ssat   " acc ", #8, " acc "\n"
#define TM_FC_STORE(acc) "strb   " acc ", [r9], #1\n"
#define TM_FC_OUTPUTS(STEP) STEP("r4") STEP("r5") STEP("r6") STEP("r7")
/* Stack while running: [0] x, multiplier, offset, shift, [16] y, y past the last four; r12 end of x, lr where
 * to enter the unrolled loop so that the rounds after the first are whole.
 */
#define TM_FC_BODY                       \
    "push   {r4-r11, lr}\n"              \
    "sub    sp, #28\n"                   \
    "ldr    r8, [sp, #64]\n" /* shape */ \
    "ldm    r8, {r4-r7}\n"               \
    "str    r0, [sp]\n"                  \
    "strd   r5, r6, [sp, #4]\n"          \
    "strd   r7, r2, [sp, #12]\n"         \
    "add    r3, r2, r3, lsl #2\n"        \
    "str    r3, [sp, #20]\n"             \
    "add    r12, r0, r4, lsl #2\n"       \
    "rsb    r4, r4, #0\n"                \
    "and    r4, #7\n"                    \
    "adr    lr, 2f\n"                    \
    "add    lr, lr, r4, lsl #6\n" /* code bytes of one group */ \
    "orr    lr, #1\n" /* Thumb */        \
    "1:\n"                               \
    "ldrd   r4, r6, [r1], #8\n"          \
    "mov    r5, r4\n"                    \
    "mov    r7, r6\n"                    \
    "bx     lr\n"                        \
    ".balign 4\n"                        \
    "2:\n"                               \
    ".rept  8\n"                         \
    TM_FC_GROUP                          \
    ".endr\n"                            \
    "cmp    r0, r12\n"                   \
    "bne    2b\n"                        \
    "ldrd   r10, r11, [r1], #8\n"        \
    "sub    r5, r4\n"                    \
    "sub    r7, r6\n"                    \
    "ldm    sp, {r0, r2, r3, r8, r9}\n"  \
    "add    r5, r10, r5, asr #8\n"       \
    "add    r7, r11, r7, asr #8\n"       \
    TM_FC_OUTPUTS(TM_FC_HIGH)            \
    TM_FC_OUTPUTS(TM_FC_SHIFT)           \
    TM_FC_OUTPUTS(TM_FC_SATURATE)        \
    TM_FC_OUTPUTS(TM_FC_STORE)           \
    "ldr    r2, [sp, #20]\n"             \
    "str    r9, [sp, #16]\n"             \
    "cmp    r9, r2\n"                    \
    "bne    1b\n"                        \
    "mov    r0, r1\n"                    \
    "add    sp, #28\n"                   \
    "pop    {r4-r11, pc}\n"
/* clang-format on */

/* `fours` > 0 runs of four outputs from packed weights; returns the stream behind them. */
TM_NAKED const int32_t *tm_fc_fours_dsp(const int8_t *x __attribute__((unused)),
                                        const int32_t *stream __attribute__((unused)),
                                        int8_t *y __attribute__((unused)),
                                        int32_t fours __attribute__((unused)),
                                        const tm_fc_shape *shape __attribute__((unused)))
{
    __asm__ volatile(TM_FC_BODY);
}

#else

/* `fours` > 0 runs of four outputs from packed weights; returns the stream behind them. */
TM_SHARED const int32_t *tm_fc_fours_dsp(const int8_t *x, const int32_t *stream, int8_t *y, int32_t fours,
                                         const tm_fc_shape *shape)
{
    for (int32_t n = 0; n < fours; ++n) {
        int32_t acc0 = stream[0], acc1 = acc0, acc2 = stream[1], acc3 = acc2;
        stream += 2;
        for (int32_t g = 0; g < shape->groups; ++g, stream += 4) {
            const int32_t word = tm_load4(x + 4 * g);
            const int32_t even = tm_sxtb16(word);
            const int32_t odd = tm_sxtb16_ror8(word);
            acc0 = tm_smlad(tm_sxtb16(stream[2]), odd, tm_smlad(tm_sxtb16(stream[0]), even, acc0));
            acc1 = tm_smlad(stream[2], odd, tm_smlad(stream[0], even, acc1));
            acc2 = tm_smlad(tm_sxtb16(stream[3]), odd, tm_smlad(tm_sxtb16(stream[1]), even, acc2));
            acc3 = tm_smlad(stream[3], odd, tm_smlad(stream[1], even, acc3));
        }
        const int32_t accs[4] = {acc0, tm_unpack_odd(acc1, acc0, stream[0]), acc2,
                                 tm_unpack_odd(acc3, acc2, stream[1])};
        stream += 2;
        for (int32_t i = 0; i < 4; ++i) {
            *y++ = (int8_t)tm_ssat8(tm_smmla(accs[i], shape->multiplier, shape->offset) >> shape->shift);
        }
    }
    return stream;
}

#endif

/* acc[o] += sum over 4 * groups inputs, for four outputs. */
TM_SHARED void tm_fc_outputs4_dsp(const int8_t *x, const int32_t *w, int32_t groups, int32_t *acc)
{
    int32_t acc0 = acc[0], acc1 = acc[1], acc2 = acc[2], acc3 = acc[3];
    for (int32_t g = 0; g < groups; ++g, x += 4, w += 4) {
        const int32_t word = tm_load4(x);
        const int32_t even = tm_sxtb16(word);
        const int32_t odd = tm_sxtb16_ror8(word);
        acc0 = tm_smlad(tm_sxtb16_ror8(w[0]), odd, tm_smlad(tm_sxtb16(w[0]), even, acc0));
        acc1 = tm_smlad(tm_sxtb16_ror8(w[1]), odd, tm_smlad(tm_sxtb16(w[1]), even, acc1));
        acc2 = tm_smlad(tm_sxtb16_ror8(w[2]), odd, tm_smlad(tm_sxtb16(w[2]), even, acc2));
        acc3 = tm_smlad(tm_sxtb16_ror8(w[3]), odd, tm_smlad(tm_sxtb16(w[3]), even, acc3));
    }
    acc[0] = acc0;
    acc[1] = acc1;
    acc[2] = acc2;
    acc[3] = acc3;
}

/* acc + sum over 4 * groups inputs, for one output. */
TM_SHARED int32_t tm_fc_output1_dsp(const int8_t *x, const int32_t *w, int32_t groups, int32_t acc)
{
    TM_UNROLL_4
    for (int32_t g = 0; g < groups; ++g, x += 4, ++w) {
        const int32_t word = tm_load4(x);
        acc = tm_smlad(tm_sxtb16(*w), tm_sxtb16(word), acc);
        acc = tm_smlad(tm_sxtb16_ror8(*w), tm_sxtb16_ror8(word), acc);
    }
    return acc;
}

/* requant(acc) + zp_out with one rounding, saturated to int8. All but acc should be constants. */
TM_INLINE int8_t tm_fc_requant(int32_t acc, int32_t multiplier, int32_t shift, int32_t zp_out)
{
    if (shift <= -2 && shift >= -23) {
        const int32_t half = (int32_t)1 << (-shift - 2);
        return (int8_t)tm_ssat8(tm_smmla(acc, multiplier, 2 * half * zp_out + half) >> (-shift - 1));
    }
    return tm_clamp_s8(tm_requant_single(acc, multiplier, shift), zp_out, -128, 127);
}

TM_INLINE void tm_fully_connected_s8_dsp(const int8_t *x, int8_t *y, const int32_t *stream, int32_t batches,
                                         int32_t in_c, int32_t out_c, int32_t packed, int32_t per_output,
                                         int32_t multiplier, int32_t shift, int32_t zp_out, int32_t lo,
                                         int32_t hi)
{
    const int32_t whole = in_c / 4;
    for (int32_t batch = 0; batch < batches; ++batch, x += in_c) {
        const int32_t tail = tm_load_tail(x + 4 * whole, in_c % 4);
        const int32_t *w = stream;
        int32_t outputs;
        int32_t o = 0;
        if (packed) {
            const int32_t half = (int32_t)((uint32_t)1 << ((uint32_t)(-shift - 2) & 31u));
            const tm_fc_shape shape = {whole, multiplier, 2 * half * zp_out + half, -shift - 1};
            w = tm_fc_fours_dsp(x, w, y, out_c / 4, &shape);
            o = out_c / 4 * 4;
            y += o;
        }
        for (; o < out_c; o += outputs) {
            int32_t acc[4];
            outputs = out_c - o >= 4 ? 4 : 1;
            memcpy(acc, w, 4 * (size_t)outputs);
            w += outputs;
            if (outputs == 4) {
                tm_fc_outputs4_dsp(x, w, whole, acc);
            } else {
                acc[0] = tm_fc_output1_dsp(x, w, whole, acc[0]);
            }
            w += outputs * whole;
            if (in_c % 4) {
                for (int32_t i = 0; i < outputs; ++i, ++w) {
                    acc[i] = tm_smlad(tm_sxtb16(*w), tm_sxtb16(tail), acc[i]);
                    acc[i] = tm_smlad(tm_sxtb16_ror8(*w), tm_sxtb16_ror8(tail), acc[i]);
                }
            }
            for (int32_t i = 0; i < outputs; ++i) {
                if (per_output) {
                    *y++ = tm_clamp_s8(tm_requant_single(acc[i], w[0], w[1]), zp_out, -128, 127);
                    w += 2;
                } else {
                    *y++ = tm_fc_requant(acc[i], multiplier, shift, zp_out);
                }
            }
        }
        tm_clamp_row(y - out_c, out_c, lo, hi);
    }
}

#endif
