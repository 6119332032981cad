/* tm_resize_nearest_s8_c: nearest-neighbour resize, portable C, int8.
 *
 *   x         int8   [in_h][in_w][channels]
 *   y         int8   [out_h][out_w][channels]
 *   in_rows   int32  [out_h]   input row of each output row
 *   in_cols   int32  [out_w]   input column of each output column
 *
 * Quantisation  none: input and output share scale and zero point.
 * Scratch       none.
 * Requires      tables within the image; they hold the reference's float rounding.
 * Overlap       none.
 * Source        TFLite kernels/internal/reference/resize_nearest_neighbor.h.
 */
#ifndef TM_RESIZE_NEAREST_S8_C_H
#define TM_RESIZE_NEAREST_S8_C_H

#include "tm_runtime.h"

TM_INLINE void tm_resize_nearest_s8_c(const int8_t *TM_RESTRICT x, int8_t *TM_RESTRICT y,
                                      const int32_t *in_rows, const int32_t *in_cols, int32_t in_w,
                                      int32_t out_h, int32_t out_w, int32_t channels)
{
    for (int32_t oy = 0; oy < out_h; ++oy) {
        const int8_t *row = x + in_rows[oy] * in_w * channels;
        for (int32_t ox = 0; ox < out_w; ++ox) {
            tm_copy_s8(y, row + in_cols[ox] * channels, channels);
            y += channels;
        }
    }
}

#endif
