/* tm_quantize_f32_s8_ref: float to int8 with round() of libm. */
#ifndef TM_QUANTIZE_F32_S8_REF_H
#define TM_QUANTIZE_F32_S8_REF_H

#include "tm_ref.h"

#include <math.h>

static inline void tm_quantize_f32_s8_ref(const float *x, int8_t *y, const float *scale, int32_t elements,
                                          int32_t zp_out)
{
    for (int32_t i = 0; i < elements; ++i) {
        const double value = round((double)(x[i] / scale[0])) + zp_out;
        y[i] = value > INT8_MAX ? INT8_MAX : (value >= INT8_MIN ? (int8_t)value : INT8_MIN);
    }
}

#endif
