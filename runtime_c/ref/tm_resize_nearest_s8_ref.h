/* tm_resize_nearest_s8_ref: nearest neighbour with the float arithmetic of TFLite. */
#ifndef TM_RESIZE_NEAREST_S8_REF_H
#define TM_RESIZE_NEAREST_S8_REF_H

#include "tm_ref.h"

static inline int32_t tm_resize_nearest_index_ref(int32_t i, int32_t in_size, int32_t out_size,
                                                  int32_t align_corners, int32_t half_pixel_centers)
{
    const float scale = align_corners != 0 && out_size > 1 ? (float)(in_size - 1) / (float)(out_size - 1)
                                                           : (float)in_size / (float)out_size;
    const float position = ((float)i + (half_pixel_centers != 0 ? 0.5f : 0.0f)) * scale;
    /* Truncation is round (align_corners) or floor here: no position is negative. */
    int32_t nearest = (int32_t)position;
    if (align_corners != 0 && position - (float)nearest >= 0.5f) {
        ++nearest;
    }
    return nearest < in_size - 1 ? nearest : in_size - 1;
}

static inline void tm_resize_nearest_s8_ref(const int8_t *x, int8_t *y, int32_t in_h, int32_t in_w,
                                            int32_t out_h, int32_t out_w, int32_t channels,
                                            int32_t align_corners, int32_t half_pixel_centers)
{
    for (int32_t oy = 0; oy < out_h; ++oy) {
        for (int32_t ox = 0; ox < out_w; ++ox) {
            for (int32_t c = 0; c < channels; ++c) {
                const int32_t iy =
                    tm_resize_nearest_index_ref(oy, in_h, out_h, align_corners, half_pixel_centers);
                const int32_t ix =
                    tm_resize_nearest_index_ref(ox, in_w, out_w, align_corners, half_pixel_centers);
                y[(oy * out_w + ox) * channels + c] = x[(iy * in_w + ix) * channels + c];
            }
        }
    }
}

#endif
