/* tm_host_port.c: tm_port.h on a Unix host, so that the link and a model run as a process.
 *
 *   <program> FD      speaks over the open file descriptor FD (a socket, pipe or terminal)
 *
 * Signals stand for what happens to boards: SIGUSR1 is a press on the reset button (the variables
 * in .noinit live on), SIGSEGV, SIGBUS and SIGFPE reach the fault handler. End of file on FD ends
 * the program. With TM_HOST_NO_CYCLES in the environment the cycle counter reads 0, as in QEMU.
 */
#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "tm_port.h"

/* "Flash": what the link reports a length and a CRC of. The end is defined on the linker's command
 * line as 64 bytes later. */
#ifndef TM_HOST_IMAGE
#define TM_HOST_IMAGE "tinyml host build"
#endif
extern const uint8_t tm_image_start[64];
const uint8_t tm_image_start[64] = TM_HOST_IMAGE;

enum { HARD_FAULT = 3 };

int tm_firmware_main(void);

static int fd = -1;
static int have_cycles;
static sigjmp_buf restart;
static uint8_t buffer[256];
static ssize_t buffered;
static ssize_t taken;

void tm_port_init(void)
{
    buffered = 0;
    taken = 0;
}

int tm_port_read(void)
{
    if (taken == buffered) {
        struct pollfd poll_fd = {fd, POLLIN, 0};
        if (poll(&poll_fd, 1, 0) <= 0) {
            return -1;
        }
        taken = 0;
        buffered = read(fd, buffer, sizeof buffer);
        if (buffered <= 0) {
            _exit(0);
        }
    }
    return buffer[taken++];
}

uint32_t tm_port_lost(void)
{
    return 0;
}

void tm_port_write(const uint8_t *data, uint32_t n)
{
    while (n > 0) {
        const ssize_t sent = write(fd, data, n);
        if (sent < 0 && errno != EINTR && errno != EAGAIN) {
            _exit(0);
        }
        if (sent > 0) {
            data += sent;
            n -= (uint32_t)sent;
        }
    }
}

void tm_port_flush(void)
{
}

void tm_port_idle(void)
{
    struct pollfd poll_fd = {fd, POLLIN, 0};
    if (taken == buffered) {
        (void)poll(&poll_fd, 1, -1);
    }
}

uint32_t tm_port_cycles(void)
{
    struct timespec now;
    if (!have_cycles) {
        return 0;
    }
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint32_t)((uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec);
}

uint32_t tm_port_clock_hz(void)
{
    return 1000000000u;
}

const char *tm_port_board_id(void)
{
    return "host";
}

uint32_t tm_port_stack_bytes(void)
{
    return 0;
}

uint32_t tm_port_stack_free(void)
{
    return 4321;
}

uint32_t tm_port_fault_status(void)
{
    return 0x02000000u; /* division by zero, as good as any */
}

void tm_port_reset(void)
{
    siglongjmp(restart, 1);
}

void tm_port_allow_exit(void)
{
}

void tm_port_exit(int code)
{
    _exit(code);
}

static void on_reset(int number)
{
    (void)number;
    tm_port_reset();
}

static void on_fault(int number)
{
    const uint32_t frame[8] = {0, 0, 0, 0, 0, 0x11112222u, 0x33334444u, 0};
    (void)number;
    tm_fault_report(frame, HARD_FAULT);
    tm_port_reset();
}

#undef main /* the build renames the firmware's */
int main(int argc, char **argv)
{
    if (argc != 2) {
        return 2;
    }
    fd = atoi(argv[1]);
    have_cycles = getenv("TM_HOST_NO_CYCLES") == NULL;
    struct sigaction action = {0};
    action.sa_handler = on_reset;
    (void)sigaction(SIGUSR1, &action, NULL);
    action.sa_handler = on_fault;
    (void)sigaction(SIGSEGV, &action, NULL);
    (void)sigaction(SIGBUS, &action, NULL);
    (void)sigaction(SIGFPE, &action, NULL);
    (void)sigsetjmp(restart, 1);
    return tm_firmware_main();
}
