#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "../server.h"

enum { BACKLOG = 1024, PIECE = 1 << 16 };

int wait_for(int fd, short events, double deadline) {
    struct pollfd watched = {.fd = fd, .events = events};
    while (!stopping && now() < deadline)
        if (wait_any(&watched, 1, deadline) > 0) return 1;
    return 0;
}

/* Of a call of send or recv that did not do all: whether the next one may. */
static int may_go_on(ssize_t done, int fd, short events, double deadline) {
    if (done > 0) return 1;
    if (done == 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)) return 0;
    return wait_for(fd, events, deadline);
}

int send_all(int fd, const void *data, size_t size, double deadline) {
    for (size_t sent = 0; sent < size;) {
        ssize_t done = send(fd, (const char *)data + sent, size - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (!may_go_on(done, fd, POLLOUT, deadline)) return -1;
        if (done > 0) sent += (size_t)done;
    }
    return 0;
}

int receive_all(int fd, void *data, size_t size, double deadline) {
    for (size_t received = 0; received < size;) {
        ssize_t done = recv(fd, (char *)data + received, size - received, MSG_DONTWAIT);
        if (!may_go_on(done, fd, POLLIN, deadline)) return -1;
        if (done > 0) received += (size_t)done;
    }
    return 0;
}

int send_text(int fd, const char *string, double deadline) {
    int32_t size = (int32_t)strlen(string);
    return send_all(fd, &size, sizeof size, deadline) || send_all(fd, string, (size_t)size, deadline) ? -1 : 0;
}

/* In pieces, so that memory is taken for what has arrived, not for what a length promises. */
int receive_text(int fd, text *string, double deadline) {
    int32_t left;
    if (receive_all(fd, &left, sizeof left, deadline) || left < 0 || left > LONGEST_TEXT) return -1;
    *room_for(string, 0) = 0;
    for (int32_t piece; left > 0; left -= piece) {
        piece = left < PIECE ? left : PIECE;
        char *place = room_for(string, (size_t)piece);
        if (receive_all(fd, place, (size_t)piece, deadline)) return -1;
        place[piece] = 0;
        string->size += (size_t)piece;
    }
    return 0;
}

int split_address(const char *address, char host[ADDRESS], char port[8]) {
    const char *colon = strrchr(address, ':');
    if (!colon || colon == address || strspn(colon + 1, "0123456789") != strlen(colon + 1)) return -1;
    if (strlen(colon + 1) > 5) return -1;
    size_t size = (size_t)(colon - address);
    int number = atoi(colon + 1);
    if (address[0] == '[' && colon[-1] == ']') {
        address++;
        size -= 2;
    } else if (memchr(address, ':', size)) {
        return -1; /* IPv6 without brackets: nobody can tell where its port begins */
    }
    if (!size || size >= ADDRESS || number < 1 || number > 65535) return -1;
    memcpy(host, address, size);
    host[size] = 0;
    snprintf(port, 8, "%d", number);
    return 0;
}

static int connected(const struct addrinfo *place, double deadline) {
    int fd = socket(place->ai_family, place->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), error = 0;
    if (fd < 0) return -1;
    socklen_t size = sizeof error;
    if (!connect(fd, place->ai_addr, place->ai_addrlen)) return fd;
    if (errno == EINPROGRESS && wait_for(fd, POLLOUT, deadline) &&
        !getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) && !error)
        return fd;
    close(fd);
    return -1;
}

int dial(const char *host, const char *port, double deadline) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *places;
    if (getaddrinfo(host, port, &hints, &places)) return -1;
    int fd = -1;
    for (struct addrinfo *place = places; place && fd < 0; place = place->ai_next) fd = connected(place, deadline);
    freeaddrinfo(places);
    return fd;
}

static int bound(const struct addrinfo *place) {
    int fd = socket(place->ai_family, place->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1, off = 0;
    if (fd < 0) return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (place->ai_family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off); /* :: takes IPv4 too */
    if (!bind(fd, place->ai_addr, place->ai_addrlen) && !listen(fd, BACKLOG)) return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

int listen_on(const char *host, int port, char address[ADDRESS], int *taken) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV}, *places;
    char number[8];
    snprintf(number, sizeof number, "%d", port);
    int error = getaddrinfo(host, number, &hints, &places);
    if (error) {
        say("--host %s: %s", host, gai_strerror(error));
        exit(2);
    }
    int fd = bound(places);
    freeaddrinfo(places);
    if (fd < 0) {
        say("cannot listen on %s, port %d: %s; use another --port, or 0 for any", host, port, strerror(errno));
        exit(1);
    }
    struct sockaddr_storage place;
    socklen_t size = sizeof place;
    getsockname(fd, (struct sockaddr *)&place, &size);
    *taken = ntohs(place.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&place)->sin6_port
                                               : ((struct sockaddr_in *)&place)->sin_port);
    snprintf(address, ADDRESS, strchr(host, ':') ? "[%s]:%d" : "%s:%d", host, *taken);
    return fd;
}
