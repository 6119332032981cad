/* tm_mul_s8_ref: product of two tensors that broadcast to `dims`. */
#ifndef TM_MUL_S8_REF_H
#define TM_MUL_S8_REF_H

#include "tm_ref.h"

static inline void tm_mul_s8_ref(const int8_t *x1, const int8_t *x2, int8_t *y, const int32_t *dims_1,
                                 const int32_t *dims_2, const int32_t *dims, int32_t zp_1, int32_t zp_2,
                                 int32_t multiplier, int32_t shift, int32_t zp_out, int32_t lo, int32_t hi)
{
    for (int32_t n = 0; n < tm_ref_elements(dims); ++n) {
        int32_t index[6];
        int32_t product;
        tm_ref_unravel(dims, n, index);
        product = (x1[tm_ref_ravel(dims_1, index)] - zp_1) * (x2[tm_ref_ravel(dims_2, index)] - zp_2);
        y[n] = tm_ref_clamp((int64_t)tm_ref_requant(product, multiplier, shift) + zp_out, lo, hi);
    }
}

#endif
