/* tm_batch_to_space_c: images woven into one, rows and columns cut off at its edges, portable C, any type.
 *
 *   x   any   [block_h][block_w][images][in_h][in_w][pixel_bytes]
 *   y   any   [images][out_h][out_w][pixel_bytes]
 *
 * Quantisation  none: input and output share scale and zero point.
 * Scratch       none.
 * Requires      `top`, `left`: rows and columns cut off before the first one kept.
 * Overlap       none.
 * Source        TFLite kernels/internal/reference/batch_to_space_nd.h.
 */
#ifndef TM_BATCH_TO_SPACE_C_H
#define TM_BATCH_TO_SPACE_C_H

#include "tm_runtime.h"

TM_INLINE void tm_batch_to_space_c(const void *x, void *TM_RESTRICT y, int32_t images, int32_t in_h,
                                   int32_t in_w, int32_t out_h, int32_t out_w, int32_t pixel_bytes,
                                   int32_t block_h, int32_t block_w, int32_t top, int32_t left)
{
    uint8_t *to = (uint8_t *)y;
    for (int32_t i = 0; i < images * out_h; ++i) {
        const int32_t row = i % out_h + top;
        const int32_t image = row % block_h * block_w * images + i / out_h;
        int32_t shift = left % block_w;
        int32_t column = left / block_w;
        for (int32_t j = 0; j < out_w; ++j) {
            const int32_t at = ((image + shift * images) * in_h + row / block_h) * in_w + column;
            memcpy(to, (const uint8_t *)x + at * pixel_bytes, (size_t)pixel_bytes);
            to += pixel_bytes;
            if (++shift == block_w) {
                shift = 0;
                ++column;
            }
        }
    }
}

#endif
