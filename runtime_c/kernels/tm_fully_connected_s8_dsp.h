/* tm_fully_connected_s8_dsp: fully connected layer, DSP instructions, int8.
 *
 *   x       int8  [batches][in_c]
 *   y       int8  [batches][out_c]
 *   stream  int32 []                per four outputs: biases (-zp_in * sum(weights) folded in); then, in_c
 *                                   filled up to whole groups of four with zeros, per group four bytes of
 *                                   each output's weights; then, with `per_output`, multiplier and shift of
 *                                   each. Outputs left over follow one by one in the same form.
 *
 * Quantisation  y = clamp(zp_out + requant(bias + sum w * x)), rounding once as LiteRT's reference. With one
 *               weight scale, `multiplier` and `shift` (TFLite's, positive: left) serve all outputs; with
 *               `per_output` they are 0 and in the stream. [lo, hi] is the range of the fused activation.
 * Scratch       none.
 * Requires      nothing.
 * Overlap       batch row by batch row; writes a row while it reads it.
 * Source        TFLite kernels/internal/reference/integer_ops/fully_connected.h.
 *               With right shift s in [2, 23]: the high word of acc * M is floor(acc * M / 2^32), and adding
 *               half a unit and the zero point before the shift by s - 1 rounds once, without overflow since
 *               |acc * M / 2^32| <= 2^30.
 */
#ifndef TM_FULLY_CONNECTED_S8_DSP_H
#define TM_FULLY_CONNECTED_S8_DSP_H

#include "tm_dsp.h"

#if TM_DSP_ASM

/* Four outputs, four inputs: 16 MACs, 20 instructions. */
#define TM_FC_OUTPUT(w, acc)             \
    "sxtb16 r12, " w "\n"                \
    "sxtb16 " w ", " w ", ror #8\n"      \
    "smlad  " acc ", r12, r2, " acc "\n" \
    "smlad  " acc ", " w ", r3, " acc "\n"
/* clang-format off */
#define TM_FC_GROUP             \
    "ldr    r3, [r0], #4\n"     \
    "ldmia  r1!, {r8-r11}\n"    \
    "sxtb16 r2, r3\n"           \
    "sxtb16 r3, r3, ror #8\n"   \
    TM_FC_OUTPUT("r8", "r4")    \
    TM_FC_OUTPUT("r9", "r5")    \
    TM_FC_OUTPUT("r10", "r6")   \
    TM_FC_OUTPUT("r11", "r7")
#define TM_FC_BODY              \
    "push   {r3-r11, lr}\n"     \
    "ldm    r3, {r4-r7}\n"      \
    "lsrs   lr, r2, #1\n"       \
    "bcc    1f\n"               \
    TM_FC_GROUP                 \
    "1:\n"                      \
    "cmp    lr, #0\n"           \
    "beq    3f\n"               \
    "2:\n"                      \
    TM_FC_GROUP                 \
    TM_FC_GROUP                 \
    "subs   lr, lr, #1\n"       \
    "bne    2b\n"               \
    "3:\n"                      \
    "ldr    r3, [sp]\n"         \
    "stm    r3, {r4-r7}\n"      \
    "pop    {r3-r11, pc}\n"
/* clang-format on */

/* acc[o] += sum over 4 * groups inputs, for four outputs. */
TM_NAKED void tm_fc_outputs4_dsp(const int8_t *x __attribute__((unused)),
                                 const int32_t *w __attribute__((unused)),
                                 int32_t groups __attribute__((unused)), int32_t *acc __attribute__((unused)))
{
    __asm__ volatile(TM_FC_BODY);
}

#else

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

#endif

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
                                         int32_t in_c, int32_t out_c, int32_t per_output, int32_t multiplier,
                                         int32_t shift, int32_t zp_out, int32_t lo, int32_t hi)
{
    const int32_t whole = in_c / 4;
    for (int32_t batch = 0; batch < batches; ++batch, x += in_c) {
        const int32_t tail = tm_load_tail(x + 4 * whole, in_c % 4);
        const int32_t *w = stream;
        int32_t outputs;
        for (int32_t o = 0; o < out_c; o += outputs) {
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
