/* tm_select_a_s8_c: tm_select_s8_c where a is a constant.
 *
 * Layout, quantisation, scratch, requirements, overlap and source as tm_select_s8_c.
 */
#ifndef TM_SELECT_A_S8_C_H
#define TM_SELECT_A_S8_C_H

#include "tm_runtime.h"
#include "tm_select_s8_c.h"

TM_INLINE void tm_select_a_s8_c(const uint8_t *condition, const void *b, void *y, const void *a,
                                const int32_t *geometry)
{
    tm_select_s8_c(condition, a, b, y, geometry);
}

#endif
