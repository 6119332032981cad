/* tm_batch_matmul_left_s8_c: products of matrices, the left ones constant, portable C, int8.
 *
 *   x         int8  the right matrices
 *   y         int8  [batches][rows][columns]
 *   operand   int8  the left matrices
 *   geometry  int32 [3][6]  batches, then from one to the next the elements of both operands
 *
 * Quantisation, scratch, requirements and overlap as tm_batch_matmul_s8_c.h; nothing overlaps the constant.
 * Source        TFLite kernels/internal/reference/batch_matmul.h.
 */
#ifndef TM_BATCH_MATMUL_LEFT_S8_C_H
#define TM_BATCH_MATMUL_LEFT_S8_C_H

#include "tm_batch_matmul_s8_c.h"

TM_INLINE void tm_batch_matmul_left_s8_c(const int8_t *x, int8_t *y, const int8_t *operand,
                                         const int32_t *geometry, int32_t batches, int32_t rows,
                                         int32_t depth, int32_t columns, int32_t adj_x, int32_t adj_y,
                                         int32_t zp_a, int32_t zp_b, int32_t multiplier, int32_t shift,
                                         int32_t zp_out)
{
    tm_batch_matmul_s8_c(operand, x, y, geometry, batches, rows, depth, columns, adj_x, adj_y, zp_a, zp_b,
                         multiplier, shift, zp_out);
}

#endif
