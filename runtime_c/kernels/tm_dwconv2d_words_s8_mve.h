/* tm_dwconv2d_words_s8_mve: one output row of a depthwise convolution of up to 8x8, Helium, int8.
 *
 *   rows    int8   kernel_h x [in_w][channels]   input rows; zero-point rows where outside the image
 *   y       int8   [out_w][channels]             output row
 *   stream  int32  per channel                   bias (-zp_in * sum(weights) folded in), a, b (tm_mve.h), then the
 *                                                bytes w[kernel_h][kernel_w] and one to four zeros
 *   taps    uint8  [planes][blocks][4][4]        which of a channel's bytes of weights stands at row 4 * plane + i of
 *                                                column 4 * block + j of the window, [..][j][i]: a zero beyond it
 *
 * Quantisation  y = clamp(zp_out + requant(bias + sum w * x)), rounding twice as the TFLite reference; `form` is
 *               how (tm_mve.h), [lo, hi] the range of the fused activation. Columns left and right of the
 *               image count as zp_in and are not read.
 * Scratch       64 * planes * ((out_w - 1) * stride_w + 4 * blocks) bytes, planes = ceil(kernel_h / 4), blocks =
 *               ceil(kernel_w / 4); 8-byte aligned.
 * Requires      depth multiplier 1, kernel at most 8x8, dilation_w 1, stride_w 1 or 2. Any number of channels, any
 *               padding.
 * Overlap       reads a group of 16 channels of all rows before it writes them: y may lie on input rows that
 *               nobody needs afterwards.
 * Source        TFLite kernels/internal/reference/integer_ops/depthwise_conv.h (DepthwiseConvPerChannel); columns as in
 *               tm_dw_columns_s8_mve.h, up to two planes of four rows each, a window up to two blocks of four of them.
 */
#ifndef TM_DWCONV2D_WORDS_S8_MVE_H
#define TM_DWCONV2D_WORDS_S8_MVE_H

#include "tm_dw_columns_s8_mve.h"

/* What the assembly below knows of a layer. */
typedef struct {
    int32_t channels; /* of this call, at most 16 */
    int32_t out_w;
    int32_t pixel; /* bytes of an output pixel */
    int32_t zero_point;
    int32_t plane;  /* bytes of the columns of four rows */
    int32_t weight; /* bytes of a channel's weights */
    const uint8_t *taps;
    int32_t unused;
    int32_t first[4];  /* bytes from a pixel's first column to its first four, less one pixel's step */
    int32_t offset[4]; /* bytes from y to each of four pixels */
} tm_dw_words_shape_mve;

#if TM_MVE_ASM

/* clang-format off */
/* The sum of one pixel, by planes and blocks of its window; the gathers move their addresses on to the pixel. */
#define TM_DW_WORDS_PIXEL_11_MVE(step, acc)     \
    "vldrw.u32 q0, [q3, #" step "]!\n"          \
    "vmladav.s8 " acc ", q0, q4\n"
#define TM_DW_WORDS_PIXEL_12_MVE(step, acc)     \
    TM_DW_WORDS_PIXEL_11_MVE(step, acc)         \
    "vldrw.u32 q1, [q3, #256]\n"                \
    "vmladava.s8 " acc ", q1, q5\n"
#define TM_DW_WORDS_PIXEL_21_MVE(step, acc)     \
    TM_DW_WORDS_PIXEL_11_MVE(step, acc)         \
    "vldrw.u32 q1, [q2, #" step "]!\n"          \
    "vmladava.s8 " acc ", q1, q5\n"
#define TM_DW_WORDS_PIXEL_22_MVE(step, acc)     \
    TM_DW_WORDS_PIXEL_12_MVE(step, acc)         \
    "vldrw.u32 q0, [q2, #" step "]!\n"          \
    "vmladava.s8 " acc ", q0, q6\n"             \
    "vldrw.u32 q1, [q2, #256]\n"                \
    "vmladava.s8 " acc ", q1, q7\n"
#define TM_DW_WORDS_BYTES_11_MVE "8"
#define TM_DW_WORDS_BYTES_12_MVE "16"
#define TM_DW_WORDS_BYTES_21_MVE "16"
#define TM_DW_WORDS_BYTES_22_MVE "32"
/* The weights, r8 -> a channel's, r0 -> taps. */
#define TM_DW_WORDS_WEIGHTS_11_MVE    \
    "vldrb.u8 q0, [r0]\n"             \
    "vldrb.u8 q4, [r8, q0]\n"
#define TM_DW_WORDS_WEIGHTS_12_MVE    \
    TM_DW_WORDS_WEIGHTS_11_MVE        \
    "vldrb.u8 q0, [r0, #16]\n"        \
    "vldrb.u8 q5, [r8, q0]\n"
#define TM_DW_WORDS_WEIGHTS_21_MVE TM_DW_WORDS_WEIGHTS_12_MVE
#define TM_DW_WORDS_WEIGHTS_22_MVE    \
    TM_DW_WORDS_WEIGHTS_12_MVE        \
    "vldrb.u8 q0, [r0, #32]\n"        \
    "vldrb.u8 q6, [r8, q0]\n"         \
    "vldrb.u8 q0, [r0, #48]\n"        \
    "vldrb.u8 q7, [r8, q0]\n"

#define TM_DW_WORDS_COPY_B_2 ""
#define TM_DW_WORDS_COPY_B_3 ""
#define TM_DW_WORDS_COPY_B_ANY "mov r6, r5\n"
#define TM_DW_WORDS_B_2 "r5"
#define TM_DW_WORDS_B_3 "r5"
#define TM_DW_WORDS_B_ANY "r6"

/* One channel after another: r1 bias, r3 a, r5 b, r7 y, r9 pixels left, r11 zero point, r12 bytes of four output
 * pixels; q3, q2 addresses of the pixel before. Stack: [0] y, [4] stream, [8] columns, [12] channels left,
 * [16] out_w, [20] taps, [24] plane, [28] bytes of weights, [32] first, [48] offset; for the last 1 to 3 pixels, which
 * enter the loop where so many remain, [64] entry, [68] move of y, [72] lanes that are stored.
 */
#define TM_DW_WORDS_BODY_MVE(form, window, step)                        \
    "push {r4-r11, lr}\n"                                               \
    "vpush {d8-d15}\n"                                                  \
    "sub sp, #80\n"                                                     \
    "vldrw.u32 q0, [r3, #32]\n"                                         \
    "vstrw.32 q0, [sp, #32]\n"                                          \
    "vldrw.u32 q0, [r3, #48]\n"                                         \
    "vstrw.32 q0, [sp, #48]\n"                                          \
    "ldm r3, {r4, r5, r6, r7, r8, r9, r10}\n"                           \
    "mov r11, r7\n"                                                     \
    "lsl r12, r6, #2\n"                                                 \
    "strd r2, r1, [sp]\n"                                               \
    "strd r0, r4, [sp, #8]\n"                                           \
    "strd r5, r10, [sp, #16]\n"                                         \
    "strd r8, r9, [sp, #24]\n"                                          \
    "and r0, r5, #3\n"                                                  \
    "rsb r0, r0, #4\n" /* pixels left out of the last four */           \
    "lsl r2, r0, #2\n"                                                  \
    "movw r4, #0xffff\n"                                                \
    "lsl r4, r4, r2\n"                                                  \
    "str r4, [sp, #72]\n"                                               \
    "mul r2, r0, r6\n"                                                  \
    "rsb r2, r2, #0\n"                                                  \
    "movs r4, #" TM_DW_WORDS_BYTES_##window##_MVE "\n"                  \
    "adr.w r8, 2f\n"                                                    \
    "mla r0, r0, r4, r8\n"                                              \
    "strd r0, r2, [sp, #64]\n"                                          \
    "1:\n"                                                              \
    "ldm sp, {r7, r8, r10}\n"                                           \
    "ldm r8!, {r1, r3, r5}\n"                                           \
    "ldr r0, [sp, #20]\n"                                               \
    TM_DW_WORDS_WEIGHTS_##window##_MVE                                  \
    "ldrd r0, r2, [sp, #24]\n"                                          \
    "vldrw.u32 q3, [sp, #32]\n"                                         \
    "vadd.i32 q3, q3, r10\n"                                            \
    "vadd.i32 q2, q3, r0\n"                                             \
    "add r0, r7, #1\n"                                                  \
    "add r8, r2\n"                                                      \
    "add r10, #4\n"                                                     \
    "stm sp, {r0, r8, r10}\n"                                           \
    "ldr r9, [sp, #16]\n"                                               \
    "movw r0, #0xffff\n"                                                \
    "vmsr p0, r0\n"                                                     \
    "subs r9, #4\n"                                                     \
    "blt 3f\n"                                                          \
    "2:\n"                                                              \
    TM_DW_WORDS_PIXEL_##window##_MVE(step, "r0")                        \
    TM_DW_WORDS_PIXEL_##window##_MVE(step, "r2")                        \
    TM_DW_WORDS_PIXEL_##window##_MVE(step, "r4")                        \
    TM_DW_WORDS_PIXEL_##window##_MVE(step, "r6")                        \
    "vmov q0[2], q0[0], r0, r4\n"                                       \
    "vmov q0[3], q0[1], r2, r6\n"                                       \
    "vadd.i32 q0, q0, r1\n"                                             \
    TM_DW_WORDS_COPY_B_##form                                           \
    TM_MVE_REQUANT_TEXT_##form("q0", "q1", "r3", TM_DW_WORDS_B_##form, "r0", "r2") \
    "vqmovnb.s32 q0, " TM_MVE_RESULT_##form("q0", "q1") "\n"            \
    "vldrw.u32 q1, [sp, #48]\n"                                         \
    "vqadd.s16 q0, q0, r11\n"                                           \
    "vqmovnb.s16 q0, q0\n"                                              \
    "vpst\n"                                                            \
    "vstrbt.32 q0, [r7, q1]\n"                                          \
    "add r7, r12\n"                                                     \
    "subs r9, #4\n"                                                     \
    "bge.w 2b\n"                                                        \
    "3:\n"                                                              \
    "adds r9, #4\n"                                                     \
    "beq 4f\n"                                                          \
    "ldrd r0, r2, [sp, #64]\n"                                          \
    "ldr r4, [sp, #72]\n"                                               \
    "add r7, r2\n"                                                      \
    "vmsr p0, r4\n"                                                     \
    "mov r9, #0\n"                                                      \
    "mov pc, r0\n"                                                      \
    "4:\n"                                                              \
    "ldr r0, [sp, #12]\n"                                               \
    "subs r0, #1\n"                                                     \
    "str r0, [sp, #12]\n"                                               \
    "bne.w 1b\n"                                                        \
    "ldr r0, [sp, #4]\n"                                                \
    "add sp, #80\n"                                                     \
    "vpop {d8-d15}\n"                                                   \
    "pop {r4-r11, pc}\n"
/* clang-format on */

#define TM_DW_WORDS_MVE(name, form, window, stride_w, step)                                            \
    TM_NAKED const int32_t *name(                                                                      \
        const int8_t *at __attribute__((unused)), const int32_t *stream __attribute__((unused)),       \
        int8_t *y __attribute__((unused)), const tm_dw_words_shape_mve *shape __attribute__((unused))) \
    {                                                                                                  \
        __asm__ volatile(TM_DW_WORDS_BODY_MVE(form, window, step));                                    \
    }

#else

/* The same in C. */
TM_INLINE const int32_t *tm_dw_words_in_c_mve(int32_t form, int32_t window, int32_t stride_w,
                                              const int8_t *at, const int32_t *stream, int8_t *y,
                                              const tm_dw_words_shape_mve *shape)
{
    const int32_t blocks = window % 10;
    for (int32_t c = 0; c < shape->channels; ++c, stream += 3 + shape->weight / 4) {
        const int8_t *w = (const int8_t *)(stream + 3);
        for (int32_t ox = 0; ox < shape->out_w; ++ox) {
            const int8_t *x = at + 64 * ox * stride_w + 4 * c;
            int32_t acc = stream[0];
            for (int32_t plane = 0; plane < window / 10; ++plane) {
                for (int32_t i = 0; i < 16 * blocks; ++i) {
                    acc += (int32_t)x[plane * shape->plane + i / 4 * 64 + i % 4] *
                           w[shape->taps[16 * blocks * plane + i]];
                }
            }
            y[c + ox * shape->pixel] = tm_mve_requant(form, acc, stream[1], stream[2], shape->zero_point);
        }
    }
    return stream;
}

#define TM_DW_WORDS_MVE(name, form, window, stride_w, step)                                         \
    TM_SHARED const int32_t *name(const int8_t *at, const int32_t *stream, int8_t *y,               \
                                  const tm_dw_words_shape_mve *shape)                               \
    {                                                                                               \
        return tm_dw_words_in_c_mve(TM_MVE_REQUANT_##form, window, stride_w, at, stream, y, shape); \
    }

#endif

/* All outputs of up to 16 channels whose columns stand at `at`; they return the stream behind the channels. */
#define TM_DW_WORDS_STRIDES_MVE(name, form, window)       \
    TM_DW_WORDS_MVE(name##_s1_mve, form, window, 1, "64") \
    TM_DW_WORDS_MVE(name##_s2_mve, form, window, 2, "128")
#define TM_DW_WORDS_WINDOWS_MVE(name, form)      \
    TM_DW_WORDS_STRIDES_MVE(name##_11, form, 11) \
    TM_DW_WORDS_STRIDES_MVE(name##_12, form, 12) \
    TM_DW_WORDS_STRIDES_MVE(name##_21, form, 21) \
    TM_DW_WORDS_STRIDES_MVE(name##_22, form, 22)
TM_DW_WORDS_WINDOWS_MVE(tm_dw_words_2, 2)
TM_DW_WORDS_WINDOWS_MVE(tm_dw_words_3, 3)
TM_DW_WORDS_WINDOWS_MVE(tm_dw_words_any, ANY)

#define TM_DW_WORDS_FORM_MVE(window, stride)                                                    \
    (form == TM_MVE_REQUANT_2   ? tm_dw_words_2_##window##_##stride##_mve(at, stream, y, shape) \
     : form == TM_MVE_REQUANT_3 ? tm_dw_words_3_##window##_##stride##_mve(at, stream, y, shape) \
                                : tm_dw_words_any_##window##_##stride##_mve(at, stream, y, shape))
#define TM_DW_WORDS_CALL_MVE(window) \
    (stride_w == 1 ? TM_DW_WORDS_FORM_MVE(window, s1) : TM_DW_WORDS_FORM_MVE(window, s2))

/* Choose among them by constants. */
TM_INLINE const int32_t *tm_dw_words_mve(int32_t form, int32_t planes, int32_t blocks, int32_t stride_w,
                                         const int8_t *at, const int32_t *stream, int8_t *y,
                                         const tm_dw_words_shape_mve *shape)
{
    if (planes == 1) {
        return blocks == 1 ? TM_DW_WORDS_CALL_MVE(11) : TM_DW_WORDS_CALL_MVE(12);
    }
    return blocks == 1 ? TM_DW_WORDS_CALL_MVE(21) : TM_DW_WORDS_CALL_MVE(22);
}

TM_INLINE void tm_dwconv2d_words_s8_mve(const int8_t *const *rows, int8_t *y, const int32_t *stream,
                                        const uint8_t *taps, void *scratch, int32_t in_w, int32_t channels,
                                        int32_t out_w, int32_t kernel_h, int32_t kernel_w, int32_t stride_w,
                                        int32_t pad_left, int32_t zp_in, int32_t form, int32_t zp_out,
                                        int32_t lo, int32_t hi)
{
    const int32_t planes = (kernel_h + 3) / 4;
    const int32_t blocks = (kernel_w + 3) / 4;
    const int32_t columns = (out_w - 1) * stride_w + kernel_w;
    const int32_t left = tm_min(pad_left, columns);
    const int32_t inside = tm_min(columns - left, in_w);
    int8_t *const at = (int8_t *)scratch;
    tm_dw_words_shape_mve shape;
    shape.out_w = out_w;
    shape.pixel = channels;
    shape.zero_point = zp_out;
    shape.plane = 64 * ((out_w - 1) * stride_w + 4 * blocks);
    shape.weight = (kernel_h * kernel_w + 4) / 4 * 4;
    shape.taps = taps;
    shape.unused = 0;
    for (int32_t i = 0; i < 4; ++i) {
        shape.first[i] = 64 * (i - stride_w);
        shape.offset[i] = i * channels;
    }
    for (int32_t plane = 0; plane < planes; ++plane) {
        tm_dw_pad_columns_mve(at + plane * shape.plane, zp_in, left, inside, columns);
    }
    for (int32_t c = 0; c < channels; c += 16) {
        shape.channels = tm_min(channels - c, 16);
        for (int32_t plane = 0; plane < planes; ++plane) {
            const int8_t *four[4];
            for (int32_t i = 0; i < 4; ++i) {
                /* rows beyond the kernel meet weights of zero */
                four[i] = rows[tm_min(4 * plane + i, kernel_h - 1)];
            }
            tm_dw_columns_mve(four, at + plane * shape.plane + 64 * left, c, inside, channels,
                              shape.channels);
        }
        stream = tm_dw_words_mve(form, planes, blocks, stride_w, at, stream, y + c, &shape);
    }
    tm_mve_clamp_row(y, out_w * channels, lo, hi);
}

#endif
