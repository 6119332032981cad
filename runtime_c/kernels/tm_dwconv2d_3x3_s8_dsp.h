/* tm_dwconv2d_3x3_s8_dsp: one output row of a 3x3 depthwise convolution, DSP instructions, int8.
 *
 *   rows    int8  3 x [in_w][channels]   input rows; zero-point rows where outside the image
 *   y       int8  [out_w][channels]      output row
 *   stream  int32 [channels][6]          a, b (tm_requant_dsp), per kernel row the bytes  w0 w1 w1 w2  , bias
 *                                        (-zp_in * sum(weights) folded in)
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

typedef struct {
    int32_t out_c;
    int32_t zero_point;
    int32_t pair_bytes; /* of a line, that whole pairs of outputs use up: 12 or 24 each */
    int32_t odd;        /* 1 where a last output stands alone */
    int32_t plane_bytes;
} tm_dw3x3_shape;

/* `count` channels in C: `x` are their lines, `stream` six words each. */
TM_INLINE void tm_dw3x3_channels(int32_t form, int32_t stride, const int32_t *x, int8_t *y,
                                 const int32_t *stream, const tm_dw3x3_shape *shape, int32_t count)
{
    const int32_t out_c = shape->out_c;
    for (; count > 0; --count, x += shape->plane_bytes / 4, ++y, stream += 6) {
        const int32_t a = stream[0];
        const int32_t b = stream[1];
        const int32_t *p = x;
        const int32_t *pairs_end = x + shape->pair_bytes / 4;
        int8_t *out = y;
        while (p != pairs_end || shape->odd) {
            int32_t acc0 = stream[5];
            int32_t acc1 = stream[5];
            const int single = p == pairs_end;
            for (int32_t line = 0; line < 3; ++line) {
                const int32_t w01 = tm_sxtb16(stream[2 + line]);
                const int32_t w12 = tm_sxtb16_ror8(stream[2 + line]);
                acc0 = tm_smlabt(p[3 + line], w12, tm_smlad(p[line], w01, acc0));
                if (stride == 1) {
                    acc1 = tm_smlad(p[3 + line], w12, tm_smlatb(p[line], w01, acc1));
                } else if (!single) {
                    acc1 = tm_smlabt(p[6 + line], w12, tm_smlad(p[3 + line], w01, acc1));
                }
            }
            out[0] = tm_requant_dsp(form, acc0, a, b, shape->zero_point);
            if (single) {
                break;
            }
            out[out_c] = tm_requant_dsp(form, acc1, a, b, shape->zero_point);
            out += 2 * out_c;
            p += 3 * stride;
        }
    }
}

#if TM_DSP_ASM

/* r0 lines, r1 y, r4..r9 the weight pairs A and B of the three kernel rows, r10 bias, r11 zero point,
 * r12 and lr the accumulators of two neighbouring outputs. Stack: [0] a, b, [8] end of the pairs, [12] out_c,
 * [16] the channel's lines, y, [24] stream, shape, [32] channels to do.
 */
#define TM_DW3X3_REQUANT_3(acc)              \
    "smmlar " acc ", " acc ", r2, " acc "\n" \
    "smmlar " acc ", " acc ", r3, r11\n"     \
    "ssat   " acc ", #8, " acc "\n"
#define TM_DW3X3_REQUANT_4(acc)                   \
    "smmlar " acc ", " acc ", r2, " acc "\n"      \
    "add    " acc ", " acc ", " acc ", asr #31\n" \
    "smmlsr " acc ", " acc ", r3, r11\n"          \
    "ssat   " acc ", #8, " acc "\n"
/* One pair of outputs with stride 1 and with stride 2. */
#define TM_DW3X3_PAIR_1          \
    "ldrd   r2, r3, [r0]\n"      \
    "smlad  r12, r2, r4, r10\n"  \
    "smlatb lr, r2, r4, r10\n"   \
    "smlad  r12, r3, r6, r12\n"  \
    "smlatb lr, r3, r6, lr\n"    \
    "ldrd   r2, r3, [r0, #8]\n"  \
    "smlad  r12, r2, r8, r12\n"  \
    "smlatb lr, r2, r8, lr\n"    \
    "smlabt r12, r3, r5, r12\n"  \
    "smlad  lr, r3, r5, lr\n"    \
    "ldrd   r2, r3, [r0, #16]\n" \
    "adds   r0, #12\n"           \
    "smlabt r12, r2, r7, r12\n"  \
    "smlad  lr, r2, r7, lr\n"    \
    "smlabt r12, r3, r9, r12\n"  \
    "smlad  lr, r3, r9, lr\n"
#define TM_DW3X3_PAIR_2          \
    "ldrd   r2, r3, [r0]\n"      \
    "smlad  r12, r2, r4, r10\n"  \
    "smlad  r12, r3, r6, r12\n"  \
    "ldrd   r2, r3, [r0, #8]\n"  \
    "smlad  r12, r2, r8, r12\n"  \
    "smlabt r12, r3, r5, r12\n"  \
    "smlad  lr, r3, r4, r10\n"   \
    "ldrd   r2, r3, [r0, #16]\n" \
    "smlabt r12, r2, r7, r12\n"  \
    "smlad  lr, r2, r6, lr\n"    \
    "smlabt r12, r3, r9, r12\n"  \
    "smlad  lr, r3, r8, lr\n"    \
    "ldrd   r2, r3, [r0, #24]\n" \
    "smlabt lr, r2, r5, lr\n"    \
    "ldr    r2, [r0, #32]\n"     \
    "smlabt lr, r3, r7, lr\n"    \
    "adds   r0, #24\n"           \
    "smlabt lr, r2, r9, lr\n"
/* clang-format off */
#define TM_DW3X3_BODY(PAIR, REQUANT)                      \
    "push   {r4-r11, lr}\n"                               \
    "sub    sp, #36\n"                                    \
    "ldr    r4, [sp, #72]\n" /* count */                  \
    "str    r4, [sp, #32]\n"                              \
    "strd   r2, r3, [sp, #24]\n"                          \
    "ldrd   r4, r11, [r3]\n" /* out_c, zero_point */      \
    "str    r4, [sp, #12]\n"                              \
    "1:\n"                                                \
    "strd   r0, r1, [sp, #16]\n"                          \
    "ldrd   r2, r3, [sp, #24]\n"                          \
    "ldrd   r4, r5, [r2], #8\n"                           \
    "strd   r4, r5, [sp]\n"                               \
    "ldm    r2!, {r5, r7, r9, r10}\n"                     \
    "str    r2, [sp, #24]\n"                              \
    "ldr    r12, [r3, #8]\n" /* pair_bytes */             \
    "sxtb16 r4, r5\n"                                     \
    "sxtb16 r5, r5, ror #8\n"                             \
    "sxtb16 r6, r7\n"                                     \
    "sxtb16 r7, r7, ror #8\n"                             \
    "sxtb16 r8, r9\n"                                     \
    "sxtb16 r9, r9, ror #8\n"                             \
    "cmp    r12, #0\n"                                    \
    "beq    3f\n"                                         \
    "add    r12, r0\n"                                    \
    "str    r12, [sp, #8]\n"                              \
    "2:\n"                                                \
    PAIR                                                  \
    "ldrd   r2, r3, [sp]\n"                               \
    REQUANT("r12")                                        \
    REQUANT("lr")                                         \
    "ldrd   r2, r3, [sp, #8]\n"                           \
    "strb   r12, [r1]\n"                                  \
    "strb   lr, [r1, r3]\n"                               \
    "add    r1, r1, r3, lsl #1\n"                         \
    "cmp    r0, r2\n"                                     \
    "bne    2b\n"                                         \
    "3:\n"                                                \
    "ldr    r2, [sp, #28]\n"                              \
    "ldr    r3, [r2, #12]\n" /* odd */                    \
    "cbz    r3, 4f\n"                                     \
    "ldrd   r2, r3, [r0]\n"                               \
    "smlad  r12, r2, r4, r10\n"                           \
    "smlad  r12, r3, r6, r12\n"                           \
    "ldrd   r2, r3, [r0, #8]\n"                           \
    "smlad  r12, r2, r8, r12\n"                           \
    "smlabt r12, r3, r5, r12\n"                           \
    "ldrd   r2, r3, [r0, #16]\n"                          \
    "smlabt r12, r2, r7, r12\n"                           \
    "smlabt r12, r3, r9, r12\n"                           \
    "ldrd   r2, r3, [sp]\n"                               \
    REQUANT("r12")                                        \
    "strb   r12, [r1]\n"                                  \
    "ldr    r2, [sp, #28]\n"                              \
    "4:\n"                                                \
    "ldrd   r0, r1, [sp, #16]\n"                          \
    "ldr    r3, [r2, #16]\n" /* plane_bytes */            \
    "add    r0, r3\n"                                     \
    "adds   r1, #1\n"                                     \
    "ldr    r3, [sp, #32]\n"                              \
    "subs   r3, #1\n"                                     \
    "str    r3, [sp, #32]\n"                              \
    "bne    1b\n"                                         \
    "add    sp, #36\n"                                    \
    "pop    {r4-r11, pc}\n"
/* clang-format on */

#define TM_DW3X3_CHANNELS(name, form, stride)                                                       \
    TM_NAKED void name(const int32_t *x __attribute__((unused)), int8_t *y __attribute__((unused)), \
                       const int32_t *stream __attribute__((unused)),                               \
                       const tm_dw3x3_shape *shape __attribute__((unused)),                         \
                       int32_t count __attribute__((unused)))                                       \
    {                                                                                               \
        __asm__ volatile(TM_DW3X3_BODY(TM_DW3X3_PAIR_##stride, TM_DW3X3_REQUANT_##form));           \
    }

#else

#define TM_DW3X3_CHANNELS(name, form, stride)                                                            \
    TM_SHARED void name(const int32_t *x, int8_t *y, const int32_t *stream, const tm_dw3x3_shape *shape, \
                        int32_t count)                                                                   \
    {                                                                                                    \
        tm_dw3x3_channels(TM_REQUANT_##form, stride, x, y, stream, shape, count);                        \
    }

#endif

TM_DW3X3_CHANNELS(tm_dw3x3s1_channels_3_dsp, 3, 1)
TM_DW3X3_CHANNELS(tm_dw3x3s1_channels_4_dsp, 4, 1)
TM_DW3X3_CHANNELS(tm_dw3x3s2_channels_3_dsp, 3, 2)
TM_DW3X3_CHANNELS(tm_dw3x3s2_channels_4_dsp, 4, 2)

TM_SHARED void tm_dw3x3_channels_any_dsp(const int32_t *x, int8_t *y, const int32_t *stream,
                                         const tm_dw3x3_shape *shape, int32_t count, int32_t stride)
{
    tm_dw3x3_channels(TM_REQUANT_ANY, stride, x, y, stream, shape, count);
}

TM_INLINE void tm_dw3x3_group(int32_t form, int32_t stride, const int32_t *x, int8_t *y,
                              const int32_t *stream, const tm_dw3x3_shape *shape, int32_t count)
{
    if (form == TM_REQUANT_3 && stride == 1) {
        tm_dw3x3s1_channels_3_dsp(x, y, stream, shape, count);
    } else if (form == TM_REQUANT_3) {
        tm_dw3x3s2_channels_3_dsp(x, y, stream, shape, count);
    } else if (form == TM_REQUANT_4 && stride == 1) {
        tm_dw3x3s1_channels_4_dsp(x, y, stream, shape, count);
    } else if (form == TM_REQUANT_4) {
        tm_dw3x3s2_channels_4_dsp(x, y, stream, shape, count);
    } else {
        tm_dw3x3_channels_any_dsp(x, y, stream, shape, count, stride);
    }
}

TM_INLINE void tm_dwconv2d_3x3_s8_dsp(const int8_t *const *rows, int8_t *y, const int32_t *stream,
                                      void *scratch, int32_t in_w, int32_t channels, int32_t out_w,
                                      int32_t stride_w, int32_t pad_left, int32_t zp_in, int32_t form,
                                      int32_t zp_out, int32_t lo, int32_t hi)
{
    int32_t *lines = (int32_t *)scratch;
    const int32_t words = stride_w == 1 ? (out_w + 1) / 2 + 1 : (out_w + 1) / 2 * 2 + 1;
    const tm_dw_shape in = tm_dw_make_shape(in_w, channels, pad_left, 3, words, zp_in);
    const tm_dw3x3_shape out = {channels, zp_out, out_w / 2 * 12 * stride_w, out_w % 2, 12 * words};
    int32_t c = 0;
    for (; c + 4 <= channels; c += 4, stream += 24) {
        tm_dw_lines4_dsp(&in, rows, lines, c);
        tm_dw3x3_group(form, stride_w, lines, y + c, stream, &out, 4);
    }
    if (channels % 4) {
        tm_dw_lines_rest_dsp(&in, rows, lines, c);
        tm_dw3x3_group(form, stride_w, lines, y + c, stream, &out, channels % 4);
    }
    tm_clamp_row(y, out_w * channels, lo, hi);
}

#endif
