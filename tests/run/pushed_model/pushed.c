/* pushed.c: two layers over bytes, the first fed row by row (tests/run/pushed.py has the same in Python).
 *
 *   0  y[r][i] = x[r][i] + b[i mod 40], then, the image pushed a second time, 3 * y[r][i] + x[r][i]; output 0
 *   1  z[k] = sum of y[i] with i mod 8 == k                                                          output 1
 *
 * As in a generated model, the place of input b serves something else once the first row has come.
 * Input b can ask for trouble: b[0] = 0x7E, b[1] = 1 writes where no memory is at row 3, 2 makes
 * push_row() fail at row 4, 3 lets invoke() fail, 4 makes row 5 take (b[2] mod 128) * 10 million turns
 * of a loop.
 */
#include <stddef.h>
#include <string.h>

#include "app_model.h"

enum { STATE = 0, B = 8, B_BYTES = 40, KEPT = 48, Y = 88, ROWS = 6, ROW_BYTES = 50, Z = 388, Z_BYTES = 8 };

int pushed_push_row(void *arena, int32_t index, const int8_t *row);
int pushed_invoke(void *arena);

static volatile uint32_t turns;

int pushed_push_row(void *arena, int32_t index, const int8_t *row)
{
    int8_t *const a = (int8_t *)arena;
    int32_t pushed;
    if (((uintptr_t)row & 7u) != 0) {
        return TM_ERROR_ALIGN;
    }
    memcpy(&pushed, a + STATE, sizeof pushed);
    if (index == 0) {
        pushed = 0;
        memcpy(a + KEPT, a + B, B_BYTES);
        memset(a + B, 0x55, B_BYTES);
    }
    if (index != pushed || index < 0 || index >= 2 * ROWS) {
        return TM_ERROR_ROWS;
    }
    ++pushed;
    memcpy(a + STATE, &pushed, sizeof pushed);

    TM_LAYER_BEGIN(0);
    const int8_t *const b = a + KEPT;
    if (b[0] == 0x7E) {
        volatile uintptr_t address = 4;
        if (b[1] == 1 && index == 3) {
            *(volatile uint32_t *)(address - 4u + 0xFFFFFFF0u) = 1;
        } else if (b[1] == 2 && index == 4) {
            return -9;
        } else if (b[1] == 4 && index == 5) {
            for (uint32_t n = ((uint32_t)b[2] & 127u) * 10000000u; n > 0; --n) {
                turns = n;
            }
        }
    }
    int8_t *const y = a + Y + index % ROWS * ROW_BYTES;
    for (int i = 0; i < ROW_BYTES; ++i) {
        y[i] = (int8_t)(uint8_t)(index < ROWS ? row[i] + b[i % B_BYTES] : 3 * y[i] + row[i]);
    }
    TM_LAYER_END(0);
    return TM_OK;
}

int pushed_invoke(void *arena)
{
    int8_t *const a = (int8_t *)arena;
    TM_LAYER_BEGIN(1);
    if (a[KEPT] == 0x7E && a[KEPT + 1] == 3) {
        return -7;
    }
    for (int k = 0; k < Z_BYTES; ++k) {
        a[Z + k] = 0;
    }
    for (int i = 0; i < ROWS * ROW_BYTES; ++i) {
        a[Z + i % Z_BYTES] = (int8_t)(uint8_t)(a[Z + i % Z_BYTES] + a[Y + i]);
    }
    TM_LAYER_END(1);
    return TM_OK;
}

static int push(void *arena, int32_t index, const void *row)
{
    return pushed_push_row(arena, index, (const int8_t *)row);
}

static const tm_tensor_info inputs[] = {
    {"x", TM_PUSHED, ROWS *ROW_BYTES, 0.5f, 0, TM_INT8, 4, {1, ROWS, 10, 5}},
    {"b", B, B_BYTES, 0.5f, 0, TM_INT8, 2, {1, B_BYTES}},
};

static const tm_tensor_info outputs[] = {
    {"y", Y, ROWS *ROW_BYTES, 0.5f, 0, TM_INT8, 4, {1, ROWS, 10, 5}},
    {"z", Z, Z_BYTES, 0.5f, 0, TM_INT8, 2, {1, Z_BYTES}},
};

static const tm_layer_info layers[] = {
    {"y", "CONV_2D", 60000, Y, ROWS *ROW_BYTES},
    {"z", "MEAN", 300, Z, Z_BYTES},
};

const tm_model pushed_model = {
    "pushed", {0x80, 0x81}, APP_ARENA_BYTES, 2,    2,        2,    inputs,
    outputs,  layers,       pushed_invoke,   push, 2 * ROWS, NULL,
};
