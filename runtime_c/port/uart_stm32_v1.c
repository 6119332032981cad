/* uart_stm32_v1.c: USART of STM32F1, F2 and F4 (status and data register SR, DR).
 * Source: RM0090 "USART registers". */
#include "tm_regs.h"

#if defined(TM_UART_STM32_V1)
#include "stm32_gpio.h"

enum { SR = 0x0, DR = 0x4, BRR = 0x8, CR1 = 0xC };
enum { ORE = 1 << 3, RXNE = 1 << 5, TC = 1 << 6, TXE = 1 << 7 };

static bool overrun_seen;

void tm_uart_init(void)
{
    stm32_uart_pins();
    TM_REG(TM_UART_BASE + CR1) = 0;
    TM_REG(TM_UART_BASE + BRR) = (tm_clock_uart_hz + TM_UART_BAUD / 2u) / TM_UART_BAUD; /* 16 samples a bit */
    TM_REG(TM_UART_BASE + CR1) = 1u << 13 | 1u << 5 | 1u << 3 | 1u << 2;                /* UE RXNEIE TE RE */
}

bool tm_uart_rx_ready(void)
{
    /* Reading SR and then DR clears ORE, so it must be kept here. */
    const uint32_t status = TM_REG(TM_UART_BASE + SR);
    if ((status & ORE) != 0u) {
        overrun_seen = true;
        if ((status & RXNE) == 0u) { /* the overrun came between an earlier read of SR and DR */
            (void)TM_REG(TM_UART_BASE + DR);
        }
    }
    return (status & RXNE) != 0u;
}

uint8_t tm_uart_get(void)
{
    return (uint8_t)TM_REG(TM_UART_BASE + DR);
}

bool tm_uart_tx_ready(void)
{
    return (TM_REG(TM_UART_BASE + SR) & TXE) != 0u;
}

void tm_uart_put(uint8_t byte)
{
    TM_REG(TM_UART_BASE + DR) = byte;
}

bool tm_uart_tx_done(void)
{
    return (TM_REG(TM_UART_BASE + SR) & TC) != 0u;
}

void tm_uart_rx_ack(void)
{
    /* reading DR acknowledges */
}

bool tm_uart_overrun(void)
{
    const bool seen = overrun_seen;
    overrun_seen = false;
    return seen;
}

#endif
