#include <errno.h>
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "server.h"

/* Seconds to say who one is: all of it is sent at once. */
static const double HANDSHAKE = 3;

static int32_t number_at(const guest *one, size_t place) {
    int32_t number;
    memcpy(&number, one->said + place, sizeof number);
    return number;
}

/* How many bytes of its hello are known to be missing; −1 for what is none. What follows is the session's. */
static long missing(const guest *one) {
    if (one->size < 4) return 4 - (long)one->size;
    if (number_at(one, 0) != RPC_MAGIC) return -1;
    if (one->size < 8) return 8 - (long)one->size;
    int32_t length = number_at(one, 4);
    return length < 0 || length >= HELLO ? -1 : 8 + length - (long)one->size;
}

/* As missing, after reading what there is; −1 for one that has hung up, too. */
static long heard(guest *one) {
    long wanted;
    while ((wanted = missing(one)) > 0) {
        ssize_t more = recv(one->fd, one->said + one->size, (size_t)wanted, MSG_DONTWAIT);
        if (more < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return wanted;
        if (more <= 0) return -1;
        one->size += (size_t)more;
    }
    return wanted;
}

/* What a client wants: client:MATCH, then -timeout=S if it likes. Seconds of its session, or −1 for a stranger. */
static double wish(char *hello, const char *match) {
    char *rest, *word = strtok_r(hello, " ", &rest);
    if (!match || !word || strncmp(word, "client:", 7) || strcmp(word + 7, match)) return -1;
    double timeout = 0;
    while ((word = strtok_r(NULL, " ", &rest)))
        if (!strncmp(word, "-timeout=", 9)) timeout = strtod(word + 9, NULL);
    return timeout > 0 ? timeout : 0;
}

static int leave(guests *g, int i) {
    int fd = g->all[i].fd;
    g->all[i] = g->all[--g->count];
    return fd;
}

static void refuse(int fd, const char *said) {
    int32_t mismatch = RPC_MISMATCH;
    say("a client asked for another key, or an old one: %.100s", said);
    send_all(fd, &mismatch, sizeof mismatch, now() + HANDSHAKE);
    close(fd);
}

/* Hear everybody; the socket of one that is to be served, or −1. */
static int hear_all(guests *g, const char *match, double *timeout) {
    for (int i = g->count - 1; i >= 0; i--) {
        guest *one = &g->all[i];
        long wanted = heard(one);
        if (wanted < 0 || (wanted > 0 && now() >= one->deadline)) {
            say("somebody connected who does not speak TVM's RPC");
            close(leave(g, i));
        } else if (wanted == 0) {
            char hello[HELLO] = "";
            memcpy(hello, one->said + 8, one->size - 8);
            *timeout = strlen(hello) == one->size - 8 ? wish(hello, match) : -1;
            if (*timeout >= 0) return leave(g, i);
            refuse(leave(g, i), hello);
        }
    }
    return -1;
}

static void let_in(guests *g, int listener) {
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0) g->all[g->count++] = (guest){.fd = fd, .deadline = now() + HANDSHAKE};
}

int next_client(guests *g, int listener, const char *match, double deadline, double *timeout) {
    struct pollfd watched[1 + MOST_GUESTS] = {{.fd = g->count < MOST_GUESTS ? listener : -1, .events = POLLIN}};
    for (int i = 0; i < g->count; i++) {
        watched[1 + i] = (struct pollfd){.fd = g->all[i].fd, .events = POLLIN};
        deadline = fmin(deadline, g->all[i].deadline);
    }
    wait_any(watched, 1 + g->count, deadline);
    if (watched[0].revents) let_in(g, listener);
    return hear_all(g, match, timeout);
}

int welcome(int fd, const char *key) {
    double deadline = now() + HANDSHAKE;
    int32_t magic = RPC_MAGIC;
    char own[KEY + 8];
    snprintf(own, sizeof own, "server:%s", key);
    return send_all(fd, &magic, sizeof magic, deadline) || send_text(fd, own, deadline) ? -1 : 0;
}

void keep_waiting(guests *g) {
    for (int i = 0; i < g->count; i++) g->all[i].deadline = now() + HANDSHAKE;
}
