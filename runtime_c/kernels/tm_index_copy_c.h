/* tm_index_copy_c: runs of bytes that a table per dimension says where to find, portable C, any type.
 *
 *   x        any    the input, densely packed
 *   y        any    [d0]..[d5][run_bytes]
 *   tables   int32  [6 + d0 + .. + d5]   dims d0..d5, then for each index of each dimension its bytes from x
 *
 * Quantisation  none: bytes move, none changes.
 * Scratch       none.
 * Requires      nothing.
 * Overlap       none.
 * Source        TFLite kernels/mirror_pad.cc, here with the mirrored indices in a table.
 */
#ifndef TM_INDEX_COPY_C_H
#define TM_INDEX_COPY_C_H

#include "tm_runtime.h"

TM_INLINE void tm_index_copy_c(const void *x, void *TM_RESTRICT y, const int32_t *tables, int32_t run_bytes)
{
    const int32_t *table[TM_RANK];
    int32_t index[TM_RANK] = {0};
    const uint8_t *const from = (const uint8_t *)x;
    uint8_t *to = (uint8_t *)y;
    const int32_t runs = tm_walk_runs(tables);
    table[0] = tables + TM_RANK;
    for (int32_t axis = 1; axis < TM_RANK; ++axis) {
        table[axis] = table[axis - 1] + tables[axis - 1];
    }
    for (int32_t r = 0; r < runs; ++r) {
        int32_t offset = 0;
        for (int32_t axis = 0; axis < TM_RANK - 1; ++axis) {
            offset += table[axis][index[axis]];
        }
        for (int32_t i = 0; i < tables[TM_RANK - 1]; ++i) {
            memcpy(to, from + offset + table[TM_RANK - 1][i], (size_t)run_bytes);
            to += run_bytes;
        }
        for (int32_t axis = TM_RANK - 2; axis >= 0 && ++index[axis] == tables[axis]; --axis) {
            index[axis] = 0;
        }
    }
}

#endif
