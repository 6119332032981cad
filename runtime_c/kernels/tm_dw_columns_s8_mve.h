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

/* Columns of four rows: `count` pixels of up to 16 channels from each row, `pitch` bytes apart, interleaved. */
TM_SHARED void tm_dw_columns_mve(const int8_t *const *rows, int8_t *columns, int32_t from, int32_t count,
                                 int32_t pitch, int32_t channels)
{
#if TM_MVE_ASM
    const int8_t *x0 = rows[0] + from;
    const int8_t *x1 = rows[1] + from;
    const int8_t *x2 = rows[2] + from;
    const int8_t *x3 = rows[3] + from;
    __asm__ volatile("vctp.8 %7\n"
                     "wls lr, %5, 2f\n"
                     "1:\n"
                     "vpstttt\n"
                     "vldrbt.u8 q0, [%0]\n"
                     "vldrbt.u8 q1, [%1]\n"
                     "vldrbt.u8 q2, [%2]\n"
                     "vldrbt.u8 q3, [%3]\n"
                     "add %0, %6\n"
                     "add %1, %6\n"
                     "add %2, %6\n"
                     "add %3, %6\n"
                     "vst40.8 {q0, q1, q2, q3}, [%4]\n"
                     "vst41.8 {q0, q1, q2, q3}, [%4]\n"
                     "vst42.8 {q0, q1, q2, q3}, [%4]\n"
                     "vst43.8 {q0, q1, q2, q3}, [%4]!\n"
                     "le lr, 1b\n"
                     "2:\n"
                     : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3), "+r"(columns)
                     : "r"(count), "r"(pitch), "r"(channels)
                     : "lr", "q0", "q1", "q2", "q3", "memory", "cc");
#else
    for (int32_t i = 0; i < count; ++i, from += pitch) {
        for (int32_t c = 0; c < channels; ++c) {
            for (int32_t row = 0; row < 4; ++row) {
                *(columns + 64 * i + 4 * c + row) = rows[row][from + c];
            }
        }
    }
#endif
}

/* Columns beside the image: zero points left of `inside` columns and right of them, of `columns` in all. */
TM_INLINE void tm_dw_pad_columns_mve(int8_t *to, int32_t zp_in, int32_t left, int32_t inside, int32_t columns)
{
    tm_mve_fill(to, zp_in, 64 * left);
    tm_mve_fill(to + 64 * (left + inside), zp_in, 64 * (columns - left - inside));
}

#endif
