/* tm_profile.c: a QEMU TCG plugin that counts the instructions of one inference, layer by layer.
 *
 *   -plugin tm_profile.so,out=FILE,ranges=FILE
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
 * The name "-" stands for code outside all ranges.
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
typedef void (*qemu_plugin_vcpu_udata_cb_t)(unsigned int vcpu, void *userdata);

extern void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t,
                                                  void (*)(qemu_plugin_id_t, struct qemu_plugin_tb *));
extern void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *, qemu_plugin_vcpu_udata_cb_t,
                                                 enum qemu_plugin_cb_flags, void *);
extern void qemu_plugin_register_atexit_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, void *), void *);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
extern uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *);

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

typedef struct {
    range *where;
    uint64_t instructions;
    bool entry; /* the block starts at the function's first instruction */
} block;

enum { LAYERS = 65536 };

typedef struct {
    uint64_t rows;
    uint64_t outside;
    uint64_t layer[LAYERS];
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

/* ---- counting ---------------------------------------------------------------------------------- */

static void start_inference(void)
{
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
    last = now;
    for (size_t i = 0; i < range_count; ++i) {
        ranges[i].inside = ranges[i].now;
    }
    rest.inside = rest.now;
}

static void on_block(unsigned int vcpu, void *userdata)
{
    const block *b = userdata;
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
            in_hook = true;
            in_layer = true;
        }
        return;
    case ROLE_END:
        if (b->entry && in_layer) {
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
    block *b = malloc(sizeof *b); /* lives as long as QEMU: blocks may be translated again at any time */
    (void)id;
    if (b == NULL) {
        abort();
    }
    const uint64_t address = qemu_plugin_tb_vaddr(tb);
    b->where = find(address);
    b->instructions = qemu_plugin_tb_n_insns(tb);
    b->entry = address == b->where->first;
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

int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv)
{
    (void)info;
    for (int i = 0; i < argc; ++i) {
        if (strncmp(argv[i], "out=", 4) == 0 && strlen(argv[i] + 4) < sizeof out_path) {
            (void)strcpy(out_path, argv[i] + 4);
        } else if (strncmp(argv[i], "ranges=", 7) != 0 || !read_ranges(argv[i] + 7)) {
            (void)fprintf(stderr, "tm_profile: bad argument '%s'\n", argv[i]);
            return -1;
        }
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translate);
    qemu_plugin_register_atexit_cb(id, on_exit, NULL);
    return 0;
}
