/* tm_pad_nd_c: padding of any dimensions, portable C, elements of 2 or 4 bytes.
 *
 *   x          any    [d0]..[d5]
 *   y          any    [out_elements]
 *   geometry   int32  [2][6]   input dims d0..d5, then the output's stride per dimension, in elements
 *
 * Quantisation  none: input and output share scale and zero point.
 * Scratch       none.
 * Requires      `start`: elements of y before the image of x[0]; `value`: the bits to fill with.
 * Overlap       none: y is filled before x is read.
 * Source        TFLite kernels/internal/reference/pad.h.
 */
#ifndef TM_PAD_ND_C_H
#define TM_PAD_ND_C_H

#include "tm_runtime.h"

TM_INLINE void tm_pad_nd_c(const void *x, void *TM_RESTRICT y, const int32_t *geometry, int32_t element_bytes,
                           int32_t out_elements, int32_t start, int32_t value)
{
    const int32_t run = geometry[TM_RANK - 1];
    const int32_t stride = geometry[2 * TM_RANK - 1] * element_bytes;
    const uint8_t *from = (const uint8_t *)x;
    uint8_t *const to = (uint8_t *)y;
    const int16_t half = (int16_t)value;
    int32_t index[TM_RANK - 1] = {0};
    int32_t offset[1] = {start};
    const int32_t runs = tm_walk_runs(geometry);
    for (int32_t i = 0; i < out_elements; ++i) {
        if (element_bytes == 2) {
            memcpy(to + 2 * i, &half, 2);
        } else {
            memcpy(to + 4 * i, &value, 4);
        }
    }
    for (int32_t i = 0; i < runs; ++i) {
        uint8_t *const row = to + offset[0] * element_bytes;
        for (int32_t j = 0; j < run; ++j) {
            memcpy(row + j * stride, from, (size_t)element_bytes);
            from += element_bytes;
        }
        tm_walk_next(geometry, 1, index, offset);
    }
}

#endif
