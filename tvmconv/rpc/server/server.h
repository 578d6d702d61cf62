/* tvmconv-server: a server of TVM's RPC protocol for a device that has neither Python nor TVM.

   One process listens and registers with a tracker; each session is a process of its own, forked from it, so that a
   kernel may crash, loop or be killed without harm. Whoever reaches the port runs code here. */
#ifndef TVMCONV_SERVER_H
#define TVMCONV_SERVER_H
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <tvm/ffi/c_api.h>

enum { ADDRESS = 300, KEY = 256, PATH = 1024 };
enum { LONGEST_TEXT = 64 << 20 };  /* bytes of a tracker's answer */
enum { MOST_SECONDS = 1000000000 }; /* of a session that has a limit */
enum { RPC_MAGIC = 0xff271, RPC_MISMATCH = RPC_MAGIC + 2, TRACKER_MAGIC = 0x2f271 };

/* log.c: one line to stderr. */
__attribute__((format(printf, 1, 2))) void say(const char *format, ...);

/* text.c: a string that grows. Ends the process where there is no memory. */
typedef struct {
    char *data; /* with a 0 at its end; NULL before the first piece */
    size_t size, room;
} text;
__attribute__((format(printf, 2, 3))) void add(text *t, const char *format, ...);
void add_json(text *t, const char *string); /* in quotes, escaped; what is not ASCII as `?` */
char *room_for(text *t, size_t more);       /* where `more` bytes and a 0 can be written; t->size is the caller's to set */
int read_line(const char *path, char *line, size_t room); /* a small file's first line, without its end; whether */

/* clock.c */
double now(void); /* seconds, monotonic */

/* network/net.c: sockets; every wait ends at a deadline on the clock now(), or when the server is told to stop. */
int wait_for(int fd, short events, double deadline); /* whether fd is ready */
int send_all(int fd, const void *data, size_t size, double deadline), receive_all(int fd, void *data, size_t size, double deadline);
int send_text(int fd, const char *string, double deadline); /* its length as int32, then itself; 0 or -1 */
int receive_text(int fd, text *string, double deadline); /* 0, or -1, also for one of more than LONGEST_TEXT bytes */
int split_address(const char *address, char host[ADDRESS], char port[8]); /* HOST:PORT, [IPV6]:PORT; 0 or -1 */
int dial(const char *host, const char *port, double deadline); /* a connected socket, or -1 */
int listen_on(const char *host, int port, char address[ADDRESS], int *taken); /* the socket; says why it ends if not */

/* stop.c: what ends the server, SIGTERM, SIGINT, SIGHUP, and with --stop-at-eof the end of stdin. */
extern volatile sig_atomic_t stopping; /* the signal; SIGHUP for stdin; 0: go on */
extern int watch_stdin;
void catch_signals(void);  /* they arrive in wait_any alone, and so does SIGCHLD */
void reset_signals(void);  /* in a session: as they were, and a crash ends it at once */
enum { MOST_GUESTS = 64, MOST_WATCHED = MOST_GUESTS + 2 };
struct pollfd;
int wait_any(struct pollfd *fds, int count, double deadline); /* poll's result, 0 also after an hour; sets `stopping` */

/* tvm.c: TVM's libraries. */
void load_tvm(const char *folders); /* separated by colons; says what is missing, and ends the process */
const char *tvm_ffi_version(void);
int tvm_call(const char *name, const TVMFFIAny *arguments, int count, TVMFFIAny *result); /* 0, or -1 with an error raised */
void tvm_register(const char *name, TVMFFISafeCallType function);
__attribute__((format(printf, 2, 3))) int tvm_raise(const char *kind, const char *format, ...); /* -1 */
void tvm_say_error(const char *what); /* the error that was raised */
int tvm_return_string(const char *string, TVMFFIAny *result);
int tvm_bytes(const TVMFFIAny *argument, TVMFFIByteArray *bytes); /* of a string or bytes; -1 with a TypeError raised */
/* The same as a C string of fewer than `room` bytes, without a 0 within; -1 with an error raised that says `what`. */
int tvm_string(const TVMFFIAny *argument, const char *what, char *string, size_t room);

/* machine/cpus.c: lists such as 0,2-3, and where this process runs. */
int parse_cpus(const char *list, cpu_set_t *cpus); /* 0 or -1 */
void add_cpus(text *t, const cpu_set_t *cpus);
int pin_process(const cpu_set_t *cpus); /* all of its threads; 0, or -1 with errno */
extern cpu_set_t allowed;               /* to the server, since it started */

/* machine/machine.c: JSON about the device, as tvmconv.describe and tvmconv.sensors return it. */
void describe_machine(text *t), read_sensors(text *t);

/* machine/threads.c: a tvmconv_pool (../native/tvmconv.h) of this process, NULL for one thread. */
int session_pool(int threads, void **pool); /* 0, or -1 with an error raised */
void pool_cpus(const cpu_set_t *cpus);      /* where later pools run, and their caller */

/* files.c: the folder of a session. */
typedef struct {
    char path[PATH];
    int64_t most; /* bytes that may be stored in it */
} folder;
int make_folder(const char *parent, int64_t most, folder *made); /* 0, or -1, said why */
void remove_folder(const char *path);
void remove_abandoned(const char *parent); /* those of servers that are gone */
int inside(const folder *f, const TVMFFIAny *name, char path[PATH]); /* -1 with an error raised */
int store(const folder *f, const char *path, const TVMFFIByteArray *content); /* a whole file; -1 with an error raised */

/* functions.c: what a session can call, beside what TVM's runtime has. */
void register_functions(const folder *f);

/* network/handshake.c: connections whose handshake is pending, and clients that wait for their turn. All are served at once, also
   during a session. When there is no place left, the address with most handshakes pending loses its oldest one. */
enum { HELLO = 2 * KEY };
typedef struct {
    int fd;
    double deadline; /* of its handshake */
    uint64_t from;   /* its address */
    size_t size;     /* bytes of what it has said: magic, length, key and options */
    char said[8 + HELLO];
} pending_client;
typedef struct {
    const char *match;      /* what a client has to know; NULL: nobody is let in */
    int listener;
    int count, most;        /* most: by the file descriptors that this process may have */
    int dropped;            /* connections closed since `reported` */
    double reported;
    pending_client all[MOST_GUESTS]; /* the oldest first */
} pending_clients;
void pending_open(pending_clients *g, int listener);
void pending_close(const pending_clients *g); /* in a session: all descriptors, the listener's too */
/* Accept and hear whoever comes until something has happened, or the deadline; whether the client `other` has gone. */
int attend(pending_clients *g, int other, double deadline);
/* The socket of the client whose turn it is, with the seconds that it wants, 0 for no limit; −1: there is none. */
int next_client(pending_clients *g, double *timeout);
int welcome(int fd, const char *key); /* its answer; 0 or -1 */

/* session.c */
typedef struct {
    const char *work; /* where the folders of sessions are made */
    double longest;   /* seconds of a session; 0: without end */
    int64_t most;     /* bytes that a session may store; 0: half of what is free, at most 1 GB */
    int tracker;      /* to be closed in a session; -1: none */
} session_rules;
/* Returns when it has ended; timeout as longest. Others may connect meanwhile. */
void run_session(int fd, double timeout, const session_rules *rules, pending_clients *others);

/* network/tracker.c: our entry in a TVM tracker's list. */
typedef struct {
    char host[ADDRESS], port[8], key[KEY], match[KEY + 64]; /* match: what the next client must know; empty: none */
    const char *custom;                                     /* the address told to clients; NULL: where we come from */
    int own_port, fd;                                       /* fd: -1 where there is no connection */
    double next;                                            /* when to look again */
    int complained, missing;
} tracker;
void tracker_offer(tracker *t); /* connect if need be, and offer ourselves to one client */
void tracker_check(tracker *t); /* are we on offer still? To be called when t->next has come */
#endif
