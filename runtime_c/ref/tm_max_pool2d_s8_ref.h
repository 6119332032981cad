/* tm_max_pool2d_s8_ref: largest of the pixels of the window that lie inside the image. */
#ifndef TM_MAX_POOL2D_S8_REF_H
#define TM_MAX_POOL2D_S8_REF_H

#include "tm_ref.h"

static inline void tm_max_pool2d_s8_ref(const int8_t *x, int8_t *y, int32_t in_h, int32_t in_w, int32_t in_c,
                                        int32_t out_h, int32_t out_w, int32_t kernel_h, int32_t kernel_w,
                                        int32_t stride_h, int32_t stride_w, int32_t pad_top, int32_t pad_left,
                                        int32_t lo, int32_t hi)
{
    for (int32_t oy = 0; oy < out_h; ++oy) {
        for (int32_t ox = 0; ox < out_w; ++ox) {
            for (int32_t c = 0; c < in_c; ++c) {
                int32_t best = INT8_MIN;
                for (int32_t ky = 0; ky < kernel_h; ++ky) {
                    for (int32_t kx = 0; kx < kernel_w; ++kx) {
                        const int32_t iy = oy * stride_h - pad_top + ky;
                        const int32_t ix = ox * stride_w - pad_left + kx;
                        if (iy >= 0 && iy < in_h && ix >= 0 && ix < in_w) {
                            const int32_t value = x[(iy * in_w + ix) * in_c + c];
                            best = value > best ? value : best;
                        }
                    }
                }
                y[(oy * out_w + ox) * in_c + c] = tm_ref_clamp(best, lo, hi);
            }
        }
    }
}

#endif
