/* port.c: tm_port.h on top of one UART driver and one clock: ring buffer, cycles, stack, reset. */
#include "tm_port.h"

#include "tm_regs.h"

extern uint32_t __stack_low[], __stack_top[];
#define STACK_PAINT 0x74734D54u /* as in startup.c */

/* Longer than the longest packet of the link (256 bytes), since the host waits for each answer. */
enum { RING_BYTES = 512 };

static uint8_t ring[RING_BYTES];
static volatile uint32_t ring_head; /* written by the interrupt only */
static volatile uint32_t ring_tail; /* written by tm_port_read() only */
static volatile uint32_t lost;
static bool exit_allowed;

void tm_systick_entry(void);

#if defined(TM_CYCLES_SYSTICK)
/* 24 bits that count down, and their wraps: for cores without DWT. */
static volatile uint32_t systick_wraps;
void tm_systick_entry(void)
{
    systick_wraps = systick_wraps + 1u;
}
#else
void tm_systick_entry(void)
{
}
#endif

static void enable_cycles(void)
{
#if defined(TM_CYCLES_DWT)
    TM_REG(0xE000EDFCu) |= 1u << 24; /* DEMCR.TRCENA */
#if defined(TM_CORE_CORTEX_M7)
    TM_REG(0xE0001FB0u) = 0xC5ACCE55u; /* DWT lock access, present on Cortex-M7 only */
#endif
    TM_REG(0xE0001004u) = 0;   /* CYCCNT */
    TM_REG(0xE0001000u) |= 1u; /* CTRL.CYCCNTENA */
#elif defined(TM_CYCLES_SYSTICK)
    TM_REG(TM_SYSTICK + 4u) = 0xFFFFFFu;
    TM_REG(TM_SYSTICK + 8u) = 0;
    TM_REG(TM_SYSTICK) = 7u; /* core clock, interrupt, on */
#elif defined(TM_CYCLES_NRF_TIMER)
    /* TIMER0, 32 bits at 16 MHz: the nRF51's core clock (nRF51 Series Reference Manual, TIMER). */
    TM_REG(0x40008508u) = 3u; /* BITMODE */
    TM_REG(0x40008510u) = 0;  /* PRESCALER */
    TM_REG(0x4000800Cu) = 1u; /* TASKS_CLEAR */
    TM_REG(0x40008000u) = 1u; /* TASKS_START */
#endif
}

uint32_t tm_port_cycles(void)
{
#if defined(TM_CYCLES_DWT)
    return TM_REG(0xE0001004u);
#elif defined(TM_CYCLES_SYSTICK)
    /* COUNTFLAG is not used: reading it would race with the interrupt. */
    uint32_t wraps, value;
    do {
        wraps = systick_wraps;
        value = TM_REG(TM_SYSTICK + 8u);
    } while (wraps != systick_wraps);
    return (wraps << 24) + (0xFFFFFFu - value);
#elif defined(TM_CYCLES_NRF_TIMER)
    TM_REG(0x40008040u) = 1u; /* TASKS_CAPTURE[0] */
    return TM_REG(0x40008540u);
#endif
}

static void enable_interrupt(uint32_t irq)
{
    TM_REG(TM_NVIC_ISER + 4u * (irq / 32u)) = 1u << (irq % 32u);
}

void tm_port_init(void)
{
    enable_cycles();
    tm_uart_init();
    enable_interrupt(TM_UART_IRQ);
#if defined(TM_UART_IRQ2)
    enable_interrupt(TM_UART_IRQ2);
#endif
    /* Drops a stale byte. In QEMU it also wakes the serial port's input, which enabling the receiver
     * does not do. */
    (void)tm_uart_get();
}

bool tm_port_interrupt(uint32_t irq)
{
    bool mine = irq == TM_UART_IRQ;
#if defined(TM_UART_IRQ2)
    mine = mine || irq == TM_UART_IRQ2;
#endif
    if (mine) {
        tm_uart_rx_ack();
        uint32_t head = ring_head;
        while (tm_uart_rx_ready()) {
            const uint8_t byte = tm_uart_get();
            if (head - ring_tail < RING_BYTES) {
                ring[head % RING_BYTES] = byte;
                ring_head = ++head;
            } else {
                lost = lost + 1u;
            }
        }
        if (tm_uart_overrun()) {
            lost = lost + 1u;
        }
    }
    return mine;
}

int tm_port_read(void)
{
    const uint32_t tail = ring_tail;
    if (tail == ring_head) {
        return -1;
    }
    const uint8_t byte = ring[tail % RING_BYTES];
    ring_tail = tail + 1u;
    return byte;
}

uint32_t tm_port_lost(void)
{
    return lost;
}

void tm_port_write(const uint8_t *data, uint32_t n)
{
    for (uint32_t i = 0; i < n; ++i) {
        while (!tm_uart_tx_ready()) {
        }
        tm_uart_put(data[i]);
    }
}

void tm_port_flush(void)
{
    while (!tm_uart_tx_done()) {
    }
}

void tm_port_idle(void)
{
    /* With interrupts masked a pending one still ends the sleep, so none can slip in between. */
    __asm volatile("cpsid i" ::: "memory");
    if (ring_tail == ring_head) {
        __asm volatile("dsb\n wfi" ::: "memory");
    }
    __asm volatile("cpsie i\n isb" ::: "memory");
}

uint32_t tm_port_clock_hz(void)
{
    return tm_clock_core_hz;
}

const char *tm_port_board_id(void)
{
    return TM_BOARD_ID;
}

uint32_t tm_port_stack_bytes(void)
{
    return (uint32_t)((uintptr_t)__stack_top - (uintptr_t)__stack_low);
}

uint32_t tm_port_stack_free(void)
{
    const uint32_t *p = __stack_low;
    while (p < __stack_top && *p == STACK_PAINT) {
        ++p;
    }
    return (uint32_t)((uintptr_t)p - (uintptr_t)__stack_low);
}

uint32_t tm_port_fault_status(void)
{
#if defined(__ARM_ARCH_6M__)
    return 0;
#else
    return TM_REG(TM_SCB + 0x28u);
#endif
}

void tm_port_reset(void)
{
    tm_port_flush();
#if defined(TM_CLOCK_RP2040)
    /* SYSRESETREQ leaves the peripherals as they are; the watchdog resets all but the oscillators
     * (RP2040 datasheet, PSM_WDSEL and WATCHDOG_CTRL.TRIGGER). */
    TM_REG(0x40010008u) = 0x0001FFFCu;
    TM_REG(0x40058000u) |= 1u << 31;
#else
    __asm volatile("dsb" ::: "memory");
    TM_REG(TM_SCB + 0xCu) = 0x05FA0004u; /* AIRCR: VECTKEY, SYSRESETREQ */
    __asm volatile("dsb" ::: "memory");
#endif
    for (;;) {
    }
}

void tm_port_allow_exit(void)
{
    exit_allowed = true;
}

void tm_port_exit(int code)
{
    tm_port_flush();
    if (exit_allowed) {
        /* Arm semihosting, SYS_EXIT_EXTENDED: {ADP_Stopped_ApplicationExit, code} */
        const uint32_t block[2] = {0x20026u, (uint32_t)code};
        register uint32_t r0 __asm("r0") = 0x20u;
        register const uint32_t *r1 __asm("r1") = block;
        __asm volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
    }
    tm_port_reset();
}
