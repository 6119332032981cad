/* tm_softmax_s8_ref: softmax with exp from a table over (largest - x), the reciprocal in gemmlowp fixed point. */
#ifndef TM_SOFTMAX_S8_REF_H
#define TM_SOFTMAX_S8_REF_H

#include "tm_ref.h"

static inline int32_t tm_softmax_saturate_ref(int64_t value)
{
    return (int32_t)(value > INT32_MAX ? INT32_MAX : (value < INT32_MIN ? INT32_MIN : value));
}

static inline void tm_softmax_s8_ref(const int8_t *x, int8_t *y, const int32_t *exp_table, int32_t batches,
                                     int32_t classes)
{
    for (int32_t b = 0; b < batches; ++b, x += classes, y += classes) {
        int32_t largest = INT8_MIN;
        int64_t sum = 0;
        int32_t zeros = 0;
        int32_t half;
        int32_t inverse;
        for (int32_t i = 0; i < classes; ++i) {
            largest = x[i] > largest ? x[i] : largest;
        }
        for (int32_t i = 0; i < classes; ++i) {
            sum += tm_ref_rounding_divide(exp_table[largest - x[i]], 12);
        }
        while (sum < (int64_t)1 << (31 - zeros)) {
            ++zeros;
        }
        /* (1 + a) / 2 for a = sum / 2^(31 - zeros) - 1, both in Q0.31; then Newton in Q2.29. */
        half = (int32_t)(((sum << zeros) - ((int64_t)1 << 31) + INT32_MAX + 1) / 2);
        inverse = 1515870810 + tm_ref_doubling_high_mul(half, -1010580540);
        for (int32_t step = 0; step < 3; ++step) {
            const int32_t error = (1 << 29) - tm_ref_doubling_high_mul(half, inverse);
            inverse += tm_softmax_saturate_ref((int64_t)tm_ref_doubling_high_mul(inverse, error) * 4);
        }
        inverse = tm_softmax_saturate_ref((int64_t)inverse * 2);
        for (int32_t i = 0; i < classes; ++i) {
            const int32_t product = tm_ref_doubling_high_mul(inverse, exp_table[largest - x[i]]);
            y[i] =
                tm_ref_clamp((int64_t)tm_ref_rounding_divide(product, 35 - zeros) - 128, INT8_MIN, INT8_MAX);
        }
    }
}

#endif
