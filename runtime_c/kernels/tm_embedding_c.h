/* tm_embedding_c: slices of a constant by indices computed at run time, portable C, any type.
 *
 *   indices   int32  [batches][count], or int64: `index_bytes` each
 *   y         any    [batches][outer][count][run_bytes]
 *   table     any    [batches][outer][limit][run_bytes]
 *
 * Quantisation  none: bytes move, none changes.
 * Scratch       none.
 * Requires      nothing. TFLite fails on an index outside [0, limit); this takes the nearest inside.
 * Overlap       none.
 * Source        TFLite kernels/embedding_lookup.cc, kernels/internal/reference/gather.h.
 */
#ifndef TM_EMBEDDING_C_H
#define TM_EMBEDDING_C_H

#include "tm_gather_c.h"

TM_INLINE void tm_embedding_c(const void *indices, void *TM_RESTRICT y, const int8_t *table,
                              int32_t index_bytes, int32_t batches, int32_t outer, int32_t limit,
                              int32_t count, int32_t run_bytes)
{
    tm_gather_c(table, indices, y, index_bytes, batches, outer, limit, count, run_bytes);
}

#endif
