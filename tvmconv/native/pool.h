/* The thread pool of pool.c: its memory, what makes it a pool without a job, and the life of its thread 1 … threads − 1.
   Thread 0 is whoever calls parallel_for; the pool's address is that of a tvmconv_pool. */
#ifndef TVMCONV_POOL_H
#define TVMCONV_POOL_H
#include <stdint.h>
#include "tvmconv.h"

typedef struct pool pool;

pool *tvmconv_pool_allocate(int32_t threads); /* NULL if there is no memory; never freed: its threads stay for good */
void tvmconv_pool_initialize(pool *p, int32_t threads); /* also what was one in the process this one was forked from */
void tvmconv_pool_serve(pool *p, int32_t thread);       /* does not return */
#endif
