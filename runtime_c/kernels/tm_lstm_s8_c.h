/* tm_lstm_s8_c: a sequence through a long short-term memory layer, portable C, int8.
 *
 *   x                  int8   [steps][inputs]
 *   hidden             int8   [units]             the state of the step before; updated
 *   cell               int16  [units]             scale 2^(tanh_bits - 15), zero point 0; updated
 *   y                  int8   [steps][units]      the hidden state of every step
 *   input_weights      int8   [4][units][inputs]  gates in the order input, forget, cell, output
 *   recurrent_weights  int8   [4][units][units]
 *   input_bias         int32  [4][units]          bias - zp_x * sum of the weights
 *   recurrent_bias     int32  [4][units]          -zp_hidden * sum of the weights
 *   rescale            int32  [4][4]              multiplier and shift of the input's sum, then of the state's
 *
 * Quantisation  gates are Q3.12 sums of both rescaled products, saturated to 16 bits after each, and Q0.15
 *               after logistic or tanh (tm_q15.h). cell = forget * cell + input * modulation, saturated;
 *               hidden = output * tanh(cell), rescaled to int8.
 * Scratch       int16 [4][units].
 * Requires      products of at most 2^31; tanh_bits = 15 + log2 of the cell state's scale, 0 to 6.
 * Overlap       none: the whole sequence is one step.
 * Source        TFLite kernels/lstm_eval.cc (LstmStepInteger).
 */
#ifndef TM_LSTM_S8_C_H
#define TM_LSTM_S8_C_H

#include "tm_q15.h"

/* One gate's sum for one unit, in Q3.12. */
TM_INLINE int32_t tm_lstm_gate_s8_c(const int8_t *x, const int8_t *hidden, const int8_t *input_weights,
                                    const int8_t *recurrent_weights, int32_t input_bias,
                                    int32_t recurrent_bias, const int32_t *rescale, int32_t inputs,
                                    int32_t units)
{
    const int32_t from_input = tm_dot_s8(x, input_weights, inputs, input_bias);
    const int32_t from_state = tm_dot_s8(hidden, recurrent_weights, units, recurrent_bias);
    const int32_t sum = tm_clamp_s16(tm_requant(from_input, rescale[0], rescale[1]));
    return tm_clamp_s16(sum + tm_requant(from_state, rescale[2], rescale[3]));
}

TM_INLINE void tm_lstm_s8_c(const int8_t *x, int8_t *hidden, int16_t *cell, int8_t *y,
                            const int8_t *input_weights, const int8_t *recurrent_weights,
                            const int32_t *input_bias, const int32_t *recurrent_bias, const int32_t *rescale,
                            void *scratch, int32_t steps, int32_t inputs, int32_t units, int32_t multiplier,
                            int32_t shift, int32_t zp_out, int32_t tanh_bits, int32_t cell_clip)
{
    enum { INPUT = 0, FORGET = 1, CELL = 2, OUTPUT = 3 };
    int16_t *const gates = (int16_t *)scratch;
    for (int32_t t = 0; t < steps; ++t) {
        for (int32_t g = 0; g < 4; ++g) {
            for (int32_t u = 0; u < units; ++u) {
                const int32_t row = g * units + u;
                const int32_t sum = tm_lstm_gate_s8_c(x, hidden, input_weights + row * inputs,
                                                      recurrent_weights + row * units, input_bias[row],
                                                      recurrent_bias[row], rescale + 4 * g, inputs, units);
                gates[row] = (int16_t)(g == CELL ? tm_q15_tanh(sum, 3) : tm_q15_logistic(sum));
            }
        }
        for (int32_t u = 0; u < units; ++u) {
            const int32_t kept = tm_rounding_shift_right(gates[FORGET * units + u] * cell[u], 15);
            const int32_t new_bits = 15 + tanh_bits;
            const int32_t entering = gates[INPUT * units + u] * gates[CELL * units + u];
            int32_t state = tm_clamp_s16(kept + (int16_t)tm_rounding_shift_right(entering, new_bits));
            if (cell_clip > 0) {
                state = tm_clamp(state, -cell_clip, cell_clip);
            }
            cell[u] = (int16_t)state;
            y[u] = tm_clamp_s8(
                tm_requant(gates[OUTPUT * units + u] * tm_q15_tanh(state, tanh_bits), multiplier, shift),
                zp_out, INT8_MIN, INT8_MAX);
        }
        memcpy(hidden, y, (size_t)units);
        x += inputs;
        y += units;
    }
}

#endif
