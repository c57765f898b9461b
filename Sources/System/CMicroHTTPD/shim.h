// What Swift cannot call of libmicrohttpd: its variadic functions.
#pragma once
#include <microhttpd.h>
#include <string.h>
#include <sys/un.h>

struct fan_mhd_settings {
    size_t connection_memory;
    unsigned connection_limit;
    size_t stack_bytes;
    MHD_AccessHandlerCallback handler;
    void *(*target)(void *context, const char *uri, struct MHD_Connection *connection);
    MHD_RequestCompletedCallback completed;
    MHD_NotifyConnectionCallback connection;
    size_t (*unescape)(void *context, struct MHD_Connection *connection, char *text);
    void *context;
};

// A server without a socket of its own, which is given its connections.
static inline struct MHD_Daemon *_Nullable fan_mhd_start(const struct fan_mhd_settings *_Nonnull it) {
    return MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME | MHD_ALLOW_UPGRADE, 0,
        NULL, NULL, it->handler, it->context,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, it->connection_memory,
        MHD_OPTION_CONNECTION_LIMIT, it->connection_limit,
        MHD_OPTION_CONNECTION_TIMEOUT, 0u,
        MHD_OPTION_THREAD_STACK_SIZE, it->stack_bytes,
        MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_URI_LOG_CALLBACK, it->target, it->context,
        MHD_OPTION_NOTIFY_COMPLETED, it->completed, it->context,
        MHD_OPTION_NOTIFY_CONNECTION, it->connection, it->context,
        MHD_OPTION_UNESCAPE_CALLBACK, it->unescape, it->context,
        MHD_OPTION_END);
}

// Hands over a connected local stream socket, which is closed on failure too.
static inline int fan_mhd_add(struct MHD_Daemon *_Nonnull daemon, int fd) {
    struct sockaddr_un address;
    memset(&address, 0, sizeof address);
    address.sun_family = AF_UNIX;
    return MHD_add_connection(daemon, fd, (const struct sockaddr *)&address, sizeof address) == MHD_YES;
}

static inline int fan_mhd_descriptor(struct MHD_Connection *_Nonnull connection) {
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    return info ? info->connect_fd : -1;
}

static inline void *_Nullable fan_mhd_context(struct MHD_Connection *_Nonnull connection) {
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

static inline void fan_mhd_end_upgrade(struct MHD_UpgradeResponseHandle *_Nonnull handle) {
    (void)MHD_upgrade_action(handle, MHD_UPGRADE_ACTION_CLOSE);
}
