/* tm_space_to_batch_c: every block_h-th row and block_w-th column of padded images, portable C, any type.
 *
 *   x   any   [images][in_h][in_w][pixel_bytes]
 *   y   any   [block_h][block_w][images][out_h][out_w][pixel_bytes]
 *
 * Quantisation  none: input and output share scale and zero point.
 * Scratch       none.
 * Requires      `top`, `left`: rows and columns of `value` before the image, a byte that fills all of a pixel.
 * Overlap       none.
 * Source        TFLite kernels/internal/reference/space_to_batch_nd.h.
 */
#ifndef TM_SPACE_TO_BATCH_C_H
#define TM_SPACE_TO_BATCH_C_H

#include "tm_runtime.h"

TM_INLINE void tm_space_to_batch_c(const void *x, void *TM_RESTRICT y, int32_t images, int32_t in_h,
                                   int32_t in_w, int32_t out_h, int32_t out_w, int32_t pixel_bytes,
                                   int32_t block_h, int32_t block_w, int32_t top, int32_t left, int32_t value)
{
    uint8_t *to = (uint8_t *)y;
    for (int32_t first_row = -top; first_row < block_h - top; ++first_row) {
        for (int32_t first = -left; first < block_w - left; ++first) {
            for (int32_t i = 0; i < images * out_h; ++i) {
                const int32_t row = first_row + i % out_h * block_h;
                const uint8_t *const from =
                    (const uint8_t *)x + (i / out_h * in_h + row) * in_w * pixel_bytes;
                int32_t column = first;
                for (int32_t j = 0; j < out_w; ++j) {
                    if (row >= 0 && row < in_h && column >= 0 && column < in_w) {
                        memcpy(to, from + column * pixel_bytes, (size_t)pixel_bytes);
                    } else {
                        memset(to, value, (size_t)pixel_bytes);
                    }
                    to += pixel_bytes;
                    column += block_w;
                }
            }
        }
    }
}

#endif
