/* tm_conv2d_s8_ref: convolution from its definition: y = sum of (x - zp_in) * w over taps inside the image. */
#ifndef TM_CONV2D_S8_REF_H
#define TM_CONV2D_S8_REF_H

#include "tm_ref.h"

static inline void tm_conv2d_s8_ref(const int8_t *x, int8_t *y, const int8_t *weights, const int32_t *bias,
                                    const int32_t *multiplier, const int32_t *shift, int32_t in_h,
                                    int32_t in_w, int32_t in_c, int32_t out_h, int32_t out_w, int32_t out_c,
                                    int32_t groups, int32_t kernel_h, int32_t kernel_w, int32_t stride_h,
                                    int32_t stride_w, int32_t dilation_h, int32_t dilation_w, int32_t pad_top,
                                    int32_t pad_left, int32_t zp_in, int32_t zp_out, int32_t lo, int32_t hi)
{
    const int32_t group_in = in_c / groups;
    for (int32_t oy = 0; oy < out_h; ++oy) {
        for (int32_t ox = 0; ox < out_w; ++ox) {
            for (int32_t oc = 0; oc < out_c; ++oc) {
                const int32_t group = oc / (out_c / groups);
                int32_t acc = bias[oc];
                for (int32_t ky = 0; ky < kernel_h; ++ky) {
                    for (int32_t kx = 0; kx < kernel_w; ++kx) {
                        const int32_t iy = oy * stride_h - pad_top + ky * dilation_h;
                        const int32_t ix = ox * stride_w - pad_left + kx * dilation_w;
                        if (iy < 0 || iy >= in_h || ix < 0 || ix >= in_w) {
                            continue;
                        }
                        for (int32_t i = 0; i < group_in; ++i) {
                            const int32_t value = x[(iy * in_w + ix) * in_c + group * group_in + i];
                            const int32_t weight =
                                weights[((oc * kernel_h + ky) * kernel_w + kx) * group_in + i];
                            acc += (value - zp_in) * weight;
                        }
                    }
                }
                y[(oy * out_w + ox) * out_c + oc] =
                    tm_ref_clamp((int64_t)tm_ref_requant(acc, multiplier[oc], shift[oc]) + zp_out, lo, hi);
            }
        }
    }
}

#endif
