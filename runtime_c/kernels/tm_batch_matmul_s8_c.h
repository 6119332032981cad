/* tm_batch_matmul_s8_c: products of matrices, portable C, int8.
 *
 *   lhs       int8  per batch [rows][depth], with adj_x [depth][rows]
 *   rhs       int8  per batch [depth][columns], with adj_y [columns][depth]
 *   y         int8  [batches][rows][columns]
 *   geometry  int32 [3][6]  batches, then from one to the next the elements of lhs and of rhs
 *
 * Quantisation  y = clamp(zp_out + requant(sum (a - zp_a) * (b - zp_b))), rounding twice as the TFLite reference.
 * Scratch       none.
 * Requires      nothing.
 * Overlap       row by row of the output; writes a row while it reads the row of lhs and all of the batch's rhs.
 * Source        TFLite kernels/internal/reference/batch_matmul.h.
 */
#ifndef TM_BATCH_MATMUL_S8_C_H
#define TM_BATCH_MATMUL_S8_C_H

#include "tm_runtime.h"

/* acc[i] += sum over k of (a[k] - zp_a) * (b[k] of column i - zp_b), for up to four columns `pitch` bytes apart. */
TM_INLINE void tm_matmul_columns_s8_c(const int8_t *a, int32_t a_step, const int8_t *b, int32_t b_step,
                                      int32_t pitch, int32_t depth, int32_t columns, int32_t zp_a,
                                      int32_t zp_b, int32_t acc[4])
{
    int32_t acc0 = 0, acc1 = 0, acc2 = 0, acc3 = 0;
    int32_t sum = 0;
    for (int32_t k = 0; k < depth; ++k) {
        const int32_t value = a[k * a_step] - zp_a;
        const int32_t at = k * b_step;
        sum += value;
        acc0 += value * b[at];
        if (columns > 1) {
            acc1 += value * b[at + pitch];
            acc2 += value * b[at + 2 * pitch];
            acc3 += value * b[at + 3 * pitch];
        }
    }
    acc[0] = acc0 - zp_b * sum;
    acc[1] = acc1 - zp_b * sum;
    acc[2] = acc2 - zp_b * sum;
    acc[3] = acc3 - zp_b * sum;
}

TM_INLINE void tm_batch_matmul_s8_c(const int8_t *lhs, const int8_t *rhs, int8_t *y, const int32_t *geometry,
                                    int32_t batches, int32_t rows, int32_t depth, int32_t columns,
                                    int32_t adj_x, int32_t adj_y, int32_t zp_a, int32_t zp_b,
                                    int32_t multiplier, int32_t shift, int32_t zp_out)
{
    const int32_t a_step = adj_x ? rows : 1;
    const int32_t b_step = adj_y ? 1 : columns;
    const int32_t pitch = adj_y ? depth : 1;
    int32_t index[TM_RANK - 1] = {0};
    int32_t offset[2] = {0};
    for (int32_t batch = 0; batch < batches; ++batch) {
        for (int32_t m = 0; m < rows; ++m) {
            const int8_t *const a = lhs + offset[0] + (adj_x ? m : m * depth);
            const int8_t *b = rhs + offset[1];
            for (int32_t n = 0; n < columns;) {
                const int32_t count = columns - n >= 4 ? 4 : 1;
                int32_t acc[4];
                if (count == 4) {
                    tm_matmul_columns_s8_c(a, a_step, b, b_step, pitch, depth, 4, zp_a, zp_b, acc);
                } else {
                    tm_matmul_columns_s8_c(a, a_step, b, b_step, pitch, depth, 1, zp_a, zp_b, acc);
                }
                for (int32_t i = 0; i < count; ++i) {
                    *y++ = tm_clamp_s8(tm_requant(acc[i], multiplier, shift), zp_out, INT8_MIN, INT8_MAX);
                }
                b += count * pitch;
                n += count;
            }
        }
        tm_walk_next(geometry, 2, index, offset);
    }
}

#endif
