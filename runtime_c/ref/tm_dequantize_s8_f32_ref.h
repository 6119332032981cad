/* tm_dequantize_s8_f32_ref: int8 to float, the product in double as TFLite has it. */
#ifndef TM_DEQUANTIZE_S8_F32_REF_H
#define TM_DEQUANTIZE_S8_F32_REF_H

#include "tm_ref.h"

static inline void tm_dequantize_s8_f32_ref(const int8_t *x, float *y, const float *scale, int32_t elements,
                                            int32_t zp_in)
{
    for (int32_t i = 0; i < elements; ++i) {
        y[i] = (float)((double)scale[0] * (double)(x[i] - zp_in));
    }
}

#endif
