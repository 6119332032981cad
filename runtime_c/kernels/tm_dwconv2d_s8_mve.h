/* tm_dwconv2d_s8_mve: one output row of any depthwise convolution, Helium, int8.
 *
 *   rows        int8   kernel_h x [in_w][in_c]         input rows; zero-point rows where outside the image
 *   y           int8   [out_w][out_c]                  output row, out_c = in_c * depth multiplier
 *   weights     int8   [kernel_h][kernel_w][out_c]
 *   bias        int32  [out_c]                         -zp_in * sum(weights) folded in
 *   multiplier  int32  [out_c]                         requantisation of each channel
 *   shift       int8   [out_c]
 *
 * Quantisation  y = clamp(zp_out + requant(bias + sum w * x)), rounding twice as the TFLite reference. Columns left
 *               and right of the image count as zp_in and are not read.
 * Scratch       none.
 * Requires      nothing: any kernel, stride, dilation, padding and depth multiplier.
 * Overlap       writes while it reads: y must not touch bytes of `rows` still needed.
 * Source        TFLite kernels/internal/reference/integer_ops/depthwise_conv.h (DepthwiseConvPerChannel). Eight
 *               output channels at once, even and odd ones apart as the widening multiplications leave them.
 */
#ifndef TM_DWCONV2D_S8_MVE_H
#define TM_DWCONV2D_S8_MVE_H

#include "tm_dwconv2d_s8_c.h"
#include "tm_mve.h"

#if TM_MVE_ASM

/* tm_requant lane by lane, each with a multiplier and a shift of its own. */
TM_INLINE int32x4_t tm_dw_requant_mve(int32x4_t acc, int32x4_t multiplier, int32x4_t shift)
{
    const int32x4_t zero = vdupq_n_s32(0);
    const int32x4_t right = vminq_s32(shift, zero);
    const int32x4_t v = vshlq_s32(acc, vmaxq_s32(shift, zero));
    const int32x4_t away = vandq_s32(vshrq_n_s32(v, 31), vshrq_n_s32(right, 31));
    return vrshlq_s32(vaddq_s32(vqrdmulhq_s32(v, multiplier), away), right);
}

#endif

TM_INLINE void tm_dwconv2d_s8_mve(const int8_t *const *rows, int8_t *y, const int8_t *weights,
                                  const int32_t *bias, const int32_t *multiplier, const int8_t *shift,
                                  int32_t in_w, int32_t in_c, int32_t out_w, int32_t out_c, int32_t kernel_h,
                                  int32_t kernel_w, int32_t stride_w, int32_t dilation_w, int32_t pad_left,
                                  int32_t zp_in, int32_t zp_out, int32_t lo, int32_t hi)
{
#if TM_MVE_ASM
    const int32_t depth = out_c / in_c;
    const int16x8_t outside = vdupq_n_s16((int16_t)zp_in);
    const uint32x4_t twice = vidupq_n_u32(0, 2);
    for (int32_t c = 0; c < out_c; c += 8) {
        const mve_pred16_t present = vctp16q((uint32_t)(out_c - c));
        const mve_pred16_t even_present = vctp32q((uint32_t)(out_c - c + 1) / 2);
        const mve_pred16_t odd_present = vctp32q((uint32_t)(out_c - c) / 2);
        const int32_t from = c / depth;
        uint16_t offsets[8];
        for (int32_t i = 0; i < 8; ++i) {
            offsets[i] = (uint16_t)(tm_min(c + i, out_c - 1) / depth - from);
        }
        const uint16x8_t offset = vld1q_u16(offsets);
        int8_t *out = y + c;
        for (int32_t ox = 0; ox < out_w; ++ox, out += out_c) {
            const int32_t ix = ox * stride_w - pad_left;
            const int32_t first = tm_min(tm_first_tap(ix, dilation_w), kernel_w);
            const int32_t end = tm_end_tap(ix, dilation_w, kernel_w, in_w);
            int32x4_t even = vldrwq_gather_shifted_offset_z_s32(bias + c, twice, even_present);
            int32x4_t odd = vdupq_n_s32(0);
            int16x8_t result;
            if (out_c - c > 1) {
                odd = vldrwq_gather_shifted_offset_z_s32(bias + c + 1, twice, odd_present);
            }
            for (int32_t ky = 0; ky < kernel_h; ++ky) {
                const int8_t *w = weights + ky * kernel_w * out_c + c;
                const int8_t *x = rows[ky] + (ix + first * dilation_w) * in_c + from;
                for (int32_t kx = 0; kx < first; ++kx, w += out_c) {
                    const int16x8_t v = vldrbq_z_s16(w, present);
                    even = vaddq_s32(even, vmullbq_int_s16(outside, v));
                    odd = vaddq_s32(odd, vmulltq_int_s16(outside, v));
                }
                TM_UNROLL_4
                for (int32_t kx = first; kx < end; ++kx, w += out_c, x += dilation_w * in_c) {
                    const int16x8_t v = vldrbq_z_s16(w, present);
                    const int16x8_t u = vldrbq_gather_offset_z_s16(x, offset, present);
                    even = vaddq_s32(even, vmullbq_int_s16(u, v));
                    odd = vaddq_s32(odd, vmulltq_int_s16(u, v));
                }
                for (int32_t kx = tm_clamp(end, first, kernel_w); kx < kernel_w; ++kx, w += out_c) {
                    const int16x8_t v = vldrbq_z_s16(w, present);
                    even = vaddq_s32(even, vmullbq_int_s16(outside, v));
                    odd = vaddq_s32(odd, vmulltq_int_s16(outside, v));
                }
            }
            even = tm_dw_requant_mve(even,
                                     vldrwq_gather_shifted_offset_z_s32(multiplier + c, twice, even_present),
                                     vldrbq_gather_offset_z_s32(shift + c, twice, even_present));
            if (out_c - c > 1) {
                odd = tm_dw_requant_mve(
                    odd, vldrwq_gather_shifted_offset_z_s32(multiplier + c + 1, twice, odd_present),
                    vldrbq_gather_offset_z_s32(shift + c + 1, twice, odd_present));
            }
            result = vqmovntq_s32(vqmovnbq_s32(vuninitializedq_s16(), even), odd);
            result = vqaddq_n_s16(result, (int16_t)zp_out);
            result = vmaxq_s16(result, vdupq_n_s16((int16_t)lo));
            result = vminq_s16(result, vdupq_n_s16((int16_t)hi));
            vstrbq_p_s16(out, result, present);
        }
    }
#else
    tm_dwconv2d_s8_c(rows, y, weights, bias, multiplier, shift, in_w, in_c, out_w, out_c, kernel_h, kernel_w,
                     stride_w, dilation_w, pad_left, zp_in, zp_out, lo, hi);
#endif
}

#endif
