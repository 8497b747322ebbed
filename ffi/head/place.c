// Finding the daemon: the rules of src/domain/discovery.ts. What would have to be told on the way (a stale socket, somebody else's
// daemon, a runtime directory that others can write to) makes the place ODD: Bun looks again, and tells.

// A daemon that was found: the connection, its number, and its socket's path for messages.
struct place { int socket, pid; struct text path; char memory[4096 + 128]; };
enum { MISSING = -1 };

// Whether something is there: 1, 0, or -1 for what cannot be told.
static int is_there(const char *path) {
  long result = pf_call4(SYS_faccessat2, AT_FDCWD, (long)path, F_OK, 0);
  return !result ? 1 : result == -ENOENT || result == -ENOTDIR ? 0 : -1;
}

// `path`/`name`, as the place's path.
static char *put_place(struct place *p, const char *directory, u64 size, const char *name) {
  text_begin(&p->path, p->memory, sizeof p->memory);
  put_bytes(&p->path, directory, size);
  if (!size || directory[size - 1] != '/') put(&p->path, "/");
  put(&p->path, name);
  return p->memory;
}

// The directory of the nearest of `names` (a list of words) at `directory`, of `size` bytes, or above it; 0 bytes: there is none.
static u64 size_above(struct place *p, const char *directory, u64 size, const char *names) {
  while (size > 1) {
    for (const char *name = names; *name; name += length(name) + 1) if (is_there(put_place(p, directory, size, name)) == 1) return size;
    while (size && directory[size - 1] != '/') size--;
    if (size) size--;
  }
  return 0;
}

// Connects to `name`, which the place's path stands for.
static int reach(struct place *p, const char *name) {
  long n = (long)length(name), result, limit[2];
  u32 size = sizeof(struct ucred), us = (u32)pf_call0(SYS_geteuid);
  struct ucred peer;
  struct sockaddr_un address;
  if (n >= (long)sizeof address.path || p->path.cut) return ODD;
  memset(&address, 0, sizeof address);
  address.family = AF_UNIX;
  memcpy(address.path, name, (u64)n);
  limit[0] = ANSWER_TIMEOUT_MS / 1000; limit[1] = 0;
  p->socket = (int)pf_call3(SYS_socket, AF_UNIX, SOCK_SEQPACKET | O_CLOEXEC, 0);
  if (p->socket < 0) return ODD;
  pf_call5(SYS_setsockopt, p->socket, SOL_SOCKET, SO_SNDTIMEO, (long)limit, sizeof limit);
  result = pf_call3(SYS_connect, p->socket, (long)&address, 3 + n);
  // Who gets our descriptors can type into our terminal: only ourselves, or root. The overflow uid may be anybody's.
  if (!result && !pf_call5(SYS_getsockopt, p->socket, SOL_SOCKET, SO_PEERCRED, (long)&peer, (long)&size) &&
      (peer.uid == 0 || (peer.uid == us && us != OVERFLOW_UID))) {
    p->pid = peer.pid;
    return 1;
  }
  pf_call1(SYS_close, p->socket);
  return result == -ENOENT || result == -ENOTDIR ? MISSING : ODD;
}

// One file name of modest size, and nothing else.
static int is_project_name(const char *name, u64 size) {
  for (u64 i = 0; i < size; i++) {
    char c = name[i];
    int isWord = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' || c == '-';
    if (!isWord && (c != '.' || !i)) return 0;
  }
  return size > 0 && size <= 64;
}

// Whether `path` is a directory of ours that nobody else can write to.
static int is_private(const char *path) {
  struct statx status;
  return !pf_call5(SYS_statx, AT_FDCWD, (long)path, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, (long)&status) &&
    (status.mode & S_IFMT) == S_IFDIR && status.uid == (u32)pf_call0(SYS_geteuid) && !(status.mode & 022);
}

// Where daemons' sockets are, in `t`. 0: Bun is to find out.
static int runtime_directory(struct text *t, char **environment) {
  const char *named = variable(environment, "XDG_RUNTIME_DIR"), *temporary = variable(environment, "TMPDIR");
  u64 uid = (u64)pf_call0(SYS_geteuid);
  char *start = t->at;
  if (named) { put(t, named); return *named == '/' && !t->cut && is_private(start); }
  put(t, "/run/user/");
  put_number(t, uid);
  if (is_private(start)) return 1;
  t->at = start;
  put(t, temporary ? temporary : "/tmp");
  while (t->at > start && t->at[-1] == '/') t->at--;
  put(t, "/prefork-");
  put_number(t, uid);
  return *start == '/' && !t->cut && is_private(start);
}

// Connects to the first place at which a daemon answers. `cwd` is the working directory, "" when it has no path.
static int find_daemon(struct place *p, const struct asked *a, char **environment, const char *cwd) {
  int result = MISSING, mode = a->mode;
  u64 size = length(cwd), root;
  const char *project = a->project, *socket = a->socket, *local;
  struct text t;
  char name[80], memory[4096];
  if (!socket && mode < 0) socket = variable(environment, "PFD_SOCKET");
  if (!project && !socket && (mode < 0 || mode == MODE_project)) project = variable(environment, "PFD_PROJECT");
  if (project && !is_project_name(project, length(project))) return ODD;
  if (socket) {
    if (!*socket || (*socket != '/' && !size)) return ODD;
    if (*socket == '/') { put_place(p, "/", 1, socket + 1); return reach(p, socket); }
    local = socket;
    while (local[0] == '.' && local[1] == '/') for (local += 2; *local == '/'; local++);
    put_place(p, cwd, size, local);
    return reach(p, socket);
  }
  if (size && (mode < 0 || mode == MODE_local)) {
    for (local = LOCAL_NAMES; *local && result == MISSING; local += length(local) + 1) {
      put_place(p, cwd, size, local);
      result = reach(p, local); // relative: it is short, and leads to the same place
    }
    if (result != MISSING) return result;
  }
  if (mode == MODE_local) return MISSING;
  text_begin(&t, memory, sizeof memory);
  if (!runtime_directory(&t, environment)) return ODD;
  if (mode != MODE_runtime) {
    root = project ? 0 : size_above(p, cwd, size, PROJECT_MARKERS);
    if (root) {
      for (size = root; cwd[size - 1] != '/'; size--);
      project = cwd + size;
      root -= size;
      if (!is_project_name(project, root)) return ODD;
    } else if (project) root = length(project);
    if (project) {
      text_begin(&t, name, sizeof name);
      put(&t, "pfd.");
      put_bytes(&t, project, root);
      put(&t, ".sock");
      result = reach(p, put_place(p, memory, length(memory), name));
      if (result != MISSING) return result;
    }
  }
  return mode == MODE_project ? MISSING : reach(p, put_place(p, memory, length(memory), "pfd.sock"));
}
