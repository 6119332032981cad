/* startup.c: vector table, reset, and the way from any fault to tm_fault_report().
 *
 * Source: Arm v6-M, v7-M and v8-M Architecture Reference Manuals, "Exception model", "System Control
 * Block"; RP2040 datasheet, boot sequence, for the table's place behind the second boot stage.
 */
#include <stddef.h>
#include <string.h>

#include "tm_port.h"
#include "tm_regs.h"

extern uint32_t __stack_low[], __stack_top[];
extern uint32_t __data_start__[], __data_end__[];
extern const uint32_t __data_load__[];
extern uint32_t __bss_start__[], __bss_end__[];

int main(void);
void Reset_Handler(void) __attribute__((noreturn));
void tm_fault_entry(void) __attribute__((naked));
void tm_fault_handle(const uint32_t *frame, uint32_t exc) __attribute__((noreturn, used));
void tm_start(void) __attribute__((noreturn, used));
void tm_irq_entry(void);

/* "TMst": a word of the stack that still holds this was never used. Also in tm_port_stack_free(). */
#define STACK_PAINT 0x74734D54u

static uint32_t fault_frame[8] __attribute__((used));

/* Interrupts of the vector table: more than the highest one a board file may name. */
#define IRQ4 tm_irq_entry, tm_irq_entry, tm_irq_entry, tm_irq_entry
#define IRQ16 IRQ4, IRQ4, IRQ4, IRQ4
#if defined(__ARM_ARCH_6M__)
#define IRQS IRQ16, IRQ16
#define IRQ_COUNT 32
#define IRQ_WORDS 1u
#else
#define IRQS IRQ16, IRQ16, IRQ16, IRQ16, IRQ16, IRQ16
#define IRQ_COUNT 96
#define IRQ_WORDS 8u /* a chip may have more interrupts than the table; absent words ignore writes */
#endif
_Static_assert(TM_UART_IRQ < IRQ_COUNT, "the vector table is too short for the UART's interrupt");

typedef void (*handler)(void);
typedef struct {
    uint32_t *stack;
    handler system[15];
    handler irq[IRQ_COUNT];
} vector_table;

void tm_systick_entry(void);

/* VTOR wants the table aligned to its size, rounded up to a power of two. */
__attribute__((section(".isr_vector"), used, aligned(IRQ_COUNT == 32 ? 256 : 512)))
const vector_table tm_vectors = {
    __stack_top,
    {Reset_Handler, tm_fault_entry, tm_fault_entry, tm_fault_entry, tm_fault_entry, tm_fault_entry,
     tm_fault_entry, NULL, NULL, NULL, tm_fault_entry, tm_fault_entry, NULL, tm_fault_entry,
     tm_systick_entry},
    {IRQS},
};

/* The first instructions. Sets the stack pointer itself: a debugger, a boot loader or a soft reset
 * may come here with another. Also the limit below which Armv8-M refuses to push. */
__attribute__((naked)) void Reset_Handler(void)
{
    __asm volatile(".syntax unified\n"
                   "cpsid i\n"
#if defined(__ARM_ARCH_8M_MAIN__) || defined(__ARM_ARCH_8_1M_MAIN__)
                   "ldr r0, =__stack_low\n"
                   "msr msplim, r0\n"
#endif
                   "ldr r0, =__stack_top\n"
                   "msr msp, r0\n"
                   "movs r0, #0\n" /* a boot loader's thread may have run on the process stack */
                   "msr control, r0\n"
                   "isb\n"
                   "ldr r0, =tm_start\n"
                   "bx r0\n"
                   ".ltorg\n");
}

#if defined(TM_CORE_CORTEX_M7) || defined(TM_CORE_CORTEX_M55)
/* Turns the L1 caches on (as CMSIS does, cachel1_armv7.h). Nothing here uses DMA, so
 * no coherence is needed. The data cache's content is undefined after reset: invalidated by set and way. */
static void enable_caches(void)
{
    const uint32_t clidr = TM_REG(TM_SCB + 0x78u);
    if ((clidr & 1u) != 0u) {        /* instruction cache present */
        TM_REG(TM_SCB + 0x250u) = 0; /* ICIALLU */
        __asm volatile("dsb\n isb" ::: "memory");
        TM_REG(TM_SCB + 0x14u) |= 1u << 17; /* CCR.IC */
    }
    if ((clidr & 2u) != 0u && (TM_REG(TM_SCB + 0x14u) & (1u << 16)) == 0u) {
        TM_REG(TM_SCB + 0x84u) = 0; /* CSSELR: level 1, data */
        __asm volatile("dsb" ::: "memory");
        const uint32_t ccsidr = TM_REG(TM_SCB + 0x80u);
        const uint32_t line_shift = (ccsidr & 7u) + 4u; /* log2 of the line's bytes */
        const uint32_t ways = (ccsidr >> 3) & 0x3FFu;
        const uint32_t sets = (ccsidr >> 13) & 0x7FFFu;
        uint32_t way_shift = 32;
        for (uint32_t w = ways; w != 0u; w >>= 1) {
            --way_shift;
        }
        for (uint32_t set = 0; set <= sets; ++set) {
            for (uint32_t way = 0; way <= ways; ++way) {
                const uint32_t where = (way_shift < 32u) ? way << way_shift : 0u;
                TM_REG(TM_SCB + 0x260u) = where | (set << line_shift); /* DCISW */
            }
        }
        __asm volatile("dsb" ::: "memory");
        TM_REG(TM_SCB + 0x14u) |= 1u << 16; /* CCR.DC */
    }
    __asm volatile("dsb\n isb" ::: "memory");
}
#endif

#if defined(TM_CORE_CORTEX_M7)
/* Forbids the two regions of external memory (0x60000000 to 0x9FFFFFFF): Normal memory by default, so
 * the core may read there speculatively, and hang where no memory controller is set up (AN4838). The
 * default map stays in force everywhere else. */
static void protect_external_memory(void)
{
    const uintptr_t mpu = 0xE000ED90u; /* TYPE CTRL RNR RBAR RASR */
    if (((TM_REG(mpu) >> 8) & 0xFFu) < 2u) {
        return;
    }
    for (uint32_t region = 0; region < 2u; ++region) {
        TM_REG(mpu + 8u) = region;
        TM_REG(mpu + 12u) = 0x60000000u + region * 0x20000000u;
        TM_REG(mpu + 16u) = (1u << 28) | (28u << 1) | 1u; /* never execute, no access, 2^29 bytes, on */
    }
    TM_REG(mpu + 4u) = (1u << 2) | 1u; /* PRIVDEFENA, ENABLE */
    __asm volatile("dsb\n isb" ::: "memory");
}
#endif

/* Forgets whatever interrupts a boot loader left enabled or pending: its USB device's, say, for which this
 * program has no handler. SysTick too. */
static void disable_interrupts(void)
{
    TM_REG(TM_SYSTICK) = 0;
    for (uint32_t word = 0; word < IRQ_WORDS; ++word) {
        TM_REG(TM_NVIC_ISER + 0x80u + 4u * word) = 0xFFFFFFFFu;  /* ICER */
        TM_REG(TM_NVIC_ISER + 0x180u + 4u * word) = 0xFFFFFFFFu; /* ICPR */
    }
    TM_REG(TM_SCB + 4u) = 1u << 27 | 1u << 25; /* ICSR: PENDSVCLR, PENDSTCLR */
}

void tm_start(void)
{
    /* This function's own frame is a few words below __stack_top: stay well clear of it. */
    uint32_t *here = (uint32_t *)__builtin_frame_address(0) - 32;
    for (uint32_t *p = __stack_low; p < here; ++p) {
        *p = STACK_PAINT;
    }
    disable_interrupts();
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
    TM_REG(TM_SCB + 0x88u) |= 0xFu << 20; /* CPACR: full access to CP10 and CP11 */
    __asm volatile("dsb\n isb" ::: "memory");
#endif
#if !defined(TM_CORE_CORTEX_M0) /* a Cortex-M0 has no VTOR: its table is at 0 */
    TM_REG(TM_SCB + 8u) = (uint32_t)(uintptr_t)&tm_vectors;
#endif
#if !defined(__ARM_ARCH_6M__)
    /* Faults of their own: a BusFault while stacking would lock the core up inside HardFault. */
    TM_REG(TM_SCB + 0x24u) |= 7u << 16; /* SHCSR: USGFAULTENA BUSFAULTENA MEMFAULTENA */
#endif
#if defined(TM_CORE_CORTEX_M7)
    protect_external_memory();
#endif
#if defined(TM_CORE_CORTEX_M7) || defined(TM_CORE_CORTEX_M55)
    enable_caches();
#endif
#if defined(__ARM_FEATURE_MVE)
    TM_REG(TM_SCB + 0x14u) |= 1u << 19; /* CCR.LOB: low-overhead loops without the branch (off after reset) */
    __asm volatile("dsb\n isb" ::: "memory");
#endif
    memcpy(__data_start__, __data_load__, (size_t)((uintptr_t)__data_end__ - (uintptr_t)__data_start__));
    memset(__bss_start__, 0, (size_t)((uintptr_t)__bss_end__ - (uintptr_t)__bss_start__));
    tm_clock_init();
    __asm volatile("cpsie i" ::: "memory");
    tm_port_exit(main());
}

void tm_irq_entry(void)
{
    uint32_t exc;
    __asm volatile("mrs %0, ipsr" : "=r"(exc));
    exc &= 0x1FFu;
    if (!tm_port_interrupt(exc - 16u)) {
        static const uint32_t unknown[8];
        tm_fault_handle(unknown, exc);
    }
}

/* Any fault. Nothing may be pushed here: the stack may have run out. The frame is where the stack
 * pointer stands; it counts only if all of it lies on the stack. */
void tm_fault_entry(void)
{
    __asm volatile(".syntax unified\n"
                   "cpsid i\n"
                   "mrs r0, msp\n"
                   "mrs r1, ipsr\n"
                   "ldr r2, =__stack_top\n"
#if defined(__ARM_ARCH_8M_MAIN__) || defined(__ARM_ARCH_8_1M_MAIN__)
                   "movs r3, #0\n" /* the report may use the whole stack, whatever happened to it */
                   "msr msplim, r3\n"
#endif
                   "ldr r3, =__stack_low\n"
                   "cmp r0, r3\n"
                   "blo 1f\n"
                   "mov r3, r2\n"
                   "subs r3, #32\n"
                   "cmp r0, r3\n"
                   "bhi 1f\n"
                   "mov r12, r1\n" /* copy 8 words: the report's stack will overwrite the original */
                   "ldr r3, =fault_frame\n"
                   "movs r1, #32\n"
                   "2: subs r1, #4\n"
                   "ldr r2, [r0, r1]\n"
                   "str r2, [r3, r1]\n"
                   "bne 2b\n"
                   "mov r1, r12\n"
                   "ldr r2, =__stack_top\n"
                   "1: msr msp, r2\n"
                   "ldr r0, =fault_frame\n"
                   "ldr r2, =tm_fault_handle\n"
                   "bx r2\n"
                   ".ltorg\n");
}

void tm_fault_handle(const uint32_t *frame, uint32_t exc)
{
    __asm volatile("cpsid i" ::: "memory");
    tm_fault_report(frame, exc & 0x1FFu);
    tm_port_reset();
}

__attribute__((weak)) void tm_fault_report(const uint32_t *frame, uint32_t exc)
{
    (void)frame;
    (void)exc;
}
