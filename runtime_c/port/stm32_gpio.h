/* stm32_gpio.h: the UART's two pins and its clock, on any STM32 with this GPIO (F4, F7, H7, L4, U5).
 * Source: the families' reference manuals, "GPIO" (one register layout) and "RCC" (the base and the GPIO
 * clock register are each family's own).
 */
#ifndef STM32_GPIO_H
#define STM32_GPIO_H

#include "tm_regs.h"

#if defined(TM_CLOCK_STM32F4) || defined(TM_CLOCK_STM32F7)
#define STM32_RCC 0x40023800u
#define STM32_GPIO_ENABLE 0x30u /* AHB1ENR */
#define STM32_GPIO 0x40020000u
#elif defined(TM_CLOCK_STM32H7)
#define STM32_RCC 0x58024400u
#define STM32_GPIO_ENABLE 0xE0u /* AHB4ENR */
#define STM32_GPIO 0x58020000u
#elif defined(TM_CLOCK_STM32L4)
#define STM32_RCC 0x40021000u
#define STM32_GPIO_ENABLE 0x4Cu /* AHB2ENR */
#define STM32_GPIO 0x48000000u
#elif defined(TM_CLOCK_STM32U5)
#define STM32_RCC 0x46020C00u
#define STM32_GPIO_ENABLE 0x8Cu /* AHB2ENR1 */
#define STM32_GPIO 0x42020000u
#endif

static inline void stm32_alternate_pin(uint32_t port, uint32_t pin)
{
    const uintptr_t gpio = STM32_GPIO + 0x400u * port;
    TM_REG(STM32_RCC + STM32_GPIO_ENABLE) |= 1u << port;
    (void)TM_REG(STM32_RCC + STM32_GPIO_ENABLE); /* the clock runs two cycles after the write */
    tm_reg_modify(gpio + 0x08u, 3u << (2u * pin), 2u << (2u * pin)); /* OSPEEDR: high */
    tm_reg_modify(gpio + 0x0Cu, 3u << (2u * pin), 1u << (2u * pin)); /* PUPDR: pull-up */
    tm_reg_modify(gpio + 0x20u + 4u * (pin / 8u), 0xFu << (4u * (pin % 8u)), TM_UART_AF << (4u * (pin % 8u)));
    tm_reg_modify(gpio, 3u << (2u * pin), 2u << (2u * pin)); /* MODER: alternate function */
}

static inline void stm32_uart_pins(void)
{
    TM_REG(STM32_RCC + TM_UART_ENABLE_REGISTER) |= 1u << TM_UART_ENABLE_BIT;
    (void)TM_REG(STM32_RCC + TM_UART_ENABLE_REGISTER);
    stm32_alternate_pin(TM_UART_TX_PORT, TM_UART_TX_PIN);
    stm32_alternate_pin(TM_UART_RX_PORT, TM_UART_RX_PIN);
}

#endif
