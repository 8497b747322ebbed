// The time between handing a job over and its end: src/client/run.ts without a terminal to relay. From here on there is no way back to Bun.

// One line on standard error, as `Output.complain` has it: line breaks within it are shown as \n.
static void complain(const char *message) {
  struct text t;
  char memory[9000];
  text_begin(&t, memory, sizeof memory - 2);
  put(&t, "pfc: ");
  for (; *message; message++) {
    if (message[0] == '\r' && message[1] == '\n') continue;
    if (*message == '\n') put(&t, "\\n");
    else put_bytes(&t, message, 1);
  }
  *t.at++ = '\n';
  pf_call3(SYS_write, 2, (long)memory, t.at - memory);
}

// Puts the caller's terminal in order, unless the job has ended by itself: then it may have changed it on purpose, as stty does.
static void settle_terminal(struct context *c) {
  if (c->isGuarded && in_foreground() == 1) pf_call3(SYS_ioctl, c->terminal, TCSETS, (long)c->settings);
  c->isGuarded = 0;
}

// The words of src/client/words.ts, with the daemon's place, its number and its protocol in them. Returns our exit status.
static int fail_with(struct context *c, const char *words, u32 theirs) {
  const struct place *p = &c->place;
  struct text t;
  char memory[8192];
  settle_terminal(c);
  text_begin(&t, memory, sizeof memory);
  for (; *words; words++) {
    if (*words == WORD_place) put(&t, p->memory);
    else if (*words == WORD_pid) put_number(&t, (u64)p->pid);
    else if (*words == WORD_theirs) put_number(&t, theirs);
    else put_bytes(&t, words, 1);
  }
  complain(memory);
  return PREFORK_FAILED;
}

static void raise(int signal) { pf_call2(SYS_kill, pf_call0(SYS_getpid), signal); }

// Ends by a signal, without a core: the job has left one, if any.
static int end_by(int signal) {
  u64 action[4];
  memset(action, 0, sizeof action);
  pf_call2(SYS_prctl, PR_SET_DUMPABLE, 0);
  pf_call4(SYS_rt_sigaction, signal, (long)action, 0, 8);
  set_mask(SIG_UNBLOCK, 1ul << (signal - 1));
  raise(signal);
  return 128 + signal; // a signal that does not end a process
}
struct signal_body { struct header header; u32 signal, toGroup, isQueued, low, high; };

// Sends a signal on. What a terminal sends, it sends to a whole group; what a process sends is for the one that stands behind us.
static int relay(const struct context *c, const struct siginfo *info) {
  int signal = (int)info->signo;
  struct signal_body m;
  u64 ofTerminal = 1ul << SIGHUP | 1ul << SIGINT | 1ul << SIGQUIT | 1ul << SIGTSTP | 1ul << SIGTTIN | 1ul << SIGTTOU | 1ul << SIGWINCH;
  if (signal == SIGCHLD && info->code > 0) return 1; // of a child that the caller left us
  memset(&m, 0, sizeof m);
  m.header.magic = MAGIC; m.header.major = PROTOCOL_MAJOR; m.header.type = MESSAGE_signal; m.header.size = sizeof m - sizeof m.header;
  m.signal = (u32)signal;
  m.toGroup = signal == SIGCONT || (info->code == SI_KERNEL && ofTerminal >> signal & 1);
  m.isQueued = info->code == SI_QUEUE;
  m.low = (u32)info->pointer; m.high = (u32)(info->pointer >> 32);
  long sent = pf_call6(SYS_sendto, c->place.socket, (long)&m, sizeof m, MSG_NOSIGNAL, 0, 0);
  return sent >= 0 || sent == -EPIPE || sent == -ECONNRESET; // that it is gone is noticed later
}

// Relays what has come by now: 1 if we were continued, 0, or -1: the daemon does not read.
static int relay_pending(const struct context *c, int signals) {
  int isContinued = 0;
  struct siginfo info;
  while (pf_call3(SYS_read, signals, (long)&info, sizeof info) == sizeof info) {
    if (!relay(c, &info)) return -1;
    if (info.signo == SIGCONT) isContinued = 1;
  }
  return isContinued;
}

// The job has been stopped: so are we, and it goes on when we do. -1: the daemon does not read.
static int stop(struct context *c, int signals, int signal) {
  int result = relay_pending(c, signals);
  struct siginfo info;
  if (result) return result; // who was quick has continued us before we could stop
  if (signal != SIGSTOP) set_mask(SIG_UNBLOCK, 1ul << (signal - 1));
  raise(signal); // returns when we are continued
  set_mask(SIG_BLOCK, ~0ul);
  remember_terminal(c);
  if ((result = relay_pending(c, signals))) return result;
  // In a group whose shell is gone the kernel does not stop us, and nobody would continue the job.
  memset(&info, 0, sizeof info);
  info.signo = SIGCONT;
  return relay(c, &info) ? 0 : -1;
}

// Whether the numbers that the daemon names mean the same here: it is in our pid namespace. See pid_namespaces(7).
static int shares_numbers(int pid) {
  struct text t;
  char path[40], own[64], theirs[64];
  long size = pf_call4(SYS_readlinkat, AT_FDCWD, (long)"/proc/self/ns/pid", (long)own, sizeof own - 1);
  if (pid <= 0 || size <= 0) return 0;
  text_begin(&t, path, sizeof path);
  put(&t, "/proc/");
  put_number(&t, (u64)pid);
  put(&t, "/ns/pid");
  if (pf_call4(SYS_readlinkat, AT_FDCWD, (long)path, (long)theirs, sizeof theirs - 1) != size) return 0;
  own[size] = theirs[size] = 0;
  return same(own, theirs);
}

// The daemon is gone. It may have started the job, which then is not to go on unheard.
static int orphaned(struct context *c, u32 job, int isOurNumber) {
  int at = c->asked.onDisconnect, isEnded = isOurNumber && at != DISCONNECTION_continue;
  if (!job) return fail_with(c, WORDS_closed, 0);
  if (isEnded) {
    pf_call2(SYS_kill, -(long)job, at == DISCONNECTION_kill ? SIGKILL : at == DISCONNECTION_term ? SIGTERM : SIGHUP);
    if (at != DISCONNECTION_kill) pf_call2(SYS_kill, -(long)job, SIGCONT);
  }
  return fail_with(c, isEnded ? WORDS_ended : WORDS_alone, 0);
}

// How the job ended, for us to end likewise: an exit status, or a signal below 0.
static int ending_of(struct context *c, u32 status, u32 timedOut) {
  int signal = (int)(status & 127);
  if (!signal) c->isGuarded = 0;
  if (timedOut && signal != SIGKILL) return TIMED_OUT;
  return signal ? -signal : (int)(status >> 8 & 255);
}

// Waits for the daemon's answers and acts on them. `signals` is -1 when nobody waits for the job's end.
static int converse(struct context *c, int signals) {
  u32 job = 0, b[8];
  int impatience = 0, isOurNumber = 0;
  long size, limit[2];
  struct pollfd polled[2];
  struct { struct header h; u8 body[8192]; } in;
  struct siginfo info;
  for (;;) {
    limit[0] = ANSWER_TIMEOUT_MS / 1000; limit[1] = 0;
    memset(polled, 0, sizeof polled);
    polled[0].fd = c->place.socket; polled[1].fd = signals;
    polled[0].events = polled[1].events = POLLIN;
    size = pf_call5(SYS_ppoll, (long)polled, 2, job ? 0 : (long)limit, 0, 0);
    if (size == -EINTR) continue;
    if (size <= 0) return fail_with(c, WORDS_silent, 0);
    if (polled[0].revents) {
      size = pf_call3(SYS_read, c->place.socket, (long)&in, sizeof in); // the kernel closes descriptors that come with it
      if (size == -EINTR || size == -EAGAIN || size == -ECONNRESET) continue;
      if (size <= 0) return orphaned(c, job, isOurNumber);
      if (size < 8 || in.h.magic != MAGIC) return fail_with(c, WORDS_malformed, 0);
      if (in.h.major != PROTOCOL_MAJOR) return fail_with(c, WORDS_incompatible, in.h.major);
      if (size < (long)sizeof in.h || in.h.fds || in.h.flags) return fail_with(c, WORDS_malformed, 0);
      size -= (long)sizeof in.h;
      memset(b, 0, sizeof b);
      memcpy(b, in.body, (u64)size < sizeof b ? (u64)size : sizeof b);
      if (in.h.type == MESSAGE_refused && size >= 12) {
        if (b[2] > (u64)size - 12) b[2] = (u32)size - 12; // cut off by our buffer
        if (12 + b[2] >= sizeof in.body) b[2]--;
        in.body[12 + b[2]] = 0;
        settle_terminal(c);
        complain((char *)in.body + 12);
        return b[0] == REFUSAL_notFound ? 127 : b[0] == REFUSAL_notExecutable ? 126 : PREFORK_FAILED;
      }
      if (size != (long)in.h.size) return fail_with(c, WORDS_malformed, 0);
      if (in.h.type == MESSAGE_accepted && !job && size >= 4 && b[0] > 1 && b[0] <= 0x7fffffff) {
        job = b[0];
        if (signals < 0) return 0;
        isOurNumber = shares_numbers(c->place.pid); // later the daemon may be gone
      } else if (in.h.type == MESSAGE_exited && job && size >= 32 && (b[0] & 127) <= SIGNAL_MAX) return ending_of(c, b[0], b[7]);
      else if (in.h.type == MESSAGE_stopped && job && size >= 4 && b[0] >= SIGSTOP && b[0] <= SIGTTOU) {
        if (stop(c, signals, (int)b[0]) < 0) return fail_with(c, WORDS_deaf, 0);
        continue; // what was ready need not be so any more
      } else if (in.h.type != MESSAGE_waiting) return fail_with(c, WORDS_malformed, 0);
    }
    if (polled[1].revents && pf_call3(SYS_read, signals, (long)&info, sizeof info) == sizeof info) {
      if (!relay(c, &info)) return fail_with(c, WORDS_deaf, 0);
      if (!job && (info.signo == SIGINT || info.signo == SIGTERM) && impatience++) return -(int)info.signo;
    }
  }
}
