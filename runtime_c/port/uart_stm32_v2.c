/* uart_stm32_v2.c: USART of STM32F7, H7, L4 and U5, and LPUART (registers ISR, ICR, RDR, TDR).
 * Source: RM0385, RM0433, RM0456 "USART registers"; RM0432 "LPUART baud rate generation". */
#include "tm_regs.h"

#if defined(TM_UART_STM32_V2) || defined(TM_UART_STM32_LPUART)
#include "stm32_gpio.h"

enum { CR1 = 0x0, BRR = 0xC, ISR = 0x1C, ICR = 0x20, RDR = 0x24, TDR = 0x28 };
enum { ORE = 1 << 3, RXNE = 1 << 5, TC = 1 << 6, TXE = 1 << 7 };

void tm_uart_init(void)
{
    stm32_uart_pins();
    TM_REG(TM_UART_BASE + CR1) = 0;
#if defined(TM_UART_STM32_LPUART)
    /* BRR = 256 clock / baud, 20 bits: 64-bit product, since 256 * 120 MHz needs 35 bits */
    TM_REG(TM_UART_BASE + BRR) =
        (uint32_t)(((uint64_t)tm_clock_uart_hz * 256u + TM_UART_BAUD / 2u) / TM_UART_BAUD);
#else
    TM_REG(TM_UART_BASE + BRR) = (tm_clock_uart_hz + TM_UART_BAUD / 2u) / TM_UART_BAUD;
#endif
    TM_REG(TM_UART_BASE + CR1) = 1u << 5 | 1u << 3 | 1u << 2; /* RXNEIE TE RE; no FIFO */
    TM_REG(TM_UART_BASE + CR1) |= 1u;                         /* UE */
}

bool tm_uart_rx_ready(void)
{
    return (TM_REG(TM_UART_BASE + ISR) & RXNE) != 0u;
}

uint8_t tm_uart_get(void)
{
    return (uint8_t)TM_REG(TM_UART_BASE + RDR);
}

bool tm_uart_tx_ready(void)
{
    return (TM_REG(TM_UART_BASE + ISR) & TXE) != 0u;
}

void tm_uart_put(uint8_t byte)
{
    TM_REG(TM_UART_BASE + TDR) = byte;
}

bool tm_uart_tx_done(void)
{
    return (TM_REG(TM_UART_BASE + ISR) & TC) != 0u;
}

void tm_uart_rx_ack(void)
{
    /* reading RDR acknowledges */
}

bool tm_uart_overrun(void)
{
    const bool overrun = (TM_REG(TM_UART_BASE + ISR) & ORE) != 0u;
    if (overrun) {
        TM_REG(TM_UART_BASE + ICR) = ORE; /* or the interrupt would never end */
    }
    return overrun;
}

#endif
