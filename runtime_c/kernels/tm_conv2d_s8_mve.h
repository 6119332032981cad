/* tm_conv2d_s8_mve: one output row of a convolution, Helium, int8.
 *
 *   rows    int8  kernel_h x [in_w][in_c]   input rows; zero-point rows where outside the image
 *   y       int8  [out_w][out_c]            output row, 4-byte aligned where out_c is a multiple of 4
 *   stream  int32 []                        weights in the order [kernel_h][kernel_w][in_c], biases
 *                                           (-zp_in * sum(weights) folded in) and requantisation:
 *                                           tm_conv_block_s8_mve.h
 *
 * Quantisation  y = clamp(zp_out + requant(bias + sum w * x)), rounding twice as the TFLite reference; `form` is
 *               how (tm_mve.h), [lo, hi] the range of the fused activation. Columns left and right of the
 *               image count as zp_in and are not read.
 * Scratch       with K = kernel_h * kernel_w * in_c rounded up to 16: 4 * K bytes where in_c is a multiple of 16,
 *               else 20 * K; then 4 * out_c, out_c rounded up to 4; 8-byte aligned.
 * Requires      one group. Any kernel, stride, dilation and padding.
 * Overlap       writes while it reads: y must not touch bytes of `rows` still needed.
 * Source        TFLite kernels/internal/reference/integer_ops/conv.h (ConvPerChannel).
 */
#ifndef TM_CONV2D_S8_MVE_H
#define TM_CONV2D_S8_MVE_H

#include "tm_conv_block_s8_mve.h"

/* Pixels whose windows are gathered before they are multiplied. */
enum { TM_CONV_BATCH_MVE = 16 };

/* n bytes of each of four pixels, from[0] .. from[3], to `to` and `pitch` bytes on. */
TM_INLINE void tm_conv2d_4runs_mve(const int8_t *const from[4], int8_t *to, int32_t pitch, int32_t n)
{
#if TM_MVE_ASM
    const int8_t *x0 = from[0];
    const int8_t *x1 = from[1];
    const int8_t *x2 = from[2];
    const int8_t *x3 = from[3];
    int8_t *y1 = to + pitch;
    int8_t *y2 = y1 + pitch;
    int8_t *y3 = y2 + pitch;
    __asm__ volatile("wlstp.8 lr, %8, 2f\n"
                     "1:\n"
                     "vldrb.u8 q0, [%0], #16\n"
                     "vstrb.8 q0, [%4], #16\n"
                     "vldrb.u8 q1, [%1], #16\n"
                     "vstrb.8 q1, [%5], #16\n"
                     "vldrb.u8 q2, [%2], #16\n"
                     "vstrb.8 q2, [%6], #16\n"
                     "vldrb.u8 q3, [%3], #16\n"
                     "vstrb.8 q3, [%7], #16\n"
                     "letp lr, 1b\n"
                     "2:\n"
                     : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3), "+r"(to), "+r"(y1), "+r"(y2), "+r"(y3)
                     : "r"(n)
                     : "lr", "q0", "q1", "q2", "q3", "memory", "cc");
#else
    for (int32_t p = 0; p < 4; ++p) {
        memcpy(to + p * pitch, from[p], (size_t)n);
    }
#endif
}

/* 16 * n bytes from a row to one pixel's place in the column. */
TM_INLINE void tm_conv2d_column_run_mve(const int8_t *from, int8_t *column, int32_t n)
{
#if TM_MVE_ASM
    __asm__ volatile("wls lr, %2, 2f\n"
                     "1:\n"
                     "vldrb.u8 q0, [%0], #16\n"
                     "vstrb.8 q0, [%1], #64\n"
                     "le lr, 1b\n"
                     "2:\n"
                     : "+r"(from), "+r"(column)
                     : "r"(n)
                     : "lr", "q0", "memory", "cc");
#else
    for (int32_t i = 0; i < n; ++i) {
        memcpy(column + 64 * i, from + 16 * i, 16);
    }
#endif
}

/* The whole window of one output pixel: straight into the column where taps are whole steps (`to` is then the
 * pixel's place in it), else to K bytes in a row. `ix` is the window's first column.
 */
TM_INLINE void tm_conv2d_window_mve(const int8_t *const *rows, int8_t *to, int32_t ix, int32_t in_w,
                                    int32_t in_c, int32_t kernel_h, int32_t kernel_w, int32_t dilation_w,
                                    int32_t zp_in)
{
    const int whole = in_c % 16 == 0;
    const int32_t scale = whole ? 4 : 1; /* bytes of `to` per byte of the window */
    const int32_t first = tm_first_tap(ix, dilation_w);
    const int32_t end = tm_end_tap(ix, dilation_w, kernel_w, in_w);
    const int32_t run = dilation_w == 1 ? end - first : 1; /* taps that are neighbours in the row */
    if (first > 0 || end < kernel_w) {
        if (whole) {
            for (int32_t i = 0; i < kernel_h * kernel_w * in_c / 16; ++i) {
                tm_mve_fill(to + 64 * i, zp_in, 16);
            }
        } else {
            tm_mve_fill(to, zp_in, kernel_h * kernel_w * in_c);
        }
    }
#if TM_MVE_ASM
    if (!whole && dilation_w == 1 && kernel_w * in_c <= 16) {
        const int8_t *const *row = rows;
        int8_t *at = to + first * in_c;
        if (run > 0) {
            __asm__ volatile("vctp.8 %4\n"
                             "dls lr, %2\n"
                             "1:\n"
                             "ldr r12, [%0], #4\n"
                             "add r12, %3\n"
                             "vpstt\n"
                             "vldrbt.u8 q0, [r12]\n"
                             "vstrbt.8 q0, [%1]\n"
                             "add %1, %5\n"
                             "le lr, 1b\n"
                             : "+r"(row), "+r"(at)
                             : "r"(kernel_h), "r"((ix + first) * in_c), "r"(run * in_c), "r"(kernel_w * in_c)
                             : "r12", "lr", "q0", "memory");
        }
        return;
    }
#endif
    for (int32_t ky = 0; ky < kernel_h; ++ky) {
        for (int32_t kx = first; kx < end; kx += run) {
            const int8_t *from = rows[ky] + (ix + kx * dilation_w) * in_c;
            int8_t *at = to + (ky * kernel_w + kx) * in_c * scale;
            if (whole) {
                tm_conv2d_column_run_mve(from, at, run * in_c / 16);
            } else {
                tm_mve_copy(at, from, run * in_c);
            }
        }
    }
}

/* `count` output rows, whose windows start stride_h rows apart. A block of four pixels may span two of them. */
TM_INLINE void tm_conv2d_all_rows_mve(const int8_t *const *rows, int8_t *y, int32_t count,
                                      const int32_t *stream, void *scratch, int32_t in_w, int32_t in_c,
                                      int32_t out_w, int32_t out_c, int32_t kernel_h, int32_t kernel_w,
                                      int32_t stride_h, int32_t stride_w, int32_t dilation_w,
                                      int32_t pad_left, int32_t zp_in, int32_t form, int32_t zp_out,
                                      int32_t lo, int32_t hi)
{
    const int32_t steps = (kernel_h * kernel_w * in_c + 15) / 16;
    const int whole = in_c % 16 == 0;
    /* Whole taps go straight into the column, four pixels at a time; else windows are gathered first. */
    const int32_t batch = whole ? 4 : TM_CONV_BATCH_MVE;
    int8_t *const column = (int8_t *)scratch;
    int8_t *const windows = column + 64 * steps;
    int8_t *const tile = whole ? windows : windows + 16 * steps * TM_CONV_BATCH_MVE;
    const int32_t next = stride_w * in_c; /* bytes from pixel to pixel */
    const int32_t pixels = count * out_w;
    int32_t ox = 0;
    for (int32_t i = 0; i < pixels; i += batch) {
        const int32_t n = tm_min(pixels - i, batch);
        for (int32_t p = 0; p < n;) {
            const int32_t ix = ox * stride_w - pad_left;
            int8_t *const to = whole ? column + 16 * p : windows + 16 * steps * p;
            if (dilation_w == 1 && p + 4 <= n && ox + 4 <= out_w && ix >= 0 &&
                ix + 3 * stride_w + kernel_w <= in_w) {
                for (int32_t ky = 0; ky < kernel_h; ++ky) {
                    const int8_t *const first = rows[ky] + ix * in_c;
                    const int8_t *const from[4] = {first, first + next, first + 2 * next, first + 3 * next};
                    if (whole) {
                        tm_column_4pixels_mve(from, column + 4 * ky * kernel_w * in_c, kernel_w * in_c);
                    } else {
                        tm_conv2d_4runs_mve(from, to + ky * kernel_w * in_c, 16 * steps, kernel_w * in_c);
                    }
                }
                ox += 4;
                p += 4;
            } else {
                tm_conv2d_window_mve(rows, to, ix, in_w, in_c, kernel_h, kernel_w, dilation_w, zp_in);
                ++ox;
                ++p;
            }
            if (ox == out_w) {
                ox = 0;
                rows += stride_h;
            }
        }
        if (whole) {
            tm_conv_block_mve(form, n, column, stream, y + i * out_c, tile, steps, out_c, zp_out);
        } else {
            tm_conv_pixels_mve(form, windows, y + i * out_c, stream, column, tile, n, 16 * steps, out_c,
                               zp_out);
        }
    }
    tm_mve_clamp_row(y, pixels * out_c, lo, hi);
}

TM_INLINE void tm_conv2d_s8_mve(const int8_t *const *rows, int8_t *y, const int32_t *stream, void *scratch,
                                int32_t in_w, int32_t in_c, int32_t out_w, int32_t out_c, int32_t kernel_h,
                                int32_t kernel_w, int32_t stride_w, int32_t dilation_w, int32_t pad_left,
                                int32_t zp_in, int32_t form, int32_t zp_out, int32_t lo, int32_t hi)
{
    tm_conv2d_all_rows_mve(rows, y, 1, stream, scratch, in_w, in_c, out_w, out_c, kernel_h, kernel_w, 0,
                           stride_w, dilation_w, pad_left, zp_in, form, zp_out, lo, hi);
}

#endif
