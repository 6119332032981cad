/* tm_conv_block_s8_mve: the core that every convolution shares: 4 pixels x all output channels.
 *
 *   column  int8  [steps][4][16]   activations: step k holds x[16k] .. x[16k + 15] of each of the 4 pixels
 *   stream  int32 []               weights, biases and requantisation, see below
 *   y       int8  [4][out_c]       output pixels
 *
 * A pixel's K activations, steps = ceil(K / 16), are copied into the column once and then serve all output
 * channels. What the last step holds beyond K meets weights of zero, so it may be anything.
 *
 * Stream, per pair of output channels (tinyml/kernels/mve_streams.py): per step the 16 weights of channel 0 and
 * the 16 of channel 1, the last step filled up with zeros; then bias0, a0, b0, bias1, a1, b1 (tm_mve.h). Up to
 * three last channels that fill no four come one by one: their weights, bias, a, b.
 *
 * Scratch   the column, 8-byte aligned.
 * Source    VMLADAVA adds up in even core registers: 2 channels x 4 pixels use all eight of them, and a
 *           step is 14 instructions for 128 multiply-accumulates. The accumulators of a channel's four pixels
 *           become one vector, so requantisation is vector by scalar; four channels are narrowed together,
 *           and one scatter of words stores 4 x 4 bytes.
 */
#ifndef TM_CONV_BLOCK_S8_MVE_H
#define TM_CONV_BLOCK_S8_MVE_H

#include "tm_mve.h"

/* What the assembly below knows of a layer. */
typedef struct {
    int32_t steps;
    int32_t zero_point;
    int32_t fours;     /* output channels in whole fours */
    int32_t blocks;    /* of four pixels; above 1 where the column is filled from x */
    int32_t offset[4]; /* bytes from y to each pixel of a block */
    const int8_t *x;   /* [4 * blocks][in_c], or NULL where the column is full */
    int32_t in_c;
} tm_conv_shape_mve;

#if TM_MVE_ASM

/* One step of two channels (weights q4, q5) and four pixels, accumulators r0 r2 r4 r6 and r8 r10 r12 lr. */
/* clang-format off */
#define TM_CONV_STEP_MVE(mac)            \
    "vldrb.u8 q4, [r3], #16\n"           \
    "vldrb.u8 q0, [r1], #16\n"           \
    mac " r0, q0, q4\n"                  \
    "vldrb.u8 q5, [r3], #16\n"           \
    mac " r8, q0, q5\n"                  \
    "vldrb.u8 q1, [r1], #16\n"           \
    mac " r2, q1, q4\n"                  \
    mac " r10, q1, q5\n"                 \
    "vldrb.u8 q2, [r1], #16\n"           \
    mac " r4, q2, q4\n"                  \
    mac " r12, q2, q5\n"                 \
    "vldrb.u8 q3, [r1], #16\n"           \
    mac " r6, q3, q4\n"                  \
    mac " lr, q3, q5\n"

/* Two channels of four pixels, narrowed into halfwords `narrow` (b bottom, t top) of q6 and q7. The first step
 * starts the sums; the others run eight to a round, of which the first is entered so that the rest are whole
 * (Duff): r9 is the way there from label `round`, or, where there is but one step, to `done`.
 */
#define TM_CONV_PAIR_MVE(form, narrow, round, done)                            \
    TM_CONV_STEP_MVE("vmladav.s8")                                             \
    "add pc, r9\n"                                                             \
    "nop\n"                                                                    \
    round ":\n"                                                                \
    ".rept 8\n"                                                                \
    TM_CONV_STEP_MVE("vmladava.s8")                                            \
    ".endr\n"                                                                  \
    "cmp r1, r11\n"                                                            \
    "bne.w " round "b\n"                                                       \
    done ":\n"                                                                 \
    "vmov q0[2], q0[0], r0, r4\n"                                              \
    "vmov q0[3], q0[1], r2, r6\n"                                              \
    "vmov q1[2], q1[0], r8, r12\n"                                             \
    "vmov q1[3], q1[1], r10, lr\n"                                             \
    "ldmia r3!, {r0, r2, r4, r6, r8, r10}\n"                                   \
    "vadd.i32 q0, q0, r0\n"                                                    \
    "vadd.i32 q1, q1, r6\n"                                                    \
    TM_MVE_REQUANT_TEXT_##form("q0", "q2", "r2", "r4", "r12", "lr")            \
    TM_MVE_REQUANT_TEXT_##form("q1", "q3", "r8", "r10", "r12", "lr")           \
    "vqmovn" narrow ".s32 q6, " TM_MVE_RESULT_##form("q0", "q2") "\n"          \
    "vqmovn" narrow ".s32 q7, " TM_MVE_RESULT_##form("q1", "q3") "\n"          \
    "mov r1, r5\n"

/* Fills the column from x, where there is one. */
#define TM_CONV_FILL_MVE                      \
    "ldrd r0, r8, [sp, #8]\n"                 \
    "cbz r0, 8f\n"                            \
    "add r2, r0, r8\n"                        \
    "add r4, r2, r8\n"                        \
    "add r6, r4, r8\n"                        \
    "add r10, r6, r8\n"                       \
    "str r10, [sp, #8]\n"                     \
    "dlstp.8 lr, r8\n"                        \
    "7:\n"                                    \
    "vldrb.u8 q0, [r0], #16\n"                \
    "vstrb.8 q0, [r1], #16\n"                 \
    "vldrb.u8 q1, [r2], #16\n"                \
    "vstrb.8 q1, [r1], #16\n"                 \
    "vldrb.u8 q2, [r4], #16\n"                \
    "vstrb.8 q2, [r1], #16\n"                 \
    "vldrb.u8 q3, [r6], #16\n"                \
    "vstrb.8 q3, [r1], #16\n"                 \
    "letp lr, 7b\n"                           \
    "mov r1, r5\n"                            \
    "8:\n"

/* r1 place in the column, r3 stream, r5 column, r7 y, r9 entry, r11 end of the column. Stack: [0] end of y,
 * [4] zero point, [8] x, [12] in_c, [16] offsets, [32] stream, [36] blocks left, [40] fours.
 */
#define TM_CONV_FOURS_BODY_MVE(form)          \
    "push {r4-r11, lr}\n"                     \
    "vpush {d8-d15}\n"                        \
    "sub sp, #48\n"                           \
    "vldrw.u32 q0, [r3, #16]\n"               \
    "vstrw.32 q0, [sp, #16]\n"                \
    "ldrd r4, r6, [r3]\n"                     \
    "ldrd r8, r10, [r3, #8]\n"                \
    "strd r1, r10, [sp, #32]\n"               \
    "str r8, [sp, #40]\n"                     \
    "add r8, r2\n"                            \
    "strd r8, r6, [sp]\n"                     \
    "ldrd r8, r10, [r3, #32]\n"               \
    "strd r8, r10, [sp, #8]\n"                \
    "mov r5, r0\n"                            \
    "mov r7, r2\n"                            \
    "mov r3, r1\n"                            \
    "mov r1, r0\n"                            \
    "add r11, r0, r4, lsl #6\n"               \
    "adr.w r8, 2f\n"                          \
    "adr.w r9, 3f\n"                          \
    "sub r9, r8\n"                            \
    "subs r4, #1\n"                           \
    "beq 6f\n"                                \
    "rsb r4, r4, #0\n"                        \
    "and r4, r4, #7\n"                        \
    "mov r6, #56\n" /* code of one step */    \
    "mul r9, r4, r6\n"                        \
    "6:\n"                                    \
    TM_CONV_FILL_MVE                          \
    "1:\n"                                    \
    TM_CONV_PAIR_MVE(form, "b", "2", "3")     \
    TM_CONV_PAIR_MVE(form, "t", "4", "5")     \
    "ldrd r8, r0, [sp]\n"                     \
    "vldrw.u32 q1, [sp, #16]\n"               \
    "vqadd.s16 q6, q6, r0\n"                  \
    "vqadd.s16 q7, q7, r0\n"                  \
    "vqmovnb.s16 q0, q6\n"                    \
    "vqmovnt.s16 q0, q7\n"                    \
    "vstrw.32 q0, [r7, q1]\n"                 \
    "add r7, #4\n"                            \
    "cmp r7, r8\n"                            \
    "bne.w 1b\n"                              \
    "ldrd r0, r2, [sp, #36]\n"                \
    "subs r0, #1\n"                           \
    "beq 9f\n"                                \
    "str r0, [sp, #36]\n"                     \
    "add r7, r7, r2, lsl #1\n"                \
    "add r7, r2\n"                            \
    "add r2, r7\n"                            \
    "str r2, [sp]\n"                          \
    "ldr r3, [sp, #32]\n"                     \
    "b.w 6b\n"                                \
    "9:\n"                                    \
    "mov r0, r3\n"                            \
    "add sp, #48\n"                           \
    "vpop {d8-d15}\n"                         \
    "pop {r4-r11, pc}\n"

/* The same for at most 16 input channels: one step, whose activations stay in q0 to q3. r1 x, r3 stream, r5 in_c,
 * r7 y, r9 end of y, r11 zero point. Stack: [0] stream, [4] blocks left, [8] fours, [16] offsets.
 */
#define TM_CONV_SHORT_PAIR_MVE(narrow)                     \
    "vldrb.u8 q4, [r3], #16\n"                             \
    "vmladav.s8 r0, q0, q4\n"                              \
    "vmladav.s8 r2, q1, q4\n"                              \
    "vmladav.s8 r4, q2, q4\n"                              \
    "vmladav.s8 r6, q3, q4\n"                              \
    "vldrb.u8 q5, [r3], #16\n"                             \
    "vmladav.s8 r8, q0, q5\n"                              \
    "vmladav.s8 r10, q1, q5\n"                             \
    "vmladav.s8 r12, q2, q5\n"                             \
    "vmladav.s8 lr, q3, q5\n"                              \
    "vmov q4[2], q4[0], r0, r4\n"                          \
    "vmov q4[3], q4[1], r2, r6\n"                          \
    "vmov q5[2], q5[0], r8, r12\n"                         \
    "vmov q5[3], q5[1], r10, lr\n"                         \
    "ldmia r3!, {r0, r2, r4, r6, r8, r10}\n"               \
    "vadd.i32 q4, q4, r0\n"                                \
    "vadd.i32 q5, q5, r6\n"                                \
    TM_MVE_REQUANT_TEXT_2("q4", "", "r2", "r4", "", "")    \
    TM_MVE_REQUANT_TEXT_2("q5", "", "r8", "r10", "", "")   \
    "vqmovn" narrow ".s32 q6, q4\n"                        \
    "vqmovn" narrow ".s32 q7, q5\n"

#define TM_CONV_SHORT_BODY_MVE                \
    "push {r4-r11, lr}\n"                     \
    "vpush {d8-d15}\n"                        \
    "sub sp, #32\n"                           \
    "vldrw.u32 q0, [r3, #16]\n"               \
    "vstrw.32 q0, [sp, #16]\n"                \
    "ldrd r6, r8, [r3, #8]\n"                 \
    "strd r1, r8, [sp]\n"                     \
    "str r6, [sp, #8]\n"                      \
    "mov r7, r2\n"                            \
    "add r9, r7, r6\n"                        \
    "ldr r11, [r3, #4]\n"                     \
    "ldr r5, [r3, #36]\n"                     \
    "mov r3, r1\n"                            \
    "mov r1, r0\n"                            \
    "vctp.8 r5\n"                             \
    "1:\n"                                    \
    "add r0, r1, r5\n"                        \
    "add r2, r0, r5\n"                        \
    "add r4, r2, r5\n"                        \
    "vpstttt\n"                               \
    "vldrbt.u8 q0, [r1]\n"                    \
    "vldrbt.u8 q1, [r0]\n"                    \
    "vldrbt.u8 q2, [r2]\n"                    \
    "vldrbt.u8 q3, [r4]\n"                    \
    "add r1, r4, r5\n"                        \
    "2:\n"                                    \
    TM_CONV_SHORT_PAIR_MVE("b")               \
    TM_CONV_SHORT_PAIR_MVE("t")               \
    "vldrw.u32 q5, [sp, #16]\n"               \
    "vqadd.s16 q6, q6, r11\n"                 \
    "vqadd.s16 q7, q7, r11\n"                 \
    "vqmovnb.s16 q4, q6\n"                    \
    "vqmovnt.s16 q4, q7\n"                    \
    "vstrw.32 q4, [r7, q5]\n"                 \
    "add r7, #4\n"                            \
    "cmp r7, r9\n"                            \
    "bne 2b\n"                                \
    "ldrd r0, r2, [sp, #4]\n"                 \
    "add r7, r7, r2, lsl #1\n"                \
    "add r7, r2\n"                            \
    "add r9, r7, r2\n"                        \
    "ldr r3, [sp]\n"                          \
    "subs r0, #1\n"                           \
    "str r0, [sp, #4]\n"                      \
    "bne 1b\n"                                \
    "add sp, #32\n"                           \
    "vpop {d8-d15}\n"                         \
    "pop {r4-r11, pc}\n"
/* clang-format on */

#define TM_CONV_FOURS_MVE(name, form)                                                              \
    TM_NAKED const int32_t *name(                                                                  \
        int8_t *column __attribute__((unused)), const int32_t *stream __attribute__((unused)),     \
        int8_t *y __attribute__((unused)), const tm_conv_shape_mve *shape __attribute__((unused))) \
    {                                                                                              \
        __asm__ volatile(TM_CONV_FOURS_BODY_MVE(form));                                            \
    }

/* At most 16 input channels, form 2; shape->x is the same as x. */
TM_NAKED void tm_conv_short_mve(const int8_t *x __attribute__((unused)),
                                const int32_t *stream __attribute__((unused)),
                                int8_t *y __attribute__((unused)),
                                const tm_conv_shape_mve *shape __attribute__((unused)))
{
    __asm__ volatile(TM_CONV_SHORT_BODY_MVE);
}

#else

/* The sum of one pixel and one channel; `w` points at the channel's first weights, `gap` bytes apart. */
TM_INLINE int32_t tm_conv_dot_mve(const int8_t *column, const int8_t *w, int32_t steps, int32_t gap)
{
    int32_t acc = 0;
    for (int32_t k = 0; k < steps; ++k) {
        acc = tm_dot_s8(column + 64 * k, w + gap * k, 16, acc);
    }
    return acc;
}

TM_SHARED void tm_column_4pixels_mve(const int8_t *const x[4], int8_t *column, int32_t k);

TM_INLINE const int32_t *tm_conv_fours_in_c_mve(int32_t form, int8_t *column, const int32_t *first, int8_t *y,
                                                const tm_conv_shape_mve *shape)
{
    const int32_t *stream = first;
    for (int32_t block = 0; block < shape->blocks; ++block, y += 4 * shape->fours) {
        if (shape->x != NULL) {
            const int8_t *const x = shape->x + 4 * block * shape->in_c;
            const int8_t *const from[4] = {x, x + shape->in_c, x + 2 * shape->in_c, x + 3 * shape->in_c};
            tm_column_4pixels_mve(from, column, shape->in_c);
        }
        stream = first;
        for (int32_t c = 0; c < shape->fours; ++c) {
            const int8_t *w = (const int8_t *)stream + 16 * (c % 2);
            const int32_t *q = stream + 8 * shape->steps + 3 * (c % 2);
            for (int32_t p = 0; p < 4; ++p) {
                const int32_t acc = q[0] + tm_conv_dot_mve(column + 16 * p, w, shape->steps, 32);
                y[shape->offset[p] + c] = tm_mve_requant(form, acc, q[1], q[2], shape->zero_point);
            }
            stream += c % 2 ? 8 * shape->steps + 6 : 0;
        }
    }
    return stream;
}

#define TM_CONV_FOURS_MVE(name, form)                                                   \
    TM_SHARED const int32_t *name(int8_t *column, const int32_t *stream, int8_t *y,     \
                                  const tm_conv_shape_mve *shape)                       \
    {                                                                                   \
        return tm_conv_fours_in_c_mve(TM_MVE_REQUANT_##form, column, stream, y, shape); \
    }

#endif

/* The whole fours of output channels, at least one, of blocks of four pixels; they return the stream behind
 * them. */
TM_CONV_FOURS_MVE(tm_conv_fours_2_mve, 2)
TM_CONV_FOURS_MVE(tm_conv_fours_3_mve, 3)
TM_CONV_FOURS_MVE(tm_conv_fours_any_mve, ANY)

TM_INLINE const int32_t *tm_conv_fours_mve(int32_t form, int8_t *column, const int32_t *stream, int8_t *y,
                                           const tm_conv_shape_mve *shape)
{
    return form == TM_MVE_REQUANT_2   ? tm_conv_fours_2_mve(column, stream, y, shape)
           : form == TM_MVE_REQUANT_3 ? tm_conv_fours_3_mve(column, stream, y, shape)
                                      : tm_conv_fours_any_mve(column, stream, y, shape);
}

/* The sums of one output channel and four pixels. */
TM_SHARED void tm_conv_single_mve(const int8_t *column, const int8_t *w, int32_t steps, int32_t acc[4])
{
#if TM_MVE_ASM
    int32_t acc0 = 0, acc1 = 0, acc2 = 0, acc3 = 0;
    __asm__ volatile("dls lr, %6\n"
                     "1:\n"
                     "vldrb.u8 q0, [%5], #16\n"
                     "vldrb.u8 q1, [%4], #16\n"
                     "vmladava.s8 %0, q0, q1\n"
                     "vldrb.u8 q1, [%4], #16\n"
                     "vmladava.s8 %1, q0, q1\n"
                     "vldrb.u8 q1, [%4], #16\n"
                     "vmladava.s8 %2, q0, q1\n"
                     "vldrb.u8 q1, [%4], #16\n"
                     "vmladava.s8 %3, q0, q1\n"
                     "le lr, 1b\n"
                     : "+Te"(acc0), "+Te"(acc1), "+Te"(acc2), "+Te"(acc3), "+r"(column), "+r"(w)
                     : "r"(steps)
                     : "lr", "q0", "q1", "memory");
    acc[0] = acc0;
    acc[1] = acc1;
    acc[2] = acc2;
    acc[3] = acc3;
#else
    for (int32_t p = 0; p < 4; ++p) {
        acc[p] = tm_conv_dot_mve(column + 16 * p, w, steps, 16);
    }
#endif
}

#if TM_MVE_ASM
/* The whole fours of output channels of one pixel, form 2; returns the stream behind them. Half the instructions
 * of a block of four pixels: a row that is streamed often leaves one.
 */
TM_SHARED const int32_t *tm_conv_pixel_2_mve(const int8_t *column, const int32_t *stream, int8_t *y,
                                             int32_t steps, int32_t fours, int32_t zero_point)
{
    for (int32_t c = 0; c < fours; c += 4) {
        int32x4_t words[3]; /* bias, a and b of four channels */
        int32_t sums[4];
        for (int32_t pair = 0; pair < 4; pair += 2) {
            const int8_t *x = column;
            int32_t acc0 = 0, acc1 = 0;
            __asm__ volatile("dls lr, %4\n"
                             "1:\n"
                             "vldrb.u8 q0, [%2], #64\n"
                             "vldrb.u8 q1, [%3], #16\n"
                             "vmladava.s8 %0, q0, q1\n"
                             "vldrb.u8 q1, [%3], #16\n"
                             "vmladava.s8 %1, q0, q1\n"
                             "le lr, 1b\n"
                             : "+Te"(acc0), "+Te"(acc1), "+r"(x), "+r"(stream)
                             : "r"(steps)
                             : "lr", "q0", "q1", "memory");
            sums[pair] = acc0;
            sums[pair + 1] = acc1;
            for (int32_t k = 0; k < 3; ++k) {
                words[k][pair] = stream[k];
                words[k][pair + 1] = stream[3 + k];
            }
            stream += 6;
        }
        const int32x4_t acc = vaddq_s32(vld1q_s32(sums), words[0]);
        const int32x4_t value = vqrdmulhq_s32(vqrdmulhq_s32(acc, words[1]), words[2]);
        /* halfwords in the low halves of the words, then bytes in their lowest */
        int16x8_t narrow = vqmovnbq_s32(vdupq_n_s16(0), value);
        narrow = vqaddq_n_s16(narrow, (int16_t)zero_point);
        vstrbq_s32(y + c, vreinterpretq_s32_s8(vqmovnbq_s16(vdupq_n_s8(0), narrow)));
    }
    return stream;
}
#endif

/* All output channels of `pixels` pixels (1 to 4) in the column; y is [pixels][out_c]. `form` must be a
 * constant. The tile, [4][out_c rounded up to 4] bytes, takes what would not fit y; it may be NULL where neither
 * pixels nor out_c leave a remainder of 4.
 */
TM_INLINE void tm_conv_block_mve(int32_t form, int32_t pixels, int8_t *column, const int32_t *stream,
                                 int8_t *y, int8_t *tile, int32_t steps, int32_t out_c, int32_t zero_point)
{
    const int whole = pixels == 4 && out_c % 4 == 0;
    const int32_t pitch = whole ? out_c : (out_c + 3) / 4 * 4;
    const int32_t fours = out_c / 4 * 4;
    int8_t *const to = whole ? y : tile;
    if (fours > 0) {
        const tm_conv_shape_mve shape = {
            steps, zero_point, fours, 1, {0, pitch, 2 * pitch, 3 * pitch}, NULL, 0,
        };
#if TM_MVE_ASM
        if (pixels == 1 && form == TM_MVE_REQUANT_2) {
            stream = tm_conv_pixel_2_mve(column, stream, to, steps, fours, zero_point);
        } else
#endif
        {
            stream = tm_conv_fours_mve(form, column, stream, to, &shape);
        }
    }
    for (int32_t c = fours; c < out_c; ++c) {
        int32_t acc[4];
        tm_conv_single_mve(column, (const int8_t *)stream, steps, acc);
        stream += 4 * steps;
        for (int32_t p = 0; p < pixels; ++p) {
            to[p * pitch + c] = tm_mve_requant(form, stream[0] + acc[p], stream[1], stream[2], zero_point);
        }
        stream += 3;
    }
    if (!whole) {
        for (int32_t p = 0; p < pixels; ++p) {
            tm_mve_copy(y + p * out_c, tile + p * pitch, out_c);
        }
    }
}

/* K bytes of each of four pixels, at x[0] .. x[3], into the column. */
TM_SHARED void tm_column_4pixels_mve(const int8_t *const x[4], int8_t *column, int32_t k)
{
#if TM_MVE_ASM
    const int8_t *x0 = x[0];
    const int8_t *x1 = x[1];
    const int8_t *x2 = x[2];
    const int8_t *x3 = x[3];
    __asm__ volatile("wlstp.8 lr, %5, 2f\n"
                     "1:\n"
                     "vldrb.u8 q0, [%0], #16\n"
                     "vstrb.8 q0, [%4], #16\n"
                     "vldrb.u8 q1, [%1], #16\n"
                     "vstrb.8 q1, [%4], #16\n"
                     "vldrb.u8 q2, [%2], #16\n"
                     "vstrb.8 q2, [%4], #16\n"
                     "vldrb.u8 q3, [%3], #16\n"
                     "vstrb.8 q3, [%4], #16\n"
                     "letp lr, 1b\n"
                     "2:\n"
                     : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3), "+r"(column)
                     : "r"(k)
                     : "lr", "q0", "q1", "q2", "q3", "memory", "cc");
#else
    for (int32_t i = 0; i < k; i += 16, column += 64) {
        for (int32_t p = 0; p < 4; ++p) {
            memcpy(column + 16 * p, x[p] + i, (size_t)tm_min(16, k - i));
        }
    }
#endif
}

/* A run of pixels, [pixels][in_c], through the column; y is [pixels][out_c]. */
TM_INLINE void tm_conv_pixels_mve(int32_t form, const int8_t *x, int8_t *y, const int32_t *stream,
                                  int8_t *column, int8_t *tile, int32_t pixels, int32_t in_c, int32_t out_c,
                                  int32_t zero_point)
{
    const int32_t steps = (in_c + 15) / 16;
    /* Blocks of four pixels and fours of channels need but one call; it buffers the pixels itself. */
    const int32_t blocks = out_c % 4 == 0 ? pixels / 4 : 0;
    if (blocks > 0) {
        const tm_conv_shape_mve shape = {
            steps, zero_point, out_c, blocks, {0, out_c, 2 * out_c, 3 * out_c}, x, in_c,
        };
#if TM_MVE_ASM
        if (in_c <= 16 && form == TM_MVE_REQUANT_2) {
            tm_conv_short_mve(x, stream, y, &shape);
        } else
#endif
        {
            tm_conv_fours_mve(form, column, stream, y, &shape);
        }
    }
    for (int32_t p = 4 * blocks; p < pixels; p += 4) {
        const int32_t count = tm_min(pixels - p, 4);
        const int32_t last = count - 1; /* stands for pixels beyond the end */
        const int8_t *const first = x + p * in_c;
        const int8_t *const from[4] = {
            first,
            first + tm_min(1, last) * in_c,
            first + tm_min(2, last) * in_c,
            first + last * in_c,
        };
        tm_column_4pixels_mve(from, column, in_c);
        tm_conv_block_mve(form, count, column, stream, y + p * out_c, tile, steps, out_c, zero_point);
    }
}

#endif
