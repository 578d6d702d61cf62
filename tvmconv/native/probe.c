/* What a core can do, and a way to empty its caches. Compiled once for each instruction set, with VECTOR_BYTES, and
   with ROWS: 2·ROWS accumulators fit into its registers beside three operands. Without libc. */
#include <stdint.h>
#include "tvmconv.h"

enum { DEPTH = 128, CACHE_LINE = 64 };

typedef float vector __attribute__((vector_size(VECTOR_BYTES)));

static float total(vector sums[ROWS][2])
{
    vector sum = {0};
    for (int row = 0; row < ROWS; ++row)
        sum += sums[row][0] + sums[row][1];
    float total = 0;
    for (unsigned lane = 0; lane < VECTOR_BYTES / sizeof(float); ++lane)
        total += sum[lane];
    return total;
}

/* Multiply-adds in registers: in each round one for each accumulator. The result is there so that none can be left
   out; the sums converge, so that nothing overflows or becomes denormal. */
float tvmconv_probe_fma(long rounds)
{
    volatile float half_unknown = 0.5f, one_unknown = 1.0f; /* no constants that the compiler could compute with */
    vector half = (vector){0} + half_unknown, one = (vector){0} + one_unknown;
    vector sums[ROWS][2];
    for (int row = 0; row < ROWS; ++row)
        for (int column = 0; column < 2; ++column)
            sums[row][column] = (vector){0} + (float)(row + column);
    for (long round = 0; round < rounds; ++round)
#pragma clang loop unroll(full)
        for (int row = 0; row < ROWS; ++row) {
            sums[row][0] = sums[row][0] * half + one;
            sums[row][1] = sums[row][1] * half + one;
        }
    return total(sums);
}

/* The inner loop of a matrix product, its operands in the first-level cache: each round multiplies ROWS×DEPTH by
   DEPTH×2 vectors. */
float tvmconv_probe_tile(long rounds)
{
    static float rows[DEPTH][ROWS];
    static vector weights[DEPTH][2];
    for (int k = 0; k < DEPTH; ++k) {
        weights[k][0] = weights[k][1] = (vector){0} + 0.5f;
        for (int row = 0; row < ROWS; ++row)
            rows[k][row] = (float)row;
    }
    vector sums[ROWS][2] = {0};
    for (long round = 0; round < rounds; ++round) {
        __asm__ volatile("" : : "r"(rows), "r"(weights) : "memory"); /* they may have changed, as far as anybody knows */
#pragma clang loop unroll(disable)
        for (int k = 0; k < DEPTH; ++k) {
            vector left = weights[k][0], right = weights[k][1];
#pragma clang loop unroll(full)
            for (int row = 0; row < ROWS; ++row) {
                sums[row][0] += left * rows[k][row];
                sums[row][1] += right * rows[k][row];
            }
        }
    }
    return total(sums);
}

/* Write size bytes at memory back and drop them from every cache. */
void tvmconv_probe_evict(const char *memory, long size)
{
    const char *end = memory + size;
    for (const char *line = memory - (unsigned long)memory % CACHE_LINE; line < end; line += CACHE_LINE)
#if defined(__x86_64__)
        __builtin_ia32_clflush(line);
    __builtin_ia32_mfence();
#elif defined(__aarch64__)
        __asm__ volatile("dc civac, %0" : : "r"(line) : "memory");
    __asm__ volatile("dsb sy" : : : "memory");
#endif
}

/* The loops as functions of TVM's FFI, so that a device on which nothing else is installed can run them:
   (rounds, address of a tvmconv_pool or 0, threads), each thread running all rounds. Of what TVM passes
   (tvm/ffi/c_api.h, TVMFFIAny) only the integers matter; the result is none. */
typedef struct {
    int32_t type;
    uint32_t padding;
    int64_t integer;
} ffi_any;

static void fma_task(void *rounds, int32_t i)
{
    (void)i;
    (void)*(volatile float[]){tvmconv_probe_fma(*(const long *)rounds)};
}

static void tile_task(void *rounds, int32_t i)
{
    (void)i;
    (void)*(volatile float[]){tvmconv_probe_tile(*(const long *)rounds)};
}

static int on_all(void (*task)(void *, int32_t), const ffi_any *arguments)
{
    long rounds = arguments[0].integer;
    const tvmconv_pool *pool = (const tvmconv_pool *)(intptr_t)arguments[1].integer;
    if (pool)
        return pool->parallel_for(pool->ctx, task, &rounds, (int32_t)arguments[2].integer) ? -1 : 0;
    task(&rounds, 0);
    return 0;
}

int __tvm_ffi_tvmconv_probe_fma(void *self, const ffi_any *arguments, int32_t n, ffi_any *result)
{
    (void)self, (void)n, (void)result;
    return on_all(fma_task, arguments);
}

int __tvm_ffi_tvmconv_probe_tile(void *self, const ffi_any *arguments, int32_t n, ffi_any *result)
{
    (void)self, (void)n, (void)result;
    return on_all(tile_task, arguments);
}
