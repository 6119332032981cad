/* tm_conv2d_rows_s8_mve: several output rows of a convolution at a time, Helium, int8.
 *
 *   rows    int8  [in_w][in_c] each         input rows of all output rows, stride_h apart, kernel_h each;
 *                                           zero-point rows where outside the image
 *   y       int8  [count][out_w][out_c]     output rows, 4-byte aligned where out_c is a multiple of 4
 *
 * For narrow images: the pixels of several rows fill blocks of four that those of one row leave half empty.
 * Everything else as tm_conv2d_s8_mve.
 *
 * Requires      one group, dilation_h 1.
 */
#ifndef TM_CONV2D_ROWS_S8_MVE_H
#define TM_CONV2D_ROWS_S8_MVE_H

#include "tm_conv2d_s8_mve.h"

TM_INLINE void tm_conv2d_rows_s8_mve(const int8_t *const *rows, int8_t *y, int32_t count,
                                     const int32_t *stream, void *scratch, int32_t in_w, int32_t in_c,
                                     int32_t out_w, int32_t out_c, int32_t kernel_h, int32_t kernel_w,
                                     int32_t stride_h, int32_t stride_w, int32_t dilation_w, int32_t pad_left,
                                     int32_t zp_in, int32_t form, int32_t zp_out, int32_t lo, int32_t hi)
{
    tm_conv2d_all_rows_mve(rows, y, count, stream, scratch, in_w, in_c, out_w, out_c, kernel_h, kernel_w,
                           stride_h, stride_w, dilation_w, pad_left, zp_in, form, zp_out, lo, hi);
}

#endif
