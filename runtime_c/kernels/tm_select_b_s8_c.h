/* tm_select_b_s8_c: tm_select_s8_c where b is a constant.
 *
 * Layout, quantisation, scratch, requirements, overlap and source as tm_select_s8_c.
 */
#ifndef TM_SELECT_B_S8_C_H
#define TM_SELECT_B_S8_C_H

#include "tm_runtime.h"
#include "tm_select_s8_c.h"

TM_INLINE void tm_select_b_s8_c(const uint8_t *condition, const void *a, void *y, const void *b,
                                const int32_t *geometry)
{
    tm_select_s8_c(condition, a, b, y, geometry);
}

#endif
