/* tm_profile.c: a QEMU TCG plugin that counts the instructions of one inference, layer by layer.
 *
 *   -plugin tm_profile.so,out=FILE,ranges=FILE[,flash=FIRST:BEHIND:LINE:CODE:DATA:PREFETCH]
 *
 * `ranges` has one line per function: first address, first address behind it (both hexadecimal), a
 * role and a name:
 *
 *   push     the model's push_row(): the first entry of it starts an inference
 *   feed     its one caller: coming back there, counting stops until the next row or invoke()
 *   invoke   the model's invoke(): entering it starts an inference, or goes on with one whose rows
 *            have been pushed
 *   run      its one caller: coming back there ends the inference
 *   begin    the hook before a layer    } from its entry until the model goes on, nothing counts:
 *   end      the hook behind a layer    } neither the hook nor what it calls
 *   skip     interrupt handlers and other code that never counts
 *   other    everything else
 *
 * At exit `out` has "inferences N", then for the last one that ended "rows N" (entries of push_row()),
 * "outside N" (instructions outside any layer), "layer I N" for the I-th pair of hooks (a layer whose
 * rows are pushed has a pair for each) and "inside N NAME" for every function that counted in it; and
 * over the whole run "function N NAME" for every function that was executed.
 * The name "-" stands for code outside all ranges. "block I ADDRESS INSTRUCTIONS COUNT JUMPED" are the
 * straight runs of instructions that the I-th layer executed (-1: outside any layer), how often, and
 * how often what ran next was not the instruction behind the run: what a host needs to price them.
 *
 * With `flash` (addresses hexadecimal, the rest decimal) "wait I FETCHES READS" counts the lines of LINE
 * bytes of that memory that were not in a cache of CODE lines for instructions and DATA lines for data,
 * each fully associative, the line least recently used being replaced. With PREFETCH 1 the line
 * behind the last fetched one is always there in time.
 *
 * Counting is per translation block, when the block is entered: a block is a straight run of
 * instructions that only a fault can leave early, and Cortex-M takes interrupts between blocks here.
 * So counts are exact, and need no -icount.
 *
 * Debian's QEMU loads plugins but ships no qemu-plugin.h; the functions used are declared here. They
 * have been the same in every version of the interface (docs/devel/tcg-plugins in QEMU's source).
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the part of QEMU's interface that is used ------------------------------------------------- */

#ifndef TM_PLUGIN_API
#define TM_PLUGIN_API 1
#endif

typedef uint64_t qemu_plugin_id_t;
typedef struct qemu_info_t qemu_info_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum qemu_plugin_cb_flags { QEMU_PLUGIN_CB_NO_REGS };
/* QEMU 7.2 leaves accesses out where only reads are asked for. */
enum qemu_plugin_mem_rw { QEMU_PLUGIN_MEM_RW = 3 };
typedef uint32_t qemu_plugin_meminfo_t;
typedef void (*qemu_plugin_vcpu_udata_cb_t)(unsigned int vcpu, void *userdata);
typedef void (*qemu_plugin_vcpu_mem_cb_t)(unsigned int vcpu, qemu_plugin_meminfo_t info, uint64_t address,
                                          void *userdata);

extern void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t,
                                                  void (*)(qemu_plugin_id_t, struct qemu_plugin_tb *));
extern void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *, qemu_plugin_vcpu_udata_cb_t,
                                                 enum qemu_plugin_cb_flags, void *);
extern void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *, qemu_plugin_vcpu_mem_cb_t,
                                             enum qemu_plugin_cb_flags, enum qemu_plugin_mem_rw, void *);
extern void qemu_plugin_register_atexit_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, void *), void *);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
extern uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
extern bool qemu_plugin_mem_is_store(qemu_plugin_meminfo_t);
extern size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *);

#define EXPORT __attribute__((visibility("default")))
extern int qemu_plugin_version;
EXPORT int qemu_plugin_version = TM_PLUGIN_API;
EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv);

/* ---- state ------------------------------------------------------------------------------------- */

typedef enum {
    ROLE_OTHER,
    ROLE_PUSH,
    ROLE_FEED,
    ROLE_INVOKE,
    ROLE_RUN,
    ROLE_BEGIN,
    ROLE_END,
    ROLE_SKIP
} role;

typedef struct {
    uint64_t first;
    uint64_t behind;
    role what;
    uint64_t count;  /* over the whole run */
    uint64_t now;    /* in the inference that runs */
    uint64_t inside; /* in the last inference that ended */
    char name[160];
} range;

typedef struct block {
    range *where;
    uint64_t address;
    uint64_t behind;
    uint64_t instructions;
    bool entry;         /* the block starts at the function's first instruction */
    uint64_t count;     /* since the layer began, or the part between two layers */
    uint64_t jumped;    /* of these, how often another block than the one behind it ran next */
    struct block *next; /* of the blocks whose count is not 0 */
} block;

/* What a layer executed of one block; layer -1 is outside any. */
typedef struct {
    int32_t layer;
    uint64_t address;
    uint64_t instructions;
    uint64_t count;
    uint64_t jumped;
} record;

typedef struct {
    record *items;
    size_t count;
    size_t room;
} records;

/* A fully associative cache: the line numbers it holds, most recently used first. */
enum { CACHE_LINES = 1024 };
typedef struct {
    uint64_t lines[CACHE_LINES];
    size_t room;
    size_t used;
} cache;

enum { LAYERS = 65536 };

typedef struct {
    uint64_t rows;
    uint64_t outside;
    uint64_t layer[LAYERS];
    uint64_t fetches[LAYERS]; /* lines of flash that were waited for; the last counts outside layers */
    uint64_t reads[LAYERS];
    uint32_t layers;
} counts;

static range *ranges;
static size_t range_count;
static range rest = {0, 0, ROLE_OTHER, 0, 0, 0, "-"};
static char out_path[4096];

static counts now;
static counts last;
static uint64_t inferences;
static bool running;  /* between the start of invoke() or push_row() and its return */
static bool pushing;  /* rows have been pushed for an invoke() to come */
static bool in_hook;  /* from a hook's entry until the model goes on */
static bool in_layer; /* between a begin hook and its end hook */

static records blocks_now;
static records blocks_last;
static block *touched;  /* blocks with a count */
static block *previous; /* the block that counted last, NULL at a boundary */

static uint64_t flash_first;
static uint64_t flash_behind; /* 0: waiting for flash is not counted */
static uint64_t line_bytes = 1;
static bool prefetch;
static cache code_cache;
static cache data_cache;
static uint64_t fetched_line;

/* ---- counting ---------------------------------------------------------------------------------- */

/* Write down what has been executed since the last boundary, as layer `layer`'s. */
static void boundary(int32_t layer)
{
    for (block *b = touched; b != NULL; b = b->next) {
        if (blocks_now.count == blocks_now.room) {
            blocks_now.room = 2 * blocks_now.room + 1024;
            blocks_now.items = realloc(blocks_now.items, blocks_now.room * sizeof *blocks_now.items);
            if (blocks_now.items == NULL) {
                abort();
            }
        }
        blocks_now.items[blocks_now.count++] =
            (record){layer, b->address, b->instructions, b->count, b->jumped};
        b->count = 0;
        b->jumped = 0;
    }
    touched = NULL;
    previous = NULL;
}

/* Look a line up and make it the most recently used; true where it was not there. */
static bool missed(cache *c, uint64_t line)
{
    size_t at = 0;
    while (at < c->used && c->lines[at] != line) {
        ++at;
    }
    const bool miss = at == c->used;
    if (miss && c->used < c->room) {
        ++c->used;
    } else if (miss && at > 0) {
        --at; /* the oldest line leaves */
    }
    if (c->used > 0) {
        memmove(c->lines + 1, c->lines, at * sizeof *c->lines);
        c->lines[0] = line;
    }
    return miss;
}

static uint32_t wait_index(void)
{
    return in_layer ? now.layers : LAYERS - 1;
}

static void fetch(const block *b)
{
    if (b->address < flash_first || b->address >= flash_behind) {
        return;
    }
    for (uint64_t line = b->address / line_bytes; line <= (b->behind - 1) / line_bytes; ++line) {
        if (line == fetched_line) {
            continue;
        }
        const bool ahead = prefetch && line == fetched_line + 1;
        if (missed(&code_cache, line) && !ahead) {
            ++now.fetches[wait_index()];
        }
        fetched_line = line;
    }
}

static void on_access(unsigned int vcpu, qemu_plugin_meminfo_t info, uint64_t address, void *userdata)
{
    const block *b = userdata;
    (void)vcpu;
    if (qemu_plugin_mem_is_store(info) || !running || in_hook || b->where->what == ROLE_SKIP ||
        address < flash_first || address >= flash_behind) {
        return;
    }
    if (missed(&data_cache, address / line_bytes)) {
        ++now.reads[wait_index()];
    }
}

static void start_inference(void)
{
    boundary(-1);
    blocks_now.count = 0;
    code_cache.used = 0;
    data_cache.used = 0;
    fetched_line = UINT64_MAX - 1;
    memset(&now, 0, sizeof now);
    for (size_t i = 0; i < range_count; ++i) {
        ranges[i].now = 0;
    }
    rest.now = 0;
    in_layer = false;
}

static void end_inference(void)
{
    running = false;
    pushing = false;
    ++inferences;
    boundary(-1);
    const records spare = blocks_last;
    blocks_last = blocks_now;
    blocks_now = spare;
    last = now;
    for (size_t i = 0; i < range_count; ++i) {
        ranges[i].inside = ranges[i].now;
    }
    rest.inside = rest.now;
}

static void on_block(unsigned int vcpu, void *userdata)
{
    block *b = userdata;
    (void)vcpu;
    b->where->count += b->instructions;
    switch (b->where->what) {
    case ROLE_PUSH:
        if (b->entry) {
            if (!pushing) {
                start_inference();
            }
            pushing = true;
            running = true;
            ++now.rows;
        }
        in_hook = false;
        break;
    case ROLE_FEED:
        if (running) {
            boundary(-1);
        }
        running = false;
        return;
    case ROLE_INVOKE:
        if (b->entry) {
            if (!pushing) {
                start_inference();
            }
            pushing = false;
            running = true;
        }
        in_hook = false;
        break;
    case ROLE_RUN:
        if (running) {
            end_inference();
        }
        return;
    case ROLE_BEGIN:
        if (b->entry) {
            boundary(-1);
            in_hook = true;
            in_layer = true;
        }
        return;
    case ROLE_END:
        if (b->entry && in_layer) {
            boundary((int32_t)now.layers);
            in_hook = true;
            in_layer = false;
            if (now.layers < LAYERS - 1) {
                ++now.layers;
            }
        }
        return;
    case ROLE_SKIP:
        return;
    default:
        break;
    }
    if (!running || in_hook) {
        return;
    }
    if (previous != NULL && previous->behind != b->address) {
        ++previous->jumped;
    }
    if (b->count++ == 0) {
        b->next = touched;
        touched = b;
    }
    previous = b;
    if (flash_behind != 0) {
        fetch(b);
    }
    b->where->now += b->instructions;
    if (in_layer) {
        now.layer[now.layers] += b->instructions;
    } else {
        now.outside += b->instructions;
    }
}

static range *find(uint64_t address)
{
    size_t low = 0;
    size_t high = range_count;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (ranges[middle].behind <= address) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < range_count && ranges[low].first <= address ? &ranges[low] : &rest;
}

static void on_translate(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    block *b = calloc(1, sizeof *b); /* lives as long as QEMU: blocks may be translated again at any time */
    (void)id;
    if (b == NULL) {
        abort();
    }
    b->address = qemu_plugin_tb_vaddr(tb);
    b->behind = b->address;
    b->where = find(b->address);
    b->instructions = qemu_plugin_tb_n_insns(tb);
    b->entry = b->address == b->where->first;
    for (size_t i = 0; i < b->instructions; ++i) {
        struct qemu_plugin_insn *instruction = qemu_plugin_tb_get_insn(tb, i);
        b->behind += qemu_plugin_insn_size(instruction);
        if (flash_behind != 0) {
            qemu_plugin_register_vcpu_mem_cb(instruction, on_access, QEMU_PLUGIN_CB_NO_REGS,
                                             QEMU_PLUGIN_MEM_RW, b);
        }
    }
    qemu_plugin_register_vcpu_tb_exec_cb(tb, on_block, QEMU_PLUGIN_CB_NO_REGS, b);
}

/* ---- start and end ----------------------------------------------------------------------------- */

static void on_exit(qemu_plugin_id_t id, void *userdata)
{
    FILE *file = fopen(out_path, "w");
    (void)id;
    (void)userdata;
    if (file == NULL) {
        perror(out_path);
        return;
    }
    (void)fprintf(file, "inferences %" PRIu64 "\nrows %" PRIu64 "\noutside %" PRIu64 "\n", inferences,
                  last.rows, last.outside);
    for (uint32_t i = 0; i < last.layers; ++i) {
        (void)fprintf(file, "layer %" PRIu32 " %" PRIu64 "\n", i, last.layer[i]);
        (void)fprintf(file, "wait %" PRIu32 " %" PRIu64 " %" PRIu64 "\n", i, last.fetches[i], last.reads[i]);
    }
    (void)fprintf(file, "wait -1 %" PRIu64 " %" PRIu64 "\n", last.fetches[LAYERS - 1],
                  last.reads[LAYERS - 1]);
    for (size_t i = 0; i < blocks_last.count; ++i) {
        const record *r = &blocks_last.items[i];
        (void)fprintf(file, "block %" PRIi32 " %" PRIx64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", r->layer,
                      r->address, r->instructions, r->count, r->jumped);
    }
    for (size_t i = 0; i <= range_count; ++i) {
        const range *r = i < range_count ? &ranges[i] : &rest;
        if (r->inside > 0) {
            (void)fprintf(file, "inside %" PRIu64 " %s\n", r->inside, r->name);
        }
        if (r->count > 0) {
            (void)fprintf(file, "function %" PRIu64 " %s\n", r->count, r->name);
        }
    }
    (void)fclose(file);
}

static int compare(const void *a, const void *b)
{
    const uint64_t x = ((const range *)a)->first;
    const uint64_t y = ((const range *)b)->first;
    return (x > y) - (x < y);
}

static bool read_ranges(const char *path)
{
    static const char *const names[] = {"other", "push", "feed", "invoke", "run", "begin", "end", "skip"};
    FILE *file = fopen(path, "r");
    range r = {0};
    char what[16];
    if (file == NULL) {
        perror(path);
        return false;
    }
    while (fscanf(file, "%" SCNx64 " %" SCNx64 " %15s %159s", &r.first, &r.behind, what, r.name) == 4) {
        size_t k = 0;
        while (k < sizeof names / sizeof names[0] && strcmp(names[k], what) != 0) {
            ++k;
        }
        range *more = realloc(ranges, (range_count + 1) * sizeof *ranges);
        if (k == sizeof names / sizeof names[0] || more == NULL) {
            (void)fprintf(stderr, "tm_profile: bad range '%s'\n", r.name);
            (void)fclose(file);
            return false;
        }
        ranges = more;
        r.what = (role)k;
        ranges[range_count++] = r;
    }
    (void)fclose(file);
    if (range_count > 0) {
        qsort(ranges, range_count, sizeof *ranges, compare);
    }
    return true;
}

static bool read_flash(const char *text)
{
    unsigned sequential = 0;
    if (sscanf(text, "%" SCNx64 ":%" SCNx64 ":%" SCNu64 ":%zu:%zu:%u", &flash_first, &flash_behind,
               &line_bytes, &code_cache.room, &data_cache.room, &sequential) != 6) {
        return false;
    }
    prefetch = sequential != 0;
    return line_bytes > 0 && code_cache.room <= CACHE_LINES && data_cache.room <= CACHE_LINES;
}

int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv)
{
    (void)info;
    for (int i = 0; i < argc; ++i) {
        if (strncmp(argv[i], "out=", 4) == 0 && strlen(argv[i] + 4) < sizeof out_path) {
            (void)strcpy(out_path, argv[i] + 4);
        } else if (strncmp(argv[i], "flash=", 6) == 0 && read_flash(argv[i] + 6)) {
            continue;
        } else if (strncmp(argv[i], "ranges=", 7) != 0 || !read_ranges(argv[i] + 7)) {
            (void)fprintf(stderr, "tm_profile: bad argument '%s'\n", argv[i]);
            return -1;
        }
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translate);
    qemu_plugin_register_atexit_cb(id, on_exit, NULL);
    return 0;
}
