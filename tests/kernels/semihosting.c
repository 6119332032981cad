/* Vectors for test programs that use newlib's semihosting on an emulated Cortex-M (mps2, mps3 boards). */
#include <stddef.h>
#include <stdint.h>

extern void _start(void);
extern char end[];
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

/* With --wrap=_sbrk: the heap where the monitor puts the stack into another memory. newlib's own fears a
 * collision as soon as the stack lies below the heap. */
void *__wrap__sbrk(ptrdiff_t bytes);
void *__wrap__sbrk(ptrdiff_t bytes)
{
    static char *top = end;
    char *const block = top;
    if (bytes > (char *)stack_top - top) {
        return (void *)-1;
    }
    top += bytes;
    return block;
}

static void reset(void)
{
#if defined(__ARM_FEATURE_MVE)
    *(volatile uint32_t *)0xE000ED88u |= 0xFu << 20; /* CPACR: full access to CP10 and CP11 */
    __asm__ volatile("dsb\n isb" ::: "memory");
#endif
    _start();
}

union vector {
    const uint32_t *stack;
    void (*handler)(void);
};

/* Only the vectors Armv6-M and later have; the reserved ones stay zero. */
__attribute__((section(".vectors"), used)) static const union vector vectors[16] = {
    {.stack = stack_top}, {.handler = reset}, {.handler = fault}, {.handler = fault},
    {.handler = fault},   {.handler = fault}, {.handler = fault}, {.handler = 0},
    {.handler = 0},       {.handler = 0},     {.handler = 0},     {.handler = fault},
    {.handler = fault},   {.handler = 0},     {.handler = fault}, {.handler = fault},
};
