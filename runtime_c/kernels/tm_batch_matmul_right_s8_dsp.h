/* tm_batch_matmul_right_s8_dsp: products of matrices, the right ones constant, DSP instructions, int8.
 *
 *   x         int8  the left matrices
 *   y         int8  [batches][rows][columns]
 *   operand   int8  the right matrices
 *   geometry  int32 [3][6]  batches, then from one to the next the elements of both operands
 *
 * Quantisation, scratch, requirements and overlap as tm_batch_matmul_s8_dsp.h; nothing overlaps the constant.
 * Source        TFLite kernels/internal/reference/batch_matmul.h.
 */
#ifndef TM_BATCH_MATMUL_RIGHT_S8_DSP_H
#define TM_BATCH_MATMUL_RIGHT_S8_DSP_H

#include "tm_batch_matmul_s8_dsp.h"

TM_INLINE void tm_batch_matmul_right_s8_dsp(const int8_t *x, int8_t *y, const int8_t *operand,
                                            const int32_t *geometry, void *scratch, int32_t batches,
                                            int32_t rows, int32_t depth, int32_t columns, int32_t adj_x,
                                            int32_t adj_y, int32_t zp_a, int32_t times, int32_t parts,
                                            int32_t weight, int32_t blocks, int32_t form, int32_t a,
                                            int32_t b, int32_t zp_out)
{
    tm_batch_matmul_s8_dsp(x, operand, y, geometry, scratch, batches, rows, depth, columns, adj_x, adj_y,
                           zp_a, times, parts, weight, blocks, form, a, b, zp_out);
}

#endif
