/* toy.c: three layers over bytes (tests/run/toy.py has the same in Python).
 *
 *   0  t[i] = a[i] + 1                       in place of a
 *   1  y[i] = t[i] + b[i mod 40]             in place of t; output 0
 *   2  z[k] = sum of y[i] with i mod 8 == k  output 1
 *
 * Input b can ask for trouble: b[0] = 0x7E, b[1] = 1 writes to address 4 in layer 1 (2: jumps
 * there), 3 lets invoke() fail, 4 makes layer 1 take (b[2] mod 128) * 10 million turns of a loop.
 */
#include <stddef.h>

#include "app_model.h"

enum { A = 0, A_BYTES = 600, B = 600, B_BYTES = 40, Z = 640, Z_BYTES = 8 };

static volatile uint32_t turns;

static int toy_invoke(void *arena)
{
    int8_t *a = (int8_t *)arena + A;
    const int8_t *b = (const int8_t *)arena + B;
    int8_t *z = (int8_t *)arena + Z;

    TM_LAYER_BEGIN(0);
    for (int i = 0; i < A_BYTES; ++i) {
        a[i] = (int8_t)(uint8_t)(a[i] + 1);
    }
    TM_LAYER_END(0);

    TM_LAYER_BEGIN(1);
    if (b[0] == 0x7E) {
        volatile uintptr_t address = 4;
        if (b[1] == 1) {
            *(volatile uint32_t *)(address - 4u + 0xFFFFFFF0u) =
                1; /* no memory on any board; unmapped on a host */
        } else if (b[1] == 2) {
            ((void (*)(void))address)();
        } else if (b[1] == 3) {
            return -7;
        } else if (b[1] == 4) {
            for (uint32_t n = ((uint32_t)b[2] & 127u) * 10000000u; n > 0; --n) {
                turns = n;
            }
        }
    }
    for (int i = 0; i < A_BYTES; ++i) {
        a[i] = (int8_t)(uint8_t)(a[i] + b[i % B_BYTES]);
    }
    TM_LAYER_END(1);

    TM_LAYER_BEGIN(2);
    for (int k = 0; k < Z_BYTES; ++k) {
        z[k] = 0;
    }
    for (int i = 0; i < A_BYTES; ++i) {
        z[i % Z_BYTES] = (int8_t)(uint8_t)(z[i % Z_BYTES] + a[i]);
    }
    TM_LAYER_END(2);
    return TM_OK;
}

static const tm_tensor_info inputs[] = {
    {"a", A, A_BYTES, 0.5f, 0, TM_INT8, 2, {1, A_BYTES}},
    {"b", B, B_BYTES, 0.5f, 0, TM_INT8, 2, {1, B_BYTES}},
};

static const tm_tensor_info outputs[] = {
    {"y", A, A_BYTES, 0.5f, 0, TM_INT8, 2, {1, A_BYTES}},
    {"z", Z, Z_BYTES, 0.5f, 0, TM_INT8, 2, {1, Z_BYTES}},
};

static const tm_layer_info layers[] = {
    {"t", "ADD", 0, A, A_BYTES},
    {"y", "ADD", 600, A, A_BYTES},
    {"z_a_name_that_is_longer_than_one_packet_of_the_smallest_size", "MEAN", 70000, Z, Z_BYTES},
};

const tm_model toy_model = {
    "toy", {0x70, 0x71, 0x72}, APP_ARENA_BYTES, 2, 2, 3, inputs, outputs, layers, toy_invoke, NULL, 0, NULL,
};
