/* tm_quantize_f32_s16_c: float to int16, portable C.
 *
 *   x      float  [elements]
 *   y      int16  [elements]
 *   scale  float  [1]
 *
 * Quantisation  y = clamp(zp_out + round(x / scale)), halves away from zero; NaN becomes -32768.
 * Scratch       none.
 * Requires      nothing. Float arithmetic: only at a model's float edges.
 * Overlap       reads element i, then writes element i: in place.
 * Source        TFLite kernels/internal/reference/quantize.h (AffineQuantize).
 */
#ifndef TM_QUANTIZE_F32_S16_C_H
#define TM_QUANTIZE_F32_S16_C_H

#include "tm_runtime.h"

TM_INLINE void tm_quantize_f32_s16_c(const float *x, int16_t *y, const float *scale, int32_t elements,
                                     int32_t zp_out)
{
    for (int32_t i = 0; i < elements; ++i) {
        const float limit = 131072.0f; /* beyond it every zero point saturates, and int32 is safe */
        float value = x[i] / scale[0];
        float magnitude;
        int32_t whole;
        value = value > -limit ? value : -limit;
        value = value < limit ? value : limit;
        magnitude = value < 0.0f ? -value : value;
        whole = (int32_t)magnitude;
        whole += magnitude - (float)whole >= 0.5f ? 1 : 0;
        y[i] = (int16_t)tm_clamp((value < 0.0f ? -whole : whole) + zp_out, INT16_MIN, INT16_MAX);
    }
}

#endif
