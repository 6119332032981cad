/* tm_dwconv2d_s16_dsp: one output row of a depthwise convolution, DSP instructions, int16 with int8 weights.
 *
 *   rows    int16 kernel_h x [in_w][channels]   input rows as bytes; zeros where outside the image
 *   y       int16 [out_w][channels]             output row
 *   stream  int32 []                            per two channels: biases, factors (tm_wide_dsp.h), then the weights
 *                                               as they meet a column (below), two words' in one: SXTB16 takes
 *                                               the first, SXTB16 ROR #8 the second. The partner of a last odd
 *                                               channel is zeros.
 *
 * Two channels at a time, columns are widened to pairs of rows, words = 2 * (kernel_h / 2) + kernel_h % 2 of them:
 *   (x[0].c, x[1].c)  (x[0].c+1, x[1].c+1)  (x[2].c, x[3].c) ...  and of an odd last row (x.c, x.c+1).
 *
 * Quantisation  y = clamp(requant(bias + sum w * x)), zero points 0; rounded once, as the TFLite reference.
 *               [lo, hi] is the range of the fused activation.
 * Scratch       4 * words * kernel_w bytes, rounded up to 8, for the weights of two channels and
 *               4 * words * columns bytes, columns = (outputs - 1) * stride_w + (kernel_w - 1) * dilation_w + 1,
 *               outputs = out_w rounded up to 2; 8-byte aligned.
 * Requires      depth multiplier 1; bias and sum fit 32 bits whatever the input, and factors exist. Any kernel,
 *               stride, dilation, padding and number of channels.
 * Overlap       reads two channels of all rows before it writes them: y may lie on input rows that nobody needs
 *               afterwards.
 * Source        TFLite kernels/internal/reference/integer_ops/depthwise_conv.h (of int16). Pairs of rows side by
 *               side in a word, as in tm_dwconv2d_taps_s8_dsp.
 */
#ifndef TM_DWCONV2D_S16_DSP_H
#define TM_DWCONV2D_S16_DSP_H

#include "tm_wide_dsp.h"

/* How two channels run along a row. */
typedef struct {
    const int32_t *stream; /* biases and factors */
    int16_t *y;            /* of the first output */
    int32_t pitch;         /* halfwords from output to output */
    int32_t outputs;
    int32_t words; /* of a column */
    int32_t step;  /* words from output to output */
    int32_t taps;  /* words of the weights */
    int32_t next;  /* words from tap to tap */
} tm_dw16_run;

/* One pixel of two channels, or of one and a zero. */
TM_INLINE int32_t tm_dw16_load(const int16_t *x, int32_t channels)
{
    return channels == 2 ? tm_load4(x) : (int32_t)(uint16_t)*x;
}

/* `n` columns of two rows, two words each. */
TM_INLINE void tm_dw16_pair(const int16_t *upper, const int16_t *lower, int32_t *column, int32_t n,
                            int32_t in_c, int32_t words, int32_t channels)
{
    TM_UNROLL_4
    for (; n > 0; --n, upper += in_c, lower += in_c, column += words) {
        const int32_t a = tm_dw16_load(upper, channels);
        const int32_t b = tm_dw16_load(lower, channels);
        column[0] = tm_pkhbt(a, b);
        column[1] = tm_pkhtb(b, a);
    }
}

/* `n` columns of `channels` (2 or 1) channels from `offset` halfwords on; `in_c` and `words` as above. */
TM_INLINE void tm_dw16_columns(const int8_t *const *rows, int32_t *column, int32_t offset, int32_t n,
                               int32_t in_c, int32_t kernel_h, int32_t words, int32_t channels)
{
    for (int32_t row = 0; row + 1 < kernel_h; row += 2, column += 2) {
        tm_dw16_pair(tm_row_s16(rows[row]) + offset, tm_row_s16(rows[row + 1]) + offset, column, n, in_c,
                     words, channels);
    }
    if (kernel_h % 2) {
        const int16_t *x = tm_row_s16(rows[kernel_h - 1]) + offset;
        TM_UNROLL_4
        for (int32_t i = 0; i < n; ++i, x += in_c, column += words) {
            *column = tm_dw16_load(x, channels);
        }
    }
}

/* All outputs of two channels; of the first alone with `channels` 1. `words` should be a constant. */
TM_INLINE void tm_dw16_outputs(const tm_dw16_run *run, const int32_t *columns, const int32_t *weights,
                               int32_t words, int32_t rectified, int32_t channels)
{
    const int32_t *const stream = run->stream;
    const int32_t pitch = run->pitch;
    int16_t *y = run->y;
    for (int32_t left = run->outputs; left > 0; left -= 2, columns += 2 * run->step, y += 2 * pitch) {
        const int32_t *x0 = columns;
        const int32_t *x1 = columns + run->step;
        int32_t a0 = stream[0], b0 = stream[1], a1 = a0, b1 = b0;
        for (int32_t tap = 0; tap < run->taps; tap += words, x0 += run->next, x1 += run->next) {
            const int32_t *const w = weights + tap;
            int32_t i = 0;
            TM_UNROLL_4
            for (; i + 1 < words; i += 2) {
                a0 = tm_smlad(x0[i], w[i], a0);
                b0 = tm_smlad(x0[i + 1], w[i + 1], b0);
                a1 = tm_smlad(x1[i], w[i], a1);
                b1 = tm_smlad(x1[i + 1], w[i + 1], b1);
            }
            if (i < words) {
                a0 = tm_smlabb(x0[i], w[i], a0);
                b0 = tm_smlatt(x0[i], w[i], b0);
                a1 = tm_smlabb(x1[i], w[i], a1);
                b1 = tm_smlatt(x1[i], w[i], b1);
            }
        }
        y[0] = tm_requant16_dsp(rectified, a0, stream[2]);
        if (channels > 1) {
            y[1] = tm_requant16_dsp(rectified, b0, stream[3]);
        }
        if (left > 1) {
            y[pitch] = tm_requant16_dsp(rectified, a1, stream[2]);
            if (channels > 1) {
                y[pitch + 1] = tm_requant16_dsp(rectified, b1, stream[3]);
            }
        }
    }
}

#if TM_DSP_ASM

/* clang-format off */
/* Columns of three rows: r0 the first, r1 columns, r2 how many, r3 bytes from pixel to pixel; on the stack how many
 * bytes behind the first row the others lie.
 */
#define TM_DW16_COLUMNS_3                 \
    "push   {r4-r10, lr}\n"               \
    "ldrd   r9, r10, [sp, #32]\n"         \
    "1:\n"                                \
    "ldr    r5, [r0, r9]\n"               \
    "ldr    r8, [r0, r10]\n"              \
    "ldr    r4, [r0]\n"                   \
    "add    r0, r3\n"                     \
    "pkhbt  r6, r4, r5, lsl #16\n"        \
    "pkhtb  r7, r5, r4, asr #16\n"        \
    "stmia  r1!, {r6-r8}\n"               \
    "subs   r2, #1\n"                     \
    "bne    1b\n"                         \
    "pop    {r4-r10, pc}\n"

/* One tap of three words for two outputs. r0 and r12 columns, r1 weights, r4 and r6 sums of the first channel, r5 and
 * r7 of the second.
 */
#define TM_DW16_PRODUCTS(x, a, b)              \
    "ldmia  " x "!, {r2, r3, r11}\n"           \
    "smlad  " a ", r2, r8, " a "\n"            \
    "smlad  " b ", r3, r9, " b "\n"            \
    "smlabb " a ", r11, r10, " a "\n"          \
    "smlatt " b ", r11, r10, " b "\n"
#define TM_DW16_TAP                            \
    "ldmia  r1!, {r8-r10}\n"                   \
    TM_DW16_PRODUCTS("r0", "r4", "r5")         \
    TM_DW16_PRODUCTS("r12", "r6", "r7")
/* Stack while running: [0] biases, [8] factors, [16] bytes from output to output, [20] y behind the last output,
 * [24] bytes from the end of a window to the one after the next.
 */
#define TM_DW16_3X3(rectified)                 \
    "push   {r4-r11, lr}\n"                    \
    "sub    sp, #28\n"                         \
    "ldmia  r2!, {r3-r6}\n"                    \
    "ldm    r3, {r8-r11}\n"                    \
    "strd   r8, r9, [sp]\n"                    \
    "strd   r10, r11, [sp, #8]\n"              \
    "mov    lr, r4\n"                          \
    "lsl    r5, #1\n"                          \
    "mla    r6, r6, r5, r4\n"                  \
    "strd   r5, r6, [sp, #16]\n"               \
    "ldr    r3, [r2, #4]\n" /* step */         \
    "lsl    r3, #2\n"                          \
    "add    r12, r0, r3\n"                     \
    "lsl    r3, #1\n"                          \
    "sub    r3, #36\n"                         \
    "str    r3, [sp, #24]\n"                   \
    "1:\n"                                     \
    "ldrd   r4, r5, [sp]\n"                    \
    "mov    r6, r4\n"                          \
    "mov    r7, r5\n"                          \
    TM_DW16_TAP                                \
    TM_DW16_TAP                                \
    TM_DW16_TAP                                \
    "ldrd   r8, r9, [sp, #8]\n"                \
    "smmulr r4, r4, r8\n"                      \
    "smmulr r5, r5, r9\n"                      \
    "smmulr r6, r6, r8\n"                      \
    "smmulr r7, r7, r9\n"                      \
    TM_ASM_SATURATE16_##rectified("r4")        \
    TM_ASM_SATURATE16_##rectified("r5")        \
    TM_ASM_SATURATE16_##rectified("r6")        \
    TM_ASM_SATURATE16_##rectified("r7")        \
    "ldrd   r2, r3, [sp, #16]\n"               \
    "pkhbt  r4, r4, r5, lsl #16\n"             \
    "pkhbt  r6, r6, r7, lsl #16\n"             \
    "str    r4, [lr]\n"                        \
    "add    lr, r2\n"                          \
    "cmp    lr, r3\n"                          \
    "beq    2f\n"                              \
    "ldr    r8, [sp, #24]\n"                   \
    "str    r6, [lr]\n"                        \
    "add    lr, r2\n"                          \
    "add    r0, r8\n"                          \
    "add    r12, r8\n"                         \
    "subs   r1, #36\n"                         \
    "cmp    lr, r3\n"                          \
    "bne    1b\n"                              \
    "2:\n"                                     \
    "add    sp, #28\n"                         \
    "pop    {r4-r11, pc}\n"
/* clang-format on */

/* `n` > 0 columns of three rows, the others `second` and `third` bytes behind the first. */
TM_NAKED void tm_dw16_columns3_dsp(const int16_t *x __attribute__((unused)),
                                   int32_t *columns __attribute__((unused)),
                                   int32_t n __attribute__((unused)), int32_t pitch __attribute__((unused)),
                                   int32_t second __attribute__((unused)),
                                   int32_t third __attribute__((unused)))
{
    __asm__ volatile(TM_DW16_COLUMNS_3);
}

#define TM_DW16_RUN_3X3(name, rectified)                               \
    TM_NAKED void name(const int32_t *columns __attribute__((unused)), \
                       const int32_t *weights __attribute__((unused)), \
                       const tm_dw16_run *run __attribute__((unused))) \
    {                                                                  \
        __asm__ volatile(TM_DW16_3X3(rectified));                      \
    }

/* All outputs of two channels with a 3x3 kernel and no horizontal dilation. */
TM_DW16_RUN_3X3(tm_dw16_3x3_dsp, 0)
TM_DW16_RUN_3X3(tm_dw16_3x3_relu_dsp, 1)

#endif

TM_INLINE void tm_dwconv2d_s16_dsp(const int8_t *const *rows, int16_t *y, const int32_t *stream,
                                   void *scratch, int32_t in_w, int32_t channels, int32_t out_w,
                                   int32_t kernel_h, int32_t kernel_w, int32_t stride_w, int32_t dilation_w,
                                   int32_t pad_left, int32_t lo, int32_t hi)
{
    const int32_t words = 2 * (kernel_h / 2) + kernel_h % 2;
    const int32_t taps = words * kernel_w;
    const int32_t outputs = (out_w + 1) / 2 * 2;
    const int32_t columns = (outputs - 1) * stride_w + (kernel_w - 1) * dilation_w + 1;
    const int32_t left = tm_min(pad_left, columns);
    const int32_t inside = tm_min(in_w, columns - left);
    const int32_t rectified = tm_rectifies(lo);
    int32_t *const weights = (int32_t *)scratch;
    int32_t *const column = weights + (taps + 1) / 2 * 2;
    tm_dw16_run run = {stream, y, channels, out_w, words, stride_w * words, taps, dilation_w * words};
    /* What lies beside the image stays zero for all channels. */
    memset(column, 0, 4 * (size_t)(left * words));
    memset(column + (left + inside) * words, 0, 4 * (size_t)((columns - left - inside) * words));
    for (int32_t c = 0; c < channels; c += 2) {
        run.stream = stream;
        run.y = y + c;
        stream += 4;
        for (int32_t i = 0; i < taps; i += 2, ++stream) {
            weights[i] = tm_sxtb16(*stream);
            weights[i + 1] = tm_sxtb16_ror8(*stream); /* the buffer is rounded up to even */
        }
        if (c + 1 == channels) {
            tm_dw16_columns(rows, column + left * words, c, inside, channels, kernel_h, words, 1);
            tm_dw16_outputs(&run, column, weights, words, rectified, 1);
            break;
        }
#if TM_DSP_ASM
        if (kernel_h == 3 && kernel_w == 3 && dilation_w == 1) {
            if (inside > 0) {
                tm_dw16_columns3_dsp(tm_row_s16(rows[0]) + c, column + left * words, inside, 2 * channels,
                                     (int32_t)((uintptr_t)rows[1] - (uintptr_t)rows[0]),
                                     (int32_t)((uintptr_t)rows[2] - (uintptr_t)rows[0]));
            }
            if (rectified) {
                tm_dw16_3x3_relu_dsp(column, weights, &run);
            } else {
                tm_dw16_3x3_dsp(column, weights, &run);
            }
            continue;
        }
#endif
        tm_dw16_columns(rows, column + left * words, c, inside, channels, kernel_h, words, 2);
        tm_dw16_outputs(&run, column, weights, words, rectified, 2);
    }
    tm_clamp_row16(y, out_w * channels, rectified, lo, hi);
}

#endif
