/* tm_select_ab_s8_c: tm_select_s8_c where a and b are constants.
 *
 * Layout, quantisation, scratch, requirements, overlap and source as tm_select_s8_c.
 */
#ifndef TM_SELECT_AB_S8_C_H
#define TM_SELECT_AB_S8_C_H

#include "tm_runtime.h"
#include "tm_select_s8_c.h"

TM_INLINE void tm_select_ab_s8_c(const uint8_t *condition, void *y, const void *a, const void *b,
                                 const int32_t *geometry)
{
    tm_select_s8_c(condition, a, b, y, geometry);
}

#endif
