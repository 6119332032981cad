/* tm_link.c: the board's end of the serial link (docs/protocol.md, "The board's rules"). */
#include "tm_link.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "tm_port.h"

/* ---- numbers of the protocol ------------------------------------------------------------- */

enum {
    KIND_HELLO = 0x01,
    KIND_INFO = 0x02,
    KIND_WRITE = 0x03,
    KIND_INVOKE = 0x04,
    KIND_READ = 0x05,
    KIND_STEP = 0x06,
    KIND_STATUS = 0x07,
    KIND_RESET = 0x08,
    KIND_REPLY = 0x80, /* added to the request's kind */
    KIND_READY = 0xF0,
    KIND_BUSY = 0xF1,
    KIND_FAULT = 0xF2,
    KIND_NAK = 0xF3
};

enum {
    STATUS_OK = 0,
    STATUS_UNKNOWN_KIND = 1,
    STATUS_BAD_ARGUMENT = 2,
    STATUS_BAD_STATE = 3,
    STATUS_NO_SESSION = 4,
    STATUS_INVOKE_FAILED = 5,
    STATUS_NOT_AVAILABLE = 6,
    STATUS_BAD_VERSION = 7
};

enum { FLAG_TRACE = 1, FLAG_CYCLES = 2, FLAG_FAULT = 4, FLAG_STATES = 8 };
enum { TABLE_MODEL = 0, TABLE_LAYER = 1 };
enum { SOURCE_OUTPUT = 0, SOURCE_LAYER = 1 };

enum {
    HEADER_BYTES = 6,
    CRC_BYTES = 4,
    FRAMING_BYTES = 3, /* delimiter, COBS code byte, delimiter */
    BODY_MAX = TM_LINK_PACKET_MAX - FRAMING_BYTES,
    PAYLOAD_MAX = BODY_MAX - HEADER_BYTES - CRC_BYTES,
    PAYLOAD_MIN = TM_LINK_PACKET_MIN - FRAMING_BYTES - HEADER_BYTES - CRC_BYTES
};

/* Work between two BUSY frames where no cycle counter tells the time: multiply-accumulates. */
#define BUSY_MACS 2000000u

#define KEPT_MAGIC 0x544D4C31u /* "TML1" */

/* Largest packet that a board takes; smaller where its receive buffer is. */
#ifndef TM_LINK_PACKET
#define TM_LINK_PACKET 256
#endif
_Static_assert(TM_LINK_PACKET >= TM_LINK_PACKET_MIN && TM_LINK_PACKET <= TM_LINK_PACKET_MAX,
               "TM_LINK_PACKET is 33 to 256 bytes");

/* Around the program in flash, from the linker script; absent (0) in scripts that are not ours. */
extern const uint8_t tm_image_start[] __attribute__((weak));
extern const uint8_t tm_image_end[] __attribute__((weak));

/* ---- state ------------------------------------------------------------------------------- */

/* Survives a reset: lies in a section that start-up code does not clear. */
typedef struct {
    uint32_t magic;
    uint16_t boot;  /* counts starts; never 0 */
    uint16_t layer; /* that ran when the fault came */
    uint32_t fault; /* exception number of the fault that caused the reset, 0: none */
    uint32_t pc;
    uint32_t lr;
    uint32_t cfsr;
    uint32_t stack_free;
    uint32_t crc; /* of all before it: the content of SRAM after power-up is arbitrary */
} survivor;

static survivor kept __attribute__((section(".noinit")));

typedef struct {
    const tm_model *model;
    uint8_t *arena;

    uint16_t session; /* chosen by the host's HELLO */
    uint16_t last_seq;
    uint8_t last_kind;
    bool open;        /* a HELLO has been answered since start */
    uint32_t payload; /* bytes of payload that the negotiated packet size leaves */

    bool has_cycles;
    survivor fault; /* the fault that caused the last reset; .fault == 0: none */
    bool outputs_valid;
    uint32_t image_bytes; /* of the program in flash; 0: not known */
    uint32_t image_crc;

    uint8_t rx[BODY_MAX + 1]; /* COBS bytes of the frame being received; decoded in place */
    uint32_t rx_count;
    bool rx_overflow;
    bool rx_pending; /* rx holds a checked request that waits until an inference has ended */
    uint16_t bad_frames;

    uint8_t tx[BODY_MAX]; /* body of the last reply, kept to answer a repeated request */
    uint32_t tx_count;

    volatile uint16_t layer; /* running now; read by the fault handler */
    uint32_t mark;           /* cycle counter where `cycles` was brought up to date */
    uint64_t cycles;         /* since the inference started, without time spent on the link */

    const tm_tensor_info *pushed; /* the input that arrives row by row; NULL: none */
    uint8_t *row;                 /* its row at hand, `row_fill` of `row_bytes` bytes so far */
    uint32_t row_bytes;
    uint32_t row_fill;
    int32_t rows; /* pushed so far of the image at hand */
#if defined(TM_TRACE) && TM_TRACE
    uint64_t layer_start;
    uint64_t busy_since;
    uint32_t busy_macs;
    bool stepping; /* a STEP waits for its layer */
    bool stopped;  /* the inference waits behind layer `target` */
    bool let_go;   /* ... and shall go on */
    uint16_t target;
#endif
} link_state;

static link_state link;

/* ---- bytes ------------------------------------------------------------------------------- */

static uint32_t crc32_update(uint32_t crc, const uint8_t *bytes, uint32_t count)
{
    /* CRC-32 (IEEE 802.3, as zlib), four bits at a time: 64 bytes of table suit small flash. */
    static const uint32_t table[16] = {0x00000000u, 0x1db71064u, 0x3b6e20c8u, 0x26d930acu,
                                       0x76dc4190u, 0x6b6b51f4u, 0x4db26158u, 0x5005713cu,
                                       0xedb88320u, 0xf00f9344u, 0xd6d6a3e8u, 0xcb61b38cu,
                                       0x9b64c2b0u, 0x86d3d2d4u, 0xa00ae278u, 0xbdbdf21cu};
    crc = ~crc;
    for (uint32_t i = 0; i < count; ++i) {
        crc ^= bytes[i];
        crc = (crc >> 4) ^ table[crc & 15u];
        crc = (crc >> 4) ^ table[crc & 15u];
    }
    return ~crc;
}

static uint16_t get16(const uint8_t *p)
{
    return (uint16_t)(p[0] | ((uint32_t)p[1] << 8));
}

static uint32_t get32(const uint8_t *p)
{
    return get16(p) | ((uint32_t)get16(p + 2) << 16);
}

static void put16(uint8_t *p, uint32_t value)
{
    p[0] = (uint8_t)value;
    p[1] = (uint8_t)(value >> 8);
}

static void put32(uint8_t *p, uint32_t value)
{
    put16(p, value);
    put16(p + 2, value >> 16);
}

static void put64(uint8_t *p, uint64_t value)
{
    put32(p, (uint32_t)value);
    put32(p + 4, (uint32_t)(value >> 32));
}

/* ---- sending ----------------------------------------------------------------------------- */

/* Sends a body (at most BODY_MAX bytes) as delimiter, COBS, delimiter. */
static void send_body(const uint8_t *body, uint32_t count)
{
    static const uint8_t delimiter = 0;
    tm_port_write(&delimiter, 1);
    uint32_t start = 0;
    for (;;) { /* one COBS block a turn: code byte, then the bytes before the next zero */
        uint32_t end = start;
        while (end < count && body[end] != 0) {
            ++end;
        }
        const uint8_t code = (uint8_t)(end - start + 1u); /* BODY_MAX < 254: no long blocks */
        tm_port_write(&code, 1);
        if (end > start) {
            tm_port_write(body + start, end - start);
        }
        if (end == count) {
            break;
        }
        start = end + 1;
    }
    tm_port_write(&delimiter, 1);
}

/* Writes header and CRC around a payload that already stands at body + HEADER_BYTES. */
static uint32_t finish_body(uint8_t *body, uint8_t kind, uint8_t status, uint16_t seq, uint32_t payload_bytes)
{
    body[0] = kind;
    body[1] = status;
    put16(body + 2, seq);
    put16(body + 4, kept.boot);
    const uint32_t count = HEADER_BYTES + payload_bytes;
    put32(body + count, crc32_update(0, body, count));
    return count + CRC_BYTES;
}

/* A short frame beside the kept reply: READY, BUSY, FAULT, NAK, refusals. */
static void send_short(uint8_t kind, uint8_t status, uint16_t seq, const uint8_t *payload, uint32_t count)
{
    uint8_t body[HEADER_BYTES + PAYLOAD_MIN + CRC_BYTES];
    if (count > 0) {
        memcpy(body + HEADER_BYTES, payload, count);
    }
    send_body(body, finish_body(body, kind, status, seq, count));
}

static uint8_t *reply_payload(void)
{
    return link.tx + HEADER_BYTES;
}

/* Sends the reply to the request `last_kind`/`last_seq` and keeps it. */
static void reply(uint8_t status, uint32_t payload_bytes)
{
    link.tx_count =
        finish_body(link.tx, (uint8_t)(link.last_kind | KIND_REPLY), status, link.last_seq, payload_bytes);
    send_body(link.tx, link.tx_count);
}

static void send_busy(uint8_t kind, uint16_t seq)
{
    uint8_t payload[3];
    payload[0] = kind;
    put16(payload + 1, link.layer);
    send_short(KIND_BUSY, STATUS_OK, seq, payload, sizeof payload);
}

static uint32_t put_fault(uint8_t *p)
{
    p[0] = (uint8_t)link.fault.fault;
    put16(p + 1, link.fault.layer);
    put32(p + 3, link.fault.pc);
    put32(p + 7, link.fault.lr);
    put32(p + 11, link.fault.cfsr);
    put32(p + 15, link.fault.stack_free);
    return 19;
}

/* ---- cycles ------------------------------------------------------------------------------ */

/* Adds the cycles since the last call. Called at least once per layer, so a 32-bit counter that
 * wraps during a long inference loses nothing. */
static void count_cycles(void)
{
    const uint32_t now = tm_port_cycles();
    link.cycles += (uint32_t)(now - link.mark);
    link.mark = now;
}

/* Leaves out what has passed since count_cycles(): time spent on the link. */
static void skip_cycles(void)
{
    link.mark = tm_port_cycles();
}

/* ---- INFO: records that are written out byte by byte, so that none needs a buffer --------- */

typedef struct {
    uint8_t *out;
    uint32_t skip; /* bytes of the record before the asked window */
    uint32_t room;
    uint32_t total;
} record;

static void emit8(record *r, uint32_t byte)
{
    if (r->total >= r->skip && r->total - r->skip < r->room) {
        r->out[r->total - r->skip] = (uint8_t)byte;
    }
    r->total += 1;
}

static void emit16(record *r, uint32_t value)
{
    emit8(r, value & 0xFFu);
    emit8(r, (value >> 8) & 0xFFu);
}

static void emit32(record *r, uint32_t value)
{
    emit16(r, value & 0xFFFFu);
    emit16(r, value >> 16);
}

static void emit_string(record *r, const char *text)
{
    do {
        emit8(r, (uint8_t)*text);
    } while (*text++ != '\0');
}

static uint32_t flags(void)
{
    uint32_t value = 0;
#if defined(TM_TRACE) && TM_TRACE
    value |= FLAG_TRACE;
#endif
    if (link.has_cycles) {
        value |= FLAG_CYCLES;
    }
    if (link.fault.fault != 0) {
        value |= FLAG_FAULT;
    }
    if (link.model->reset != NULL) {
        value |= FLAG_STATES;
    }
    return value;
}

static void emit_model(record *r)
{
    const tm_model *model = link.model;
    emit32(r, link.image_bytes);
    emit32(r, link.image_crc);
    for (uint32_t i = 0; i < sizeof model->sha256; ++i) {
        emit8(r, model->sha256[i]);
    }
    emit32(r, tm_port_clock_hz());
    emit32(r, model->arena_bytes);
    emit16(r, model->layer_count);
    emit16(r, model->input_count);
    emit16(r, model->output_count);
    emit16(r, link.pushed != NULL ? (uint32_t)(link.pushed - model->inputs) : TM_LINK_NO_INPUT);
    emit32(r, (uint32_t)model->pushed_rows);
    emit32(r, link.row_bytes);
    for (uint32_t i = 0; i < model->input_count; ++i) {
        emit32(r, model->inputs[i].bytes);
    }
    for (uint32_t i = 0; i < model->output_count; ++i) {
        emit32(r, model->outputs[i].bytes);
    }
    emit_string(r, tm_port_board_id());
    emit_string(r, model->name);
}

static void emit_layer(record *r, const tm_layer_info *layer)
{
    emit32(r, layer->macs);
    emit32(r, layer->bytes);
    emit_string(r, layer->op);
    emit_string(r, layer->name);
}

/* ---- requests ---------------------------------------------------------------------------- */

static void refuse(uint8_t status)
{
    reply(status, 0);
}

static void reset_states(void)
{
    if (link.model->reset != NULL) {
        link.model->reset(link.arena);
    }
}

/* HELLO: version u8, reserved u8, largest packet u16. */
static void on_hello(const uint8_t *p, uint32_t count)
{
    uint8_t *out = reply_payload();
    const bool readable = count >= 4 && p[0] == TM_LINK_VERSION;
    uint32_t packet = readable ? get16(p + 2) : TM_LINK_PACKET_MIN;
    packet = packet < TM_LINK_PACKET ? packet : TM_LINK_PACKET;
    packet = packet > TM_LINK_PACKET_MIN ? packet : TM_LINK_PACKET_MIN;
    link.payload = packet - FRAMING_BYTES - HEADER_BYTES - CRC_BYTES;
    out[0] = TM_LINK_VERSION;
    out[1] = (uint8_t)flags();
    put16(out + 2, packet);
    reply(readable ? STATUS_OK : STATUS_BAD_VERSION, 4);
}

/* INFO: table u8, index u16, offset u16. Reply: bytes of the record u16, bytes from offset. */
static void on_info(const uint8_t *p, uint32_t count)
{
    uint8_t *out = reply_payload();
    if (count != 5) {
        refuse(STATUS_BAD_ARGUMENT);
        return;
    }
    const uint16_t index = get16(p + 1);
    record r = {out + 2, get16(p + 3), link.payload - 2u, 0};
    if (p[0] == TABLE_MODEL && index == 0) {
        emit_model(&r);
    } else if (p[0] == TABLE_LAYER && index < link.model->layer_count) {
        emit_layer(&r, &link.model->layers[index]);
    } else {
        refuse(STATUS_BAD_ARGUMENT);
        return;
    }
    uint32_t bytes = r.total > r.skip ? r.total - r.skip : 0;
    bytes = bytes < r.room ? bytes : r.room;
    put16(out, r.total);
    reply(STATUS_OK, 2 + bytes);
}

/* Runs as much of the network as one more row allows. Its name marks the end of that for the profiler,
 * as tm_link_run_model's does; hence neither static nor inlined. */
int tm_link_push_row(void);
__attribute__((noinline)) int tm_link_push_row(void)
{
    skip_cycles();
    const int result = link.model->push_row(link.arena, link.rows, link.row);
    count_cycles();
    link.layer = TM_LINK_NO_LAYER;
    return result;
}

/* Forgets the rows of an image that has begun, or been used. */
static void drop_rows(void)
{
    link.rows = 0;
    link.row_fill = 0;
}

/* WRITE to the input that is pushed: bytes from `offset` of the image, or of its repetitions where the
 * model wants it several times over. They come in sequence; offset 0 begins a new image. */
static void write_rows(uint32_t offset, const uint8_t *p, uint32_t count)
{
    if (offset == 0) {
        drop_rows();
        link.cycles = 0;
#if defined(TM_TRACE) && TM_TRACE
        link.busy_since = 0;
        link.busy_macs = 0;
#endif
    }
    const uint32_t received = (uint32_t)link.rows * link.row_bytes + link.row_fill;
    if (offset != received) {
        refuse(STATUS_BAD_STATE);
        return;
    }
    if (count > (uint32_t)link.model->pushed_rows * link.row_bytes - received) {
        refuse(STATUS_BAD_ARGUMENT);
        return;
    }
    link.outputs_valid = false;
    while (count > 0) {
        const uint32_t missing = link.row_bytes - link.row_fill;
        const uint32_t bytes = count < missing ? count : missing;
        memcpy(link.row + link.row_fill, p, bytes);
        p += bytes;
        count -= bytes;
        link.row_fill += bytes;
        if (bytes == missing) {
            const int result = tm_link_push_row();
            if (result != TM_OK) {
                drop_rows();
                put32(reply_payload(), (uint32_t)result);
                reply(STATUS_INVOKE_FAILED, 4);
                return;
            }
            link.row_fill = 0;
            link.rows += 1;
        }
    }
    reply(STATUS_OK, 0);
}

/* WRITE: input u8, offset u32, bytes. They go straight into the arena, or are pushed row by row. */
static void on_write(const uint8_t *p, uint32_t count)
{
    if (count < 5 || p[0] >= link.model->input_count) {
        refuse(STATUS_BAD_ARGUMENT);
        return;
    }
    const tm_tensor_info *input = &link.model->inputs[p[0]];
    const uint32_t offset = get32(p + 1);
    const uint32_t bytes = count - 5;
    if (input == link.pushed) {
        write_rows(offset, p + 5, bytes);
        return;
    }
    if (offset > input->bytes || bytes > input->bytes - offset) {
        refuse(STATUS_BAD_ARGUMENT);
        return;
    }
    link.outputs_valid = false; /* an input may share bytes with an output */
    drop_rows();                /* rows pushed so far were computed with what was there before */
    if (bytes > 0) {
        memcpy(link.arena + input->offset + offset, p + 5, bytes);
    }
    reply(STATUS_OK, 0);
}

/* Whether all rows are pushed and invoke() has not run since; false where no input is pushed. */
static bool all_rows(void)
{
    return link.pushed != NULL && link.rows == link.model->pushed_rows;
}

/* READ: source u8, index u16, offset u32, bytes u16. */
static void on_read(const uint8_t *p, uint32_t count)
{
    if (count != 9) {
        refuse(STATUS_BAD_ARGUMENT);
        return;
    }
    const uint16_t index = get16(p + 1);
    const uint32_t offset = get32(p + 3);
    const uint32_t bytes = get16(p + 7);
    uint32_t base = 0;
    uint32_t size = 0;
    bool ready = false;
    if (p[0] == SOURCE_OUTPUT && index < link.model->output_count) {
        base = link.model->outputs[index].offset;
        size = link.model->outputs[index].bytes;
        ready = link.outputs_valid;
#if defined(TM_TRACE) && TM_TRACE
    } else if (p[0] == SOURCE_LAYER && index < link.model->layer_count) {
        base = link.model->layers[index].offset;
        size = link.model->layers[index].bytes;
        ready = link.stopped ? link.target == index : index == 0 && all_rows();
#endif
    } else {
        refuse(STATUS_BAD_ARGUMENT);
        return;
    }
    if (!ready) {
        refuse(STATUS_BAD_STATE);
    } else if (offset > size || bytes > size - offset || bytes > link.payload) {
        refuse(STATUS_BAD_ARGUMENT);
    } else {
        memcpy(reply_payload(), link.arena + base + offset, bytes);
        reply(STATUS_OK, bytes);
    }
}

/* Runs one inference, or what is left of it behind the last pushed row. Its name marks the inference's
 * end for the profiler, which recognises the return from invoke() by it; hence neither static nor
 * inlined. */
int tm_link_run_model(void);
__attribute__((noinline)) int tm_link_run_model(void)
{
    send_busy(link.last_kind, link.last_seq); /* "accepted": from here on, silence may be work */
    link.outputs_valid = false;
    if (link.pushed == NULL) {
        link.cycles = 0;
#if defined(TM_TRACE) && TM_TRACE
        link.busy_since = 0;
        link.busy_macs = 0;
#endif
    } else if (!all_rows()) { /* the model cannot tell once an inference has used its arena */
        return TM_ERROR_ROWS;
    }
    drop_rows();
    skip_cycles();
    const int result = link.model->invoke(link.arena);
    count_cycles();
    link.layer = TM_LINK_NO_LAYER;
    return result;
}

/* INVOKE. Reply: result i32, cycles valid u8, cycles u64, stack_free u32. */
static void on_invoke(uint32_t count)
{
    if (count != 0) {
        refuse(STATUS_BAD_ARGUMENT);
        return;
    }
    const int result = tm_link_run_model();
    uint8_t *out = reply_payload();
    put32(out, (uint32_t)result);
    out[4] = link.has_cycles ? 1 : 0;
    put64(out + 5, link.cycles);
    put32(out + 13, tm_port_stack_free());
    link.outputs_valid = result == 0;
    reply(result == 0 ? STATUS_OK : STATUS_INVOKE_FAILED, 17);
}

#if defined(TM_TRACE) && TM_TRACE
/* The payload of STEP's reply, 19 bytes. */
static void put_step(uint16_t layer, uint64_t cycles)
{
    const tm_layer_info *info = &link.model->layers[layer];
    uint8_t *out = reply_payload();
    put16(out, layer);
    out[2] = link.has_cycles ? 1 : 0;
    put32(out + 3, crc32_update(0, link.arena + info->offset, info->bytes));
    put32(out + 7, info->bytes);
    put64(out + 11, cycles);
}
#endif

/* STEP: layer u16. Runs until that layer has run and stops there; the reply is sent from the
 * hook behind the layer. A second STEP goes on from there; any other request that needs the
 * arena first lets the inference run to its end. */
static void on_step(const uint8_t *p, uint32_t count)
{
#if defined(TM_TRACE) && TM_TRACE
    if (count != 2 || get16(p) >= link.model->layer_count) {
        refuse(STATUS_BAD_ARGUMENT);
        return;
    }
    if (link.stopped) {
        if (get16(p) <= link.target) {
            refuse(STATUS_BAD_STATE); /* that layer is past */
            return;
        }
        send_busy(link.last_kind, link.last_seq);
        link.target = get16(p);
        link.stepping = true;
        link.let_go = true;
        return;
    }
    if (get16(p) == 0 && all_rows()) { /* has run already, while the rows came */
        put_step(0, link.cycles);
        reply(STATUS_OK, 19);
        return;
    }
    link.target = get16(p);
    link.stepping = true;
    const int result = tm_link_run_model();
    if (link.stepping) { /* invoke() returned before the layer came */
        link.stepping = false;
        put32(reply_payload(), (uint32_t)result);
        reply(STATUS_INVOKE_FAILED, 4);
    }
#else
    (void)p;
    (void)count;
    refuse(STATUS_NOT_AVAILABLE);
#endif
}

static void on_status(void)
{
    reply(STATUS_OK, put_fault(reply_payload()));
}

/* ---- receiving --------------------------------------------------------------------------- */

/* Decodes COBS in place; there are no zeros in it. Returns the bytes of the body, 0 where malformed. */
static uint32_t decode_cobs(uint8_t *bytes, uint32_t count)
{
    uint32_t in = 0;
    uint32_t out = 0;
    while (in < count) {
        const uint32_t code = bytes[in++];
        if (in + code - 1u > count) {
            return 0;
        }
        for (uint32_t i = 1; i < code; ++i) {
            bytes[out++] = bytes[in++];
        }
        if (in < count) {
            bytes[out++] = 0; /* always: rx is too short for a block of 254 bytes without a zero */
        }
    }
    return out;
}

static void refuse_frame(void)
{
    uint8_t payload[2];
    link.bad_frames = (uint16_t)(link.bad_frames + 1u);
    put16(payload, link.bad_frames);
    send_short(KIND_NAK, STATUS_OK, 0, payload, sizeof payload);
}

/* Takes one byte. True where it ends a frame whose CRC is right: its body is in rx. */
static bool receive(uint8_t byte)
{
    if (byte != 0) {
        if (link.rx_count < sizeof link.rx) {
            link.rx[link.rx_count++] = byte;
        } else if (!link.rx_overflow) {
            link.rx_overflow = true; /* ignore all up to the next delimiter */
            refuse_frame();          /* at once: a wrong baud rate may never look like a delimiter */
        }
        return false;
    }
    const bool overflow = link.rx_overflow;
    const uint32_t wire = link.rx_count;
    link.rx_count = 0;
    link.rx_overflow = false;
    if (overflow || wire == 0) {
        return false; /* already refused; or nothing between two delimiters */
    }
    const uint32_t count = decode_cobs(link.rx, wire);
    if (count < HEADER_BYTES + CRC_BYTES ||
        crc32_update(0, link.rx, count - CRC_BYTES) != get32(link.rx + count - CRC_BYTES)) {
        refuse_frame();
        return false;
    }
    link.rx_count = count;
    return true;
}

/* Handles the request in rx: a repeated one gets the kept reply again, one out of order none. */
static void handle(void)
{
    const uint8_t kind = link.rx[0];
    const uint16_t seq = get16(link.rx + 2);
    const uint16_t session = get16(link.rx + 4);
    const uint8_t *payload = link.rx + HEADER_BYTES;
    const uint32_t count = link.rx_count - HEADER_BYTES - CRC_BYTES;

    if (link.rx_pending) {
        link.rx_pending = false;
    } else if ((kind & KIND_REPLY) != 0) {
        link.rx_count = 0; /* an echo */
        return;
    } else if (link.open && session == link.session) {
        if (kind == link.last_kind && seq == link.last_seq) {
            link.rx_count = 0;
            send_body(link.tx, link.tx_count);
            return;
        }
        if (kind == KIND_HELLO || seq != (uint16_t)(link.last_seq + 1u)) {
            link.rx_count = 0; /* left over from earlier in this session */
            return;
        }
    } else if (kind != KIND_HELLO) {
        link.rx_count = 0;
        send_short((uint8_t)(kind | KIND_REPLY), STATUS_NO_SESSION, seq, NULL, 0);
        return;
    }
#if defined(TM_TRACE) && TM_TRACE
    if (link.stopped && (kind == KIND_WRITE || kind == KIND_INVOKE)) {
        link.rx_pending = true; /* the arena is in use: first let the inference end */
        link.let_go = true;
        return;
    }
#endif
    link.rx_count = 0; /* the payload stays readable until the next byte is received */
    link.last_kind = kind;
    link.last_seq = seq;
    switch (kind) {
    case KIND_HELLO:
        link.open = true;
        link.session = session;
        reset_states(); /* a session begins as after a start */
        on_hello(payload, count);
        break;
    case KIND_INFO:
        on_info(payload, count);
        break;
    case KIND_WRITE:
        on_write(payload, count);
        break;
    case KIND_INVOKE:
        on_invoke(count);
        break;
    case KIND_READ:
        on_read(payload, count);
        break;
    case KIND_STEP:
        on_step(payload, count);
        break;
    case KIND_STATUS:
        on_status();
        break;
    case KIND_RESET:
        reply(STATUS_OK, 0);
        tm_port_flush();
        tm_port_reset();
        break;
    default:
        refuse(STATUS_UNKNOWN_KIND);
        break;
    }
}

void tm_link_poll(void)
{
    for (;;) {
        if (link.rx_pending) {
            handle();
            continue;
        }
        const int byte = tm_port_read();
        if (byte < 0) {
            return;
        }
        if (receive((uint8_t)byte)) {
            handle();
        }
    }
}

/* ---- hooks around every layer ------------------------------------------------------------ */

#if defined(TM_TRACE) && TM_TRACE

/* Answers STEP behind its layer and serves the host until it wants to go on. */
static void stop_behind(uint16_t layer)
{
    put_step(layer, link.cycles - link.layer_start);
    link.stepping = false;
    link.stopped = true;
    link.let_go = false;
    reply(STATUS_OK, 19);
    while (!link.let_go) {
        const int byte = tm_port_read();
        if (byte < 0) {
            tm_port_idle();
        } else if (receive((uint8_t)byte)) {
            handle();
        }
    }
    link.stopped = false;
}

void tm_trace_begin(uint16_t layer)
{
    count_cycles();
    link.layer = layer;
    uint32_t macs = link.model->layers[layer].macs;
    if (layer == 0 && link.pushed != NULL) {
        macs /= (uint32_t)link.model->pushed_rows; /* this hook is called for every row */
    }
    link.busy_macs += macs;
    const bool due = link.has_cycles ? link.cycles - link.busy_since >= tm_port_clock_hz() / 2u
                                     : link.busy_macs >= BUSY_MACS;
    if (due) { /* tells the host that the board is slow, not dead */
        link.busy_since = link.cycles;
        link.busy_macs = 0;
        send_busy(link.last_kind, link.last_seq);
    }
    link.layer_start = link.cycles;
    skip_cycles();
}

void tm_trace_end(uint16_t layer)
{
    count_cycles();
    if (link.stepping && layer == link.target) {
        stop_behind(layer);
    }
    skip_cycles();
}

#endif

/* ---- start and fault --------------------------------------------------------------------- */

static uint32_t kept_crc(void)
{
    return crc32_update(0, (const uint8_t *)&kept, offsetof(survivor, crc));
}

void tm_link_init(const tm_model *model, void *arena, void *row)
{
    memset(&link, 0, sizeof link);
    link.model = model;
    link.arena = (uint8_t *)arena;
    link.payload = PAYLOAD_MIN;
    link.layer = TM_LINK_NO_LAYER;
    for (uint32_t i = 0; i < model->input_count; ++i) {
        if (model->inputs[i].offset == TM_PUSHED) { /* [1][rows][columns][channels] */
            link.pushed = &model->inputs[i];
            link.row = (uint8_t *)row;
            link.row_bytes = model->inputs[i].bytes / model->inputs[i].dims[1];
        }
    }

    if (kept.magic != KEPT_MAGIC || kept.crc != kept_crc()) {
        memset(&kept, 0, sizeof kept);
        kept.magic = KEPT_MAGIC;
    }
    link.fault = kept; /* why the board restarted, if by a fault */
    kept.fault = 0;
    kept.boot = (uint16_t)(kept.boot == 0xFFFFu ? 1u : kept.boot + 1u);
    kept.crc = kept_crc();

    link.image_bytes = (uint32_t)((uintptr_t)tm_image_end - (uintptr_t)tm_image_start);
    link.image_crc = crc32_update(0, tm_image_start, link.image_bytes);
    link.mark = tm_port_cycles();
    count_cycles();
    link.has_cycles = link.cycles != 0;

    const uint8_t payload = (uint8_t)flags();
    send_short(KIND_READY, STATUS_OK, 0, &payload, sizeof payload);
}

/* Replaces the port's default. Stores the fault where it survives the restart that follows, and
 * reports it at once: no answer is needed for that. */
void tm_fault_report(const uint32_t *frame, uint32_t exc)
{
    enum { FRAME_LR = 5, FRAME_PC = 6 };
    if (link.model == NULL) {
        return; /* before tm_link_init(): nobody to tell */
    }
    kept.fault = exc;
    kept.layer = link.layer;
    kept.pc = frame[FRAME_PC];
    kept.lr = frame[FRAME_LR];
    kept.cfsr = tm_port_fault_status();
    kept.stack_free = tm_port_stack_free();
    kept.crc = kept_crc();
    link.fault = kept;
    uint8_t payload[PAYLOAD_MIN];
    send_short(KIND_FAULT, STATUS_OK, 0, payload, put_fault(payload));
    tm_port_flush();
}
