// SPDX-License-Identifier: Apache-2.0
#include "target/qmp.h"

#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "util/cleanup.h"

// "info mtree -f" of a machine with hundreds of devices takes some 100 KiB.
#define ANSWER_MAX (16 << 20)
// Answers that are events are skipped, but not forever.
#define EVENTS_MAX 10000
// Half a second of being turned away.
#define HANG_UPS_MAX 25

struct gs_qmp {
	int fd;
	int timeout_ms;
	pid_t peer;
	// Bytes received; the first `used` of them have been handed out.
	char *buf;
	size_t len, used, capacity;
};

static void cleanup_json(struct json_object **object)
{
	json_object_put(*object);
}

#define _cleanup_json_ _cleanup_(cleanup_json)

static void cleanup_qmp(struct gs_qmp **qmp)
{
	gs_qmp_disconnect(*qmp);
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * INT64_C(1000) + ts.tv_nsec / 1000000;
}

// False with errno, ETIMEDOUT when the time is over.
static bool wait_for(const struct gs_qmp *qmp, short events, int64_t deadline)
{
	struct pollfd pfd = { .fd = qmp->fd, .events = events };

	for (;;) {
		int64_t left = deadline - now_ms();
		int n = poll(&pfd, 1, left > 0 ? left : 0);

		if (n > 0)
			return true;
		if (n < 0 && errno == EINTR && left > 0)
			continue;
		if (n == 0)
			errno = ETIMEDOUT;
		return false;
	}
}

static bool send_all(const struct gs_qmp *qmp, const char *text, size_t len, int64_t deadline)
{
	while (len) {
		ssize_t n = send(qmp->fd, text, len, MSG_NOSIGNAL);

		if (n > 0) {
			text += n;
			len -= n;
		} else if (n < 0 && errno != EAGAIN && errno != EINTR) {
			return false;
		} else if (!wait_for(qmp, POLLOUT, deadline)) {
			return false;
		}
	}
	return true;
}

static bool grow(struct gs_qmp *qmp)
{
	if (qmp->used) {
		memmove(qmp->buf, qmp->buf + qmp->used, qmp->len - qmp->used);
		qmp->len -= qmp->used;
		qmp->used = 0;
	}
	if (qmp->len < qmp->capacity)
		return true;
	if (qmp->capacity >= ANSWER_MAX) {
		errno = EMSGSIZE;
		return false;
	}

	size_t capacity = qmp->capacity ? qmp->capacity * 2 : 65536;
	char *buf = realloc(qmp->buf, capacity);

	if (!buf)
		return false;
	qmp->buf = buf;
	qmp->capacity = capacity;
	return true;
}

// One line, which is one message. False with errno; ECONNRESET when QEMU hangs up.
static bool receive_line(struct gs_qmp *qmp, int64_t deadline, const char **ret, size_t *len_ret)
{
	size_t searched = qmp->used;

	for (;;) {
		char *end = qmp->len > searched
				    ? memchr(qmp->buf + searched, '\n', qmp->len - searched)
				    : NULL;

		if (end) {
			*ret = qmp->buf + qmp->used;
			*len_ret = end - *ret;
			qmp->used = end + 1 - qmp->buf;
			return true;
		}
		searched = qmp->len - qmp->used;
		if (!grow(qmp) || !wait_for(qmp, POLLIN, deadline))
			return false;

		ssize_t n = recv(qmp->fd, qmp->buf + qmp->len, qmp->capacity - qmp->len, 0);

		if (n == 0)
			errno = ECONNRESET;
		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
			return false;
		if (n > 0)
			qmp->len += n;
	}
}

static struct gs_error *receive(struct gs_qmp *qmp, int64_t deadline, struct json_object **ret)
{
	const char *line;
	size_t len;

	if (!receive_line(qmp, deadline, &line, &len))
		return gs_error_errno(GS_ERROR_TARGET, errno, "no answer from QEMU");

	struct json_tokener *tokener = json_tokener_new();

	if (!tokener)
		return &gs_enomem;

	struct json_object *object = json_tokener_parse_ex(tokener, line, len);

	json_tokener_free(tokener);
	if (!json_object_is_type(object, json_type_object)) {
		json_object_put(object);
		return gs_error_create(GS_ERROR_TARGET, "what listens there does not speak QMP");
	}
	*ret = object;
	return NULL;
}

static struct gs_error *connect_error(const char *path, int err)
{
	if (err == EACCES || err == EPERM)
		return gs_error_errno(GS_ERROR_TARGET, err,
				      "QMP socket %s; run as root or as the user of QEMU", path);
	if (err == ECONNREFUSED)
		return gs_error_create(
			GS_ERROR_TARGET,
			"nobody listens on QMP socket %s; is the guest still running?", path);
	return gs_error_errno(GS_ERROR_TARGET, err, "QMP socket %s", path);
}

static struct gs_error *held(const char *path, int timeout_ms)
{
	return gs_error_create(
		GS_ERROR_TARGET,
		"no greeting on QMP socket %s within %d s: another client (libvirt, a "
		"monitor) holds it, or QEMU is stopped; start QEMU with a QMP socket for "
		"gpusentinel: -qmp unix:PATH,server,nowait",
		path, (timeout_ms + 999) / 1000);
}

static struct gs_error *connect_socket(struct gs_qmp *qmp, const char *path, int64_t deadline)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	_cleanup_close_ int handle = open(path, O_PATH | O_CLOEXEC);

	if (handle < 0)
		return connect_error(path, errno);
	// Through /proc, since a socket address has room for 107 characters of path only.
	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d", handle);
	qmp->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (qmp->fd < 0)
		return gs_error_errno(GS_ERROR_OTHER, errno, "socket");
	// EAGAIN: the queue of those who wait for QEMU to accept them is full.
	while (connect(qmp->fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		if (errno != EAGAIN && errno != EINTR)
			return connect_error(path, errno);
		if (now_ms() >= deadline)
			return held(path, qmp->timeout_ms);
		nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
	}

	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(qmp->fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0)
		qmp->peer = cred.pid;
	return NULL;
}

// QEMU hangs up on who comes in the moment in which another client is accepted or leaves.
static bool hung_up(const struct gs_qmp *qmp)
{
	char byte;
	ssize_t n = recv(qmp->fd, &byte, 1, MSG_PEEK);

	return n == 0 || (n < 0 && errno == ECONNRESET);
}

static struct gs_error *greet(struct gs_qmp *qmp, const char *path, int64_t deadline)
{
	_cleanup_json_ struct json_object *greeting = NULL;

	for (int i = 0; i < HANG_UPS_MAX && wait_for(qmp, POLLIN, deadline) && hung_up(qmp); i++) {
		close(qmp->fd);
		qmp->fd = -1;
		nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);

		struct gs_error *err = connect_socket(qmp, path, deadline);

		if (err)
			return err;
	}
	if (!wait_for(qmp, POLLIN, deadline))
		return errno == ETIMEDOUT ? held(path, qmp->timeout_ms)
					  : connect_error(path, errno);

	struct gs_error *err = receive(qmp, deadline, &greeting);

	if (err)
		return gs_error_prefix(err, "QMP socket %s", path);
	if (!json_object_object_get_ex(greeting, "QMP", NULL))
		return gs_error_create(GS_ERROR_TARGET, "what listens on %s does not speak QMP",
				       path);

	_cleanup_json_ struct json_object *nothing = NULL;

	return gs_qmp_execute(qmp, "qmp_capabilities", NULL, &nothing);
}

struct gs_error *gs_qmp_connect(const char *path, int timeout_ms, struct gs_qmp **ret)
{
	_cleanup_(cleanup_qmp) struct gs_qmp *qmp = calloc(1, sizeof(*qmp));

	if (!qmp)
		return &gs_enomem;
	qmp->fd = -1;
	qmp->timeout_ms = timeout_ms;

	int64_t deadline = now_ms() + timeout_ms;
	struct gs_error *err = connect_socket(qmp, path, deadline);

	if (!err)
		err = greet(qmp, path, deadline);
	if (err)
		return err;
	*ret = no_cleanup_ptr(qmp);
	return NULL;
}

void gs_qmp_disconnect(struct gs_qmp *qmp)
{
	if (!qmp)
		return;
	if (qmp->fd >= 0)
		close(qmp->fd);
	free(qmp->buf);
	free(qmp);
}

pid_t gs_qmp_peer(const struct gs_qmp *qmp)
{
	return qmp->peer;
}

static struct gs_error *send_command(struct gs_qmp *qmp, const char *command,
				     struct json_object *arguments, int64_t deadline)
{
	_cleanup_json_ struct json_object *message = json_object_new_object();
	struct json_object *name = json_object_new_string(command);

	if (!message || !name) {
		json_object_put(arguments);
		json_object_put(name);
		return &gs_enomem;
	}
	json_object_object_add(message, "execute", name);
	if (arguments)
		json_object_object_add(message, "arguments", arguments);

	size_t len;
	const char *text = json_object_to_json_string_length(message, JSON_C_TO_STRING_PLAIN, &len);

	if (!text)
		return &gs_enomem;
	if (!send_all(qmp, text, len, deadline) || !send_all(qmp, "\n", 1, deadline))
		return gs_error_errno(GS_ERROR_TARGET, errno, "cannot ask QEMU \"%s\"", command);
	return NULL;
}

struct gs_error *gs_qmp_execute(struct gs_qmp *qmp, const char *command,
				struct json_object *arguments, struct json_object **ret)
{
	int64_t deadline = now_ms() + qmp->timeout_ms;
	struct gs_error *err = send_command(qmp, command, arguments, deadline);

	if (err)
		return err;
	for (int i = 0; i < EVENTS_MAX; i++) {
		_cleanup_json_ struct json_object *answer = NULL;
		struct json_object *value;

		err = receive(qmp, deadline, &answer);
		if (err)
			return gs_error_prefix(err, "QMP command \"%s\"", command);
		if (json_object_object_get_ex(answer, "return", &value)) {
			*ret = json_object_get(value);
			return NULL;
		}
		if (!json_object_object_get_ex(answer, "error", &value))
			continue;

		struct json_object *desc = NULL;

		json_object_object_get_ex(value, "desc", &desc);
		return gs_error_create(GS_ERROR_TARGET, "QEMU refuses \"%s\": %s", command,
				       desc ? json_object_get_string(desc) : "no reason given");
	}
	return gs_error_create(GS_ERROR_TARGET, "QEMU sends events instead of an answer to \"%s\"",
			       command);
}

struct gs_error *gs_qmp_human(struct gs_qmp *qmp, const char *line, char **ret)
{
	struct json_object *arguments = json_object_new_object();
	struct json_object *text = json_object_new_string(line);

	if (!arguments || !text) {
		json_object_put(arguments);
		json_object_put(text);
		return &gs_enomem;
	}
	json_object_object_add(arguments, "command-line", text);

	_cleanup_json_ struct json_object *value = NULL;
	struct gs_error *err = gs_qmp_execute(qmp, "human-monitor-command", arguments, &value);

	if (err)
		return gs_error_prefix(err, "%s", line);
	if (!json_object_is_type(value, json_type_string))
		return gs_error_create(GS_ERROR_TARGET, "QEMU answers \"%s\" with no text", line);
	*ret = strdup(json_object_get_string(value));
	return *ret ? NULL : &gs_enomem;
}
