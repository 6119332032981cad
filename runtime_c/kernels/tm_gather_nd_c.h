/* tm_gather_nd_c: slices of the data by index tuples computed at run time, portable C, any type.
 *
 *   x         any    [limit of the 1st]..[limit of the last][run_bytes]
 *   indices   int32  [count][depth], or int64: `index_bytes` each
 *   y         any    [count][run_bytes]
 *   limits    int32  [depth]
 *
 * Quantisation  none: bytes move, none changes.
 * Scratch       none.
 * Requires      nothing. TFLite fails on an index outside [0, limit); this takes the nearest inside.
 * Overlap       none.
 * Source        TFLite kernels/internal/reference/reference_ops.h, GatherNd.
 */
#ifndef TM_GATHER_ND_C_H
#define TM_GATHER_ND_C_H

#include "tm_gather_c.h"

TM_INLINE void tm_gather_nd_c(const void *x, const void *indices, void *TM_RESTRICT y, const int32_t *limits,
                              int32_t index_bytes, int32_t depth, int32_t count, int32_t run_bytes)
{
    const uint8_t *const from = (const uint8_t *)x;
    uint8_t *to = (uint8_t *)y;
    for (int32_t i = 0; i < count; ++i) {
        int32_t slice = 0;
        for (int32_t d = 0; d < depth; ++d) {
            slice = slice * limits[d] +
                    tm_gather_index((const uint8_t *)indices, i * depth + d, index_bytes, limits[d]);
        }
        memcpy(to, from + slice * run_bytes, (size_t)run_bytes);
        to += run_bytes;
    }
}

#endif
