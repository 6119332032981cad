/* tm_sub_fixed_s8_dsp: element by element difference of two tensors of one shape, DSP instructions, int8.
 *
 * Layout, quantisation, overlap and requirements as tm_add_fixed_s8_dsp; factor_2 is negative.
 */
#ifndef TM_SUB_FIXED_S8_DSP_H
#define TM_SUB_FIXED_S8_DSP_H

#include "tm_add_fixed_s8_dsp.h"

TM_INLINE void tm_sub_fixed_s8_dsp(const int8_t *x1, const int8_t *x2, int8_t *y, int32_t elements,
                                   int32_t factor_1, int32_t factor_2, int32_t offset, int32_t shift,
                                   int32_t lo, int32_t hi)
{
    tm_add_fixed_s8_dsp(x1, x2, y, elements, factor_1, factor_2, offset, shift, lo, hi);
}

#endif
