/*
 * cepoll: the floor under every other figure. An echo server that is nothing
 * but epoll, read and write: a thread per core, each with an epoll descriptor
 * of its own, level-triggered; the first thread accepts and deals the
 * connections out in turn. What a socket does not take is kept, and the
 * connection is not read from until it is gone.
 *
 *     cepoll ADDRESS        (such as 127.0.0.1:7001)
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 128, BUFFER = 64 << 10, THREADS = 256, BATCH = 64 };

/* A connection; only the thread it was dealt to touches it. */
struct conn {
    int fd;
    char *out; /* NULL: nothing is left to send */
    size_t sent, len;
};

static struct conn listener = {.fd = -1};
static int polls[THREADS];
static int threads, next;

static void fail(const char *what)
{
    fprintf(stderr, "cepoll: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void end(struct conn *c)
{
    close(c->fd);
    free(c->out);
    free(c);
}

static int watch(int poll, int op, struct conn *c, unsigned events)
{
    struct epoll_event ev = {.events = events, .data.ptr = c};
    return epoll_ctl(poll, op, c->fd, &ev);
}

static void accept_some(void)
{
    for (int i = 0; i < BATCH; i++) {
        int one = 1, fd = accept4(listener.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        struct conn *c = calloc(1, sizeof *c);
        if (!c) {
            close(fd);
            return;
        }
        c->fd = fd;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        /* From here on the connection is the other thread's. */
        if (watch(polls[next++ % threads], EPOLL_CTL_ADD, c, EPOLLIN) < 0)
            end(c);
    }
}

/* Sends what was left over; returns -1 when the connection is over. */
static int flush(int poll, struct conn *c)
{
    while (c->sent < c->len) {
        ssize_t n = write(c->fd, c->out + c->sent, c->len - c->sent);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR ? 0 : -1;
        c->sent += n;
    }
    free(c->out);
    c->out = NULL;
    return watch(poll, EPOLL_CTL_MOD, c, EPOLLIN);
}

static int echo(int poll, struct conn *c, char *buf)
{
    ssize_t n = read(c->fd, buf, BUFFER);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -1;
    if (n == 0)
        return -1;
    ssize_t m = write(c->fd, buf, n);
    if (m < 0) {
        if (errno != EAGAIN && errno != EINTR)
            return -1;
        m = 0;
    }
    if (m == n)
        return 0;
    c->sent = 0;
    c->len = n - m;
    if (!(c->out = malloc(c->len)))
        return -1;
    memcpy(c->out, buf + m, c->len);
    return watch(poll, EPOLL_CTL_MOD, c, EPOLLOUT);
}

static void *run(void *arg)
{
    int poll = *(int *)arg;
    struct epoll_event events[EVENTS];
    char *buf = malloc(BUFFER);
    if (!buf)
        fail("making a buffer");
    for (;;) {
        int n = epoll_wait(poll, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            struct conn *c = events[i].data.ptr;
            if (c == &listener)
                accept_some();
            else if ((c->out ? flush(poll, c) : echo(poll, c, buf)) < 0)
                end(c);
        }
    }
    return NULL;
}

int main(int argc, char **argv)
{
    char host[64];
    struct sockaddr_in sa = {.sin_family = AF_INET};
    char *colon = argc == 2 ? strrchr(argv[1], ':') : NULL;
    if (!colon || (size_t)(colon - argv[1]) >= sizeof host) {
        fprintf(stderr, "cepoll: want one argument, an IPv4 address and a port, such as 127.0.0.1:7001\n");
        return 2;
    }
    memcpy(host, argv[1], colon - argv[1]);
    host[colon - argv[1]] = 0;
    sa.sin_port = htons(atoi(colon + 1));
    if (inet_pton(AF_INET, host, &sa.sin_addr) != 1) {
        fprintf(stderr, "cepoll: %s is not an IPv4 address\n", host);
        return 2;
    }
    struct rlimit lim;
    if (getrlimit(RLIMIT_NOFILE, &lim) == 0) {
        lim.rlim_cur = lim.rlim_max;
        setrlimit(RLIMIT_NOFILE, &lim);
    }
    int one = 1;
    if ((listener.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) < 0)
        fail("making a socket");
    setsockopt(listener.fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener.fd, (struct sockaddr *)&sa, sizeof sa) < 0)
        fail(argv[1]);
    if (listen(listener.fd, 4096) < 0)
        fail("listening");
    threads = sysconf(_SC_NPROCESSORS_ONLN);
    if (threads < 1)
        threads = 1;
    if (threads > THREADS)
        threads = THREADS;
    for (int i = 0; i < threads; i++)
        if ((polls[i] = epoll_create1(EPOLL_CLOEXEC)) < 0)
            fail("making an epoll descriptor");
    if (watch(polls[0], EPOLL_CTL_ADD, &listener, EPOLLIN) < 0)
        fail("watching the listener");
    for (int i = 1; i < threads; i++) {
        pthread_t t;
        if ((errno = pthread_create(&t, NULL, run, &polls[i])) != 0)
            fail("starting a thread");
    }
    run(&polls[0]);
}
