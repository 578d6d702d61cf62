#include <errno.h>
#include <math.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include "../server.h"

/* Seconds: of a handshake, of a pause when there are no file descriptors, between two reports of closed connections. */
static const double HANDSHAKE = 3, PAUSE = 0.1, REPORT = 1;
/* Connections accepted at a time, so that a flood of them does not keep the others from being read. */
enum { BURST = MOST_GUESTS / 2 };

/* How many bytes of its hello are known to be missing; −1 for what is none. What follows is the session's. */
static long missing(const pending_client *one) {
    int32_t magic, length;
    if (one->size < 4) return 4 - (long)one->size;
    memcpy(&magic, one->said, sizeof magic);
    if (magic != RPC_MAGIC) return -1;
    if (one->size < 8) return 8 - (long)one->size;
    memcpy(&length, one->said + 4, sizeof length);
    return length < 0 || length >= HELLO ? -1 : 8 + length - (long)one->size;
}

/* As missing, after reading what there is; −1 for one that has hung up, too. */
static long heard(pending_client *one) {
    long wanted;
    while ((wanted = missing(one)) > 0) {
        ssize_t more = recv(one->fd, one->said + one->size, (size_t)wanted, MSG_DONTWAIT);
        if (more < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return wanted;
        if (more <= 0) return -1;
        one->size += (size_t)more;
    }
    return wanted;
}

/* What a client wants: client:MATCH, then -timeout=S if it likes. Seconds of its session, 0 for no limit, or −1 for a
   stranger. */
static double wish(const pending_client *one, const char *match) {
    char hello[HELLO] = "", *rest;
    memcpy(hello, one->said + 8, one->size - 8);
    char *word = strlen(hello) == one->size - 8 ? strtok_r(hello, " ", &rest) : NULL;
    if (!match || !word || strncmp(word, "client:", 7) || strcmp(word + 7, match)) return -1;
    double timeout = 0;
    while ((word = strtok_r(NULL, " ", &rest)))
        if (!strncmp(word, "-timeout=", 9)) timeout = strtod(word + 9, NULL);
    return timeout > 0 ? fmin(timeout, MOST_SECONDS) : 0;
}

static int leave(pending_clients *g, int i) {
    int fd = g->all[i].fd;
    memmove(&g->all[i], &g->all[i + 1], (size_t)(--g->count - i) * sizeof *g->all);
    return fd;
}

static void drop(pending_clients *g, int i) {
    close(leave(g, i));
    g->dropped++;
}

static void refuse(pending_clients *g, int i) {
    int32_t mismatch = RPC_MISMATCH;
    text hello = {0};
    g->all[i].said[g->all[i].size] = 0;
    add_json(&hello, g->all[i].said + 8);
    say("a client asked for another key, or an old one: %.100s", hello.data);
    free(hello.data);
    int fd = leave(g, i);
    send_all(fd, &mismatch, sizeof mismatch, now()); /* without waiting */
    close(fd);
}

/* Read what one has said, and close a connection whose time is over, or that belongs to no client of ours. */
static void hear(pending_clients *g, int i) {
    long wanted = heard(&g->all[i]);
    if (wanted < 0 || (wanted > 0 && now() >= g->all[i].deadline))
        drop(g, i);
    else if (wanted == 0 && wish(&g->all[i], g->match) < 0)
        refuse(g, i);
}

/* Whom connections are counted for: an IPv4 address, or the IPv6 network whose addresses one host may choose from. */
static uint64_t origin(const struct sockaddr_storage *from) {
    uint64_t network;
    if (from->ss_family != AF_INET6) return ((const struct sockaddr_in *)from)->sin_addr.s_addr;
    const struct in6_addr *address = &((const struct sockaddr_in6 *)from)->sin6_addr;
    if (IN6_IS_ADDR_V4MAPPED(address)) return address->s6_addr32[3];
    memcpy(&network, address, sizeof network);
    return network;
}

/* The oldest handshake of the address that has most of them; −1 if everybody has ended theirs. */
static int slowest(const pending_clients *g) {
    int found = -1, most = 0;
    for (int i = 0; i < g->count; i++) {
        int same = 0;
        if (!missing(&g->all[i])) continue;
        for (int other = 0; other < g->count; other++)
            same += g->all[other].from == g->all[i].from && missing(&g->all[other]);
        if (same > most) most = same, found = i;
    }
    return found;
}

/* Close one connection in favour of a new one; 0, or −1 where none may be closed. */
static int make_place(pending_clients *g) {
    for (int i, count = g->count; (i = slowest(g)) >= 0;) {
        hear(g, i); /* the rest of its hello may have come just now */
        if (g->count < count) return 0;
        if (missing(&g->all[i])) return drop(g, i), 0;
    }
    return -1;
}

static void take_in(pending_clients *g, int fd, const struct sockaddr_storage *from) {
    if (g->count >= g->most && make_place(g)) {
        close(fd);
        g->dropped++;
        return;
    }
    g->all[g->count++] = (pending_client){.fd = fd, .deadline = now() + HANDSHAKE, .from = origin(from)};
    hear(g, g->count - 1);
}

static void accept_burst(pending_clients *g) {
    for (int i = 0; i < BURST; i++) {
        struct sockaddr_storage from = {0};
        socklen_t size = sizeof from;
        int fd = accept4(g->listener, (struct sockaddr *)&from, &size, SOCK_CLOEXEC);
        if (fd >= 0) {
            take_in(g, fd, &from);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            if (!make_place(g)) continue;
            wait_any(NULL, 0, now() + PAUSE);
            return;
        } else if (errno != ECONNABORTED && errno != EINTR) {
            return;
        }
    }
}

static void report_dropped(pending_clients *g) {
    if (!g->dropped || now() < g->reported + REPORT) return;
    say("connections closed that did not begin as TVM's RPC does within %g s: %d", HANDSHAKE, g->dropped);
    g->dropped = 0;
    g->reported = now();
}

void pending_open(pending_clients *g, int listener) {
    struct rlimit files = {.rlim_cur = 0};
    getrlimit(RLIMIT_NOFILE, &files);
    rlim_t share = files.rlim_cur / 4; /* the rest is for sessions */
    g->listener = listener;
    g->most = share < 1 ? 1 : share < MOST_GUESTS ? (int)share : MOST_GUESTS;
}

int attend(pending_clients *g, int other, double deadline) {
    struct pollfd watched[MOST_WATCHED] = {{.fd = g->listener, .events = POLLIN}, {.fd = other, .events = POLLRDHUP}};
    int count = g->count;
    for (int i = 0; i < count; i++) {
        int waits = !missing(&g->all[i]); /* for its turn, with nothing to say */
        watched[2 + i] = (struct pollfd){.fd = g->all[i].fd, .events = waits ? POLLRDHUP : POLLIN};
        if (!waits) deadline = fmin(deadline, g->all[i].deadline);
    }
    if (g->dropped) deadline = fmin(deadline, g->reported + REPORT);
    wait_any(watched, 2 + count, deadline);
    for (int i = count - 1; i >= 0; i--) {
        if (missing(&g->all[i]))
            hear(g, i);
        else if (watched[2 + i].revents)
            close(leave(g, i)); /* it did not want to wait any longer */
    }
    if (watched[0].revents) accept_burst(g);
    report_dropped(g);
    return watched[1].revents != 0;
}

int next_client(pending_clients *g, double *timeout) {
    for (int i = 0; i < g->count;) {
        int count = g->count;
        if (!missing(&g->all[i])) {
            if ((*timeout = wish(&g->all[i], g->match)) >= 0) return leave(g, i);
            refuse(g, i);
        }
        i += g->count == count;
    }
    return -1;
}

int welcome(int fd, const char *key) {
    double deadline = now() + HANDSHAKE;
    int32_t magic = RPC_MAGIC;
    char own[KEY + 8];
    snprintf(own, sizeof own, "server:%s", key);
    return send_all(fd, &magic, sizeof magic, deadline) || send_text(fd, own, deadline) ? -1 : 0;
}

void pending_close(const pending_clients *g) {
    close(g->listener);
    for (int i = 0; i < g->count; i++) close(g->all[i].fd);
}
