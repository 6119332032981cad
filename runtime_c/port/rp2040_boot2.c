/* rp2040_boot2.c: the RP2040's second boot stage: execute in place from any SPI flash, one bit wide.
 *
 * The boot ROM copies the first 256 bytes of flash to SRAM, checks the CRC-32 in the last four (filled
 * in by the build, platforms/tinyml/rp2040_checksum.py) and jumps there. The code must not depend on
 * where it runs. It sets the flash controller to the read command 03h with a 24-bit address, which
 * every SPI flash knows, at a quarter of the system clock (31 MHz later; 03h is good to 50 MHz), and
 * enters the program through the vector table behind these 256 bytes. Not run on silicon.
 *
 * Source: RP2040 datasheet, chapters boot sequence (CRC: polynomial 0x04C11DB7, start 0xFFFFFFFF, not
 * reflected) and SSI; register values compared with the Pico SDK's boot2_generic_03h.S.
 */
#include "tm_regs.h"

#if defined(TM_CLOCK_RP2040)

__attribute__((naked, used, section(".boot2"))) void tm_rp2040_boot2(void)
{
    __asm volatile(".syntax unified\n"
                   "ldr r3, =0x18000000\n" /* SSI */
                   "movs r0, #0\n"
                   "str r0, [r3, #0x08]\n" /* SSIENR: off, so that it may be set up */
                   "movs r0, #4\n"
                   "str r0, [r3, #0x14]\n" /* BAUDR */
                   "ldr r0, =0x001F0300\n" /* CTRLR0: frames of 32 clocks, EEPROM read mode, one bit wide */
                   "str r0, [r3, #0x00]\n"
                   "ldr r0, =0x03000218\n" /* SPI_CTRLR0: command 03h, 8 bits; address 6 nibbles */
                   "movs r1, #0xF4\n"
                   "str r0, [r3, r1]\n"
                   "movs r0, #0\n"
                   "str r0, [r3, #0x04]\n" /* CTRLR1: one frame a read */
                   "movs r0, #1\n"
                   "str r0, [r3, #0x08]\n" /* SSIENR: on */
                   "ldr r0, =0x10000100\n" /* the vector table */
                   "ldr r1, =0xE000ED08\n"
                   "str r0, [r1]\n"
                   "ldr r1, [r0]\n"
                   "msr msp, r1\n"
                   "ldr r0, [r0, #4]\n"
                   "bx r0\n"
                   ".ltorg\n"
                   ".balign 4\n"
                   /* pad to 252 bytes, then room for the checksum */
                   ".space 252 - (. - tm_rp2040_boot2), 0\n"
                   ".word 0\n");
}

#endif
