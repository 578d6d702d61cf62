/* The plain C interface of one kernel, around the functions that TVM compiled. Included by a generated file that
   defines PREFIX, STORED and SUMMED (types in C: of x, w and y; of bias and clamp), PACKED_BYTES, WORKSPACE_BYTES, IMAGES,
   DESCRIPTION and PHASES(X): X(name, units, tasks) for each. */
#include <stddef.h>
#include <stdint.h>
#include "tvmconv.h"

#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)
#define PUBLIC __attribute__((visibility("default")))
#define TIR(name) JOIN(JOIN(PREFIX, tir), name)

void TIR(pack)(const STORED *w, const SUMMED *bias, STORED *packed);
void TIR(prepare)(void *workspace, void *same_workspace);
#define DECLARE(name, units, tasks)                                                                             \
    void TIR(name)(int64_t x, int64_t operand, const STORED *packed, STORED *y, void *workspace, int64_t address, \
                   int32_t image, int32_t first, int32_t last);
PHASES(DECLARE)

static const char description[] __attribute__((section(".tvmconv"), used)) = DESCRIPTION;

PUBLIC const char *JOIN(PREFIX, describe)(void) { return description; }
PUBLIC size_t JOIN(PREFIX, packed_bytes)(void) { return PACKED_BYTES; }
PUBLIC size_t JOIN(PREFIX, workspace_bytes)(int32_t threads) { (void)threads; return WORKSPACE_BYTES; }

static int misplaced(const void *p) { return (uintptr_t)p % sizeof(STORED) ? TVMCONV_MISALIGNED : TVMCONV_OK; }
static int missing(const void *p) { return p ? misplaced(p) : TVMCONV_NULL; }
static int missing_workspace(const void *p) { return WORKSPACE_BYTES ? missing(p) : TVMCONV_OK; }

PUBLIC int JOIN(PREFIX, pack)(const STORED *w, const SUMMED *bias, void *packed) {
    int bad = missing(w) | missing(packed) | misplaced(bias);
    if (bad) return bad;
    TIR(pack)(w, bias, packed);
    return TVMCONV_OK;
}

PUBLIC int JOIN(PREFIX, clamp)(SUMMED lower, SUMMED upper, void *packed) {
    int bad = missing(packed);
    if (bad) return bad;
    if (!(lower <= upper)) return TVMCONV_BOUNDS;
    ((SUMMED *)packed)[0] = lower;
    ((SUMMED *)packed)[1] = upper;
    return TVMCONV_OK;
}

PUBLIC int JOIN(PREFIX, prepare)(void *workspace) {
    int bad = missing_workspace(workspace);
    if (bad) return bad;
    if (WORKSPACE_BYTES) TIR(prepare)(workspace, workspace);
    return TVMCONV_OK;
}

typedef struct {
    const STORED *x, *packed;
    STORED *y;
    void *workspace;
    int32_t image;
} call;

/* One phase on a range of its units; and as one of the tasks of a pool, which have an equal share of the units each. */
#define RANGE(name, units, tasks)                                                                                   \
    static void JOIN(name, range)(const call *c, int32_t first, int32_t last) {                                     \
        TIR(name)((int64_t)(intptr_t)c->x, (int64_t)(intptr_t)c->packed, c->packed, c->y, c->workspace,             \
                  (int64_t)(intptr_t)c->workspace, c->image, first, last);                                          \
    }                                                                                                               \
    static void JOIN(name, task)(void *arg, int32_t i) {                                                            \
        JOIN(name, range)(arg, (int32_t)((int64_t)units * i / tasks), (int32_t)((int64_t)units * (i + 1) / tasks)); \
    }
PHASES(RANGE)

static int check(const STORED *x, const void *packed, const STORED *y, const void *workspace) {
    return missing(x) | missing(packed) | missing(y) | missing_workspace(workspace);
}

PUBLIC int JOIN(PREFIX, run)(const STORED *x, const void *packed, STORED *y, void *workspace, const tvmconv_pool *pool) {
    int bad = check(x, packed, y, workspace) | (pool && !pool->parallel_for ? TVMCONV_NULL : TVMCONV_OK);
    if (bad) return bad;
    call c = {x, packed, y, workspace, 0};
    for (; c.image < IMAGES; c.image++) {
#define CALL(name, units, tasks)                \
    if (!pool) JOIN(name, range)(&c, 0, units); \
    else if (pool->parallel_for(pool->ctx, JOIN(name, task), &c, tasks)) return TVMCONV_POOL;
        PHASES(CALL)
    }
    return TVMCONV_OK;
}

/* For measuring: one phase of the description's list alone, on one thread and the first image. */
PUBLIC int JOIN(PREFIX, run_phase)(const STORED *x, const void *packed, STORED *y, void *workspace, int32_t phase) {
    int bad = check(x, packed, y, workspace);
    if (bad) return bad;
    const call c = {x, packed, y, workspace, 0};
#define CALL_ONE(name, units, tasks) \
    if (phase-- == 0) JOIN(name, range)(&c, 0, units);
    PHASES(CALL_ONE)
    return TVMCONV_OK;
}

/* What the compiler calls for loops that copy or clear: no library is needed. The linker refuses all that is not here.
   HOSTED: in a program with a C library, which has faster ones, and in whose place these would be taken everywhere. */
#ifndef HOSTED
#define FALLBACK __attribute__((weak, visibility("hidden")))
FALLBACK void *memcpy(void *restrict to, const void *restrict from, size_t n) {
    char *out = to;
    for (const char *in = from; n; n--) *out++ = *in++;
    return to;
}
FALLBACK void *memset(void *to, int byte, size_t n) {
    char *out = to;
    for (size_t i = 0; i < n; i++) out[i] = (char)byte;
    return to;
}
#endif

/* The FFI entries report errors through a function of TVM's runtime, which fills this pointer when it loads the file;
   so nothing of TVM is needed to load it. The message comes in parts and the pointer takes it whole. */
PUBLIC __attribute__((weak)) void (*__TVMFFIErrorSetRaisedFromCStr)(const char *kind, const char *message);
__attribute__((weak, visibility("hidden"))) void TVMFFIErrorSetRaisedFromCStrParts(const char *kind,
                                                                                   const char **parts, int32_t n) {
    char message[512];
    size_t used = 0;
    for (int32_t i = 0; i < n; i++)
        for (const char *c = parts[i]; c && *c && used + 1 < sizeof message; c++) message[used++] = *c;
    message[used] = 0;
    if (__TVMFFIErrorSetRaisedFromCStr) __TVMFFIErrorSetRaisedFromCStr(kind, message);
}
