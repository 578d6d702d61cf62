/* What a core can do at most, and a way to empty its caches. Compiled once for each instruction set, with
   VECTOR_BYTES and ACCUMULATORS; without libc. */

typedef float vector __attribute__((vector_size(VECTOR_BYTES)));

enum { CACHE_LINE = 64 };

/* rounds · ACCUMULATORS multiply-adds of vectors, each waiting only for its own accumulator. Returns their sum, so
   that none can be left out. The sums converge: nothing overflows or becomes denormal. */
float tvmconv_probe_fma(long rounds)
{
    vector sums[ACCUMULATORS];
    for (int i = 0; i < ACCUMULATORS; ++i)
        sums[i] = (vector){0} + (float)i;
    volatile float half_unknown = 0.5f, one_unknown = 1.0f; /* no constants that the compiler could compute with */
    vector half = (vector){0} + half_unknown, one = (vector){0} + one_unknown;
    for (long round = 0; round < rounds; ++round)
#pragma clang loop unroll(full)
        for (int i = 0; i < ACCUMULATORS; ++i)
            sums[i] = sums[i] * half + one;
    vector total = (vector){0};
    for (int i = 0; i < ACCUMULATORS; ++i)
        total += sums[i];
    float sum = 0;
    for (unsigned i = 0; i < VECTOR_BYTES / sizeof(float); ++i)
        sum += total[i];
    return sum;
}

/* Write size bytes at memory back and drop them from every cache. */
void tvmconv_probe_evict(const char *memory, long size)
{
    for (const char *line = memory; line < memory + size; line += CACHE_LINE)
#if defined(__x86_64__)
        __builtin_ia32_clflush(line);
    __builtin_ia32_clflush(memory + size - 1);
    __builtin_ia32_mfence();
#elif defined(__aarch64__)
        __asm__ volatile("dc civac, %0" : : "r"(line) : "memory");
    __asm__ volatile("dc civac, %0" : : "r"(memory + size - 1) : "memory");
    __asm__ volatile("dsb sy" : : : "memory");
#endif
}
