/* tm_log_softmax_s8_c: logarithms of softmax over rows, portable C, int8.
 *
 *   x   int8  [batches][classes]
 *   y   int8  [batches][classes], scale 1/16 and zero point 127
 *
 * Quantisation  y = x - largest - log(sum exp(x - largest)) in Q5.26, rounded to 1/16, as the TFLite reference.
 * Scratch       none.
 * Requires      classes of at most 4,095: the sum has 12 integer bits.
 * Overlap       row by row; writes an element after it has read it for the last time.
 * Source        TFLite kernels/internal/reference/integer_ops/log_softmax.h and common.h
 *               (log_x_for_x_greater_than_or_equal_to_1).
 */
#ifndef TM_LOG_SOFTMAX_S8_C_H
#define TM_LOG_SOFTMAX_S8_C_H

#include "tm_softmax_s8_c.h"

TM_INLINE int32_t tm_leading_zeros_s8_c(int32_t value)
{
    int32_t zeros = 0;
    while (((uint32_t)value << zeros & 0x80000000u) == 0) {
        ++zeros;
    }
    return zeros;
}

/* log(total) in Q5.26 for total >= 1 in Q12.19. */
TM_INLINE int32_t tm_log_sum_s8_c(int32_t total)
{
    const int32_t root_half = 1518500250, fourth_root_half = 1805811301, log_2 = 1488522236;
    const int32_t alpha_n = 117049297, alpha_d = 127690142, alpha_i = 1057819769, alpha_f = 638450708;
    const int32_t zeros = tm_leading_zeros_s8_c(total);
    const int32_t headroom = tm_leading_zeros_s8_c(tm_doubling_high_mul(total, root_half)) - 1;
    const int32_t a =
        tm_saturating_shift_left_s8_c(tm_doubling_high_mul(tm_shift_left(total, zeros - 1), root_half), 1);
    const int32_t b = tm_saturating_shift_left_s8_c(total, headroom);
    const int32_t power =
        tm_max((12 - zeros) * (1 << 25) + (1 << 23), (12 - headroom) * (1 << 25) - (1 << 23));
    const int32_t r = tm_min(a, b);
    const int32_t p = (int32_t)(((int64_t)r + fourth_root_half + 1) >> 1);
    const int32_t q = (r - fourth_root_half) * 2;
    const int32_t square = tm_doubling_high_mul(q, q);
    const int32_t numerator =
        tm_doubling_high_mul(r, q) + tm_doubling_high_mul(tm_doubling_high_mul(q, square), alpha_n);
    const int32_t denominator = tm_doubling_high_mul(p, alpha_i + q + tm_doubling_high_mul(square, alpha_d)) +
                                tm_doubling_high_mul(q, alpha_f);
    const int32_t quotient =
        tm_doubling_high_mul(tm_rounding_shift_right(numerator, 6), tm_reciprocal_s8_c(denominator));
    return tm_saturating_shift_left_s8_c(tm_doubling_high_mul(power, log_2) + quotient, 1);
}

TM_INLINE void tm_log_softmax_s8_c(const int8_t *x, int8_t *y, int32_t batches, int32_t classes,
                                   int32_t multiplier, int32_t left_shift, int32_t diff_min,
                                   int32_t reverse_multiplier, int32_t reverse_shift)
{
    for (int32_t n = 0; n < batches; ++n, x += classes, y += classes) {
        int32_t largest = INT8_MIN;
        int32_t sum = 0; /* Q12.19 */
        int32_t log, least;
        for (int32_t i = 0; i < classes; ++i) {
            largest = tm_max(largest, x[i]);
        }
        for (int32_t i = 0; i < classes; ++i) {
            sum += tm_rounding_shift_right(
                tm_softmax_exp_s8_c(x[i], largest, multiplier, left_shift, diff_min), 12);
        }
        log = tm_log_sum_s8_c(sum);
        least = tm_max(diff_min - 1,
                       tm_requant((int32_t)((uint32_t)log + 0x80000000u), reverse_multiplier, reverse_shift));
        for (int32_t i = 0; i < classes; ++i) {
            const int32_t difference = x[i] - largest;
            const int32_t scaled = tm_doubling_high_mul(tm_shift_left(difference, left_shift), multiplier);
            y[i] = difference > least
                       ? tm_clamp_s8(tm_rounding_shift_right(scaled - log, 22), 127, INT8_MIN, INT8_MAX)
                       : (int8_t)INT8_MIN;
        }
    }
}

#endif
