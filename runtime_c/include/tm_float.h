/* tm_float.h: the one conversion between real numbers and int8 that applications need.
 *
 * Included by generated headers for their <model>_quantize_* helpers; the runtime's kernels are
 * integer only and never include it. Unused, it emits no code.
 */
#ifndef TM_FLOAT_H
#define TM_FLOAT_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* clamp(round(real / scale) + zero_point, low, high), ties away from zero; NaN gives the zero point.
 * |low|, high <= 32768. Source: TFLite AffineQuantize (tensorflow/lite/kernels/internal/reference/quantize.h). */
static inline int32_t tm_quantize(float real, float scale, int32_t zero_point, int32_t low, int32_t high)
{
    const float q = real / scale;
    if (!(q > -131072.0f)) {
        return q != q ? zero_point : low;
    }
    if (q > 131072.0f) {
        return high;
    }
    int32_t r = (int32_t)q; /* toward zero; the fraction below is exact */
    const float fraction = q - (float)r;
    if (fraction >= 0.5f) {
        r += 1;
    } else if (fraction <= -0.5f) {
        r -= 1;
    }
    r += zero_point;
    return r < low ? low : r > high ? high : r;
}

static inline int8_t tm_quantize_s8(float real, float scale, int32_t zero_point)
{
    return (int8_t)tm_quantize(real, scale, zero_point, -128, 127);
}

static inline int16_t tm_quantize_s16(float real, float scale, int32_t zero_point)
{
    return (int16_t)tm_quantize(real, scale, zero_point, -32768, 32767);
}

#ifdef __cplusplus
}
#endif

#endif
