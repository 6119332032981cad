/* tm_dw_columns_s8_mve: four rows of a depthwise convolution's input, interleaved channel by channel.
 *
 *   rows      int8  4 x [in_w][channels]
 *   columns   int8  [columns][16][4]      per column and channel the bytes of the four rows: a word
 *
 * Source    VST4, which interleaves four vectors of 16 channels. A gather of four words is then four columns of one
 *           channel, and VMLADAV their sum of products with four columns of weights.
 */
#ifndef TM_DW_COLUMNS_S8_MVE_H
#define TM_DW_COLUMNS_S8_MVE_H

#include "tm_mve.h"

#if TM_MVE_ASM

/* Columns of four rows: `count` pixels of up to 16 channels from each row, `pitch` bytes apart, interleaved. */
TM_NAKED void tm_dw_columns_mve(const int8_t *const *rows __attribute__((unused)),
                                int8_t *columns __attribute__((unused)), int32_t from __attribute__((unused)),
                                int32_t count __attribute__((unused)), int32_t pitch __attribute__((unused)),
                                int32_t channels __attribute__((unused)))
{
    __asm__ volatile("push {r4-r7, lr}\n"
                     "ldm r0, {r4, r5, r6, r7}\n"
                     "ldrd r0, r12, [sp, #20]\n"
                     "add r4, r2\n"
                     "add r5, r2\n"
                     "add r6, r2\n"
                     "add r7, r2\n"
                     "vctp.8 r12\n"
                     "wls lr, r3, 2f\n"
                     "1:\n"
                     "vpstttt\n"
                     "vldrbt.u8 q0, [r4]\n"
                     "vldrbt.u8 q1, [r5]\n"
                     "vldrbt.u8 q2, [r6]\n"
                     "vldrbt.u8 q3, [r7]\n"
                     "add r4, r0\n"
                     "add r5, r0\n"
                     "add r6, r0\n"
                     "add r7, r0\n"
                     "vst40.8 {q0, q1, q2, q3}, [r1]\n"
                     "vst41.8 {q0, q1, q2, q3}, [r1]\n"
                     "vst42.8 {q0, q1, q2, q3}, [r1]\n"
                     "vst43.8 {q0, q1, q2, q3}, [r1]!\n"
                     "le lr, 1b\n"
                     "2:\n"
                     "pop {r4-r7, pc}\n");
}

#else

/* Columns of four rows: `count` pixels of up to 16 channels from each row, `pitch` bytes apart, interleaved. */
TM_SHARED void tm_dw_columns_mve(const int8_t *const *rows, int8_t *columns, int32_t from, int32_t count,
                                 int32_t pitch, int32_t channels)
{
    for (int32_t i = 0; i < count; ++i, from += pitch) {
        for (int32_t c = 0; c < channels; ++c) {
            for (int32_t row = 0; row < 4; ++row) {
                *(columns + 64 * i + 4 * c + row) = rows[row][from + c];
            }
        }
    }
}

#endif

/* Columns beside the image: zero points left of `inside` columns and right of them, of `columns` in all. */
TM_INLINE void tm_dw_pad_columns_mve(int8_t *to, int32_t zp_in, int32_t left, int32_t inside, int32_t columns)
{
    tm_mve_fill(to, zp_in, 64 * left);
    tm_mve_fill(to + 64 * (left + inside), zp_in, 64 * (columns - left - inside));
}

#endif
