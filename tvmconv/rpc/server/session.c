#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>
#include "server.h"

/* Seconds: of a session whose client has gone, of a last message to a client that may not listen. */
static const double GRACE = 3, LAST_WORDS = 2;

static void set_limit(int which, int64_t value) {
    struct rlimit limit;
    if (getrlimit((__rlimit_resource_t)which, &limit)) return;
    if (limit.rlim_max == RLIM_INFINITY || (rlim_t)value < limit.rlim_max) limit.rlim_max = (rlim_t)value;
    limit.rlim_cur = limit.rlim_max;
    setrlimit((__rlimit_resource_t)which, &limit);
}

/* Should memory run out, this process goes rather than another one. */
static void be_the_first_to_go(void) {
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd < 0) return;
    if (write(fd, "1000", 4) < 0) say("oom_score_adj: %s", strerror(errno));
    close(fd);
}

/* The session itself, in a process of its own. */
static void serve(int fd, const folder *own, const session_rules *rules, const pending_clients *others, pid_t server) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != server) _exit(1); /* it ended just before */
    setpgid(0, 0);
    reset_signals();
    pending_close(others);
    if (rules->tracker >= 0) close(rules->tracker);
    signal(SIGXFSZ, SIG_IGN); /* so that a write beyond the limit fails, rather than kills */
    set_limit(RLIMIT_FSIZE, own->most);
    set_limit(RLIMIT_CORE, 0);
    be_the_first_to_go();
    if (chdir(own->path)) _exit(1);
    register_functions(own);
    TVMFFIAny argument = {.type_index = kTVMFFIInt, .v_int64 = fd}, result;
    int status = tvm_call("rpc.ServerLoop", &argument, 1, &result);
    if (status) tvm_say_error("session");
    _exit(status ? 1 : 0);
}

/* A client whose machine has vanished is noticed after half a minute. */
static void watch_link(int fd) {
    int on = 1, idle = 10, interval = 5, count = 4, unheard = 30000;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unheard, sizeof unheard); /* milliseconds */
}

static void kill_session(pid_t session, int *status) {
    kill(-session, SIGKILL);
    kill(session, SIGKILL); /* it may not have its group yet */
    while (waitpid(session, status, 0) < 0 && errno == EINTR)
        ;
}

/* Wait for a session's end; why it has to be made to end, or NULL. */
static const char *watch(pid_t session, int fd, double deadline, pending_clients *others, int *status) {
    for (;;) {
        if (waitpid(session, status, WNOHANG) == session) return NULL;
        if (stopping) return "the server was told to stop";
        if (now() >= deadline) return fd < 0 ? "its client has gone" : "its time is over";
        if (attend(others, fd, deadline)) {
            fd = -1; /* it would be ready from now on */
            deadline = fmin(deadline, now() + GRACE);
        }
    }
}

static void tell_timeout(int fd, double seconds) {
    struct timeval patience = {.tv_sec = (time_t)LAST_WORDS};
    char message[160]; /* the words of TVM's own server, by which its client knows the error */
    snprintf(message, sizeof message,
             "RPCSessionTimeoutError: Your %gs session has expired, try to increase the \"session_timeout\" value.", seconds);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    TVMFFIAny arguments[] = {{.type_index = kTVMFFIInt, .v_int64 = fd}, {.type_index = kTVMFFIRawStr, .v_c_str = message}}, result;
    if (tvm_call("rpc.ReturnException", arguments, 2, &result)) tvm_say_error("the client cannot be told");
}

static void report(pid_t session, int status, const char *why) {
    if (why)
        say("session %d was killed: %s", session, why);
    else if (WIFSIGNALED(status))
        say("session %d crashed (%s)", session, strsignal(WTERMSIG(status)));
    else if (WEXITSTATUS(status))
        say("session %d ended with exit code %d", session, WEXITSTATUS(status));
    else
        say("session %d ended", session);
}

void run_session(int fd, double timeout, const session_rules *rules, pending_clients *others) {
    folder own;
    if (make_folder(rules->work, rules->most, &own)) return;
    if (rules->longest > 0 && (timeout <= 0 || timeout > rules->longest)) timeout = rules->longest;
    double deadline = timeout > 0 ? now() + timeout : INFINITY;
    watch_link(fd);
    pid_t server = getpid(), session = fork();
    if (!session) serve(fd, &own, rules, others, server);
    if (session < 0) {
        say("no process for a session: %s", strerror(errno));
    } else {
        setpgid(session, session);
        say("session %d begins, of %g s at most", session, timeout > 0 ? timeout : INFINITY);
        int status = 0;
        const char *why = watch(session, fd, deadline, others, &status);
        int late = why && now() >= deadline;
        if (why) kill_session(session, &status);
        if (late) tell_timeout(fd, timeout);
        kill(-session, SIGKILL); /* what a kernel may have started */
        report(session, status, why);
    }
    remove_folder(own.path);
}
