/* tm_model.h: what a generated model tells the program around it.
 *
 * `<model>_model` is constant data: names, sizes, quantisation and arena offsets. A product that
 * calls <model>_invoke() directly needs none of it, and the linker then drops it.
 */
#ifndef TM_MODEL_H
#define TM_MODEL_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What <model>_invoke() and <model>_push_row() return. */
enum {
    TM_OK = 0,
    TM_ERROR_NULL = -1,  /* the arena is a null pointer */
    TM_ERROR_ALIGN = -2, /* the arena is not aligned to 8 bytes */
    TM_ERROR_ROWS = -3   /* a row out of turn, or not all rows of the image have been pushed */
};

/* Element types; TM_BOOL is one byte, 0 or 1. */
enum { TM_INT8 = 0, TM_FLOAT32 = 1, TM_INT16 = 2, TM_INT32 = 3, TM_INT64 = 4, TM_BOOL = 5 };

/* The offset of an input that is never in the arena as a whole: its rows are pushed. */
#define TM_PUSHED 0xFFFFFFFFu

/* An input or output: real = scale * (q - zero_point). */
typedef struct {
    const char *name;
    uint32_t offset; /* bytes from the start of the arena */
    uint32_t bytes;
    float scale; /* data for host tools; the runtime does not compute with it */
    int32_t zero_point;
    uint8_t dtype; /* TM_INT8, ... */
    uint8_t rank;
    uint32_t dims[6];
} tm_tensor_info;

/* An operator: where its output lies right after it has run. */
typedef struct {
    const char *name; /* of the output tensor */
    const char *op;
    uint32_t macs;
    uint32_t offset;
    uint32_t bytes;
} tm_layer_info;

typedef struct {
    const char *name;
    uint8_t sha256[32]; /* of the .tflite file */
    uint32_t arena_bytes;
    uint16_t input_count;
    uint16_t output_count;
    uint16_t layer_count;
    const tm_tensor_info *inputs;
    const tm_tensor_info *outputs;
    const tm_layer_info *layers;
    int (*invoke)(void *arena);
    int (*push_row)(void *arena, int32_t index, const void *row); /* NULL where no input is pushed */
    int32_t pushed_rows;                                          /* calls of it for one inference */
    void (*reset)(void *arena); /* forgets earlier inferences; NULL where none is remembered */
} tm_model;

/* Hooks around every operator: nothing unless compiled with -DTM_TRACE=1, when the program
 * supplies both functions (validation and profiling do). */
#if defined(TM_TRACE) && TM_TRACE
void tm_trace_begin(uint16_t layer);
void tm_trace_end(uint16_t layer);
#define TM_LAYER_BEGIN(layer) tm_trace_begin(layer)
#define TM_LAYER_END(layer) tm_trace_end(layer)
#else
#define TM_LAYER_BEGIN(layer) ((void)0)
#define TM_LAYER_END(layer) ((void)0)
#endif

#ifdef __cplusplus
}
#endif

#endif
