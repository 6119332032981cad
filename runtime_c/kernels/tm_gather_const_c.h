/* tm_gather_const_c: slices of the data by constant indices, portable C, any type.
 *
 *   x         any    [batches][outer][limit][run_bytes]
 *   y         any    [batches][outer][count][run_bytes]
 *   indices   int32  [batches][count]
 *
 * Quantisation  none: bytes move, none changes.
 * Scratch       none.
 * Requires      indices in [0, limit).
 * Overlap       none.
 * Source        TFLite kernels/internal/reference/gather.h, gather_nd.h.
 */
#ifndef TM_GATHER_CONST_C_H
#define TM_GATHER_CONST_C_H

#include "tm_runtime.h"

TM_INLINE void tm_gather_const_c(const void *x, void *TM_RESTRICT y, const int32_t *indices, int32_t batches,
                                 int32_t outer, int32_t limit, int32_t count, int32_t run_bytes)
{
    const uint8_t *from = (const uint8_t *)x;
    uint8_t *to = (uint8_t *)y;
    for (int32_t batch = 0; batch < batches; ++batch) {
        for (int32_t o = 0; o < outer; ++o) {
            for (int32_t i = 0; i < count; ++i) {
                memcpy(to, from + indices[batch * count + i] * run_bytes, (size_t)run_bytes);
                to += run_bytes;
            }
            from += limit * run_bytes;
        }
    }
}

#endif
