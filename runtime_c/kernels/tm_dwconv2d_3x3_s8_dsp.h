/* tm_dwconv2d_3x3_s8_dsp: one output row of a 3x3 depthwise convolution, DSP instructions, int8.
 *
 *   rows    int8  3 x [in_w][channels]   input rows; zero-point rows where outside the image
 *   y       int8  [out_w][channels]      output row
 *   stream  int32 [channels][6]          a, b (tm_requant_dsp), bias (-zp_in * sum(weights) folded in), then
 *                                        per kernel row the bytes  w0 w1 w1 w2
 *
 * Quantisation  y = clamp(zp_out + requant(bias + sum w * x)), rounding twice as the TFLite reference;
 *               `form` is how (tm_dsp.h), [lo, hi] the range of the fused activation. Columns left and
 *               right of the image count as zp_in and are not read.
 * Scratch       48 * words bytes, words = ceil(out_w / 2) + 1 with stride 1, out_w + 1 rounded up to odd
 *               with stride 2; 8-byte aligned.
 * Requires      depth multiplier 1, dilation_w 1, stride_w 1 or 2. Any number of channels, any padding.
 * Overlap       writes while it reads: y must not touch bytes of `rows` still needed.
 * Source        TFLite kernels/internal/reference/integer_ops/depthwise_conv.h (DepthwiseConvPerChannel).
 *               SXTB16 turns w0 w1 w1 w2 into the pairs A = (w0, w1) and, rotated, B = (w1, w2). With the
 *               pixel pairs P and Q = P's right neighbour, A.P + B.hi Q.lo is one output and
 *               A.lo P.hi + B.Q the next: four instructions for six products.
 */
#ifndef TM_DWCONV2D_3X3_S8_DSP_H
#define TM_DWCONV2D_3X3_S8_DSP_H

#include "tm_dw_lines_s8_dsp.h"

/* One channel in C: `x` are its lines, `stream` its six words. */
TM_INLINE void tm_dw3x3_channel(int32_t form, int32_t stride, const int32_t *x, int8_t *y,
                                const int32_t *stream, int32_t out_c, int32_t out_w, int32_t zero_point)
{
    const int32_t a = stream[0];
    const int32_t b = stream[1];
    for (int32_t ox = 0; ox < out_w; ox += 2) {
        const int32_t *next = x + 3;
        int32_t acc0 = stream[2];
        int32_t acc1 = stream[2];
        for (int32_t line = 0; line < 3; ++line) {
            const int32_t w01 = tm_sxtb16(stream[3 + line]);
            const int32_t w12 = tm_sxtb16_ror8(stream[3 + line]);
            acc0 = tm_smlabt(next[line], w12, tm_smlad(x[line], w01, acc0));
            if (stride == 1) {
                acc1 = tm_smlad(next[line], w12, tm_smlatb(x[line], w01, acc1));
            } else {
                acc1 = tm_smlabt(next[line + 3], w12, tm_smlad(next[line], w01, acc1));
            }
        }
        y[0] = tm_requant_dsp(form, acc0, a, b, zero_point);
        if (ox + 1 < out_w) {
            y[out_c] = tm_requant_dsp(form, acc1, a, b, zero_point);
        }
        x += 3 * stride;
        y += 2 * out_c;
    }
}

#if TM_DSP_ASM

/* r0 lines, r1 y, r4..r9 the weight pairs A and B of the three kernel rows, r10 bias, r11 zero point,
 * r12 and lr the accumulators of two neighbouring outputs. Stack: [0] a, b, [8] end of the lines,
 * [12] out_c, [16] 1 while a last single output is to come. That one runs as a pair whose outputs go
 * to the same place, the wanted one last.
 */
#define TM_DW3X3_HEAD(ADVANCE)                             \
    "push   {r4-r11, lr}\n"                                \
    "sub    sp, #28\n"                                     \
    "ldrd   r4, r5, [r2], #8\n"                            \
    "strd   r4, r5, [sp]\n"                                \
    "ldr    r10, [r2], #4\n"                               \
    "ldm    r2, {r5, r7, r9}\n"                            \
    "sxtb16 r4, r5\n"                                      \
    "sxtb16 r5, r5, ror #8\n"                              \
    "sxtb16 r6, r7\n"                                      \
    "sxtb16 r7, r7, ror #8\n"                              \
    "sxtb16 r8, r9\n"                                      \
    "sxtb16 r9, r9, ror #8\n"                              \
    "ldrd   r12, r11, [sp, #64]\n" /* out_w, zero_point */ \
    "and    r2, r12, #1\n"                                 \
    "lsr    r12, r12, #1\n"                                \
    "mov    lr, #" ADVANCE "\n"                            \
    "mla    lr, r12, lr, r0\n"                             \
    "strd   lr, r3, [sp, #8]\n"                            \
    "str    r2, [sp, #16]\n"                               \
    "cmp    r0, lr\n"                                      \
    "beq    2f\n"                                          \
    "1:\n"
#define TM_DW3X3_TAIL(ADVANCE)      \
    "ldrd   r2, r3, [sp, #8]\n"     \
    "strb   lr, [r1, r3]\n"         \
    "strb   r12, [r1]\n"            \
    "add    r1, r1, r3, lsl #1\n"   \
    "cmp    r0, r2\n"               \
    "bne    1b\n"                   \
    "2:\n"                          \
    "ldr    r2, [sp, #16]\n"        \
    "cbz    r2, 3f\n"               \
    "add    r2, r0, #" ADVANCE "\n" \
    "movs   r3, #0\n"               \
    "strd   r2, r3, [sp, #8]\n"     \
    "str    r3, [sp, #16]\n"        \
    "b      1b\n"                   \
    "3:\n"                          \
    "add    sp, #28\n"              \
    "pop    {r4-r11, pc}\n"
#define TM_DW3X3_REQUANT_3(acc)              \
    "smmlar " acc ", " acc ", r2, " acc "\n" \
    "smmlar " acc ", " acc ", r3, r11\n"     \
    "ssat   " acc ", #8, " acc "\n"
#define TM_DW3X3_REQUANT_4(acc)                   \
    "smmlar " acc ", " acc ", r2, " acc "\n"      \
    "add    " acc ", " acc ", " acc ", asr #31\n" \
    "smmlsr " acc ", " acc ", r3, r11\n"          \
    "ssat   " acc ", #8, " acc "\n"
#define TM_DW3X3_STRIDE1(REQUANT) \
    TM_DW3X3_HEAD("12")           \
    "ldrd   r2, r3, [r0]\n"       \
    "smlad  r12, r2, r4, r10\n"   \
    "smlatb lr, r2, r4, r10\n"    \
    "smlad  r12, r3, r6, r12\n"   \
    "smlatb lr, r3, r6, lr\n"     \
    "ldrd   r2, r3, [r0, #8]\n"   \
    "smlad  r12, r2, r8, r12\n"   \
    "smlatb lr, r2, r8, lr\n"     \
    "smlabt r12, r3, r5, r12\n"   \
    "smlad  lr, r3, r5, lr\n"     \
    "ldrd   r2, r3, [r0, #16]\n"  \
    "adds   r0, #12\n"            \
    "smlabt r12, r2, r7, r12\n"   \
    "smlad  lr, r2, r7, lr\n"     \
    "smlabt r12, r3, r9, r12\n"   \
    "smlad  lr, r3, r9, lr\n"     \
    "ldrd   r2, r3, [sp]\n" REQUANT("r12") REQUANT("lr") TM_DW3X3_TAIL("12")
#define TM_DW3X3_STRIDE2(REQUANT) \
    TM_DW3X3_HEAD("24")           \
    "ldrd   r2, r3, [r0]\n"       \
    "smlad  r12, r2, r4, r10\n"   \
    "smlad  r12, r3, r6, r12\n"   \
    "ldrd   r2, r3, [r0, #8]\n"   \
    "smlad  r12, r2, r8, r12\n"   \
    "smlabt r12, r3, r5, r12\n"   \
    "smlad  lr, r3, r4, r10\n"    \
    "ldrd   r2, r3, [r0, #16]\n"  \
    "smlabt r12, r2, r7, r12\n"   \
    "smlad  lr, r2, r6, lr\n"     \
    "smlabt r12, r3, r9, r12\n"   \
    "smlad  lr, r3, r8, lr\n"     \
    "ldrd   r2, r3, [r0, #24]\n"  \
    "smlabt lr, r2, r5, lr\n"     \
    "ldr    r2, [r0, #32]\n"      \
    "smlabt lr, r3, r7, lr\n"     \
    "smlabt lr, r2, r9, lr\n"     \
    "adds   r0, #24\n"            \
    "ldrd   r2, r3, [sp]\n" REQUANT("r12") REQUANT("lr") TM_DW3X3_TAIL("24")

#define TM_DW3X3_CHANNEL(name, form, stride, BODY, REQUANT)                                                  \
    TM_NAKED void name(const int32_t *x __attribute__((unused)), int8_t *y __attribute__((unused)),          \
                       const int32_t *stream __attribute__((unused)), int32_t out_c __attribute__((unused)), \
                       int32_t out_w __attribute__((unused)), int32_t zero_point __attribute__((unused)))    \
    {                                                                                                        \
        __asm__ volatile(BODY(REQUANT));                                                                     \
    }

#else

#define TM_DW3X3_CHANNEL(name, form, stride, BODY, REQUANT)                                               \
    TM_SHARED void name(const int32_t *x, int8_t *y, const int32_t *stream, int32_t out_c, int32_t out_w, \
                        int32_t zero_point)                                                               \
    {                                                                                                     \
        tm_dw3x3_channel(form, stride, x, y, stream, out_c, out_w, zero_point);                           \
    }

#endif

TM_DW3X3_CHANNEL(tm_dw3x3s1_channel_3_dsp, TM_REQUANT_3, 1, TM_DW3X3_STRIDE1, TM_DW3X3_REQUANT_3)
TM_DW3X3_CHANNEL(tm_dw3x3s1_channel_4_dsp, TM_REQUANT_4, 1, TM_DW3X3_STRIDE1, TM_DW3X3_REQUANT_4)
TM_DW3X3_CHANNEL(tm_dw3x3s2_channel_3_dsp, TM_REQUANT_3, 2, TM_DW3X3_STRIDE2, TM_DW3X3_REQUANT_3)
TM_DW3X3_CHANNEL(tm_dw3x3s2_channel_4_dsp, TM_REQUANT_4, 2, TM_DW3X3_STRIDE2, TM_DW3X3_REQUANT_4)

TM_SHARED void tm_dw3x3_channel_any_dsp(const int32_t *x, int8_t *y, const int32_t *stream, int32_t out_c,
                                        int32_t out_w, int32_t zero_point, int32_t stride)
{
    tm_dw3x3_channel(TM_REQUANT_ANY, stride, x, y, stream, out_c, out_w, zero_point);
}

TM_INLINE void tm_dwconv2d_3x3_s8_dsp(const int8_t *const *rows, int8_t *y, const int32_t *stream,
                                      void *scratch, int32_t in_w, int32_t channels, int32_t out_w,
                                      int32_t stride_w, int32_t pad_left, int32_t zp_in, int32_t form,
                                      int32_t zp_out, int32_t lo, int32_t hi)
{
    int32_t *lines = (int32_t *)scratch;
    const int32_t words = stride_w == 1 ? (out_w + 1) / 2 + 1 : (out_w + 1) / 2 * 2 + 1;
    const tm_dw_shape shape = {in_w, channels, pad_left, 3, words, tm_splat4(zp_in)};
    for (int32_t c = 0; c < channels; c += 4) {
        const int32_t count = channels - c < 4 ? channels - c : 4;
        tm_dw_lines_dsp(&shape, rows, lines, c, count);
        const int32_t *x = lines;
        for (int32_t i = 0; i < count; ++i, x += 3 * words, stream += 6) {
            int8_t *out = y + c + i;
            if (form == TM_REQUANT_3 && stride_w == 1) {
                tm_dw3x3s1_channel_3_dsp(x, out, stream, channels, out_w, zp_out);
            } else if (form == TM_REQUANT_3) {
                tm_dw3x3s2_channel_3_dsp(x, out, stream, channels, out_w, zp_out);
            } else if (form == TM_REQUANT_4 && stride_w == 1) {
                tm_dw3x3s1_channel_4_dsp(x, out, stream, channels, out_w, zp_out);
            } else if (form == TM_REQUANT_4) {
                tm_dw3x3s2_channel_4_dsp(x, out, stream, channels, out_w, zp_out);
            } else {
                tm_dw3x3_channel_any_dsp(x, out, stream, channels, out_w, zp_out, stride_w);
            }
        }
    }
    tm_clamp_row(y, out_w * channels, lo, hi);
}

#endif
