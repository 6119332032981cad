/* tm_batch_matmul_s8_dsp: products of matrices, DSP instructions, int8.
 *
 *   lhs       int8  per batch [rows][depth], with adj_x [depth][rows]
 *   rhs       int8  per batch [depth][columns], with adj_y [columns][depth]
 *   y         int8  [batches][rows][columns]
 *   geometry  int32 [3][6]  batches, then from one to the next the elements of lhs and of rhs
 *
 * A batch is a pointwise convolution: the rows of lhs are its pixels, and rhs is packed into the stream of
 * tm_conv_block_s8_dsp.h first. A row of lhs is followed by its sum, less depth * zp_a, in `parts` equal parts that
 * meet weights of -zp_b; zp_a times the sums of rhs goes into the biases.
 *
 * Quantisation  y = clamp(zp_out + requant(sum (a - zp_a) * (b - zp_b))), rounding twice as the TFLite reference;
 *               `form`, and with it a and b, is how (tm_dsp.h). `blocks` is how the rows fall into blocks.
 * Scratch       with G = ceil(depth / 4) + parts / 4 and P the rows of the largest block: 8 G P bytes, then the
 *               stream, 4 * (columns / 2 * (2 G + 6)), and 4 * (G + 3) where columns is odd; 8-byte aligned.
 * Requires      parts a multiple of 4, 0 where zp_b is. `weight` is -zp_b, or 64 where that is 128: the sum counts
 *               twice then (`times`). A part fits 16 bits.
 * Overlap       row by row of the output; writes a row while it reads rows of lhs, after all of the batch's rhs.
 * Source        TFLite kernels/internal/reference/batch_matmul.h.
 */
#ifndef TM_BATCH_MATMUL_S8_DSP_H
#define TM_BATCH_MATMUL_S8_DSP_H

#include "tm_conv_block_s8_dsp.h"

/* Four neighbouring values of a column of rhs, fewer at its end: then zeros. */
TM_INLINE int32_t tm_matmul_four(const int8_t *b, int32_t step, int32_t n)
{
    uint32_t word = 0;
    for (int32_t i = 0; i < 4 && i < n; ++i) {
        word |= (uint32_t)(uint8_t)b[i * step] << 8 * i;
    }
    return (int32_t)word;
}

/* The words of two columns that hold four of each: those of a pair of channels. Returns the sums so far. */
TM_INLINE void tm_matmul_pair(int32_t *stream, int32_t word0, int32_t word1, int32_t sums[2])
{
    const int32_t ones = 0x00010001;
    const uint32_t low = 0x00ff00ffu;
    sums[0] = tm_smlad(tm_sxtb16(word0), ones, tm_smlad(tm_sxtb16_ror8(word0), ones, sums[0]));
    sums[1] = tm_smlad(tm_sxtb16(word1), ones, tm_smlad(tm_sxtb16_ror8(word1), ones, sums[1]));
    stream[0] = (int32_t)(((uint32_t)word0 & low) | ((uint32_t)word1 & low) << 8);
    stream[1] = (int32_t)(((uint32_t)word0 >> 8 & low) | ((uint32_t)word1 & ~low));
}

typedef struct {
    int32_t depth;
    int32_t columns;
    int32_t adj_y;
    int32_t zp_a;
    int32_t times;
    int32_t parts;
    int32_t weight;
    int32_t a;
    int32_t b;
} tm_matmul_shape;

/* rhs as the weights of a convolution. */
TM_SHARED void tm_matmul_pack_dsp(const tm_matmul_shape *shape, const int8_t *rhs, int32_t *stream)
{
    const int32_t depth = shape->depth;
    const int32_t columns = shape->columns;
    const int32_t step = shape->adj_y ? 1 : columns;
    const int32_t pitch = shape->adj_y ? depth : 1;
    const int32_t whole = depth / 4;
    const int32_t weights = tm_splat4(shape->weight);
    int32_t n = 0;
    for (; n + 2 <= columns; n += 2, rhs += 2 * pitch) {
        const int8_t *b = rhs;
        int32_t *bias = stream;
        int32_t sums[2] = {0, 0};
        stream += 2;
        if (shape->adj_y) {
            for (int32_t g = 0; g < whole; ++g, b += 4, stream += 2) {
                tm_matmul_pair(stream, tm_load4(b), tm_load4(b + pitch), sums);
            }
        } else { /* neighbours in memory are what a pair of channels has side by side */
            int32_t even = 0;
            int32_t odd = 0;
            for (int32_t g = 0; g < whole; ++g, b += 4 * step, stream += 2) {
                uint16_t halves[4];
                memcpy(&halves[0], b, 2);
                memcpy(&halves[1], b + step, 2);
                memcpy(&halves[2], b + 2 * step, 2);
                memcpy(&halves[3], b + 3 * step, 2);
                stream[0] = (int32_t)(halves[0] | (uint32_t)halves[2] << 16);
                stream[1] = (int32_t)(halves[1] | (uint32_t)halves[3] << 16);
                even = tm_smlad(tm_sxtb16(stream[0]), 0x00010001, even);
                even = tm_smlad(tm_sxtb16(stream[1]), 0x00010001, even);
                odd = tm_smlad(tm_sxtb16_ror8(stream[0]), 0x00010001, odd);
                odd = tm_smlad(tm_sxtb16_ror8(stream[1]), 0x00010001, odd);
            }
            sums[0] = even;
            sums[1] = odd;
        }
        if (depth % 4) {
            tm_matmul_pair(stream, tm_matmul_four(b, step, depth % 4),
                           tm_matmul_four(b + pitch, step, depth % 4), sums);
            stream += 2;
        }
        for (int32_t i = 0; i < shape->parts / 2; ++i) {
            *stream++ = weights;
        }
        bias[0] = -shape->zp_a * sums[0];
        bias[1] = -shape->zp_a * sums[1];
        stream[0] = stream[2] = shape->a;
        stream[1] = stream[3] = shape->b;
        stream += 4;
    }
    if (n < columns) {
        int32_t *bias = stream++;
        int32_t sum = 0;
        for (int32_t k = 0; k < depth; k += 4) {
            const int32_t word = tm_matmul_four(rhs + k * step, step, depth - k);
            sum = tm_smlad(tm_sxtb16(word), 0x00010001, tm_smlad(tm_sxtb16_ror8(word), 0x00010001, sum));
            *stream++ = word;
        }
        for (int32_t i = 0; i < shape->parts / 4; ++i) {
            *stream++ = weights;
        }
        *bias = -shape->zp_a * sum;
        stream[0] = shape->a;
        stream[1] = shape->b;
    }
}

/* A block of rows of lhs as pixels, each with its sum; `pixels` must be a constant where it is inlined. */
TM_INLINE void tm_matmul_column(const tm_matmul_shape *shape, const int8_t *lhs, int32_t *column,
                                int32_t step, int32_t pitch, int32_t pixels)
{
    const int32_t depth = shape->depth;
    const int32_t whole = depth / 4;
    const int32_t used = 2 * ((depth + 3) / 4);
    int32_t *rest = column + 2 * pixels * whole;
    if (step == 1) {
        if (whole > 0) {
            tm_column_fill(lhs, column, whole, pitch, pixels);
        }
        if (depth % 4) {
            for (int32_t p = 0; p < pixels; ++p) {
                tm_column_pixel_dsp(lhs + p * pitch + 4 * whole, rest + p, depth % 4, pixels);
            }
        }
    } else {
        for (int32_t g = 0; g < used / 2; ++g) {
            for (int32_t p = 0; p < pixels; ++p) {
                const int8_t *a = lhs + 4 * g * step + p * pitch;
                tm_column_put(column + 2 * pixels * g + p, tm_matmul_four(a, step, depth - 4 * g), pixels);
            }
        }
    }
    if (shape->parts > 0) {
        for (int32_t p = 0; p < pixels; ++p) {
            int32_t *parts = column + used * pixels + p;
            int32_t sum = -depth * shape->zp_a;
            int32_t part;
            TM_UNROLL_4
            for (int32_t k = 0; k < used; ++k) {
                sum = tm_smlad(column[k * pixels + p], 0x00010001, sum);
            }
            sum *= shape->times;
            part = sum / shape->parts;
            for (int32_t k = 0; k < shape->parts / 2; ++k) {
                parts[k * pixels] = tm_pkhbt(part, part);
            }
            parts[0] = tm_pkhbt(sum - (shape->parts - 1) * part, part);
        }
    }
}

TM_INLINE void tm_batch_matmul_s8_dsp(const int8_t *lhs, const int8_t *rhs, int8_t *y,
                                      const int32_t *geometry, void *scratch, int32_t batches, int32_t rows,
                                      int32_t depth, int32_t columns, int32_t adj_x, int32_t adj_y,
                                      int32_t zp_a, int32_t times, int32_t parts, int32_t weight,
                                      int32_t blocks, int32_t form, int32_t a, int32_t b, int32_t zp_out)
{
    const tm_matmul_shape shape = {depth, columns, adj_y, zp_a, times, parts, weight, a, b};
    const int32_t groups = (depth + 3) / 4 + parts / 4;
    const int32_t most = blocks == TM_BLOCKS_3_4 ? 4 : blocks == TM_BLOCKS_2_3 ? 3 : blocks;
    const int32_t step = adj_x ? rows : 1;
    const int32_t pitch = adj_x ? 1 : depth;
    int32_t *const column = (int32_t *)scratch;
    int32_t *const stream = column + 2 * groups * most;
    int32_t index[TM_RANK - 1] = {0};
    int32_t offset[2] = {0};
    int32_t packed = -1; /* the place of the rhs in the stream */
    for (int32_t batch = 0; batch < batches; ++batch) {
        const int8_t *x = lhs + offset[0];
        if (packed != offset[1]) {
            packed = offset[1];
            tm_matmul_pack_dsp(&shape, rhs + packed, stream);
        }
        for (int32_t left = rows; left > 0;) {
            const int32_t block = tm_block_pixels(blocks, left);
            if (tm_blocks_have(blocks, 4) && block == 4) {
                tm_matmul_column(&shape, x, column, step, pitch, 4);
                tm_conv_block(form, 0, 4, column, stream, y, groups, columns, zp_out);
            } else if (tm_blocks_have(blocks, 3) && block == 3) {
                tm_matmul_column(&shape, x, column, step, pitch, 3);
                tm_conv_block(form, 0, 3, column, stream, y, groups, columns, zp_out);
            } else if (tm_blocks_have(blocks, 2) && block == 2) {
                tm_matmul_column(&shape, x, column, step, pitch, 2);
                tm_conv_block(form, 0, 2, column, stream, y, groups, columns, zp_out);
            } else {
                tm_matmul_column(&shape, x, column, step, pitch, 1);
                tm_conv_block(form, 0, 1, column, stream, y, groups, columns, zp_out);
            }
            x += block * pitch;
            y += block * columns;
            left -= block;
        }
        tm_walk_next(geometry, 2, index, offset);
    }
}

#endif
