/* Vectors for test programs that use newlib's semihosting on an emulated Cortex-M (mps2 boards). */
#include <stdint.h>

extern void _start(void);
extern uint32_t stack_top[];

static void fault(void)
{
    for (;;) {
        __asm__ volatile("mov r0, %0\n mov r1, %1\n bkpt 0xab" /* SYS_EXIT, ADP_Stopped_InternalError */
                         :
                         : "r"(0x18), "r"(0x20024)
                         : "r0", "r1");
    }
}

union vector {
    const uint32_t *stack;
    void (*handler)(void);
};

/* Only the vectors Armv6-M and later have; the reserved ones stay zero. */
__attribute__((section(".vectors"), used)) static const union vector vectors[16] = {
    {.stack = stack_top}, {.handler = _start}, {.handler = fault}, {.handler = fault},
    {.handler = fault},   {.handler = fault},  {.handler = fault}, {.handler = 0},
    {.handler = 0},       {.handler = 0},      {.handler = 0},     {.handler = fault},
    {.handler = fault},   {.handler = 0},      {.handler = fault}, {.handler = fault},
};
