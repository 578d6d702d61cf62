#include <errno.h>
#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include "server.h"

/* Seconds of one ppoll, whose time_t has 32 bits on some devices: callers look at the clock and wait again. */
static const double LONGEST_WAIT = 3600;

volatile sig_atomic_t stopping;
int watch_stdin;
static const int caught[] = {SIGTERM, SIGINT, SIGHUP, SIGCHLD};
/* TVM's runtime catches some of these for a backtrace, of which a process with a broken heap may never see the end. */
static const int crashes[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};
static sigset_t outside; /* the signals blocked in wait_any: those that were when the server was started */

static void on_signal(int number) {
    if (number != SIGCHLD) stopping = number;
}

void catch_signals(void) {
    struct sigaction action = {.sa_handler = on_signal};
    sigset_t blocked;
    sigemptyset(&blocked);
    for (size_t i = 0; i < sizeof caught / sizeof *caught; i++) {
        sigaddset(&blocked, caught[i]);
        sigaction(caught[i], &action, NULL);
    }
    sigprocmask(SIG_BLOCK, &blocked, &outside);
    for (size_t i = 0; i < sizeof caught / sizeof *caught; i++) sigdelset(&outside, caught[i]);
    signal(SIGPIPE, SIG_IGN);
}

void reset_signals(void) {
    for (size_t i = 0; i < sizeof crashes / sizeof *crashes; i++) signal(crashes[i], SIG_DFL);
    for (size_t i = 0; i < sizeof caught / sizeof *caught; i++) signal(caught[i], SIG_DFL);
    sigprocmask(SIG_SETMASK, &outside, NULL);
}

static void read_stdin(void) {
    char ignored[256];
    ssize_t size = read(STDIN_FILENO, ignored, sizeof ignored);
    if (size == 0 || (size < 0 && errno != EINTR && errno != EAGAIN)) stopping = SIGHUP;
}

int wait_any(struct pollfd *fds, int count, double deadline) {
    struct pollfd all[MOST_WATCHED + 1] = {{.fd = watch_stdin ? STDIN_FILENO : -1, .events = POLLIN}};
    for (int i = 0; i < count; i++) all[i + 1] = fds[i];
    double left = fmin(fmax(0, deadline - now()), LONGEST_WAIT);
    struct timespec patience = {(time_t)left, (long)((left - floor(left)) * 1e9)};
    int ready = ppoll(all, (nfds_t)count + 1, &patience, &outside);
    for (int i = 0; i < count; i++) fds[i].revents = ready > 0 ? all[i + 1].revents : 0;
    if (ready > 0 && all[0].revents) {
        read_stdin();
        ready--;
    }
    return ready;
}
