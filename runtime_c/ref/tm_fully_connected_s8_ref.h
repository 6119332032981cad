/* tm_fully_connected_s8_ref: fully connected layer from its definition, rounding once. */
#ifndef TM_FULLY_CONNECTED_S8_REF_H
#define TM_FULLY_CONNECTED_S8_REF_H

#include "tm_ref.h"

static inline void tm_fully_connected_s8_ref(const int8_t *x, int8_t *y, const int8_t *weights,
                                             const int32_t *bias, const int32_t *multiplier,
                                             const int32_t *shift, int32_t batches, int32_t in_c,
                                             int32_t out_c, int32_t zp_in, int32_t zp_out, int32_t lo,
                                             int32_t hi)
{
    for (int32_t b = 0; b < batches; ++b) {
        for (int32_t oc = 0; oc < out_c; ++oc) {
            int32_t acc = bias[oc];
            for (int32_t i = 0; i < in_c; ++i) {
                acc += (x[b * in_c + i] - zp_in) * weights[oc * in_c + i];
            }
            y[b * out_c + oc] =
                tm_ref_clamp((int64_t)tm_ref_requant_single(acc, multiplier[oc], shift[oc]) + zp_out, lo, hi);
        }
    }
}

#endif
