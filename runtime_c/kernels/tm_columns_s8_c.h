/* tm_columns_s8_c: the columns of an image row that a strip holds, portable C, int8.
 *
 *   row    int8  [columns][channels]   the strip's row: columns [first, first + columns) of the image
 *   image  int8  [image_w][channels]   a row of the image
 *
 * A strip may reach beyond the image on either side. There it holds the zero point, so that a convolution
 * over a strip needs no padding of its own and is the same code for every strip.
 *
 * Quantisation  none: bytes are moved.
 * Overlap       row and image must not meet.
 * Source        the halo of MCUNetV2's patches (Lin et al., NeurIPS 2021).
 */
#ifndef TM_COLUMNS_S8_C_H
#define TM_COLUMNS_S8_C_H

#include "tm_runtime.h"

/* Write `value` where the row lies outside the image. */
TM_INLINE void tm_blank_columns_s8_c(int8_t *row, int32_t first, int32_t columns, int32_t image_w,
                                     int32_t channels, int32_t value)
{
    const int32_t left = tm_min(tm_max(-first, 0), columns);
    const int32_t right = tm_min(tm_max(first + columns - image_w, 0), columns);
    if (left > 0) {
        memset(row, value, (size_t)(left * channels));
    }
    if (right > 0) {
        memset(row + (columns - right) * channels, value, (size_t)(right * channels));
    }
}

/* Copy the strip's columns of an image row, and blank the rest. */
TM_INLINE void tm_copy_columns_s8_c(const int8_t *image, int8_t *row, int32_t first, int32_t columns,
                                    int32_t image_w, int32_t channels, int32_t value)
{
    const int32_t from = tm_max(first, 0);
    const int32_t end = tm_min(first + columns, image_w);
    if (end > from) {
        memcpy(row + (from - first) * channels, image + from * channels, (size_t)((end - from) * channels));
    }
    tm_blank_columns_s8_c(row, first, columns, image_w, channels, value);
}

#endif
