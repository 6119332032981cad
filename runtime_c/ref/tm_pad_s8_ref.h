/* tm_pad_s8_ref: padding: element i of the output is element i - before of the input, or the value. */
#ifndef TM_PAD_S8_REF_H
#define TM_PAD_S8_REF_H

#include "tm_ref.h"

static inline void tm_pad_s8_ref(const int8_t *x, int8_t *y, const int32_t *dims, const int32_t *before,
                                 const int32_t *out_dims, int32_t value)
{
    for (int32_t n = 0; n < tm_ref_elements(out_dims); ++n) {
        int32_t index[6];
        int inside = 1;
        tm_ref_unravel(out_dims, n, index);
        for (int32_t axis = 0; axis < 6; ++axis) {
            index[axis] -= before[axis];
            inside = inside && index[axis] >= 0 && index[axis] < dims[axis];
        }
        y[n] = inside ? x[tm_ref_ravel(dims, index)] : (int8_t)value;
    }
}

#endif
