/* plain.h: every operator as obvious loops, for GCC to make the best of: what the portable kernels are counted
 * against (count_portable.py).
 *
 * The arguments are those of the kernel's call, except where that takes a geometry from an array: then the sizes are
 * literals. Every shape is a literal, inputs and outputs are `restrict`, the input's zero point is folded
 * into the bias and requantisation is that of tm_runtime.h, as cheap as in the kernels: nothing but the
 * loops differs.
 */
#ifndef PLAIN_H
#define PLAIN_H

#include "tm_add_s8_c.h"
#include "tm_mul_s8_c.h"
#include "tm_runtime.h"
#include "tm_softmax_s8_c.h"

TM_INLINE void plain_conv2d(const int8_t *const *TM_RESTRICT rows, int8_t *TM_RESTRICT y,
                            const int8_t *TM_RESTRICT weights, const int32_t *TM_RESTRICT bias,
                            const int32_t *TM_RESTRICT multiplier, const int8_t *TM_RESTRICT shift,
                            int32_t in_w, int32_t in_c, int32_t out_w, int32_t out_c, int32_t groups,
                            int32_t kernel_h, int32_t kernel_w, int32_t stride_w, int32_t dilation_w,
                            int32_t pad_left, int32_t zp_in, int32_t zp_out, int32_t lo, int32_t hi)
{
    const int32_t group_in = in_c / groups;
    for (int32_t ox = 0; ox < out_w; ++ox) {
        for (int32_t oc = 0; oc < out_c; ++oc) {
            const int32_t group = oc / (out_c / groups);
            int32_t acc = bias[oc];
            for (int32_t ky = 0; ky < kernel_h; ++ky) {
                for (int32_t kx = 0; kx < kernel_w; ++kx) {
                    const int32_t ix = ox * stride_w - pad_left + kx * dilation_w;
                    const int8_t *w = weights + ((oc * kernel_h + ky) * kernel_w + kx) * group_in;
                    if (ix >= 0 && ix < in_w) {
                        const int8_t *x = rows[ky] + ix * in_c + group * group_in;
                        for (int32_t i = 0; i < group_in; ++i) {
                            acc += x[i] * w[i];
                        }
                    } else {
                        for (int32_t i = 0; i < group_in; ++i) {
                            acc += zp_in * w[i];
                        }
                    }
                }
            }
            y[ox * out_c + oc] = tm_clamp_s8(tm_requant(acc, multiplier[oc], shift[oc]), zp_out, lo, hi);
        }
    }
}

TM_INLINE void plain_conv2d_1x1(const int8_t *TM_RESTRICT x, int8_t *TM_RESTRICT y,
                                const int8_t *TM_RESTRICT weights, const int32_t *TM_RESTRICT bias,
                                const int32_t *TM_RESTRICT multiplier, const int8_t *TM_RESTRICT shift,
                                int32_t pixels, int32_t in_c, int32_t out_c, int32_t zp_out, int32_t lo,
                                int32_t hi)
{
    for (int32_t p = 0; p < pixels; ++p) {
        for (int32_t oc = 0; oc < out_c; ++oc) {
            int32_t acc = bias[oc];
            for (int32_t i = 0; i < in_c; ++i) {
                acc += x[p * in_c + i] * weights[oc * in_c + i];
            }
            y[p * out_c + oc] = tm_clamp_s8(tm_requant(acc, multiplier[oc], shift[oc]), zp_out, lo, hi);
        }
    }
}

TM_INLINE void plain_dwconv2d(const int8_t *const *TM_RESTRICT rows, int8_t *TM_RESTRICT y,
                              const int8_t *TM_RESTRICT weights, const int32_t *TM_RESTRICT bias,
                              const int32_t *TM_RESTRICT multiplier, const int8_t *TM_RESTRICT shift,
                              int32_t in_w, int32_t in_c, int32_t out_w, int32_t out_c, int32_t kernel_h,
                              int32_t kernel_w, int32_t stride_w, int32_t dilation_w, int32_t pad_left,
                              int32_t zp_in, int32_t zp_out, int32_t lo, int32_t hi)
{
    for (int32_t ox = 0; ox < out_w; ++ox) {
        for (int32_t oc = 0; oc < out_c; ++oc) {
            const int32_t c = oc / (out_c / in_c);
            int32_t acc = bias[oc];
            for (int32_t ky = 0; ky < kernel_h; ++ky) {
                for (int32_t kx = 0; kx < kernel_w; ++kx) {
                    const int32_t ix = ox * stride_w - pad_left + kx * dilation_w;
                    const int32_t value = ix >= 0 && ix < in_w ? rows[ky][ix * in_c + c] : zp_in;
                    acc += value * weights[(ky * kernel_w + kx) * out_c + oc];
                }
            }
            y[ox * out_c + oc] = tm_clamp_s8(tm_requant(acc, multiplier[oc], shift[oc]), zp_out, lo, hi);
        }
    }
}

TM_INLINE void plain_fully_connected(const int8_t *TM_RESTRICT x, int8_t *TM_RESTRICT y,
                                     const int8_t *TM_RESTRICT weights, const int32_t *TM_RESTRICT bias,
                                     int32_t batches, int32_t in_c, int32_t out_c, int32_t multiplier,
                                     int32_t shift, int32_t zp_out, int32_t lo, int32_t hi)
{
    for (int32_t b = 0; b < batches; ++b) {
        for (int32_t oc = 0; oc < out_c; ++oc) {
            int32_t acc = bias[oc];
            for (int32_t i = 0; i < in_c; ++i) {
                acc += x[b * in_c + i] * weights[oc * in_c + i];
            }
            y[b * out_c + oc] = tm_clamp_s8(tm_requant_single(acc, multiplier, shift), zp_out, lo, hi);
        }
    }
}

TM_INLINE void plain_fully_connected_perchannel(
    const int8_t *TM_RESTRICT x, int8_t *TM_RESTRICT y, const int8_t *TM_RESTRICT weights,
    const int32_t *TM_RESTRICT bias, const int32_t *TM_RESTRICT multiplier, const int8_t *TM_RESTRICT shift,
    int32_t batches, int32_t in_c, int32_t out_c, int32_t zp_out, int32_t lo, int32_t hi)
{
    for (int32_t b = 0; b < batches; ++b) {
        for (int32_t oc = 0; oc < out_c; ++oc) {
            int32_t acc = bias[oc];
            for (int32_t i = 0; i < in_c; ++i) {
                acc += x[b * in_c + i] * weights[oc * in_c + i];
            }
            y[b * out_c + oc] =
                tm_clamp_s8(tm_requant_single(acc, multiplier[oc], shift[oc]), zp_out, lo, hi);
        }
    }
}

/* The second operand repeats: [outer][inner] and [inner]. Of one shape where outer is 1. */
TM_INLINE void plain_add(const int8_t *TM_RESTRICT x1, const int8_t *TM_RESTRICT x2, int8_t *TM_RESTRICT y,
                         int32_t outer, int32_t inner, int32_t zp_1, int32_t multiplier_1, int32_t shift_1,
                         int32_t zp_2, int32_t multiplier_2, int32_t shift_2, int32_t multiplier,
                         int32_t shift, int32_t zp_out, int32_t lo, int32_t hi)
{
    for (int32_t r = 0; r < outer; ++r) {
        for (int32_t i = 0; i < inner; ++i) {
            y[r * inner + i] =
                tm_add_element_s8_c(x1[r * inner + i], x2[i], zp_1, multiplier_1, shift_1, zp_2, multiplier_2,
                                    shift_2, multiplier, shift, zp_out, lo, hi);
        }
    }
}

TM_INLINE void plain_add_const(const int8_t *TM_RESTRICT x1, int8_t *TM_RESTRICT y,
                               const int8_t *TM_RESTRICT x2, int32_t outer, int32_t inner, int32_t zp_1,
                               int32_t multiplier_1, int32_t shift_1, int32_t zp_2, int32_t multiplier_2,
                               int32_t shift_2, int32_t multiplier, int32_t shift, int32_t zp_out, int32_t lo,
                               int32_t hi)
{
    plain_add(x1, x2, y, outer, inner, zp_1, multiplier_1, shift_1, zp_2, multiplier_2, shift_2, multiplier,
              shift, zp_out, lo, hi);
}

TM_INLINE void plain_mul(const int8_t *TM_RESTRICT x1, const int8_t *TM_RESTRICT x2, int8_t *TM_RESTRICT y,
                         int32_t outer, int32_t inner, int32_t zp_1, int32_t zp_2, int32_t multiplier,
                         int32_t shift, int32_t zp_out, int32_t lo, int32_t hi)
{
    for (int32_t r = 0; r < outer; ++r) {
        for (int32_t i = 0; i < inner; ++i) {
            y[r * inner + i] =
                tm_mul_element_s8_c(x1[r * inner + i], x2[i], zp_1, zp_2, multiplier, shift, zp_out, lo, hi);
        }
    }
}

TM_INLINE void plain_mul_const(const int8_t *TM_RESTRICT x1, int8_t *TM_RESTRICT y,
                               const int8_t *TM_RESTRICT x2, int32_t outer, int32_t inner, int32_t zp_1,
                               int32_t zp_2, int32_t multiplier, int32_t shift, int32_t zp_out, int32_t lo,
                               int32_t hi)
{
    plain_mul(x1, x2, y, outer, inner, zp_1, zp_2, multiplier, shift, zp_out, lo, hi);
}

TM_INLINE void plain_avg_pool2d(const int8_t *const *TM_RESTRICT rows, int8_t *TM_RESTRICT y, int32_t in_w,
                                int32_t channels, int32_t out_w, int32_t kernel_h, int32_t kernel_w,
                                int32_t stride_w, int32_t pad_left, int32_t lo, int32_t hi)
{
    for (int32_t ox = 0; ox < out_w; ++ox) {
        for (int32_t c = 0; c < channels; ++c) {
            int32_t sum = 0;
            int32_t count = 0;
            for (int32_t ky = 0; ky < kernel_h; ++ky) {
                for (int32_t kx = 0; kx < kernel_w; ++kx) {
                    const int32_t ix = ox * stride_w - pad_left + kx;
                    if (rows[ky] != NULL && ix >= 0 && ix < in_w) {
                        sum += rows[ky][ix * channels + c];
                        ++count;
                    }
                }
            }
            sum = (sum > 0 ? sum + count / 2 : sum - count / 2) / count;
            y[ox * channels + c] = (int8_t)tm_clamp(sum, lo, hi);
        }
    }
}

TM_INLINE void plain_max_pool2d(const int8_t *const *TM_RESTRICT rows, int8_t *TM_RESTRICT y, int32_t in_w,
                                int32_t channels, int32_t out_w, int32_t kernel_h, int32_t kernel_w,
                                int32_t stride_w, int32_t pad_left, int32_t lo, int32_t hi)
{
    for (int32_t ox = 0; ox < out_w; ++ox) {
        for (int32_t c = 0; c < channels; ++c) {
            int32_t best = INT8_MIN;
            for (int32_t ky = 0; ky < kernel_h; ++ky) {
                for (int32_t kx = 0; kx < kernel_w; ++kx) {
                    const int32_t ix = ox * stride_w - pad_left + kx;
                    if (rows[ky] != NULL && ix >= 0 && ix < in_w) {
                        best = tm_max(best, rows[ky][ix * channels + c]);
                    }
                }
            }
            y[ox * channels + c] = (int8_t)tm_clamp(best, lo, hi);
        }
    }
}

/* Over the first dimension of [count][inner]. */
TM_INLINE void plain_mean(const int8_t *TM_RESTRICT x, int8_t *TM_RESTRICT y, int32_t count, int32_t inner,
                          int32_t sum_offset, int32_t multiplier, int32_t shift, int32_t zp_out, int32_t lo,
                          int32_t hi)
{
    for (int32_t i = 0; i < inner; ++i) {
        int32_t sum = sum_offset;
        for (int32_t n = 0; n < count; ++n) {
            sum += x[n * inner + i];
        }
        y[i] = tm_clamp_s8(tm_requant(sum, multiplier, shift), zp_out, lo, hi);
    }
}

TM_INLINE void plain_softmax(const int8_t *TM_RESTRICT x, int8_t *TM_RESTRICT y, int32_t batches,
                             int32_t classes, int32_t multiplier, int32_t left_shift, int32_t diff_min)
{
    for (int32_t b = 0; b < batches; ++b) {
        int32_t largest = INT8_MIN;
        int32_t sum = 0;
        int32_t zeros = 0;
        for (int32_t i = 0; i < classes; ++i) {
            largest = tm_max(largest, x[b * classes + i]);
        }
        for (int32_t i = 0; i < classes; ++i) {
            const int32_t e =
                tm_softmax_exp_s8_c(x[b * classes + i], largest, multiplier, left_shift, diff_min);
            sum += tm_rounding_shift_right(e, 12);
        }
        while (((uint32_t)sum << zeros & 0x80000000u) == 0) {
            ++zeros;
        }
        const int32_t scale = tm_reciprocal_s8_c((int32_t)(((uint32_t)sum << zeros) - 0x80000000u));
        for (int32_t i = 0; i < classes; ++i) {
            const int32_t e =
                tm_softmax_exp_s8_c(x[b * classes + i], largest, multiplier, left_shift, diff_min);
            const int32_t bits = 35 - zeros;
            const int32_t value =
                bits > 31 ? 0 : tm_rounding_shift_right(tm_doubling_high_mul(scale, e), bits);
            y[b * classes + i] = tm_clamp_s8(value, -128, INT8_MIN, INT8_MAX);
        }
    }
}

TM_INLINE void plain_pad(const int8_t *const *TM_RESTRICT rows, int8_t *TM_RESTRICT y, int32_t in_w,
                         int32_t in_c, int32_t left, int32_t right, int32_t before, int32_t after,
                         int32_t value)
{
    const int32_t pixel = before + in_c + after;
    for (int32_t ox = 0; ox < left + in_w + right; ++ox) {
        for (int32_t c = 0; c < pixel; ++c) {
            const int32_t ix = ox - left;
            const int32_t i = c - before;
            const int inside = ix >= 0 && ix < in_w && i >= 0 && i < in_c;
            y[ox * pixel + c] = (int8_t)(inside ? rows[0][ix * in_c + i] : value);
        }
    }
}

/* Of three dimensions. */
TM_INLINE void plain_pad_nd(const int8_t *TM_RESTRICT x, int8_t *TM_RESTRICT y, int32_t in_0, int32_t in_1,
                            int32_t in_2, int32_t before_0, int32_t before_1, int32_t before_2, int32_t out_0,
                            int32_t out_1, int32_t out_2, int32_t value)
{
    for (int32_t i = 0; i < out_0; ++i) {
        for (int32_t j = 0; j < out_1; ++j) {
            for (int32_t k = 0; k < out_2; ++k) {
                const int32_t a = i - before_0;
                const int32_t b = j - before_1;
                const int32_t c = k - before_2;
                const int inside = a >= 0 && a < in_0 && b >= 0 && b < in_1 && c >= 0 && c < in_2;
                y[(i * out_1 + j) * out_2 + k] = (int8_t)(inside ? x[(a * in_1 + b) * in_2 + c] : value);
            }
        }
    }
}

/* [rows][columns] to [columns][rows]. */
TM_INLINE void plain_transpose(const int8_t *TM_RESTRICT x, int8_t *TM_RESTRICT y, int32_t rows,
                               int32_t columns)
{
    for (int32_t i = 0; i < columns; ++i) {
        for (int32_t j = 0; j < rows; ++j) {
            y[i * rows + j] = x[j * columns + i];
        }
    }
}

TM_INLINE void plain_resize_nearest(const int8_t *TM_RESTRICT x, int8_t *TM_RESTRICT y,
                                    const int32_t *TM_RESTRICT in_rows, const int32_t *TM_RESTRICT in_cols,
                                    int32_t in_w, int32_t out_h, int32_t out_w, int32_t channels)
{
    for (int32_t oy = 0; oy < out_h; ++oy) {
        for (int32_t ox = 0; ox < out_w; ++ox) {
            for (int32_t c = 0; c < channels; ++c) {
                y[(oy * out_w + ox) * channels + c] = x[(in_rows[oy] * in_w + in_cols[ox]) * channels + c];
            }
        }
    }
}

TM_INLINE void plain_requantize(const int8_t *TM_RESTRICT x, int8_t *TM_RESTRICT y, int32_t elements,
                                int32_t zp_in, int32_t multiplier, int32_t shift, int32_t zp_out)
{
    for (int32_t i = 0; i < elements; ++i) {
        y[i] = tm_clamp_s8(tm_requant(x[i] - zp_in, multiplier, shift), zp_out, INT8_MIN, INT8_MAX);
    }
}

/* Finite inputs within int32, as an application has them. */
TM_INLINE void plain_quantize_f32(const float *TM_RESTRICT x, int8_t *TM_RESTRICT y,
                                  const float *TM_RESTRICT scale, int32_t elements, int32_t zp_out)
{
    for (int32_t i = 0; i < elements; ++i) {
        const float value = x[i] / scale[0];
        const int32_t rounded = (int32_t)(value < 0.0f ? value - 0.5f : value + 0.5f);
        y[i] = tm_clamp_s8(rounded, zp_out, INT8_MIN, INT8_MAX);
    }
}

TM_INLINE void plain_dequantize_f32(const int8_t *TM_RESTRICT x, float *TM_RESTRICT y,
                                    const float *TM_RESTRICT scale, int32_t elements, int32_t zp_in)
{
    for (int32_t i = 0; i < elements; ++i) {
        y[i] = scale[0] * (float)(x[i] - zp_in);
    }
}

#endif
