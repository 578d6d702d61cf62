#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "../server.h"

/* TrackerCode of tvm/rpc/base.py. */
enum { PUT = 3, UPDATE_INFO = 5, GET_PENDING_MATCHKEYS = 7 };
#define SUCCESS "0"

/* Seconds: for an answer, between two looks at our entry, between two attempts to connect. */
static const double PATIENCE = 5, PERIOD = 2;
/* Looks at which our entry was taken and nobody came, after which we make a new one, as TVM's server does. */
enum { MOST_MISSING = 3 };

static int ask(tracker *t, const char *question, text *answer) {
    double deadline = now() + PATIENCE;
    return send_text(t->fd, question, deadline) || receive_text(t->fd, answer, deadline) ? -1 : 0;
}

static int tell(tracker *t, text *message) {
    text answer = {0};
    int failed = ask(t, message->data, &answer) || strcmp(answer.data, SUCCESS);
    free(message->data);
    free(answer.data);
    return failed ? -1 : 0;
}

static void lose(tracker *t, const char *why) {
    if (t->fd >= 0) close(t->fd);
    t->fd = -1;
    t->match[0] = 0;
    t->next = now() + PERIOD;
    if (!t->complained) say("tracker %s:%s %s; trying again every %g s", t->host, t->port, why, PERIOD);
    t->complained = 1;
}

static void add_custom(text *message, const tracker *t) {
    if (t->custom)
        add_json(message, t->custom);
    else
        add(message, "null");
}

static int greet(tracker *t) {
    int32_t magic = TRACKER_MAGIC;
    double deadline = now() + PATIENCE;
    if (send_all(t->fd, &magic, sizeof magic, deadline) || receive_all(t->fd, &magic, sizeof magic, deadline)) return -1;
    if (magic != TRACKER_MAGIC) return -1;
    text about = {0};
    char key[KEY + 8];
    snprintf(key, sizeof key, "server:%s", t->key);
    add(&about, "[%d, {\"key\": ", UPDATE_INFO);
    add_json(&about, key);
    add(&about, ", \"addr\": [");
    add_custom(&about, t);
    add(&about, ", %d]}]", t->own_port);
    return tell(t, &about);
}

static int put(tracker *t) {
    struct timespec clock;
    clock_gettime(CLOCK_REALTIME, &clock);
    /* KEY:RANDOM, where the tracker cuts at the last colon. */
    snprintf(t->match, sizeof t->match, "%s:0.%09ld%d", t->key, clock.tv_nsec, getpid());
    text offer = {0};
    add(&offer, "[%d, ", PUT);
    add_json(&offer, t->key);
    add(&offer, ", [%d, ", t->own_port);
    add_json(&offer, t->match);
    add(&offer, "], ");
    add_custom(&offer, t);
    add(&offer, "]");
    return tell(t, &offer);
}

void tracker_offer(tracker *t) {
    if (t->fd < 0) {
        t->fd = dial(t->host, t->port, now() + PATIENCE);
        if (t->fd < 0) return lose(t, "cannot be reached");
        if (greet(t)) return lose(t, "does not speak as a tracker does");
    }
    if (put(t)) return lose(t, "has gone");
    if (t->complained) say("tracker %s:%s knows this server", t->host, t->port);
    t->complained = t->missing = 0;
    t->next = now() + PERIOD;
}

/* Whether our entry is among those that wait for a client; −1 where the tracker does not say. */
static int is_pending(tracker *t) {
    text question = {0}, own = {0}, pending = {0};
    add(&question, "[%d]", GET_PENDING_MATCHKEYS);
    add_json(&own, t->match);
    int found = ask(t, question.data, &pending) ? -1 : memmem(pending.data, pending.size, own.data, own.size) != NULL;
    free(question.data);
    free(own.data);
    free(pending.data);
    return found;
}

void tracker_check(tracker *t) {
    if (t->fd < 0) return tracker_offer(t);
    int pending = is_pending(t);
    if (pending < 0) {
        lose(t, "has gone, or does not answer as a tracker does");
        return tracker_offer(t);
    }
    t->missing = pending ? 0 : t->missing + 1;
    t->next = now() + PERIOD;
    if (t->missing < MOST_MISSING) return;
    say("a client took our entry and did not come: making a new one");
    tracker_offer(t);
}
