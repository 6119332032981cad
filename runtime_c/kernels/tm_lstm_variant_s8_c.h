/* tm_lstm_variant_s8_c: a sequence through an LSTM with peepholes, a projection, layer normalisation or
 * coupled gates, any of them together, portable C, int8.
 *
 *   x                  int8   [steps][inputs]
 *   hidden             int8   [outputs]              the output of the step before; updated
 *   cell               int16  [units]                scale 2^(tanh_bits - 15), zero point 0; updated
 *   y                  int8   [steps][outputs]       outputs == units where nothing is projected
 *   input_weights      int8   [gates][units][inputs]   gates: input (unless coupled), forget, cell, output
 *   recurrent_weights  int8   [gates][units][outputs]
 *   input_bias         int32  [gates][units]         bias - zp_x * sum of the weights; no bias if normalised
 *   recurrent_bias     int32  [gates][units]         -zp_hidden * sum of the weights
 *   peepholes          int16  [gates][units]         what the cell state is multiplied by; zeros in cell's
 *   norms              int16  [gates][units]
 *   norm_bias          int32  [gates][units]
 *   rescale            int32  [gates][9]             multiplier and shift of the input's sum, the state's, the
 *                                                    peephole's and the normalised one; a variance of zero
 *   projection         int8   [outputs][units]
 *   projection_bias    int32  [outputs]              bias + zp * sum of the weights
 *
 * Quantisation  as tm_lstm_s8_c; sums are normalised to Q3.12 over the units. A coupled input gate is one less
 *               the forget gate. The hidden state is projected to the scale of the output.
 * Scratch       int16 [4][units], then int8 [units].
 * Requires      products of at most 2^31; tanh_bits 0 to 6. Arrays of what is absent are not read.
 * Overlap       none: the whole sequence is one step.
 * Source        TFLite kernels/lstm_eval.cc (LstmStepInteger8x8_16), portable_tensor_utils.cc (ApplyLayerNorm).
 */
#ifndef TM_LSTM_VARIANT_S8_C_H
#define TM_LSTM_VARIANT_S8_C_H

#include "tm_l2_normalization_s8_c.h"
#include "tm_lstm_s8_c.h"

/* A gate's sums less their mean, over their deviation, times a coefficient per unit. */
TM_INLINE void tm_lstm_normalise_s8_c(int16_t *gate, const int16_t *norms, const int32_t *bias, int32_t units,
                                      int32_t multiplier, int32_t shift, int32_t guard)
{
    int64_t sum = 0;
    int64_t squares = 0;
    int32_t mean;
    int32_t variance;
    int32_t inverse;
    int32_t inverse_shift;
    for (int32_t u = 0; u < units; ++u) {
        sum += gate[u];
        squares += (int64_t)gate[u] * gate[u];
    }
    mean = (int32_t)(sum * 1024 / units);
    variance = (int32_t)((squares * ((1 << 20) / units) - (int64_t)mean * mean) / (1 << 20));
    inverse = tm_inverse_sqrt_s8_c(variance < 1 ? guard : variance, &inverse_shift);
    for (int32_t u = 0; u < units; ++u) {
        const int32_t normal = tm_requant(1024 * gate[u] - mean, inverse, inverse_shift);
        const int64_t weighted = (int64_t)(int32_t)((int64_t)normal * norms[u]) + bias[u];
        const int32_t rounded = (int32_t)((weighted > 0 ? weighted + 512 : weighted - 512) / 1024);
        gate[u] = (int16_t)tm_clamp_s16(tm_requant(rounded, multiplier, shift));
    }
}

TM_INLINE void tm_lstm_variant_s8_c(
    const int8_t *x, int8_t *hidden, int16_t *cell, int8_t *y, const int8_t *input_weights,
    const int8_t *recurrent_weights, const int32_t *input_bias, const int32_t *recurrent_bias,
    const int16_t *peepholes, const int16_t *norms, const int32_t *norm_bias, const int32_t *rescale,
    const int8_t *projection, const int32_t *projection_bias, void *scratch, int32_t steps, int32_t inputs,
    int32_t units, int32_t outputs, int32_t multiplier, int32_t shift, int32_t zp_hidden, int32_t tanh_bits,
    int32_t cell_clip, int32_t coupled, int32_t peephole, int32_t normalised, int32_t projected,
    int32_t projection_multiplier, int32_t projection_shift, int32_t zp_out, int32_t projection_clip)
{
    enum { INPUT = 0, FORGET = 1, CELL = 2, OUTPUT = 3, RESCALE = 9 };
    int16_t *const gates = (int16_t *)scratch;
    int8_t *const before = (int8_t *)(gates + 4 * units);
    for (int32_t t = 0; t < steps; ++t) {
        int8_t *const own = projected ? before : y;
        for (int32_t g = coupled ? FORGET : INPUT; g <= OUTPUT; ++g) {
            int16_t *const gate = gates + g * units;
            const int32_t row = (coupled ? g - 1 : g) * units;
            const int32_t *const scales = rescale + (coupled ? g - 1 : g) * RESCALE;
            if (g == OUTPUT) { /* which looks at the new state */
                for (int32_t u = 0; u < units; ++u) {
                    const int32_t forget = gates[FORGET * units + u];
                    const int32_t enters = coupled ? 32767 - forget : gates[INPUT * units + u];
                    const int32_t kept = tm_rounding_shift_right(forget * cell[u], 15);
                    const int32_t entering = enters * gates[CELL * units + u];
                    int32_t state =
                        tm_clamp_s16(kept + (int16_t)tm_rounding_shift_right(entering, 15 + tanh_bits));
                    if (cell_clip > 0) {
                        state = tm_clamp(state, -cell_clip, cell_clip);
                    }
                    cell[u] = (int16_t)state;
                }
            }
            for (int32_t u = 0; u < units; ++u) {
                const int32_t from_input =
                    tm_dot_s8(x, input_weights + (row + u) * inputs, inputs, input_bias[row + u]);
                const int32_t from_state = tm_dot_s8(hidden, recurrent_weights + (row + u) * outputs, outputs,
                                                     recurrent_bias[row + u]);
                int32_t sum = tm_clamp_s16(tm_requant(from_input, scales[0], scales[1]));
                sum = tm_clamp_s16(sum + tm_requant(from_state, scales[2], scales[3]));
                if (peephole && g != CELL) {
                    sum = tm_clamp_s16(sum + tm_requant(cell[u] * peepholes[row + u], scales[4], scales[5]));
                }
                gate[u] = (int16_t)sum;
            }
            if (normalised) {
                tm_lstm_normalise_s8_c(gate, norms + row, norm_bias + row, units, scales[6], scales[7],
                                       scales[8]);
            }
            for (int32_t u = 0; u < units; ++u) {
                gate[u] = (int16_t)(g == CELL ? tm_q15_tanh(gate[u], 3) : tm_q15_logistic(gate[u]));
            }
        }
        for (int32_t u = 0; u < units; ++u) {
            const int32_t product = gates[OUTPUT * units + u] * tm_q15_tanh(cell[u], tanh_bits);
            own[u] = tm_clamp_s8(tm_requant(product, multiplier, shift), zp_hidden, INT8_MIN, INT8_MAX);
        }
        if (projected) {
            for (int32_t o = 0; o < outputs; ++o) {
                const int32_t sum = tm_dot_s8(own, projection + o * units, units, projection_bias[o]);
                y[o] = tm_clamp_s8(tm_requant(sum, projection_multiplier, projection_shift), zp_out, INT8_MIN,
                                   INT8_MAX);
                if (projection_clip > 0) {
                    y[o] = (int8_t)tm_clamp(y[o], -projection_clip, projection_clip);
                }
            }
        }
        memcpy(hidden, y, (size_t)outputs);
        x += inputs;
        y += outputs;
    }
}

#endif
