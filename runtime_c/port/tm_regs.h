/* tm_regs.h: memory-mapped registers, and what the parts of the port offer each other. */
#ifndef TM_REGS_H
#define TM_REGS_H

#include <stdbool.h>
#include <stdint.h>

#include "board_config.h"

/* The 32-bit register at an address. */
#define TM_REG(address) (*(volatile uint32_t *)(uintptr_t)(address))

/* Replaces the bits of `mask` by `value`. */
static inline void tm_reg_modify(uintptr_t address, uint32_t mask, uint32_t value)
{
    TM_REG(address) = (TM_REG(address) & ~mask) | value;
}

/* Waits until (register & mask) == value. False where that never happens: an oscillator without a
 * crystal, or an emulator without the register. The bound is some 10 ms at start-up clocks; every
 * flag waited for here is due within 2 ms. */
static inline bool tm_reg_wait(uintptr_t address, uint32_t mask, uint32_t value)
{
    for (uint32_t i = 0; i < 20000u; ++i) {
        if ((TM_REG(address) & mask) == value) {
            return true;
        }
    }
    return false;
}

/* Core peripherals, at the same address in every Cortex-M. */
#define TM_SYSTICK 0xE000E010u   /* CTRL LOAD VAL */
#define TM_NVIC_ISER 0xE000E100u /* set-enable, one bit per interrupt */
#define TM_SCB 0xE000ED00u       /* ICSR +4, VTOR +8, AIRCR +C, CCR +14, SHCSR +24, CFSR +28, CPACR +88 */

/* clock_<family>.c: raises the core clock, or leaves the reset clock where that fails. */
void tm_clock_init(void);

/* Clocks as they really run, in Hz. Set by tm_clock_init(). */
extern uint32_t tm_clock_core_hz;
extern uint32_t tm_clock_uart_hz;

/* uart_<kind>.c: one UART, 8 data bits, no parity, 1 stop bit. */
void tm_uart_init(void);
bool tm_uart_rx_ready(void);
uint8_t tm_uart_get(void);
bool tm_uart_tx_ready(void);
void tm_uart_put(uint8_t byte);
/* Whether the last bit has left. */
bool tm_uart_tx_done(void);
/* Acknowledges the interrupt. Called before the receiver is drained: a byte that lands after the
 * last read must raise the interrupt again. */
void tm_uart_rx_ack(void);
/* Whether a byte was overwritten before it was read; clears the condition. */
bool tm_uart_overrun(void);

/* port.c: called by the vector table for every interrupt; true where it was the UART's. */
bool tm_port_interrupt(uint32_t irq);

#endif
