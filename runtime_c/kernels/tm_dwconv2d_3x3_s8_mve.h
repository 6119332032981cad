/* tm_dwconv2d_3x3_s8_mve: two output rows of a 3x3 depthwise convolution, Helium, int8.
 *
 *   rows    int8  [in_w][channels] each       the 4 (stride_h 1) or 5 input rows of two output rows;
 *                                             zero-point rows where outside the image
 *   y       int8  [count][out_w][channels]    output rows, count 1 or 2
 *   stream  int32  per group of n channels,   [n][3]: bias (-zp_in * sum(weights) folded in), a, b (tm_mve.h);
 *                  16 or what is left         then [n][9] as bytes, filled up to a word: the columns of the
 *                                             kernel, w[0][x] w[1][x] w[2][x]
 *
 * Quantisation  y = clamp(zp_out + requant(bias + sum w * x)), rounding twice as the TFLite reference; `form` is
 *               how (tm_mve.h), [lo, hi] the range of the fused activation. Columns left and right of the
 *               image count as zp_in and are not read.
 * Scratch       64 * stride_h * (out_w * stride_w - stride_w + 4) bytes, 8-byte aligned.
 * Requires      depth multiplier 1, dilation 1, strides 1 or 2, (out_w + 3) * channels < 65536. Any number of
 *               channels, any padding.
 * Overlap       reads a group of 16 channels of all rows before it writes them: y may lie on input rows that
 *               nobody needs afterwards.
 * Source        TFLite kernels/internal/reference/integer_ops/depthwise_conv.h (DepthwiseConvPerChannel).
 *               VST4 interleaves 16 channels of 4 rows, so that a word holds a channel's column of 4 rows; one
 *               gather of 4 words then is the window of one channel, and VMLADAV its sum of products. With
 *               stride_h 1 the same 4 rows serve two output rows, the second with weights shifted by a byte. One
 *               row alone is computed as its two halves.
 */
#ifndef TM_DWCONV2D_3X3_S8_MVE_H
#define TM_DWCONV2D_3X3_S8_MVE_H

#include "tm_dw_columns_s8_mve.h"

/* What the assembly below knows of a layer. */
typedef struct {
    int32_t channels; /* of this call, at most 16 */
    int32_t out_w;
    int32_t pixel; /* bytes of an output pixel */
    int32_t zero_point;
    int32_t segment;    /* bytes of the columns of one output row, where each has its own */
    int32_t first[4];   /* bytes from a pixel's first column to its window's words, less one pixel's step */
    uint16_t offset[8]; /* bytes from y to pixel 0 row 0, pixel 0 row 1, pixel 1 row 0, ... */
} tm_dw_shape_mve;

#if TM_MVE_ASM

/* clang-format off */
/* The sums of one pixel in both rows: from shared columns with two sets of weights, or from columns of their own.
 * The gather moves its addresses on to the pixel.
 */
#define TM_DW_PIXEL_SHARED_MVE(q, step, row0, row1)    \
    "vldrw.u32 " q ", [q6, #" step "]!\n"              \
    "vmladav.s8 " row0 ", " q ", q4\n"                 \
    "vmladav.s8 " row1 ", " q ", q5\n"
#define TM_DW_PIXEL_OWN_MVE(q, step, row0, row1)       \
    "vldrw.u32 " q ", [q6, #" step "]!\n"              \
    "vmladav.s8 " row0 ", " q ", q4\n"                 \
    "vldrw.u32 " q ", [q5, #" step "]!\n"              \
    "vmladav.s8 " row1 ", " q ", q4\n"
#define TM_DW_PIXEL_BYTES_SHARED_MVE "12"
#define TM_DW_PIXEL_BYTES_OWN_MVE "16"
#define TM_DW_SECOND_SHARED_MVE "vshl.i32 q5, q4, #8\n"
#define TM_DW_SECOND_OWN_MVE    \
    "ldr r4, [sp, #64]\n"       \
    "vadd.i32 q5, q6, r4\n"

/* Form ANY works on a copy of b. */
#define TM_DW_COPY_B_2 ""
#define TM_DW_COPY_B_3 ""
#define TM_DW_COPY_B_ANY "mov r6, r5\n"
#define TM_DW_B_2 "r5"
#define TM_DW_B_3 "r5"
#define TM_DW_B_ANY "r6"

/* One channel after another: r1 bias, r3 a, r5 b, r7 y, r9 pixels left, r11 zero point, q4 weights, q6 addresses of
 * the pixel before, q7 offsets. Stack: [0] lanes of weights, [4] y, [8] stream, [12] columns, [16] weights, [20] their
 * end, [24] out_w, [28] bytes of four output pixels, [32] first, [48] which of the nine weights each lane takes, [64]
 * segment. The last 1 to 3 pixels enter the loop where so many remain, with y moved back and the lanes of the pixels
 * left out not stored: [68] entry, [72] move, [76] lanes.
 */
#define TM_DW_CHANNELS_BODY_MVE(form, columns, step)                    \
    "push {r4-r11, lr}\n"                                               \
    "vpush {d8-d15}\n"                                                  \
    "sub sp, #80\n"                                                     \
    "vldrw.u32 q0, [r3, #20]\n"                                         \
    "vstrw.32 q0, [sp, #32]\n"                                          \
    "vldrh.u16 q7, [r3, #36]\n"                                         \
    "movs r4, #0\n"                                                     \
    "vidup.u8 q0, r4, #1\n"                                             \
    "vshr.u8 q1, q0, #2\n"                                              \
    "vsub.i8 q0, q0, q1\n" /* 0 1 2 . 3 4 5 . 6 7 8 . */                \
    "vstrw.32 q0, [sp, #48]\n"                                          \
    "ldm r3, {r4, r5, r6, r7, r8}\n"                                    \
    "add r10, r1, r4, lsl #3\n"                                         \
    "add r10, r10, r4, lsl #2\n"                                        \
    "add r12, r10, r4, lsl #3\n"                                        \
    "add r12, r4\n"                                                     \
    "movw r9, #0x0777\n" /* three bytes of three words */               \
    "lsl r6, r6, #2\n"                                                  \
    "mov r11, r7\n"                                                     \
    "strd r9, r2, [sp]\n"                                               \
    "strd r1, r0, [sp, #8]\n"                                           \
    "strd r10, r12, [sp, #16]\n"                                        \
    "strd r5, r6, [sp, #24]\n"                                          \
    "str r8, [sp, #64]\n"                                               \
    "movw r9, #0xffff\n"                                                \
    "and r0, r5, #3\n"                                                  \
    "rsb r0, r0, #4\n" /* pixels left out of the last four */           \
    "lsl r2, r0, #2\n"                                                  \
    "lsl r4, r9, r2\n"                                                  \
    "str r4, [sp, #76]\n"                                               \
    "lsr r2, r6, #2\n"                                                  \
    "mul r2, r0, r2\n"                                                  \
    "rsb r2, r2, #0\n"                                                  \
    "movs r4, #" TM_DW_PIXEL_BYTES_##columns##_MVE "\n"                 \
    "adr.w r8, 2f\n"                                                    \
    "mla r0, r0, r4, r8\n"                                              \
    "strd r0, r2, [sp, #68]\n"                                          \
    "1:\n"                                                              \
    "ldm sp, {r0, r7, r8, r10, r12}\n"                                  \
    "ldm r8!, {r1, r3, r5}\n"                                           \
    "vldrw.u32 q0, [sp, #48]\n"                                         \
    "vmsr p0, r0\n"                                                     \
    "vpst\n"                                                            \
    "vldrbt.u8 q4, [r12, q0]\n" /* zeros in the other lanes */          \
    "vldrw.u32 q6, [sp, #32]\n"                                         \
    "vadd.i32 q6, q6, r10\n"                                            \
    TM_DW_SECOND_##columns##_MVE                                        \
    "add r2, r7, #1\n"                                                  \
    "add r10, #4\n"                                                     \
    "add r12, #9\n"                                                     \
    "stm sp, {r0, r2, r8, r10, r12}\n"                                  \
    "ldr r9, [sp, #24]\n"                                               \
    "vctp.8 r10\n" /* all lanes: an address is more than 16 */          \
    "subs r9, #4\n"                                                     \
    "blt 3f\n"                                                          \
    "2:\n"                                                              \
    TM_DW_PIXEL_##columns##_MVE("q0", step, "r0", "r8")                 \
    TM_DW_PIXEL_##columns##_MVE("q1", step, "r2", "r10")                \
    TM_DW_PIXEL_##columns##_MVE("q2", step, "r4", "r12")                \
    TM_DW_PIXEL_##columns##_MVE("q3", step, "r6", "lr")                 \
    "vmov q0[2], q0[0], r0, r4\n"                                       \
    "vmov q0[3], q0[1], r2, r6\n"                                       \
    "vmov q1[2], q1[0], r8, r12\n"                                      \
    "vmov q1[3], q1[1], r10, lr\n"                                      \
    "vadd.i32 q0, q0, r1\n"                                             \
    "vadd.i32 q1, q1, r1\n"                                             \
    TM_DW_COPY_B_##form                                                 \
    TM_MVE_REQUANT_TEXT_##form("q0", "q2", "r3", TM_DW_B_##form, "r0", "r2") \
    TM_DW_COPY_B_##form                                                 \
    TM_MVE_REQUANT_TEXT_##form("q1", "q3", "r3", TM_DW_B_##form, "r0", "r2") \
    "vqmovnb.s32 q0, " TM_MVE_RESULT_##form("q0", "q2") "\n"            \
    "vqmovnt.s32 q0, " TM_MVE_RESULT_##form("q1", "q3") "\n"            \
    "ldr r0, [sp, #28]\n"                                               \
    "vqadd.s16 q0, q0, r11\n"                                           \
    "vqmovnb.s16 q0, q0\n"                                              \
    "vpst\n"                                                            \
    "vstrbt.16 q0, [r7, q7]\n"                                          \
    "add r7, r0\n"                                                      \
    "subs r9, #4\n"                                                     \
    "bge.w 2b\n"                                                        \
    "3:\n"                                                              \
    "adds r9, #4\n"                                                     \
    "beq 4f\n"                                                          \
    "ldrd r0, r2, [sp, #68]\n"                                          \
    "ldr r4, [sp, #76]\n"                                               \
    "add r7, r2\n"                                                      \
    "vmsr p0, r4\n"                                                     \
    "mov r9, #0\n"                                                      \
    "mov pc, r0\n"                                                      \
    "4:\n"                                                              \
    "ldrd r0, r2, [sp, #16]\n"                                          \
    "cmp r0, r2\n"                                                      \
    "bne.w 1b\n"                                                        \
    "add sp, #80\n"                                                     \
    "vpop {d8-d15}\n"                                                   \
    "pop {r4-r11, pc}\n"
/* clang-format on */

#define TM_DW_CHANNELS_MVE(name, form, columns, stride_w, step)                                          \
    TM_NAKED void name(const int8_t *at __attribute__((unused)),                                         \
                       const int32_t *stream __attribute__((unused)), int8_t *y __attribute__((unused)), \
                       const tm_dw_shape_mve *shape __attribute__((unused)))                             \
    {                                                                                                    \
        __asm__ volatile(TM_DW_CHANNELS_BODY_MVE(form, columns, step));                                  \
    }

#else

enum { TM_DW_SHARED_MVE = 1, TM_DW_OWN_MVE = 0 };

#define TM_DW_CHANNELS_MVE(name, form, columns, stride_w, step)                                           \
    TM_SHARED void name(const int8_t *at, const int32_t *stream, int8_t *y, const tm_dw_shape_mve *shape) \
    {                                                                                                     \
        tm_dw_channels_in_c_mve(TM_MVE_REQUANT_##form, TM_DW_##columns##_MVE, stride_w, at, stream, y,    \
                                shape);                                                                   \
    }

/* The same in C. */
TM_INLINE void tm_dw_channels_in_c_mve(int32_t form, int32_t shared, int32_t stride_w, const int8_t *at,
                                       const int32_t *stream, int8_t *y, const tm_dw_shape_mve *shape)
{
    const int8_t *w = (const int8_t *)(stream + 3 * shape->channels);
    for (int32_t c = 0; c < shape->channels; ++c, stream += 3, w += 9) {
        for (int32_t row = 0; row < 2; ++row) {
            for (int32_t ox = 0; ox < shape->out_w; ++ox) {
                const int8_t *x = at + (shared ? row : row * shape->segment) + 64 * ox * stride_w + 4 * c;
                int32_t acc = stream[0];
                for (int32_t column = 0; column < 3; ++column) {
                    acc = tm_dot_s8(x + 64 * column, w + 3 * column, 3, acc);
                }
                y[c + ox * shape->pixel + shape->offset[row]] =
                    tm_mve_requant(form, acc, stream[1], stream[2], shape->zero_point);
            }
        }
    }
}

#endif

/* All outputs of a group of channels whose columns stand at `at`. */
TM_DW_CHANNELS_MVE(tm_dw_shared_s1_2_mve, 2, SHARED, 1, "64")
TM_DW_CHANNELS_MVE(tm_dw_shared_s1_3_mve, 3, SHARED, 1, "64")
TM_DW_CHANNELS_MVE(tm_dw_shared_s1_any_mve, ANY, SHARED, 1, "64")
TM_DW_CHANNELS_MVE(tm_dw_shared_s2_2_mve, 2, SHARED, 2, "128")
TM_DW_CHANNELS_MVE(tm_dw_shared_s2_3_mve, 3, SHARED, 2, "128")
TM_DW_CHANNELS_MVE(tm_dw_shared_s2_any_mve, ANY, SHARED, 2, "128")
TM_DW_CHANNELS_MVE(tm_dw_own_s1_2_mve, 2, OWN, 1, "64")
TM_DW_CHANNELS_MVE(tm_dw_own_s1_3_mve, 3, OWN, 1, "64")
TM_DW_CHANNELS_MVE(tm_dw_own_s1_any_mve, ANY, OWN, 1, "64")
TM_DW_CHANNELS_MVE(tm_dw_own_s2_2_mve, 2, OWN, 2, "128")
TM_DW_CHANNELS_MVE(tm_dw_own_s2_3_mve, 3, OWN, 2, "128")
TM_DW_CHANNELS_MVE(tm_dw_own_s2_any_mve, ANY, OWN, 2, "128")

#define TM_DW_CALL_MVE(kind)                                                 \
    (form == TM_MVE_REQUANT_2   ? tm_dw_##kind##_2_mve(at, stream, y, shape) \
     : form == TM_MVE_REQUANT_3 ? tm_dw_##kind##_3_mve(at, stream, y, shape) \
                                : tm_dw_##kind##_any_mve(at, stream, y, shape))

/* Choose among them: by constants, but for whether the rows have columns of their own. */
TM_INLINE void tm_dw_channels_mve(int32_t form, int own, int32_t stride_w, const int8_t *at,
                                  const int32_t *stream, int8_t *y, const tm_dw_shape_mve *shape)
{
    if (own) {
        stride_w == 1 ? TM_DW_CALL_MVE(own_s1) : TM_DW_CALL_MVE(own_s2);
    } else {
        stride_w == 1 ? TM_DW_CALL_MVE(shared_s1) : TM_DW_CALL_MVE(shared_s2);
    }
}

TM_INLINE void tm_dwconv2d_3x3_s8_mve(const int8_t *const *rows, int8_t *y, int32_t count,
                                      const int32_t *stream, void *scratch, int32_t in_w, int32_t channels,
                                      int32_t out_w, int32_t stride_h, int32_t stride_w, int32_t pad_left,
                                      int32_t zp_in, int32_t form, int32_t zp_out, int32_t lo, int32_t hi)
{
    const int32_t columns = (out_w - 1) * stride_w + 3;
    const int32_t left = tm_min(pad_left, columns);
    const int32_t inside = tm_min(columns - left, in_w);
    const int32_t pitch = out_w * channels;
    const int32_t segments = stride_h == 1 ? 1 : count;
    /* One row alone is computed like two of half the width, the second from its own columns further on. */
    const int alone = count == 1;
    const int32_t half = (out_w + 1) / 2;
    const int32_t second = out_w - half; /* its first pixel; the middle one of an odd width belongs to both */
    const int32_t other = alone ? second * channels : pitch;
    const int32_t pitch_at = 64 * (columns + 1); /* bytes of the columns of a row */
    int8_t *const at = (int8_t *)scratch;
    tm_dw_shape_mve shape;
    shape.out_w = alone ? half : out_w;
    shape.pixel = channels;
    shape.zero_point = zp_out;
    shape.segment = alone ? 64 * stride_w * second : 64 * (columns + 1);
    for (int32_t i = 0; i < 4; ++i) {
        shape.first[i] = 64 * (i - stride_w);
        shape.offset[2 * i] = (uint16_t)(i * channels);
        shape.offset[2 * i + 1] = (uint16_t)(i * channels + other);
    }
    for (int32_t s = 0; s < segments; ++s) {
        tm_dw_pad_columns_mve(at + s * pitch_at, zp_in, left, inside, columns);
    }
    for (int32_t c = 0; c < channels; c += 16) {
        const int32_t *const group = stream + c / 16 * (16 * 3 + 16 * 9 / 4);
        shape.channels = tm_min(channels - c, 16);
        for (int32_t s = 0; s < segments; ++s) {
            const int8_t *const *first = rows + s * stride_h;
            /* the fourth row of a window of three meets weights of zero */
            const int8_t *const four[4] = {first[0], first[1], first[2], first[stride_h == 1 ? 3 : 2]};
            tm_dw_columns_mve(four, at + s * pitch_at + 64 * left, c, inside, channels, shape.channels);
        }
        tm_dw_channels_mve(form, alone || stride_h == 2, stride_w, at, group, y + c, &shape);
    }
    tm_mve_clamp_row(y, count * pitch, lo, hi);
}

#endif
