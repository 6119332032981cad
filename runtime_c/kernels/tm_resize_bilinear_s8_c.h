/* tm_resize_bilinear_s8_c: resize between pixels, portable C, int8.
 *
 *   x      int8   [in_h][in_w][channels]
 *   y      int8   [out_h][out_w][channels]
 *   rows   int32  [out_h][3]   the two input rows, and the weight of the second in 1024ths
 *   cols   int32  [out_w][3]   likewise the columns
 *
 * Quantisation  input and output share scale and zero point; rounds half away from zero.
 * Scratch       none.
 * Requires      nothing. Weights may leave [0, 1024] where both pixels are one: up to 2^29 in all.
 * Overlap       none.
 * Source        TFLite kernels/internal/reference/resize_bilinear.h.
 */
#ifndef TM_RESIZE_BILINEAR_S8_C_H
#define TM_RESIZE_BILINEAR_S8_C_H

#include "tm_runtime.h"

TM_INLINE void tm_resize_bilinear_s8_c(const int8_t *x, int8_t *TM_RESTRICT y, const int32_t *rows,
                                       const int32_t *cols, int32_t in_w, int32_t out_h, int32_t out_w,
                                       int32_t channels)
{
    for (int32_t r = 0; r < out_h; ++r) {
        const int8_t *const above = x + rows[3 * r] * in_w * channels;
        const int8_t *const below = x + rows[3 * r + 1] * in_w * channels;
        const int32_t down = rows[3 * r + 2];
        for (int32_t c = 0; c < out_w; ++c) {
            const int32_t left = cols[3 * c] * channels;
            const int32_t right = cols[3 * c + 1] * channels;
            const int32_t across = cols[3 * c + 2];
            const int32_t weight_00 = (1024 - down) * (1024 - across);
            const int32_t weight_01 = (1024 - down) * across;
            const int32_t weight_10 = down * (1024 - across);
            const int32_t weight_11 = down * across;
            for (int32_t i = 0; i < channels; ++i) {
                const int32_t sum = above[left + i] * weight_00 + above[right + i] * weight_01 +
                                    below[left + i] * weight_10 + below[right + i] * weight_11;
                *y++ = (int8_t)tm_rounding_shift_right(sum, 20);
            }
        }
    }
}

#endif
