/* The thread pool behind tvmconv_pool for this process: pool.py starts its threads, which then stay in
   tvmconv_pool_serve for good, and each call of parallel_for is a job that they share with the caller.

   A job's tasks are dealt out in advance, one run of neighbours to each thread, which takes them in order: neighbours
   read the same weights. A thread without tasks takes the last one of another's run. Nobody waits for a thread that
   sleeps or is held up outside a task: a job is over when its tasks are.

   Linux; with the C library that Python has loaded already, so no headers. */
#include <stdatomic.h>
#include <stdint.h>
#include "pool.h"

enum { CACHE_LINE = 64, CLOCK_MONOTONIC = 1, FUTEX_WAIT_PRIVATE = 128, FUTEX_WAKE_PRIVATE = 129, ALL = 0x7fffffff };
enum { SPIN_NS = 30000, PAUSES = 16 }; /* how long a thread looks for work before it sleeps, and how often at the clock */
#if defined(__x86_64__)
enum { SYS_FUTEX = 202 };
#elif defined(__aarch64__)
enum { SYS_FUTEX = 98 };
#endif

struct timespec {
    long seconds, nanoseconds;
};
int clock_gettime(int clock, struct timespec *now);
long syscall(long number, ...);
void *aligned_alloc(size_t alignment, size_t size);

/* A run of tasks, first … end − 1, of a job: number << 40 | first << 20 | end. It changes by compare-and-swap. */
typedef _Atomic uint64_t run;
enum { FIELD = 20, MOST_TASKS = (1 << FIELD) - 1 };
static uint64_t made(uint64_t job, uint64_t first, uint64_t end) { return job << 2 * FIELD | first << FIELD | end; }
static uint32_t first_of(uint64_t r) { return r >> FIELD & MOST_TASKS; }
static uint32_t end_of(uint64_t r) { return r & MOST_TASKS; }

typedef struct {
    _Alignas(CACHE_LINE) run tasks;
} slot;

struct pool {
    tvmconv_pool face; /* first, so that the address of one is that of the other */
    int32_t threads;   /* with the caller */
    _Alignas(CACHE_LINE) _Atomic uint32_t lock; /* 0 free, 1 taken, 2 taken and waited for */
    /* The job. A thread that has won one of its tasks may rely on these: it is not over before that task is. */
    void (*_Atomic task)(void *arg, int32_t i);
    void *_Atomic arg;
    _Atomic uint32_t tasks;
    _Alignas(CACHE_LINE) _Atomic uint32_t jobs; /* so far: what threads without work wait for */
    _Atomic uint32_t sleepers;
    _Alignas(CACHE_LINE) _Atomic uint32_t done; /* tasks: what the caller waits for */
    _Atomic uint32_t caller_sleeps;
    slot slots[]; /* one for each thread, the caller's first */
};

static void wait_for_change(_Atomic uint32_t *word, uint32_t from) {
    syscall(SYS_FUTEX, word, FUTEX_WAIT_PRIVATE, from, (void *)0);
}
static void wake(_Atomic uint32_t *word, int32_t threads) { syscall(SYS_FUTEX, word, FUTEX_WAKE_PRIVATE, threads); }

static void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Look at a word for a while, as long as it does not have to be slept for; whether it has changed. */
static int changes_soon(_Atomic uint32_t *word, uint32_t from) {
    struct timespec start, now;
    clock_gettime(CLOCK_MONOTONIC, &start);
    do {
        for (int i = 0; i < PAUSES; i++) {
            if (atomic_load_explicit(word, memory_order_acquire) != from) return 1;
            relax();
        }
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while ((now.seconds - start.seconds) * 1000000000 + now.nanoseconds - start.nanoseconds < SPIN_NS);
    return 0;
}

static void lock(_Atomic uint32_t *word) { /* U. Drepper, "Futexes Are Tricky", 2011, mutex 2 */
    uint32_t state = 0;
    if (atomic_compare_exchange_strong(word, &state, 1)) return;
    if (state != 2) state = atomic_exchange(word, 2);
    while (state) {
        wait_for_change(word, 2);
        state = atomic_exchange(word, 2);
    }
}
static void unlock(_Atomic uint32_t *word) {
    if (atomic_exchange(word, 0) == 2) wake(word, 1);
}

/* Run one task of a slot, the first or the last one; whether there was one. The job's fields are read before the
   compare-and-swap: where that succeeds the run has not changed, so the task was open all the time, and they are its. */
static int run_one(pool *p, slot *s, int from_the_end) {
    uint64_t seen = atomic_load_explicit(&s->tasks, memory_order_acquire);
    while (first_of(seen) < end_of(seen)) {
        void (*task)(void *, int32_t) = atomic_load_explicit(&p->task, memory_order_relaxed);
        void *arg = atomic_load_explicit(&p->arg, memory_order_relaxed);
        uint32_t tasks = atomic_load_explicit(&p->tasks, memory_order_relaxed);
        uint32_t mine = from_the_end ? end_of(seen) - 1 : first_of(seen);
        uint64_t rest = from_the_end ? seen - 1 : seen + ((uint64_t)1 << FIELD);
        if (atomic_compare_exchange_weak_explicit(&s->tasks, &seen, rest, memory_order_acq_rel, memory_order_acquire)) {
            task(arg, (int32_t)mine);
            if (atomic_fetch_add(&p->done, 1) + 1 == tasks && atomic_load(&p->caller_sleeps)) wake(&p->done, 1);
            return 1;
        }
    }
    return 0;
}

/* Run tasks until none is left that nobody has begun. */
static void work(pool *p, int32_t thread) {
    while (run_one(p, &p->slots[thread], 0))
        ;
    for (int32_t i = 1; i < p->threads; i++)
        while (run_one(p, &p->slots[(thread + i) % p->threads], 1))
            ;
}

static void wait_until_done(pool *p, uint32_t tasks) {
    for (uint32_t done; (done = atomic_load(&p->done)) != tasks;) {
        if (changes_soon(&p->done, done)) continue;
        atomic_store(&p->caller_sleeps, 1);
        while ((done = atomic_load(&p->done)) != tasks) wait_for_change(&p->done, done);
        atomic_store(&p->caller_sleeps, 0);
    }
}

static int parallel_for(void *ctx, void (*task)(void *arg, int32_t i), void *arg, int32_t n) {
    pool *p = ctx;
    if (n > MOST_TASKS) return 1;
    lock(&p->lock);
    atomic_store(&p->task, task);
    atomic_store(&p->arg, arg);
    atomic_store(&p->tasks, n);
    atomic_store(&p->done, 0);
    uint32_t job = atomic_load(&p->jobs) + 1;
    for (int64_t i = 0; i < p->threads; i++)
        atomic_store(&p->slots[i].tasks, made(job, i * n / p->threads, (i + 1) * n / p->threads));
    atomic_store(&p->jobs, job);
    if (atomic_load(&p->sleepers)) wake(&p->jobs, ALL);
    work(p, 0);
    wait_until_done(p, n);
    unlock(&p->lock);
    return 0;
}

static size_t size_of(int32_t threads) { return sizeof(pool) + threads * sizeof(slot); }

pool *tvmconv_pool_allocate(int32_t threads) { return aligned_alloc(CACHE_LINE, size_of(threads)); }

void tvmconv_pool_initialize(pool *p, int32_t threads) {
    for (size_t i = 0; i < size_of(threads); i++) ((volatile char *)p)[i] = 0;
    p->face = (tvmconv_pool){parallel_for, p};
    p->threads = threads;
}

void tvmconv_pool_serve(pool *p, int32_t thread) {
    for (uint32_t seen = 0;;) {
        work(p, thread);
        if (!changes_soon(&p->jobs, seen)) {
            atomic_fetch_add(&p->sleepers, 1);
            while (atomic_load(&p->jobs) == seen) wait_for_change(&p->jobs, seen);
            atomic_fetch_sub(&p->sleepers, 1);
        }
        seen = atomic_load(&p->jobs);
    }
}
