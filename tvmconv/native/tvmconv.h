/* What all kernels have in common: statuses and the thread pool. */
#ifndef TVMCONV_H
#define TVMCONV_H
#include <stddef.h>
#include <stdint.h>

/* Flags: a status is TVMCONV_OK, or all of those that apply, or-ed. */
enum {
    TVMCONV_OK = 0,
    TVMCONV_NULL = 1,       /* a pointer is NULL that must not be */
    TVMCONV_MISALIGNED = 2, /* a pointer is not aligned to 4 bytes */
    TVMCONV_BOUNDS = 4,     /* the lower bound of a clamp is above the upper one */
    TVMCONV_POOL = 8        /* the pool's parallel_for failed */
};

/* parallel_for calls task(arg, i) once for each i in 0 … n−1, on any threads and in any order, and returns 0 when all
   have ended. */
typedef struct {
    int (*parallel_for)(void *ctx, void (*task)(void *arg, int32_t i), void *arg, int32_t n);
    void *ctx;
} tvmconv_pool;
#endif
