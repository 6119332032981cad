/* tm_transpose_s8_ref: output dimension d is input dimension perm[d]. */
#ifndef TM_TRANSPOSE_S8_REF_H
#define TM_TRANSPOSE_S8_REF_H

#include "tm_ref.h"

static inline void tm_transpose_s8_ref(const int8_t *x, int8_t *y, const int32_t *dims, const int32_t *perm)
{
    for (int32_t n = 0; n < tm_ref_elements(dims); ++n) {
        int32_t out_dims[6];
        int32_t index[6];
        int32_t out_index[6];
        tm_ref_unravel(dims, n, index);
        for (int32_t axis = 0; axis < 6; ++axis) {
            out_dims[axis] = dims[perm[axis]];
            out_index[axis] = index[perm[axis]];
        }
        y[tm_ref_ravel(out_dims, out_index)] = x[n];
    }
}

#endif
