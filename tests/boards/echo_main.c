/* The smallest program on the port: announces itself, then does what a line asks for. */
#include <string.h>

#include "tm_port.h"

static uint32_t resets __attribute__((section(".noinit")));
static uint32_t initialised = 0x12345678u;
static uint32_t zeroed[64];

static void say(const char *text)
{
    tm_port_write((const uint8_t *)text, (uint32_t)strlen(text));
}

static void say_number(const char *name, uint32_t value)
{
    char digits[12];
    uint32_t n = sizeof digits;
    digits[--n] = '\0';
    do {
        digits[--n] = (char)('0' + (char)(value % 10u));
        value /= 10u;
    } while (value != 0u);
    say(name);
    say("=");
    say(&digits[n]);
    say("\n");
}

__attribute__((noinline)) static uint32_t recurse(uint32_t depth)
{
    volatile uint32_t here[16];
    here[depth % 16u] = depth;
    const uint32_t below = depth == 0u ? 0u : recurse(depth - 1u);
    return below + here[(depth + below) % 16u]; /* used after the call: no loop can replace it */
}

void tm_fault_report(const uint32_t *frame, uint32_t exc)
{
    say_number("FAULT exc", exc);
    say_number("pc", frame[6]);
    say_number("status", tm_port_fault_status());
}

int main(void)
{
    tm_port_init();
    bool ok = initialised == 0x12345678u;
    for (uint32_t i = 0; i < 64u; ++i) {
        ok = ok && zeroed[i] == 0u;
    }
    say("READY ");
    say(tm_port_board_id());
    say(ok ? " data-good\n" : " data-bad\n");
    char line[300];
    uint32_t n = 0;
    for (;;) {
        const int c = tm_port_read();
        if (c < 0) {
            tm_port_idle();
            continue;
        }
        if (c != '\n') {
            if (n < sizeof line - 1u) {
                line[n++] = (char)c;
            }
            continue;
        }
        line[n] = '\0';
        n = 0;
        if (strcmp(line, "clock") == 0) {
            say_number("clock", tm_port_clock_hz());
        } else if (strcmp(line, "stack") == 0) {
            say_number("stack", tm_port_stack_bytes());
            say_number("free", tm_port_stack_free());
        } else if (strcmp(line, "lost") == 0) {
            say_number("lost", tm_port_lost());
        } else if (strcmp(line, "cycles") == 0) {
            const uint32_t start = tm_port_cycles();
            for (volatile uint32_t i = 0; i < 1000u; ++i) {
            }
            say_number("cycles", tm_port_cycles() - start);
        } else if (strcmp(line, "now") == 0) {
            say_number("now", tm_port_cycles());
        } else if (strcmp(line, "count") == 0) {
            say_number("resets", resets);
            ++resets;
        } else if (strcmp(line, "undefined") == 0) {
            __asm volatile("udf #0");
        } else if (strcmp(line, "overflow") == 0) {
            say_number("never", recurse(1000000u));
        } else if (strcmp(line, "reset") == 0) {
            tm_port_reset();
        } else if (strcmp(line, "exit") == 0) {
            tm_port_allow_exit();
            tm_port_exit(7);
        } else {
            say("echo ");
            say(line);
            say("\n");
        }
    }
}
