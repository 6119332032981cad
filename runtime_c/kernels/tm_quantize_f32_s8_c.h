/* tm_quantize_f32_s8_c: float to int8, portable C.
 *
 *   x      float  [elements]
 *   y      int8   [elements]
 *   scale  float  [1]
 *
 * Quantisation  y = clamp(zp_out + round(x / scale)), halves away from zero; NaN becomes -128.
 * Scratch       none.
 * Requires      nothing. Float arithmetic: only at a model's float edges.
 * Overlap       reads element i, then writes element i: in place.
 * Source        TFLite kernels/internal/reference/quantize.h (AffineQuantize).
 */
#ifndef TM_QUANTIZE_F32_S8_C_H
#define TM_QUANTIZE_F32_S8_C_H

#include "tm_runtime.h"

TM_INLINE void tm_quantize_f32_s8_c(const float *x, int8_t *y, const float *scale, int32_t elements,
                                    int32_t zp_out)
{
    for (int32_t i = 0; i < elements; ++i) {
        const float limit = 512.0f; /* beyond it every zero point saturates, and int32 is safe */
        float value = x[i] / scale[0];
        float magnitude;
        int32_t whole;
        value = value > -limit ? value : -limit;
        value = value < limit ? value : limit;
        magnitude = value < 0.0f ? -value : value;
        whole = (int32_t)magnitude;
        whole += magnitude - (float)whole >= 0.5f ? 1 : 0;
        y[i] = tm_clamp_s8(value < 0.0f ? -whole : whole, zp_out, INT8_MIN, INT8_MAX);
    }
}

#endif
