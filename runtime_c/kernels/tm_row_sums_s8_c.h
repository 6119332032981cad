/* tm_row_sums_s8_c: pooling over a whole image from rows that come one after another, portable C, int8.
 *
 *   row    int8   [pixels][channels]   input row r of `rows`
 *   y      int8   [channels]           output, written with the last row
 *   sums   int32  [channels]           kept between the calls
 *
 * Quantisation  as the kernel of the whole image: tm_avg_pool2d_s8_c (input and output share scale and zero
 *               point), tm_mean_s8_c (the division is part of the multiplier).
 * Requires      rows * pixels * 128 below 2^31.
 * Overlap       y may lie on `row`: all of it has been read when y is written.
 * Source        TFLite kernels/internal/reference/integer_ops/pooling.h (AveragePool), reduce.h
 *               (QuantizedMeanOrSum); rows as they come: msf-CNN (Huang and Baccelli, 2025).
 */
#ifndef TM_ROW_SUMS_S8_C_H
#define TM_ROW_SUMS_S8_C_H

#include "tm_runtime.h"

TM_INLINE void tm_add_row_s8_c(const int8_t *row, int32_t *sums, int32_t r, int32_t pixels, int32_t channels)
{
    for (int32_t c = 0; c < channels; ++c) {
        const int8_t *x = row + c;
        int32_t sum = r == 0 ? 0 : sums[c];
        TM_UNROLL_4
        for (int32_t p = 0; p < pixels; ++p, x += channels) {
            sum += *x;
        }
        sums[c] = sum;
    }
}

TM_INLINE void tm_avg_pool_rows_s8_c(const int8_t *row, int8_t *y, int32_t *sums, int32_t r, int32_t rows,
                                     int32_t pixels, int32_t channels, int32_t lo, int32_t hi)
{
    tm_add_row_s8_c(row, sums, r, pixels, channels);
    if (r == rows - 1) {
        const int32_t count = rows * pixels;
        for (int32_t c = 0; c < channels; ++c) {
            const int32_t sum = sums[c] > 0 ? sums[c] + count / 2 : sums[c] - count / 2;
            y[c] = (int8_t)tm_clamp(sum / count, lo, hi);
        }
    }
}

TM_INLINE void tm_mean_rows_s8_c(const int8_t *row, int8_t *y, int32_t *sums, int32_t r, int32_t rows,
                                 int32_t pixels, int32_t channels, int32_t sum_offset, int32_t multiplier,
                                 int32_t shift, int32_t zp_out, int32_t lo, int32_t hi)
{
    tm_add_row_s8_c(row, sums, r, pixels, channels);
    if (r == rows - 1) {
        for (int32_t c = 0; c < channels; ++c) {
            y[c] = tm_clamp_s8(tm_requant(sums[c] + sum_offset, multiplier, shift), zp_out, lo, hi);
        }
    }
}

#endif
