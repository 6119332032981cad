/* tm_dwconv2d_3x3_s8_dsp: one or two output rows of a 3x3 depthwise convolution of stride 1, DSP instructions, int8.
 *
 *   rows    int8  4 x [in_w][channels]       input rows of two output rows; zero-point rows where outside the image
 *   y       int8  [count][out_w][channels]   output rows
 *   count   1 or 2: with 1, only the first three rows count
 *   stream  int32 [channels][6]              a, b (tm_requant_dsp), per kernel column the bytes  w0 w1 w1 w2  from
 *                                            top to bottom, bias (-zp_in * sum(weights) folded in)
 *
 * Quantisation  y = clamp(zp_out + requant(bias + sum w * x)), rounding twice as the TFLite reference;
 *               `form` is how (tm_dsp.h), [lo, hi] the range of the fused activation. Columns left and
 *               right of the image count as zp_in and are not read.
 * Scratch       32 bytes per column of the window of the `tile` outputs that are computed at a time, or of the row
 *               where it is shorter; 8-byte aligned. A shorter tile must be even.
 * Requires      depth multiplier 1, dilation 1, strides 1. Any number of channels, any padding.
 * Overlap       reads a group of channels, or all columns of a tile that no tile before has read, before it
 *               writes them: y may lie on input rows that nobody needs afterwards.
 * Source        TFLite kernels/internal/reference/integer_ops/depthwise_conv.h (DepthwiseConvPerChannel).
 *               Two output rows at a time, so that halfword pairs run down the image: no width is odd, and
 *               four rows are widened for what would take six.
 *               SXTB16 turns w0 w1 w1 w2 into the pairs A = (w0, w1) and, rotated, B = (w1, w2). With the
 *               row pairs P and, below it, Q, A.P + B.hi Q.lo is one output and A.lo P.hi + B.Q the one
 *               below: four instructions for six products. One row alone: tm_dw_row_s8_dsp.h.
 */
#ifndef TM_DWCONV2D_3X3_S8_DSP_H
#define TM_DWCONV2D_3X3_S8_DSP_H

#include "tm_dw_row_s8_dsp.h"

typedef struct {
    int32_t line_bytes; /* of the columns that start a window */
    int32_t zero_point;
    int32_t row_bytes; /* from an output to the one below */
    int32_t out_c;
} tm_dw3x3_shape;

/* `count` channels in C: `x` are their columns, `stream` six words each. */
TM_INLINE void tm_dw3x3_channels(int32_t form, const int32_t *x, int8_t *y, const int32_t *stream,
                                 const tm_dw3x3_shape *shape, int32_t count)
{
    for (; count > 0; --count, x += 2, ++y, stream += 6) {
        int8_t *out = y;
        for (int32_t at = 0; at < shape->line_bytes / 4; at += 8) {
            int32_t acc0 = stream[5];
            int32_t acc1 = stream[5];
            for (int32_t column = 0; column < 3; ++column) {
                const int32_t *p = x + at + 8 * column;
                const int32_t w01 = tm_sxtb16(stream[2 + column]);
                const int32_t w12 = tm_sxtb16_ror8(stream[2 + column]);
                acc0 = tm_smlabt(p[1], w12, tm_smlad(p[0], w01, acc0));
                acc1 = tm_smlad(p[1], w12, tm_smlatb(p[0], w01, acc1));
            }
            out[shape->row_bytes] = tm_requant_dsp(form, acc1, stream[0], stream[1], shape->zero_point);
            out[0] = tm_requant_dsp(form, acc0, stream[0], stream[1], shape->zero_point);
            out += shape->out_c;
        }
    }
}

#if TM_DSP_ASM

/* Two neighbouring outputs and the ones below, which share two of four columns. r0 columns, r1 y, r4..r9 the weight
 * pairs A and B of the three kernel columns, r10, r11, r12, lr the accumulators: output, below, their right neighbours.
 * Stack: [0] bias, [8] a, b, zero point, [20] row_bytes, out_c, [28] end of the columns that start pairs of
 * windows, [32] the channel's columns, y, [40] stream, line_bytes, [48] channels to do.
 */
#define TM_DW3X3_TAPS(a, b, acc0, acc1, bias0, bias1) \
    "smlad  " acc0 ", r2, " a ", " bias0 "\n"         \
    "smlatb " acc1 ", r2, " a ", " bias1 "\n"         \
    "smlabt " acc0 ", r3, " b ", " acc0 "\n"          \
    "smlad  " acc1 ", r3, " b ", " acc1 "\n"
#define TM_DW3X3_EACH_4(ROUND) ROUND("r10") ROUND("r11") ROUND("r12") ROUND("lr")
#define TM_DW3X3_EACH_2(ROUND) ROUND("r12") ROUND("lr")
/* clang-format off */
#define TM_DW3X3_BODY(form)                               \
    "push   {r4-r11, lr}\n"                               \
    "sub    sp, #52\n"                                    \
    "ldm    r3, {r3, r5, r6, r7}\n" /* the shape */       \
    "strd   r5, r6, [sp, #16]\n"                          \
    "str    r7, [sp, #24]\n"                              \
    "ldr    r4, [sp, #88]\n" /* count */                  \
    "1:\n"                                                \
    "str    r4, [sp, #48]\n"                              \
    "strd   r0, r1, [sp, #32]\n"                          \
    "ldrd   r4, r5, [r2], #8\n"                           \
    "strd   r4, r5, [sp, #8]\n"                           \
    "ldm    r2!, {r5, r7, r9, r10}\n"                     \
    "str    r10, [sp]\n"                                  \
    "strd   r2, r3, [sp, #40]\n"                          \
    "sxtb16 r4, r5\n"                                     \
    "sxtb16 r5, r5, ror #8\n"                             \
    "sxtb16 r6, r7\n"                                     \
    "sxtb16 r7, r7, ror #8\n"                             \
    "sxtb16 r8, r9\n"                                     \
    "sxtb16 r9, r9, ror #8\n"                             \
    "bics   r3, #63\n"                                    \
    "beq    3f\n"                                         \
    "add    r3, r0\n"                                     \
    "str    r3, [sp, #28]\n"                              \
    "2:\n"                                                \
    "ldr    lr, [sp]\n"                                   \
    "ldrd   r2, r3, [r0]\n"                               \
    TM_DW3X3_TAPS("r4", "r5", "r10", "r11", "lr", "lr")   \
    "ldrd   r2, r3, [r0, #32]\n"                          \
    TM_DW3X3_TAPS("r6", "r7", "r10", "r11", "r10", "r11") \
    TM_DW3X3_TAPS("r4", "r5", "r12", "lr", "lr", "lr")    \
    "ldrd   r2, r3, [r0, #64]\n"                          \
    TM_DW3X3_TAPS("r8", "r9", "r10", "r11", "r10", "r11") \
    TM_DW3X3_TAPS("r6", "r7", "r12", "lr", "r12", "lr")   \
    "ldrd   r2, r3, [r0, #96]\n"                          \
    "adds   r0, #64\n"                                    \
    TM_DW3X3_TAPS("r8", "r9", "r12", "lr", "r12", "lr")   \
    TM_DW_ROUND_##form(TM_DW3X3_EACH_4)                   \
    "ldrd   r2, r3, [sp, #20]\n"                          \
    "strb   r11, [r1, r2]\n"                              \
    "strb   r10, [r1]\n"                                  \
    "add    r1, r3\n"                                     \
    "strb   lr, [r1, r2]\n"                               \
    "strb   r12, [r1]\n"                                  \
    "ldr    r2, [sp, #28]\n"                              \
    "add    r1, r3\n"                                     \
    "cmp    r0, r2\n"                                     \
    "bne    2b\n"                                         \
    "3:\n"                                                \
    "ldr    r3, [sp, #44]\n"                              \
    "tst    r3, #32\n"                                    \
    "beq    4f\n"                                         \
    "ldr    lr, [sp]\n"                                   \
    "ldrd   r2, r3, [r0]\n"                               \
    TM_DW3X3_TAPS("r4", "r5", "r12", "lr", "lr", "lr")    \
    "ldrd   r2, r3, [r0, #32]\n"                          \
    TM_DW3X3_TAPS("r6", "r7", "r12", "lr", "r12", "lr")   \
    "ldrd   r2, r3, [r0, #64]\n"                          \
    TM_DW3X3_TAPS("r8", "r9", "r12", "lr", "r12", "lr")   \
    TM_DW_ROUND_##form(TM_DW3X3_EACH_2)                   \
    "ldr    r2, [sp, #20]\n"                              \
    "strb   lr, [r1, r2]\n"                               \
    "strb   r12, [r1]\n"                                  \
    "4:\n"                                                \
    "ldrd   r0, r1, [sp, #32]\n"                          \
    "ldrd   r2, r3, [sp, #40]\n"                          \
    "ldr    r4, [sp, #48]\n"                              \
    "adds   r0, #8\n"                                     \
    "adds   r1, #1\n"                                     \
    "subs   r4, #1\n"                                     \
    "bne    1b\n"                                         \
    "add    sp, #52\n"                                    \
    "pop    {r4-r11, pc}\n"
/* clang-format on */

#define TM_DW3X3_CHANNELS(name, form)                                                               \
    TM_NAKED void name(const int32_t *x __attribute__((unused)), int8_t *y __attribute__((unused)), \
                       const int32_t *stream __attribute__((unused)),                               \
                       const tm_dw3x3_shape *shape __attribute__((unused)),                         \
                       int32_t count __attribute__((unused)))                                       \
    {                                                                                               \
        __asm__ volatile(TM_DW3X3_BODY(form));                                                      \
    }

#else

#define TM_DW3X3_CHANNELS(name, form)                                                                    \
    TM_SHARED void name(const int32_t *x, int8_t *y, const int32_t *stream, const tm_dw3x3_shape *shape, \
                        int32_t count)                                                                   \
    {                                                                                                    \
        tm_dw3x3_channels(TM_REQUANT_##form, x, y, stream, shape, count);                                \
    }

#endif

TM_DW3X3_CHANNELS(tm_dw3x3_channels_3_dsp, 3)
TM_DW3X3_CHANNELS(tm_dw3x3_channels_4_dsp, 4)
TM_DW3X3_CHANNELS(tm_dw3x3_channels_2_2_dsp, 2_2)
TM_DW3X3_CHANNELS(tm_dw3x3_channels_2_4_dsp, 2_4)

TM_SHARED void tm_dw3x3_channels_any_dsp(const int32_t *x, int8_t *y, const int32_t *stream,
                                         const tm_dw3x3_shape *shape, int32_t count)
{
    tm_dw3x3_channels(TM_REQUANT_ANY, x, y, stream, shape, count);
}

TM_INLINE void tm_dw3x3_group(int32_t form, const int32_t *x, int8_t *y, const int32_t *stream,
                              const tm_dw3x3_shape *shape, int32_t count)
{
    const int32_t known = tm_dw3x3_form(form, stream, count);
    if (known == TM_REQUANT_ANY) {
        tm_dw3x3_channels_any_dsp(x, y, stream, shape, count);
    } else {
        TM_REQUANT_CALL(tm_dw3x3_channels, known, x, y, stream, shape, count);
    }
}

/* One group of four channels, `tile` outputs of a row at a time. The columns that two tiles share stay in
 * `columns`: where y lies on the rows, the outputs have overwritten them.
 */
TM_INLINE void tm_dw3x3_tiles(const int8_t *const *rows, int8_t *y, const int32_t *stream, int32_t *columns,
                              tm_dw3x3_shape out, int32_t c, int32_t in_w, int32_t out_w, int32_t tile,
                              int32_t pad_left, int32_t zp_in, int32_t form)
{
    const int32_t group = tm_min(out.out_c - c, 4);
    for (int32_t x = 0; x < out_w; x += tile) {
        const int32_t outputs = tm_min(tile, out_w - x);
        const int32_t held = x > 0 ? 2 : 0;
        int32_t skipped;
        const tm_dw_window in = tm_dw_make_tile(in_w, out.out_c, outputs + 2, x - pad_left, held, &skipped);
        if (held > 0) {
            memmove(columns, columns + 8 * tile, (size_t)(8 * held) * sizeof *columns);
        }
        tm_dw_outside_tile(&in, columns, 2, held, zp_in);
        tm_dw_widen_rows(&in, rows, columns, 4, c + skipped, group);
        out.line_bytes = 32 * outputs;
        tm_dw3x3_group(form, columns, y + x * out.out_c + c, stream, &out, group);
    }
}

TM_INLINE void tm_dwconv2d_3x3_s8_dsp(const int8_t *const *rows, int8_t *y, int32_t count,
                                      const int32_t *stream, void *scratch, int32_t in_w, int32_t channels,
                                      int32_t out_w, int32_t tile, int32_t pad_left, int32_t zp_in,
                                      int32_t form, int32_t zp_out, int32_t lo, int32_t hi)
{
    int32_t *columns = (int32_t *)scratch;
    const tm_dw_window in = tm_dw_make_window(in_w, channels, out_w + 2, pad_left);
    const tm_dw3x3_shape out = {32 * out_w, zp_out, out_w * channels, channels};
    if (count == 1) {
        tm_dw_row(rows, y, stream, columns, in_w, channels, out_w, 1, tile, pad_left, zp_in, form, zp_out, 0);
        tm_clamp_row(y, out_w * channels, lo, hi);
        return;
    }
    if (tile >= out_w) {
        tm_dw_outside(&in, columns, 2, zp_in);
    }
    for (int32_t c = 0; c < channels; c += 4, stream += 24) {
        const int32_t group = channels - c < 4 ? channels - c : 4;
        if (tile < out_w) {
            tm_dw3x3_tiles(rows, y, stream, columns, out, c, in_w, out_w, tile, pad_left, zp_in, form);
            continue;
        }
        tm_dw_widen_rows(&in, rows, columns, 4, c, group);
        tm_dw3x3_group(form, columns, y + c, stream, &out, group);
    }
    tm_clamp_row(y, count * out_w * channels, lo, hi);
}

#endif
