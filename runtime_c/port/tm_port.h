/* tm_port.h: what a program needs from its board. Start-up, clock, one UART, a cycle counter.
 *
 * Everything is polled except reception: the UART's interrupt feeds a ring buffer, so that bytes
 * arriving while a network runs are kept (ring full: newest byte dropped, and counted).
 * Facts about the board come from board_config.h, which the build writes from boards/<id>.json.
 *
 * Linker symbols (runtime_c/platformio/sections.ld): __stack_low, __stack_top; the stack is the first
 * thing in RAM, so an overflow leaves RAM and faults instead of overwriting data. A variable in
 * section ".noinit" keeps its value over a reset.
 */
#ifndef TM_PORT_H
#define TM_PORT_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Starts the UART, its interrupt and the cycle counter. Call once, first thing in main(); the
 * clock already runs. */
void tm_port_init(void);

/* The next received byte, 0 to 255, or -1 where there is none. Never waits. */
int tm_port_read(void);

/* Bytes lost since start: ring buffer full, or an overrun in the UART. */
uint32_t tm_port_lost(void);

/* Sends n bytes; returns when the last one is in the UART's data register. Uses no interrupt, so
 * a fault handler may call it. */
void tm_port_write(const uint8_t *data, uint32_t n);

/* Waits until the last bit is on the wire. */
void tm_port_flush(void);

/* Sleeps until an interrupt comes; returns at once where a received byte waits. */
void tm_port_idle(void);

/* Core clock cycles, modulo 2^32. QEMU's DWT counter always reads 0. */
uint32_t tm_port_cycles(void);

/* The core clock in Hz as it was really set up: below the board's nominal clock where the
 * oscillator or PLL did not start. */
uint32_t tm_port_clock_hz(void);

/* The id in boards/. */
const char *tm_port_board_id(void);

/* Size of the stack, and the bytes of it that were never used since start, in bytes. */
uint32_t tm_port_stack_bytes(void);
uint32_t tm_port_stack_free(void);

/* Restarts the board. Does not return. */
void tm_port_reset(void) __attribute__((noreturn));

/* Allows tm_port_exit() to use semihosting: only after the host has said that an emulator or a
 * debugger listens, since a breakpoint that nobody catches is a fault. */
void tm_port_allow_exit(void);

/* Ends the program with an exit code (semihosting); restarts the board where that is not allowed. */
void tm_port_exit(int code) __attribute__((noreturn));

/* Called on every fault, on a fresh stack (the old one may have overflowed), with interrupts off.
 * frame   the eight stacked words: r0 r1 r2 r3 r12 lr pc xpsr; all 0 where stacking itself failed
 * exc     the exception number: 2 NMI, 3 HardFault, 4 MemManage, 5 BusFault, 6 UsageFault,
 *         7 SecureFault, from 16 an interrupt that nobody asked for
 * The default (weak) one restarts the board. If a replacement returns, the board restarts. */
void tm_fault_report(const uint32_t *frame, uint32_t exc);

/* SCB->CFSR, the reasons of a fault; 0 on cores without it (Armv6-M). */
uint32_t tm_port_fault_status(void);

#ifdef __cplusplus
}
#endif

#endif
