/* tm_requantize_s8_ref: change of scale and zero point from its definition. */
#ifndef TM_REQUANTIZE_S8_REF_H
#define TM_REQUANTIZE_S8_REF_H

#include "tm_ref.h"

static inline void tm_requantize_s8_ref(const int8_t *x, int8_t *y, int32_t elements, int32_t zp_in,
                                        int32_t multiplier, int32_t shift, int32_t zp_out)
{
    for (int32_t i = 0; i < elements; ++i) {
        y[i] = tm_ref_clamp((int64_t)tm_ref_requant(x[i] - zp_in, multiplier, shift) + zp_out, INT8_MIN,
                            INT8_MAX);
    }
}

#endif
