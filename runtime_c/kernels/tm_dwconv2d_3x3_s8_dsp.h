/* tm_dwconv2d_3x3_s8_dsp: one or two output rows of a 3x3 depthwise convolution, DSP instructions, int8.
 *
 *   rows    int8  (3 + stride_h) x [in_w][channels]   input rows of two output rows; zero-point rows where
 *                                                     outside the image
 *   y       int8  [count][out_w][channels]            output rows
 *   count   1 or 2: with 1, only the first three rows count
 *   stream  int32 [channels][6]                       a, b (tm_requant_dsp), per kernel column the bytes
 *                                                     w0 w1 w1 w2  from top to bottom, bias
 *                                                     (-zp_in * sum(weights) folded in)
 *
 * Quantisation  y = clamp(zp_out + requant(bias + sum w * x)), rounding twice as the TFLite reference;
 *               `form` is how (tm_dsp.h), [lo, hi] the range of the fused activation. Columns left and
 *               right of the image count as zp_in and are not read.
 * Scratch       16 * words * columns bytes, words = stride_h + 1, columns = (outputs - 1) * stride_w + 3 of the
 *               `tile` outputs that are computed at a time, or of the row where it is shorter; 8-byte aligned.
 * Requires      depth multiplier 1, dilation 1, strides 1 or 2. Any number of channels, any padding.
 * Overlap       reads a group of channels, or all columns of a tile that no tile before has read, before it
 *               writes them: y may lie on input rows that nobody needs afterwards.
 * Source        TFLite kernels/internal/reference/integer_ops/depthwise_conv.h (DepthwiseConvPerChannel).
 *               Two output rows at a time, so that halfword pairs run down the image: no width is odd, and
 *               with stride 1 four rows are widened for what would take six.
 *               SXTB16 turns w0 w1 w1 w2 into the pairs A = (w0, w1) and, rotated, B = (w1, w2). With the
 *               row pairs P and, below it, Q, A.P + B.hi Q.lo is one output and A.lo P.hi + B.Q the one
 *               below: four instructions for six products.
 */
#ifndef TM_DWCONV2D_3X3_S8_DSP_H
#define TM_DWCONV2D_3X3_S8_DSP_H

#include "tm_dw_columns_s8_dsp.h"

typedef struct {
    int32_t line_bytes; /* of the columns that start a window */
    int32_t zero_point;
    int32_t row_bytes; /* from an output to the one below; 0 where only one row counts */
    int32_t out_c;
} tm_dw3x3_shape;

/* `count` channels in C: `x` are their columns, `stream` six words each. */
TM_INLINE void tm_dw3x3_channels(int32_t form, int32_t stride_h, int32_t stride_w, const int32_t *x,
                                 int8_t *y, const int32_t *stream, const tm_dw3x3_shape *shape, int32_t count)
{
    const int32_t words = stride_h + 1;
    for (; count > 0; --count, x += words, ++y, stream += 6) {
        int8_t *out = y;
        for (int32_t at = 0; at < shape->line_bytes / 4; at += 4 * words * stride_w) {
            int32_t acc0 = stream[5];
            int32_t acc1 = stream[5];
            for (int32_t column = 0; column < 3; ++column) {
                const int32_t *p = x + at + 4 * words * column;
                const int32_t w01 = tm_sxtb16(stream[2 + column]);
                const int32_t w12 = tm_sxtb16_ror8(stream[2 + column]);
                acc0 = tm_smlabt(p[1], w12, tm_smlad(p[0], w01, acc0));
                if (stride_h == 1) {
                    acc1 = tm_smlad(p[1], w12, tm_smlatb(p[0], w01, acc1));
                } else {
                    acc1 = tm_smlabt(p[2], w12, tm_smlad(p[1], w01, acc1));
                }
            }
            /* The lower row first: where there is none, the upper one takes its place. */
            out[shape->row_bytes] = tm_requant_dsp(form, acc1, stream[0], stream[1], shape->zero_point);
            out[0] = tm_requant_dsp(form, acc0, stream[0], stream[1], shape->zero_point);
            out += shape->out_c;
        }
    }
}

#if TM_DSP_ASM

/* r0 columns, r1 y, r4..r9 the weight pairs A and B of the three kernel columns, r10 bias, r11 zero point,
 * r12 and lr the accumulators of an output and the one below. Stack: [0] a, b, [8] row_bytes, out_c, [16] end of
 * the columns, [20] the channel's columns, y, [28] stream, line_bytes, [36] channels to do.
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
/* One kernel column of two outputs, by vertical stride; `at` is its place, acc the accumulators so far. */
#define TM_DW3X3_COLUMN_1(at, a, b, acc0, acc1) \
    "ldrd   r2, r3, [r0, #" #at "]\n"           \
    "smlad  r12, r2, " a ", " acc0 "\n"         \
    "smlatb lr, r2, " a ", " acc1 "\n"          \
    "smlabt r12, r3, " b ", r12\n"              \
    "smlad  lr, r3, " b ", lr\n"
#define TM_DW3X3_COLUMN_2(at, a, b, acc0, acc1) \
    "ldrd   r2, r3, [r0, #" #at "]\n"           \
    "smlad  r12, r2, " a ", " acc0 "\n"         \
    "ldr    r2, [r0, #8 + " #at "]\n"           \
    "smlabt r12, r3, " b ", r12\n"              \
    "smlad  lr, r3, " a ", " acc1 "\n"          \
    "smlabt lr, r2, " b ", lr\n"
#define TM_DW3X3_PAIR_1                            \
    TM_DW3X3_COLUMN_1(0, "r4", "r5", "r10", "r10") \
    TM_DW3X3_COLUMN_1(32, "r6", "r7", "r12", "lr") \
    TM_DW3X3_COLUMN_1(64, "r8", "r9", "r12", "lr")
#define TM_DW3X3_PAIR_2                            \
    TM_DW3X3_COLUMN_2(0, "r4", "r5", "r10", "r10") \
    TM_DW3X3_COLUMN_2(48, "r6", "r7", "r12", "lr") \
    TM_DW3X3_COLUMN_2(96, "r8", "r9", "r12", "lr")
/* clang-format off */
#define TM_DW3X3_BODY(stride_h, stride_w, REQUANT)        \
    "push   {r4-r11, lr}\n"                               \
    "sub    sp, #44\n"                                    \
    "ldm    r3, {r4, r11}\n" /* line_bytes, zero point */ \
    "ldrd   r5, r6, [r3, #8]\n"                           \
    "strd   r5, r6, [sp, #8]\n"                           \
    "mov    r3, r4\n"                                     \
    "ldr    r4, [sp, #80]\n" /* count */                  \
    "1:\n"                                                \
    "str    r4, [sp, #36]\n"                              \
    "strd   r0, r1, [sp, #20]\n"                          \
    "ldrd   r4, r5, [r2], #8\n"                           \
    "strd   r4, r5, [sp]\n"                               \
    "ldm    r2!, {r5, r7, r9, r10}\n"                     \
    "strd   r2, r3, [sp, #28]\n"                          \
    "add    r3, r0\n"                                     \
    "str    r3, [sp, #16]\n"                              \
    "sxtb16 r4, r5\n"                                     \
    "sxtb16 r5, r5, ror #8\n"                             \
    "sxtb16 r6, r7\n"                                     \
    "sxtb16 r7, r7, ror #8\n"                             \
    "sxtb16 r8, r9\n"                                     \
    "sxtb16 r9, r9, ror #8\n"                             \
    "2:\n"                                                \
    TM_DW3X3_PAIR_##stride_h                              \
    "ldrd   r2, r3, [sp]\n"                               \
    "adds   r0, #16 * (1 + " #stride_h ") * " #stride_w "\n" \
    REQUANT("r12")                                        \
    REQUANT("lr")                                         \
    "ldrd   r2, r3, [sp, #8]\n"                           \
    "strb   lr, [r1, r2]\n"                               \
    "strb   r12, [r1]\n"                                  \
    "ldr    r2, [sp, #16]\n"                              \
    "add    r1, r3\n"                                     \
    "cmp    r0, r2\n"                                     \
    "bne    2b\n"                                         \
    "ldrd   r0, r1, [sp, #20]\n"                          \
    "ldrd   r2, r3, [sp, #28]\n"                          \
    "ldr    r4, [sp, #36]\n"                              \
    "adds   r0, #4 * (1 + " #stride_h ")\n"               \
    "adds   r1, #1\n"                                     \
    "subs   r4, #1\n"                                     \
    "bne    1b\n"                                         \
    "add    sp, #44\n"                                    \
    "pop    {r4-r11, pc}\n"
/* clang-format on */

#define TM_DW3X3_BODY_12(form) TM_DW3X3_BODY(1, 2, TM_DW3X3_REQUANT_##form)
#define TM_DW3X3_BODY_21(form) TM_DW3X3_BODY(2, 1, TM_DW3X3_REQUANT_##form)
#define TM_DW3X3_BODY_22(form) TM_DW3X3_BODY(2, 2, TM_DW3X3_REQUANT_##form)

/* Stride 1 in both directions: two neighbouring outputs and the ones below, which share two of four columns.
 * r0 columns, r1 y, r4..r9 the weight pairs, r10, r11, r12, lr the accumulators: output, below, their right
 * neighbours. Stack: [0] bias, bias, a, b, zero point, [20] row_bytes, out_c, [28] end of the columns that start
 * pairs of windows, [32] the channel's columns, y, [40] stream, line_bytes, [48] channels to do.
 */
#define TM_DW3X3_TAPS(a, b, acc0, acc1)      \
    "smlad  " acc0 ", r2, " a ", " acc0 "\n" \
    "smlatb " acc1 ", r2, " a ", " acc1 "\n" \
    "smlabt " acc0 ", r3, " b ", " acc0 "\n" \
    "smlad  " acc1 ", r3, " b ", " acc1 "\n"
#define TM_DW3X3_FIRST_ROUNDING(acc) "smmlar " acc ", " acc ", r2, " acc "\n"
#define TM_DW3X3_HALVES_3(acc) ""
#define TM_DW3X3_HALVES_4(acc) "add    " acc ", " acc ", " acc ", asr #31\n"
#define TM_DW3X3_SECOND_ROUNDING_3(acc) \
    "smmlar " acc ", " acc ", r2, r3\n" \
    "ssat   " acc ", #8, " acc "\n"
#define TM_DW3X3_SECOND_ROUNDING_4(acc) \
    "smmlsr " acc ", " acc ", r2, r3\n" \
    "ssat   " acc ", #8, " acc "\n"
/* clang-format off */
#define TM_DW3X3_BODY_11(form)                            \
    "push   {r4-r11, lr}\n"                               \
    "sub    sp, #52\n"                                    \
    "ldm    r3, {r4-r7}\n" /* the shape */                \
    "strd   r5, r6, [sp, #16]\n"                          \
    "str    r7, [sp, #24]\n"                              \
    "mov    r3, r4\n"                                     \
    "ldr    r4, [sp, #88]\n" /* count */                  \
    "1:\n"                                                \
    "str    r4, [sp, #48]\n"                              \
    "strd   r0, r1, [sp, #32]\n"                          \
    "ldrd   r4, r5, [r2], #8\n"                           \
    "strd   r4, r5, [sp, #8]\n"                           \
    "ldm    r2!, {r5, r7, r9, r10}\n"                     \
    "strd   r10, r10, [sp]\n"                             \
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
    "ldrd   r10, r11, [sp]\n"                             \
    "ldrd   r2, r3, [r0]\n"                               \
    TM_DW3X3_TAPS("r4", "r5", "r10", "r11")               \
    "ldrd   r12, lr, [sp]\n"                              \
    "ldrd   r2, r3, [r0, #32]\n"                          \
    TM_DW3X3_TAPS("r6", "r7", "r10", "r11")               \
    TM_DW3X3_TAPS("r4", "r5", "r12", "lr")                \
    "ldrd   r2, r3, [r0, #64]\n"                          \
    TM_DW3X3_TAPS("r8", "r9", "r10", "r11")               \
    TM_DW3X3_TAPS("r6", "r7", "r12", "lr")                \
    "ldrd   r2, r3, [r0, #96]\n"                          \
    "adds   r0, #64\n"                                    \
    TM_DW3X3_TAPS("r8", "r9", "r12", "lr")                \
    "ldr    r2, [sp, #8]\n"                               \
    TM_DW3X3_FIRST_ROUNDING("r10")                        \
    TM_DW3X3_FIRST_ROUNDING("r11")                        \
    TM_DW3X3_FIRST_ROUNDING("r12")                        \
    TM_DW3X3_FIRST_ROUNDING("lr")                         \
    "ldrd   r2, r3, [sp, #12]\n"                          \
    TM_DW3X3_HALVES_##form("r10")                   \
    TM_DW3X3_HALVES_##form("r11")                   \
    TM_DW3X3_HALVES_##form("r12")                   \
    TM_DW3X3_HALVES_##form("lr")                    \
    TM_DW3X3_SECOND_ROUNDING_##form("r10")                \
    TM_DW3X3_SECOND_ROUNDING_##form("r11")                \
    TM_DW3X3_SECOND_ROUNDING_##form("r12")                \
    TM_DW3X3_SECOND_ROUNDING_##form("lr")                 \
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
    "ldrd   r12, lr, [sp]\n"                              \
    "ldrd   r2, r3, [r0]\n"                               \
    TM_DW3X3_TAPS("r4", "r5", "r12", "lr")                \
    "ldrd   r2, r3, [r0, #32]\n"                          \
    TM_DW3X3_TAPS("r6", "r7", "r12", "lr")                \
    "ldrd   r2, r3, [r0, #64]\n"                          \
    TM_DW3X3_TAPS("r8", "r9", "r12", "lr")                \
    "ldr    r2, [sp, #8]\n"                               \
    TM_DW3X3_FIRST_ROUNDING("r12")                        \
    TM_DW3X3_FIRST_ROUNDING("lr")                         \
    "ldrd   r2, r3, [sp, #12]\n"                          \
    TM_DW3X3_HALVES_##form("r12")                   \
    TM_DW3X3_HALVES_##form("lr")                    \
    TM_DW3X3_SECOND_ROUNDING_##form("r12")                \
    TM_DW3X3_SECOND_ROUNDING_##form("lr")                 \
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

#define TM_DW3X3_CHANNELS(name, form, stride_h, stride_w)                                           \
    TM_NAKED void name(const int32_t *x __attribute__((unused)), int8_t *y __attribute__((unused)), \
                       const int32_t *stream __attribute__((unused)),                               \
                       const tm_dw3x3_shape *shape __attribute__((unused)),                         \
                       int32_t count __attribute__((unused)))                                       \
    {                                                                                               \
        __asm__ volatile(TM_DW3X3_BODY_##stride_h##stride_w(form));                                 \
    }

#else

#define TM_DW3X3_CHANNELS(name, form, stride_h, stride_w)                                                \
    TM_SHARED void name(const int32_t *x, int8_t *y, const int32_t *stream, const tm_dw3x3_shape *shape, \
                        int32_t count)                                                                   \
    {                                                                                                    \
        tm_dw3x3_channels(TM_REQUANT_##form, stride_h, stride_w, x, y, stream, shape, count);            \
    }

#endif

TM_DW3X3_CHANNELS(tm_dw3x3s11_channels_3_dsp, 3, 1, 1)
TM_DW3X3_CHANNELS(tm_dw3x3s11_channels_4_dsp, 4, 1, 1)
TM_DW3X3_CHANNELS(tm_dw3x3s12_channels_3_dsp, 3, 1, 2)
TM_DW3X3_CHANNELS(tm_dw3x3s12_channels_4_dsp, 4, 1, 2)
TM_DW3X3_CHANNELS(tm_dw3x3s21_channels_3_dsp, 3, 2, 1)
TM_DW3X3_CHANNELS(tm_dw3x3s21_channels_4_dsp, 4, 2, 1)
TM_DW3X3_CHANNELS(tm_dw3x3s22_channels_3_dsp, 3, 2, 2)
TM_DW3X3_CHANNELS(tm_dw3x3s22_channels_4_dsp, 4, 2, 2)

TM_SHARED void tm_dw3x3_channels_any_dsp(const int32_t *x, int8_t *y, const int32_t *stream,
                                         const tm_dw3x3_shape *shape, int32_t count, int32_t stride_h,
                                         int32_t stride_w)
{
    tm_dw3x3_channels(TM_REQUANT_ANY, stride_h, stride_w, x, y, stream, shape, count);
}

TM_INLINE void tm_dw3x3_group(int32_t form, int32_t stride_h, int32_t stride_w, const int32_t *x, int8_t *y,
                              const int32_t *stream, const tm_dw3x3_shape *shape, int32_t count)
{
    const int32_t strides = 2 * stride_h + stride_w;
    int32_t all_4 = form == TM_REQUANT_ANY;
    for (int32_t i = 0; form == TM_REQUANT_ANY && i < count; ++i) {
        all_4 &= tm_requant_is_4(stream[6 * i + 1]);
    }
    if (form == TM_REQUANT_3) {
        if (strides == 3) {
            tm_dw3x3s11_channels_3_dsp(x, y, stream, shape, count);
        } else if (strides == 4) {
            tm_dw3x3s12_channels_3_dsp(x, y, stream, shape, count);
        } else if (strides == 5) {
            tm_dw3x3s21_channels_3_dsp(x, y, stream, shape, count);
        } else {
            tm_dw3x3s22_channels_3_dsp(x, y, stream, shape, count);
        }
    } else if (form == TM_REQUANT_4 || all_4) {
        if (strides == 3) {
            tm_dw3x3s11_channels_4_dsp(x, y, stream, shape, count);
        } else if (strides == 4) {
            tm_dw3x3s12_channels_4_dsp(x, y, stream, shape, count);
        } else if (strides == 5) {
            tm_dw3x3s21_channels_4_dsp(x, y, stream, shape, count);
        } else {
            tm_dw3x3s22_channels_4_dsp(x, y, stream, shape, count);
        }
    } else {
        tm_dw3x3_channels_any_dsp(x, y, stream, shape, count, stride_h, stride_w);
    }
}

/* One group of four channels, `tile` outputs of a row at a time. The columns that two tiles share stay in
 * `columns`: where y lies on the rows, the outputs have overwritten them.
 */
TM_INLINE void tm_dw3x3_tiles(const int8_t *const *rows, int8_t *y, const int32_t *stream, int32_t *columns,
                              tm_dw3x3_shape out, int32_t c, int32_t in_w, int32_t out_w, int32_t stride_h,
                              int32_t stride_w, int32_t tile, int32_t pad_left, int32_t zp_in, int32_t form)
{
    const int32_t words = stride_h + 1;
    const int32_t group = tm_min(out.out_c - c, 4);
    for (int32_t x = 0; x < out_w; x += tile) {
        const int32_t outputs = tm_min(tile, out_w - x);
        const int32_t held = x > 0 ? 3 - stride_w : 0;
        int32_t skipped;
        const tm_dw_window in = tm_dw_make_tile(in_w, out.out_c, (outputs - 1) * stride_w + 3,
                                                x * stride_w - pad_left, held, &skipped);
        if (held > 0) {
            memmove(columns, columns + 4 * words * tile * stride_w,
                    (size_t)(4 * words * held) * sizeof *columns);
        }
        tm_dw_outside_tile(&in, columns, words, held, zp_in);
        if (stride_h == 1) {
            tm_dw_widen_rows(&in, rows, columns, 4, c + skipped, group);
        } else {
            tm_dw_widen_rows(&in, rows, columns, 5, c + skipped, group);
        }
        out.line_bytes = 16 * words * stride_w * outputs;
        tm_dw3x3_group(form, stride_h, stride_w, columns, y + x * out.out_c + c, stream, &out, group);
    }
}

TM_INLINE void tm_dwconv2d_3x3_s8_dsp(const int8_t *const *rows, int8_t *y, int32_t count,
                                      const int32_t *stream, void *scratch, int32_t in_w, int32_t channels,
                                      int32_t out_w, int32_t stride_h, int32_t stride_w, int32_t tile,
                                      int32_t pad_left, int32_t zp_in, int32_t form, int32_t zp_out,
                                      int32_t lo, int32_t hi)
{
    int32_t *columns = (int32_t *)scratch;
    const int32_t words = stride_h + 1;
    const tm_dw_window in = tm_dw_make_window(in_w, channels, (out_w - 1) * stride_w + 3, pad_left);
    const tm_dw3x3_shape out = {16 * words * stride_w * out_w, zp_out, count > 1 ? out_w * channels : 0,
                                channels};
    if (tile >= out_w) {
        tm_dw_outside(&in, columns, words, zp_in);
    }
    for (int32_t c = 0; c < channels; c += 4, stream += 24) {
        const int32_t group = channels - c < 4 ? channels - c : 4;
        if (tile < out_w) {
            tm_dw3x3_tiles(rows, y, stream, columns, out, c, in_w, out_w, stride_h, stride_w, tile, pad_left,
                           zp_in, form);
            continue;
        }
        if (stride_h == 1) {
            tm_dw_widen_rows(&in, rows, columns, 4, c, group);
        } else {
            tm_dw_widen_rows(&in, rows, columns, 5, c, group);
        }
        tm_dw3x3_group(form, stride_h, stride_w, columns, y + c, stream, &out, group);
    }
    tm_clamp_row(y, count * out_w * channels, lo, hi);
}

#endif
