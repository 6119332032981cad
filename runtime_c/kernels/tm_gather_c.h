/* tm_gather_c: slices of the data by indices computed at run time, portable C, any type.
 *
 *   x         any    [batches][outer][limit][run_bytes]
 *   indices   int32  [batches][count], or int64: `index_bytes` each
 *   y         any    [batches][outer][count][run_bytes]
 *
 * Quantisation  none: bytes move, none changes.
 * Scratch       none.
 * Requires      nothing. TFLite fails on an index outside [0, limit); this takes the nearest inside.
 * Overlap       none.
 * Source        TFLite kernels/internal/reference/gather.h.
 */
#ifndef TM_GATHER_C_H
#define TM_GATHER_C_H

#include "tm_runtime.h"

/* An index of `index_bytes`, brought into [0, limit) so that nothing outside the data is read. */
TM_INLINE int32_t tm_gather_index(const uint8_t *indices, int32_t i, int32_t index_bytes, int32_t limit)
{
    int64_t index;
    if (index_bytes == 8) {
        memcpy(&index, indices + 8 * i, 8);
    } else {
        int32_t narrow;
        memcpy(&narrow, indices + 4 * i, 4);
        index = narrow;
    }
    if (index < 0) {
        return 0;
    }
    return index < limit ? (int32_t)index : limit - 1;
}

TM_INLINE void tm_gather_c(const void *x, const void *indices, void *TM_RESTRICT y, int32_t index_bytes,
                           int32_t batches, int32_t outer, int32_t limit, int32_t count, int32_t run_bytes)
{
    const uint8_t *from = (const uint8_t *)x;
    const uint8_t *const chosen = (const uint8_t *)indices;
    uint8_t *to = (uint8_t *)y;
    for (int32_t batch = 0; batch < batches; ++batch) {
        for (int32_t o = 0; o < outer; ++o) {
            for (int32_t i = 0; i < count; ++i) {
                const int32_t index = tm_gather_index(chosen, batch * count + i, index_bytes, limit);
                memcpy(to, from + index * run_bytes, (size_t)run_bytes);
                to += run_bytes;
            }
            from += limit * run_bytes;
        }
    }
}

#endif
