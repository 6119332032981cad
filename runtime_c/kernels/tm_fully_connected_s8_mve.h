/* tm_fully_connected_s8_mve: dense layer, Helium, int8.
 *
 *   x           int8   [batches][in_c]
 *   y           int8   [batches][out_c]
 *   weights     int8   [out_c][in_c]
 *   parameters  int32  bias[out_c], -zp_in * sum(weights) folded in; where `per_output` also multiplier[out_c] and
 *                      shift[out_c]
 *
 * Quantisation  y = clamp(zp_out + requant(bias + sum w * x)), rounding once as LiteRT's reference; [lo, hi] is
 *               the range of the fused activation. Where `vector`, every shift is -31 to -2.
 * Scratch       none.
 * Requires      nothing.
 * Overlap       writes while it reads a batch's row.
 * Source        LiteRT kernels/internal/reference/integer_ops/fully_connected.h.
 *               (acc * M + 2^(30+s)) >> (31+s) with s >= 2 is the high word of acc * M, shifted right by s - 1
 *               with rounding: what VMULH cuts off lies below the half that the shift adds.
 */
#ifndef TM_FULLY_CONNECTED_S8_MVE_H
#define TM_FULLY_CONNECTED_S8_MVE_H

#include "tm_mve.h"

#if TM_MVE_ASM

/* Four sums: acc[i] = sum x[k] * w[i][k], k < n; four accumulators leave LR to the loop. */
TM_SHARED int32x4_t tm_fc_dot4_mve(const int8_t *x, const int8_t *const w[4], int32_t n)
{
    const int8_t *w0 = w[0];
    const int8_t *w1 = w[1];
    const int8_t *w2 = w[2];
    const int8_t *w3 = w[3];
    int32_t acc0 = 0;
    int32_t acc1 = 0;
    int32_t acc2 = 0;
    int32_t acc3 = 0;
    int32x4_t acc = vdupq_n_s32(0);
    __asm__ volatile("wlstp.8 lr, %9, 2f\n"
                     "1:\n"
                     "vldrb.u8 q0, [%4], #16\n"
                     "vldrb.u8 q1, [%5], #16\n"
                     "vmladava.s8 %0, q0, q1\n"
                     "vldrb.u8 q2, [%6], #16\n"
                     "vmladava.s8 %1, q0, q2\n"
                     "vldrb.u8 q1, [%7], #16\n"
                     "vmladava.s8 %2, q0, q1\n"
                     "vldrb.u8 q2, [%8], #16\n"
                     "vmladava.s8 %3, q0, q2\n"
                     "letp lr, 1b\n"
                     "2:\n"
                     : "+Te"(acc0), "+Te"(acc1), "+Te"(acc2), "+Te"(acc3), "+r"(x), "+r"(w0), "+r"(w1),
                       "+r"(w2), "+r"(w3)
                     : "r"(n)
                     : "lr", "q0", "q1", "q2", "memory", "cc");
    acc = vsetq_lane_s32(acc0, acc, 0);
    acc = vsetq_lane_s32(acc1, acc, 1);
    acc = vsetq_lane_s32(acc2, acc, 2);
    return vsetq_lane_s32(acc3, acc, 3);
}

TM_INLINE void tm_fully_connected_s8_mve(const int8_t *x, int8_t *y, const int8_t *weights,
                                         const int32_t *parameters, int32_t batches, int32_t in_c,
                                         int32_t out_c, int32_t vector, int32_t per_output,
                                         int32_t multiplier, int32_t shift, int32_t zp_out, int32_t lo,
                                         int32_t hi)
{
    for (int32_t batch = 0; batch < batches; ++batch, x += in_c, y += out_c) {
        for (int32_t o = 0; o < out_c; o += 4) {
            const int32_t left = out_c - o;
            const mve_pred16_t present = vctp32q((uint32_t)left);
            const int8_t *const first = weights + o * in_c;
            /* the last output stands for those beyond it */
            const int8_t *const w[4] = {
                first,
                first + tm_min(1, left - 1) * in_c,
                first + tm_min(2, left - 1) * in_c,
                first + tm_min(3, left - 1) * in_c,
            };
            int32x4_t acc = vaddq_s32(tm_fc_dot4_mve(x, w, in_c), vldrwq_z_s32(parameters + o, present));
            if (vector) {
                if (per_output) {
                    const int32x4_t m = vldrwq_z_s32(parameters + out_c + o, present);
                    const int32x4_t s = vldrwq_z_s32(parameters + 2 * out_c + o, present);
                    acc = vrshlq_s32(vmulhq_s32(acc, m), vaddq_n_s32(s, 1));
                } else {
                    acc = vrshlq_n_s32(vmulhq_s32(acc, vdupq_n_s32(multiplier)), shift + 1);
                }
            } else {
                int32_t words[4];
                vst1q_s32(words, acc);
                for (int32_t i = 0; i < tm_min(left, 4); ++i) {
                    const int32_t m = per_output ? parameters[out_c + o + i] : multiplier;
                    const int32_t s = per_output ? parameters[2 * out_c + o + i] : shift;
                    words[i] = tm_clamp(tm_requant_single(words[i], m, s), -512, 512);
                }
                acc = vld1q_s32(words);
            }
            acc = vmaxq_s32(vaddq_n_s32(acc, zp_out), vdupq_n_s32(lo));
            vstrbq_p_s32(y + o, vminq_s32(acc, vdupq_n_s32(hi)), present);
        }
    }
}

#else

TM_INLINE void tm_fully_connected_s8_mve(const int8_t *x, int8_t *y, const int8_t *weights,
                                         const int32_t *parameters, int32_t batches, int32_t in_c,
                                         int32_t out_c, int32_t vector, int32_t per_output,
                                         int32_t multiplier, int32_t shift, int32_t zp_out, int32_t lo,
                                         int32_t hi)
{
    for (int32_t batch = 0; batch < batches; ++batch, x += in_c, y += out_c) {
        for (int32_t o = 0; o < out_c; ++o) {
            const int32_t acc = tm_dot_s8(x, weights + o * in_c, in_c, parameters[o]);
            const int32_t m = per_output ? parameters[out_c + o] : multiplier;
            const int32_t s = per_output ? parameters[2 * out_c + o] : shift;
            /* as the vector code: the high word, then a rounding shift */
            const int32_t value = vector ? tm_mve_round_shift((int32_t)(((int64_t)acc * m) >> 32), -1 - s)
                                         : tm_requant_single(acc, m, s);
            y[o] = tm_clamp_s8(value, zp_out, lo, hi);
        }
    }
}

#endif

#endif
