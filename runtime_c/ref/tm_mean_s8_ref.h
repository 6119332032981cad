/* tm_mean_s8_ref: mean over the dimensions where `out_dims` is one, rescaled; the count is part of the multiplier. */
#ifndef TM_MEAN_S8_REF_H
#define TM_MEAN_S8_REF_H

#include "tm_ref.h"

static inline void tm_mean_s8_ref(const int8_t *x, int8_t *y, const int32_t *dims, const int32_t *out_dims,
                                  int32_t zp_in, int32_t multiplier, int32_t shift, int32_t zp_out)
{
    for (int32_t n = 0; n < tm_ref_elements(out_dims); ++n) {
        int32_t sum = 0;
        for (int32_t i = 0; i < tm_ref_elements(dims); ++i) {
            int32_t index[6];
            tm_ref_unravel(dims, i, index);
            if (tm_ref_ravel(out_dims, index) == n) {
                sum += x[i] - zp_in;
            }
        }
        y[n] = tm_ref_clamp((int64_t)tm_ref_requant(sum, multiplier, shift) + zp_out, INT8_MIN, INT8_MAX);
    }
}

#endif
