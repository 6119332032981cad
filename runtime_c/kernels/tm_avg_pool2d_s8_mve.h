/* tm_avg_pool2d_s8_mve: one output row of average pooling, Helium, int8.
 *
 *   rows   int8  kernel_h x [in_w][channels]   input rows; NULL where outside the image
 *   y      int8  [out_w][channels]             output row
 *
 * Quantisation  input and output share scale and zero point. The mean counts the window's pixels inside the image
 *               only and rounds halves away from zero.
 * Scratch       none.
 * Requires      at least one pixel of every window inside the image; kernel_h * kernel_w <= 255, so that sums fit
 *               halfwords.
 * Overlap       writes while it reads: y must not touch bytes of `rows` still needed.
 * Source        TFLite kernels/internal/reference/integer_ops/pooling.h (AveragePool). The division is the high
 *               word of the product with m = ceil(2^32 / count): with n < 2^16 the excess n * (m * count - 2^32)
 *               is less than 2^32, so the quotient is exact.
 */
#ifndef TM_AVG_POOL2D_S8_MVE_H
#define TM_AVG_POOL2D_S8_MVE_H

#include "tm_avg_pool2d_s8_c.h"
#include "tm_mve.h"

TM_INLINE void tm_avg_pool2d_s8_mve(const int8_t *const *rows, int8_t *y, int32_t in_w, int32_t channels,
                                    int32_t out_w, int32_t kernel_h, int32_t kernel_w, int32_t stride_w,
                                    int32_t pad_left, int32_t lo, int32_t hi)
{
#if TM_MVE_ASM
    int32_t rows_inside = 0;
    for (int32_t ky = 0; ky < kernel_h; ++ky) {
        rows_inside += rows[ky] != NULL ? 1 : 0;
    }
    for (int32_t ox = 0; ox < out_w; ++ox, y += channels) {
        const int32_t ix = ox * stride_w - pad_left;
        const int32_t first = tm_first_tap(ix, 1);
        const int32_t end = tm_end_tap(ix, 1, kernel_w, in_w);
        const uint32_t count = (uint32_t)(rows_inside * (end - first));
        const uint32x4_t reciprocal = vdupq_n_u32(0xffffffffu / count + 1u);
        for (int32_t c = 0; c < channels; c += 8) {
            const mve_pred16_t present = vctp16q((uint32_t)(channels - c));
            int16x8_t sum = vdupq_n_s16(0);
            uint16x8_t n;
            int16x8_t mean;
            for (int32_t ky = 0; ky < kernel_h; ++ky) {
                if (rows[ky] != NULL) {
                    const int8_t *x = rows[ky] + (ix + first) * channels + c;
                    TM_UNROLL_4
                    for (int32_t kx = first; kx < end; ++kx, x += channels) {
                        sum = vaddq_s16(sum, vldrbq_z_s16(x, present));
                    }
                }
            }
            n = vaddq_n_u16((uint16x8_t)vabsq_s16(sum), (uint16_t)(count / 2));
            if (count > 1) {
                const uint32x4_t even = vmulhq_u32(vmovlbq_u16(n), reciprocal);
                const uint32x4_t odd = vmulhq_u32(vmovltq_u16(n), reciprocal);
                n = vmovntq_u32(vmovnbq_u32(n, even), odd);
            }
            mean = vnegq_m_s16((int16x8_t)n, (int16x8_t)n, vcmpltq_n_s16(sum, 0));
            mean = vmaxq_s16(mean, vdupq_n_s16((int16_t)lo));
            mean = vminq_s16(mean, vdupq_n_s16((int16_t)hi));
            vstrbq_p_s16(y + c, mean, present);
        }
    }
#else
    tm_avg_pool2d_s8_c(rows, y, in_w, channels, out_w, kernel_h, kernel_w, stride_w, pad_left, lo, hi);
#endif
}

#endif
