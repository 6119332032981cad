/* tm_svdf_s8_c: one step of a layer of rank-decomposed filters over time, portable C, int8.
 *
 *   x                int8   [inputs]
 *   state            int16  [units][rank][memory]   features of the last steps, the newest last; updated
 *   y                int8   [units]
 *   feature_weights  int8   [units][rank][inputs]
 *   feature_bias     int32  [units][rank]           -zp_x * sum of the weights
 *   time_weights     int16  [units][rank][memory]
 *   bias             int32  [units]
 *
 * Quantisation  a filter's feature is rescaled to the state's scale and saturated to 16 bits; the unit's sum
 *               over its filters and their memory is rescaled to int8. Both round twice (tm_requant).
 * Scratch       none.
 * Requires      sums of at most 31 bits.
 * Overlap       none: the whole operator is one step.
 * Source        TFLite kernels/internal/reference/svdf.h (EvalIntegerSVDF).
 */
#ifndef TM_SVDF_S8_C_H
#define TM_SVDF_S8_C_H

#include "tm_runtime.h"

TM_INLINE void tm_svdf_s8_c(const int8_t *x, int16_t *state, int8_t *y, const int8_t *feature_weights,
                            const int32_t *feature_bias, const int16_t *time_weights, const int32_t *bias,
                            int32_t inputs, int32_t units, int32_t rank, int32_t memory,
                            int32_t feature_multiplier, int32_t feature_shift, int32_t multiplier,
                            int32_t shift, int32_t zp_out)
{
    for (int32_t u = 0; u < units; ++u) {
        int32_t sum = bias[u];
        for (int32_t r = 0; r < rank; ++r) {
            const int32_t feature = tm_dot_s8(x, feature_weights, inputs, *feature_bias);
            for (int32_t m = 0; m + 1 < memory; ++m) {
                state[m] = state[m + 1];
                sum += state[m] * time_weights[m];
            }
            state[memory - 1] = (int16_t)tm_clamp(tm_requant(feature, feature_multiplier, feature_shift),
                                                  INT16_MIN, INT16_MAX);
            sum += state[memory - 1] * time_weights[memory - 1];
            feature_weights += inputs;
            feature_bias += 1;
            state += memory;
            time_weights += memory;
        }
        y[u] = tm_clamp_s8(tm_requant(sum, multiplier, shift), zp_out, INT8_MIN, INT8_MAX);
    }
}

#endif
