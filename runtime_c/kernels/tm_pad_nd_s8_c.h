/* tm_pad_nd_s8_c: padding of any dimensions, portable C, int8.
 *
 *   x          int8   [d0]..[d5]
 *   y          int8   [out_elements]
 *   geometry   int32  [2][6]   input dims d0..d5, then the output's stride per dimension
 *
 * Quantisation  none: input and output share scale and zero point.
 * Scratch       none.
 * Requires      `start`: elements of y before the image of x[0].
 * Overlap       none: y is filled before x is read.
 * Source        TFLite kernels/internal/reference/pad.h.
 */
#ifndef TM_PAD_ND_S8_C_H
#define TM_PAD_ND_S8_C_H

#include "tm_runtime.h"

TM_INLINE void tm_pad_nd_s8_c(const int8_t *TM_RESTRICT x, int8_t *TM_RESTRICT y, const int32_t *geometry,
                              int32_t out_elements, int32_t start, int32_t value)
{
    const int32_t run = geometry[TM_RANK - 1];
    const int32_t stride = geometry[2 * TM_RANK - 1];
    int32_t index[TM_RANK - 1] = {0};
    int32_t offset[1] = {start};
    const int32_t runs = tm_walk_runs(geometry);
    tm_fill_s8(y, value, out_elements);
    for (int32_t i = 0; i < runs; ++i) {
        if (stride == 1) {
            tm_copy_s8(y + offset[0], x, run);
        } else {
            for (int32_t j = 0; j < run; ++j) {
                y[offset[0] + j * stride] = x[j];
            }
        }
        x += run;
        tm_walk_next(geometry, 1, index, offset);
    }
}

#endif
