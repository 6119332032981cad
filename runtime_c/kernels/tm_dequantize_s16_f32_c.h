/* tm_dequantize_s16_f32_c: int16 to float, portable C.
 *
 *   x      int16  [elements]
 *   y      float  [elements]
 *   scale  float  [1]
 *
 * Quantisation  y = scale * (x - zp_in); the product of a float and 17 bits rounds once, as TFLite's
 *               double product does.
 * Scratch       none.
 * Requires      nothing. Float arithmetic: only at a model's float edges.
 * Overlap       reads element i, then writes its four bytes: y may reach into elements already read.
 * Source        TFLite kernels/internal/reference/dequantize.h.
 */
#ifndef TM_DEQUANTIZE_S16_F32_C_H
#define TM_DEQUANTIZE_S16_F32_C_H

#include "tm_runtime.h"

TM_INLINE void tm_dequantize_s16_f32_c(const int16_t *x, float *y, const float *scale, int32_t elements,
                                       int32_t zp_in)
{
    for (int32_t i = 0; i < elements; ++i) {
        y[i] = scale[0] * (float)(x[i] - zp_in);
    }
}

#endif
